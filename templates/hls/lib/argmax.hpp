// SPDX-License-Identifier: Apache-2.0
//
// The index of the greatest code of a vector.
#ifndef HWGEN_ARGMAX_HPP
#define HWGEN_ARGMAX_HPP

#include <hls_stream.h>

namespace hwgen {

/// Index of the greatest of P::kCount codes, which arrive one a beat: of equal codes that of the greater P::rank(index)
/// wins, of equal ranks the first.
template <typename P, typename In, typename Out>
void argmax(hls::stream<In>& codes, hls::stream<Out>& index) {
#pragma HLS INLINE
  static_assert(In::kLanes == 1 && Out::kLanes == 1, "one code a beat");
  typename In::lane_t greatest = 0;
  int rank = 0;
  int best = 0;
  Out out;
  for (int i = 0; i < P::kCount; ++i) {
#pragma HLS PIPELINE II=1
    const In in = codes.read();
    const typename In::lane_t code = in.lane[0];
    const int own = P::rank(i);
    if (i == 0 || code > greatest || (code == greatest && own > rank)) {
      greatest = code;
      rank = own;
      best = i;
    }
    out.last = in.last;
  }
  out.lane[0] = best;
  index.write(out);
}

}  // namespace hwgen

#endif  // HWGEN_ARGMAX_HPP
