// SPDX-License-Identifier: Apache-2.0
//
// Test bench parts that every generated HLS project shares: vectors onto AXI4-Streams and back, with random stalls on
// either side.
#ifndef HWGEN_BENCH_HPP
#define HWGEN_BENCH_HPP

#include <ap_int.h>
#include <hls_stream.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "vectors.hpp"

namespace bench {

/// TID of a beat, where the port has it.
template <bool HAS_ID>
struct beat_id {
  template <typename Word>
  static void put(Word& word, unsigned id) {
    word.id = id;
  }
  template <typename Word>
  static unsigned get(const Word& word) {
    return word.id;
  }
};
template <>
struct beat_id<false> {
  template <typename Word>
  static void put(Word&, unsigned) {}
  template <typename Word>
  static unsigned get(const Word&) {
    return 0;
  }
};

/// Drives vectors onto a stream: LANES codes a beat, each lane LANE_BITS wide.
template <typename Word, int LANES, int LANE_BITS, bool HAS_ID = false>
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
    beat_id<HAS_ID>::put(word, data_.id[next_ / std::size_t(data_.width)]);
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
template <typename Word, typename Code, int LANES, int LANE_BITS, bool HAS_ID = false>
class sink {
 public:
  sink(hls::stream<Word>& stream, int width, unsigned seed) : result(width, HAS_ID), stream_(stream), random_(seed) {}

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
    const bool ends = result.codes.size() % std::size_t(result.width) == 0;
    const unsigned id = beat_id<HAS_ID>::get(word);
    // All beats of a vector name the same sequence.
    if (within_ && id != id_) ++malformed;
    within_ = !ends;
    id_ = id;
    if (ends) {
      result.last.push_back(word.last == 1);
      result.id.push_back(id);
    } else if (word.last == 1) {
      ++malformed;
    }
  }

  vectors result;
  long malformed = 0;  ///< lanes not extended to bytes, or TLAST or a change of TID inside a vector

 private:
  hls::stream<Word>& stream_;
  random_bits random_;
  bool within_ = false;
  unsigned id_ = 0;
};

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
