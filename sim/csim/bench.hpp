// SPDX-License-Identifier: Apache-2.0
//
// Test bench parts that every generated project shares: vectors from text files onto AXI4-Streams and back, with random
// stalls on either side, compared code by code.
//
// A vector file holds, sequence by sequence, a line with the number of vectors and then one line of codes for each.
#ifndef HWGEN_BENCH_HPP
#define HWGEN_BENCH_HPP

#include <ap_int.h>
#include <hls_stream.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace bench {

/// Small seeded generator: the same stalls on every machine.
class random_bits {
 public:
  explicit random_bits(unsigned seed) : state_(seed * 2654435761u + 1u) {}

  /// True in `percent` of all calls.
  bool chance(unsigned percent) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % 100u < percent;
  }

 private:
  unsigned state_;
};

/// One port's vectors: codes[vector * width + i], and where sequences end.
struct vectors {
  int width;
  std::vector<long> codes;
  std::vector<bool> last;

  explicit vectors(int lanes_times_beats) : width(lanes_times_beats) {}
  std::size_t count() const { return last.size(); }

  void read(const std::string& path) {
    std::ifstream file(path.c_str());
    if (!file) {
      std::cerr << "cannot read " << path << "\n";
      std::exit(2);
    }
    for (long steps = 0; file >> steps;) {
      for (long t = 0; t < steps; ++t) {
        for (int i = 0; i < width; ++i) {
          long code = 0;
          if (!(file >> code)) {
            std::cerr << path << ": ends in the middle of a sequence\n";
            std::exit(2);
          }
          codes.push_back(code);
        }
        last.push_back(t == steps - 1);
      }
    }
  }

  void write(const std::string& path) const {
    std::ofstream file(path.c_str());
    std::size_t begin = 0;
    for (std::size_t end = 0; end < count(); ++end) {
      if (!last[end] && end + 1 < count()) continue;
      file << end + 1 - begin << "\n";
      for (; begin <= end; ++begin) {
        for (int i = 0; i < width; ++i) file << codes[begin * std::size_t(width) + std::size_t(i)] << (i + 1 < width ? " " : "\n");
      }
    }
  }
};

/// Drives vectors onto a stream: LANES codes of BITS bits a beat, each lane LANE_BITS wide.
template <typename Word, int LANES, int LANE_BITS>
class source {
 public:
  source(hls::stream<Word>& stream, const vectors& data, unsigned seed) : stream_(stream), data_(data), random_(seed) {}

  bool done() const { return next_ == data_.codes.size(); }

  /// Send one beat unless stalled or blocked; true if something moved.
  bool turn(unsigned stall_percent) {
    if (done() || random_.chance(stall_percent) || stream_.full()) return false;
    Word word;
    for (int lane = 0; lane < LANES; ++lane) {
      word.data.range(lane * LANE_BITS + LANE_BITS - 1, lane * LANE_BITS) = ap_int<LANE_BITS>(data_.codes[next_ + std::size_t(lane)]);
    }
    next_ += LANES;
    word.keep = -1;
    word.strb = -1;
    word.last = next_ % std::size_t(data_.width) == 0 && data_.last[next_ / std::size_t(data_.width) - 1];
    stream_.write(word);
    return true;
  }

 private:
  hls::stream<Word>& stream_;
  const vectors& data_;
  random_bits random_;
  std::size_t next_ = 0;
};

/// Takes codes of type Code from a stream.
template <typename Word, typename Code, int LANES, int LANE_BITS>
class sink {
 public:
  sink(hls::stream<Word>& stream, int width, unsigned seed) : result(width), stream_(stream), random_(seed) {}

  /// Take one beat unless stalled or empty; true if something moved.
  bool turn(unsigned stall_percent) {
    if (random_.chance(stall_percent) || stream_.empty()) return false;
    take();
    return true;
  }

  /// Take one beat, waiting for it.
  void take() {
    const Word word = stream_.read();
    for (int lane = 0; lane < LANES; ++lane) {
      const ap_int<LANE_BITS> padded = word.data.range(lane * LANE_BITS + LANE_BITS - 1, lane * LANE_BITS);
      const Code code = Code(padded);
      if (ap_int<LANE_BITS>(code) != padded) ++malformed;
      result.codes.push_back(code.to_int64());
    }
    if (result.codes.size() % std::size_t(result.width) == 0) {
      result.last.push_back(word.last == 1);
    } else if (word.last == 1) {
      ++malformed;
    }
  }

  vectors result;
  long malformed = 0;  ///< lanes not extended to bytes, or TLAST inside a vector

 private:
  hls::stream<Word>& stream_;
  random_bits random_;
};

/// Compare codes and sequence ends; prints the first difference.
inline long mismatches(const char* port, const vectors& expected, const vectors& got) {
  long wrong = 0;
  const std::size_t common = expected.codes.size() < got.codes.size() ? expected.codes.size() : got.codes.size();
  for (std::size_t i = 0; i < common; ++i) {
    if (expected.codes[i] == got.codes[i]) continue;
    if (wrong++ == 0) {
      std::cout << port << ": vector " << i / std::size_t(expected.width) << ", code " << i % std::size_t(expected.width)
                << ": expected " << expected.codes[i] << ", got " << got.codes[i] << "\n";
    }
  }
  wrong += long(expected.codes.size() - common) + long(got.codes.size() - common);
  for (std::size_t i = 0; i < expected.count() && i < got.count(); ++i) wrong += expected.last[i] != got.last[i];
  return wrong;
}

/// What the command line says: [--vectors DIR] [--write DIR] [--stall PERCENT] [--seed N].
struct arguments {
  std::string vectors_dir = "vectors";
  std::string write_dir;
  unsigned stall = 0;
  unsigned seed = 1;

  arguments(int count, char** values) {
    for (int i = 1; i + 1 < count; i += 2) {
      const std::string name = values[i];
      const char* value = values[i + 1];
      if (name == "--vectors") vectors_dir = value;
      else if (name == "--write") write_dir = value;
      else if (name == "--stall") stall = unsigned(std::atoi(value));
      else if (name == "--seed") seed = unsigned(std::atoi(value));
      else {
        std::cerr << "unknown option " << name << "\n";
        std::exit(2);
      }
    }
  }
};

}  // namespace bench

#endif  // HWGEN_BENCH_HPP
