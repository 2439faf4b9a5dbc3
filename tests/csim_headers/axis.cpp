// SPDX-License-Identifier: Apache-2.0
//
// AXI4-Stream beats through a design in another translation unit.
#include "axis_top.h"

#include <cstdio>
#include <type_traits>

template <typename T>
static auto has_user(int) -> decltype(void(T::user), std::true_type());
template <typename T>
static std::false_type has_user(...);

static_assert(decltype(has_user<wide_beat>(0))::value, "a side channel of width 3");
static_assert(!decltype(has_user<narrow_beat>(0))::value, "a side channel of width 0");
static_assert(decltype(narrow_beat::keep)::width == 3, "20 bits are 3 bytes");
static_assert(decltype(wide_beat::strb)::width == 8, "64 bits are 8 bytes");

int main() {
  hls::stream<narrow_beat> in("in");
  hls::stream<wide_beat> out("out");
  pack_top(in, out);
  unsigned long long value = 1;
  for (int i = 0; i < 1000; ++i) {
    unsigned long long expected = 0;
    for (int part = 0; part < 3; ++part) {
      value = (value * 1103515245 + 12345) & 0xFFFFF;
      expected |= value << (20 * part);
      narrow_beat beat;
      beat.data = value;
      beat.keep = -1;
      beat.strb = -1;
      beat.last = i == 999 && part == 2;
      in.write(beat);
    }
    const wide_beat got = out.read();
    const bool right = got.data.to_uint64() == expected && got.keep == 255 && got.strb == 255 &&
                       got.user == 5 && got.id == 21 && got.dest == 85 && got.last == (i == 999);
    if (!right) {
      std::printf("beat %d: %llx, not %llx\n", i, got.data.to_uint64(), expected);
      return 1;
    }
  }
}
