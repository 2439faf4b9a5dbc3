// SPDX-License-Identifier: Apache-2.0
//
// The recurrent loop of a plain RNN: hidden product and activation of one time step.
#ifndef HWGEN_RNN_RECURRENCE_HPP
#define HWGEN_RNN_RECURRENCE_HPP

#include <hls_stream.h>

#include "matvec.hpp"
#include "recurrence.hpp"
#include "types.hpp"

namespace hwgen {

/// One time step: projected inputs arrive in beats of PE sums, states leave in beats of as many units.
///
/// One flattened loop over tiles, as in matvec; the activation is the tail of the same pipeline, so a step takes one
/// cycle a tile and the depth of the pipeline once.
/// C: kHidden, the types, activate(total, unit).  M: the hidden matrix.  H0: the state before the first step of a
/// sequence; start() and operator[](unit).
template <typename C, typename M, typename Sums, typename States, typename H0>
void rnn_recurrence(hls::stream<Sums>& projected, hls::stream<States>& states, H0& h0) {
#pragma HLS INLINE
  typedef typename C::total_t total_t;
  typedef typename C::hidden_t hidden_t;
  static_assert(M::kRows % M::kPe == 0, "PE must divide the number of hidden units");
  static_assert(M::kColumns % M::kSimd == 0, "SIMD must divide the number of hidden units");
  static_assert(Sums::kLanes == M::kPe && States::kLanes == M::kPe, "beats must carry PE sums and PE units");
  const int kFolds = M::kRows / M::kPe;
  const int kColumnTiles = M::kColumns / M::kSimd;

  // Two copies of h: one is read while the other is written.  They change places after each step.
  static hidden_t h[2][C::kHidden];
#pragma HLS ARRAY_PARTITION variable=h complete dim=0
  static bool phase = false;
#pragma HLS RESET variable=phase
  static bool first = true;
#pragma HLS RESET variable=first

  if (first) h0.start();
  total_t total[M::kPe];
#pragma HLS ARRAY_PARTITION variable=total complete
  Sums sums;
  int column = 0;  // which SIMD columns the tile multiplies
  int group = 0;   // which PE hidden units its rows are
  for (int tile = 0; tile < kFolds * kColumnTiles; ++tile) {
// One tile a cycle: each accumulator is carried from tile to tile through a single addition.
#pragma HLS PIPELINE II=1
// No step reads what it writes: h is read from one copy and written to the other.  Between steps the pipeline has
// drained.
#pragma HLS DEPENDENCE variable=h inter false
    if (column == 0) sums = projected.read();
    hidden_t codes[M::kSimd];
#pragma HLS ARRAY_PARTITION variable=codes complete
    for (int lane = 0; lane < M::kSimd; ++lane) {
#pragma HLS UNROLL
      const int unit = column * M::kSimd + lane;
      codes[lane] = first ? h0[unit] : h[phase][unit];
    }
    total_t products[M::kPe];
#pragma HLS ARRAY_PARTITION variable=products complete
    tile_products<M>::add_up(tile, codes, products);
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      const total_t start = column == 0 ? total_t(sums.lane[pe]) : total[pe];
      total[pe] = start + products[pe];
    }
    if (column < kColumnTiles - 1) {
      ++column;
      continue;
    }
    column = 0;
    States beat;
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      const int unit = group * M::kPe + pe;
      const hidden_t hidden = C::activate(total[pe], unit);
      h[!phase][unit] = hidden;
      beat.lane[pe] = hidden;
    }
    beat.last = sums.last;
    states.write(beat);
    ++group;
  }
  phase = !phase;
  first = sums.last && !C::kStreaming;
}

}  // namespace hwgen

#endif  // HWGEN_RNN_RECURRENCE_HPP
