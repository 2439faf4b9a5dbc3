// SPDX-License-Identifier: Apache-2.0
//
// A step function on every code of a vector: requantization, activations, what stands behind the sums of a dense layer.
#ifndef HWGEN_MAP_HPP
#define HWGEN_MAP_HPP

#include <hls_stream.h>

namespace hwgen {

/// A::apply(code, channel) on each code of a vector of BEATS beats; the channel of a code is its place in the vector.
template <typename A, int BEATS, typename In, typename Out>
void map_codes(hls::stream<In>& codes, hls::stream<Out>& result) {
#pragma HLS INLINE
  static_assert(In::kLanes == Out::kLanes, "a code out for each code in");
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const In in = codes.read();
    Out out;
    for (int lane = 0; lane < In::kLanes; ++lane) {
#pragma HLS UNROLL
      out.lane[lane] = A::apply(in.lane[lane], i * In::kLanes + lane);
    }
    out.last = in.last;
    result.write(out);
  }
}

}  // namespace hwgen

#endif  // HWGEN_MAP_HPP
