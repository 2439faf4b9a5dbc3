// SPDX-License-Identifier: Apache-2.0
//
// Types that every unit shares.
#ifndef HWGEN_TYPES_HPP
#define HWGEN_TYPES_HPP

#include <ap_int.h>

namespace hwgen {

/// One beat of an internal stream: N lanes side by side.  `last` marks the last time step of a sequence; it is valid
/// on the final beat of a step.
template <typename T, int N>
struct beat {
  static const int kLanes = N;
  typedef T lane_t;
  T lane[N];
  bool last;
};

#ifndef __SYNTHESIS__
namespace detail {
template <int BYTES>
struct native {
  typedef long long type;
};
template <>
struct native<1> {
  typedef signed char type;
};
template <>
struct native<2> {
  typedef short type;
};
template <>
struct native<4> {
  typedef int type;
};
}  // namespace detail
#endif

/// Element of a read-only memory, W bits wide and signed.  Synthesis takes the exact width.  A simulator takes the
/// smallest native integer that holds it: thousands of ap_int constructors would otherwise run before main().
template <int W>
struct rom {
#ifdef __SYNTHESIS__
  typedef ap_int<W> type;
#else
  typedef typename detail::native<(W <= 8 ? 1 : W <= 16 ? 2 : W <= 32 ? 4 : 8)>::type type;
#endif
};

}  // namespace hwgen

#endif  // HWGEN_TYPES_HPP
