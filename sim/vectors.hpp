// SPDX-License-Identifier: Apache-2.0
//
// What the test benches of C simulation and RTL simulation share: vectors from and to text files, random stalls, and the
// comparison code by code.  C++14, as far as HLS tools go.
//
// A vector file holds, sequence by sequence, a line with the number of vectors and then one line of codes for each.
// Where sequences are interleaved it holds them in the order in which they pass, the steps that follow each other of one
// sequence with a line before them that says their number, their TID, and whether the last of them ends the sequence.
#ifndef HWGEN_VECTORS_HPP
#define HWGEN_VECTORS_HPP

#include <cstddef>
#include <cstdlib>
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

/// One port's vectors: codes[vector * width + i], where sequences end, and of interleaved ones which it is.
struct vectors {
  int width;
  bool interleaved;
  std::vector<long> codes;
  std::vector<bool> last;
  std::vector<unsigned> id;

  explicit vectors(int lanes_times_beats, bool has_ids = false) : width(lanes_times_beats), interleaved(has_ids) {}
  std::size_t count() const { return last.size(); }

  void read(const std::string& path) {
    std::ifstream file(path.c_str());
    if (!file) {
      std::cerr << "cannot read " << path << "\n";
      std::exit(2);
    }
    for (long steps = 0, tid = 0, ends = 1; file >> steps;) {
      if (interleaved && !(file >> tid >> ends)) {
        std::cerr << path << ": no TID behind a number of steps\n";
        std::exit(2);
      }
      for (long t = 0; t < steps; ++t) {
        for (int i = 0; i < width; ++i) {
          long code = 0;
          if (!(file >> code)) {
            std::cerr << path << ": ends in the middle of a sequence\n";
            std::exit(2);
          }
          codes.push_back(code);
        }
        last.push_back(ends && t == steps - 1);
        id.push_back(unsigned(tid));
      }
    }
  }

  void write(const std::string& path) const {
    std::ofstream file(path.c_str());
    std::size_t begin = 0;
    for (std::size_t end = 0; end < count(); ++end) {
      if (!interleaved && !last[end] && end + 1 < count()) continue;
      file << end + 1 - begin;
      if (interleaved) file << " " << id[end] << " " << last[end];
      file << "\n";
      for (; begin <= end; ++begin) {
        for (int i = 0; i < width; ++i) file << codes[begin * std::size_t(width) + std::size_t(i)] << (i + 1 < width ? " " : "\n");
      }
    }
  }
};

/// Compare codes, sequence ends and TIDs; prints the first difference.
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
  for (std::size_t i = 0; i < expected.count() && i < got.count(); ++i) {
    wrong += expected.last[i] != got.last[i];
    wrong += expected.interleaved && expected.id[i] != got.id[i];
  }
  return wrong;
}

}  // namespace bench

#endif  // HWGEN_VECTORS_HPP
