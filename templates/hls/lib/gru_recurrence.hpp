// SPDX-License-Identifier: Apache-2.0
//
// The recurrent loop of a GRU: hidden product, gates, candidate and state update of one time step.
#ifndef HWGEN_GRU_RECURRENCE_HPP
#define HWGEN_GRU_RECURRENCE_HPP

#include <hls_stream.h>

#include "gru_update.hpp"
#include "matvec.hpp"
#include "recurrence.hpp"
#include "types.hpp"

namespace hwgen {

/// One time step: projected inputs arrive in beats of PE sums, states leave in beats of kUnits hidden units.
///
/// Rows are ordered unit by unit, reset gate, update gate and candidate of a unit side by side.  The reset gate
/// multiplies the hidden product of the candidate alone: rows of the candidate start from the bias of that product, and
/// their input sum goes on by itself.  One flattened loop over tiles, as in matvec; the elementwise part is the tail of
/// the same pipeline, so a step takes one cycle a tile and the depth of the pipeline once.
/// C: kGates, kReset, kUpdate, kNew (the last one), kHidden, kUnits, the types, hidden_bias(unit),
/// activate(gate, total, unit), whole(sum, unit), and what gru_update needs.  M: the hidden matrix.  H0: the state
/// before the first step of a sequence; start() and operator[](unit).
template <typename C, typename M, typename Sums, typename States, typename H0>
void gru_recurrence(hls::stream<Sums>& projected, hls::stream<States>& states, H0& h0) {
#pragma HLS INLINE
  typedef typename C::total_t total_t;
  typedef typename C::hidden_t hidden_t;
  typedef typename C::factor_t factor_t;
  static_assert(M::kRows % M::kPe == 0, "PE must divide the number of gate rows");
  static_assert(M::kColumns % M::kSimd == 0, "SIMD must divide the number of hidden units");
  static_assert(M::kPe % C::kGates == 0 || C::kGates % M::kPe == 0, "PE and the number of gates must be multiples");
  static_assert(Sums::kLanes == M::kPe && States::kLanes == C::kUnits, "beats must carry PE sums and kUnits units");
  static_assert(C::kNew == C::kGates - 1, "the candidate must be the last row of a unit: its sums are read last");
  const int kFolds = M::kRows / M::kPe;
  const int kColumnTiles = M::kColumns / M::kSimd;
  const int kParts = M::kPe < C::kGates ? C::kGates / M::kPe : 1;

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
  factor_t gates[C::kUnits * C::kGates];
#pragma HLS ARRAY_PARTITION variable=gates complete
  Sums sums;
  int column = 0;  // which SIMD columns the tile multiplies
  int group = 0;   // which kUnits hidden units its rows belong to
  int part = 0;    // which PE of their rows, where PE is less than the gates of one unit
  for (int tile = 0; tile < kFolds * kColumnTiles; ++tile) {
// One tile a cycle: each accumulator is carried from tile to tile through a single addition.
#pragma HLS PIPELINE II=1
// No step reads what it writes: h is read from one copy, by the product and once more where it is kept, and written to
// the other.  Between steps the pipeline has drained.
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
      // With PE a multiple of the gates, part is 0: the gate of a lane is a constant.
      const int row = kParts == 1 ? pe : part * M::kPe + pe;
      const total_t bias = row % C::kGates == C::kNew ? total_t(C::hidden_bias(group * C::kUnits + row / C::kGates))
                                                      : total_t(sums.lane[pe]);
      total[pe] = (column == 0 ? bias : total[pe]) + products[pe];
    }
    if (column < kColumnTiles - 1) {
      ++column;
      continue;
    }
    column = 0;
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      const int row = kParts == 1 ? pe : part * M::kPe + pe;
      gates[row] = C::activate(row % C::kGates, total[pe], group * C::kUnits + row / C::kGates);
    }
    if (part < kParts - 1) {
      ++part;
      continue;
    }
    part = 0;
    States beat;
    for (int lane = 0; lane < C::kUnits; ++lane) {
#pragma HLS UNROLL
      const int unit = group * C::kUnits + lane;
      const int row = lane * C::kGates;
      // The last rows are those of the candidate: its input sum is in the beat at hand.
      const int pe = kParts == 1 ? row + C::kNew : M::kPe - 1;
      const hidden_t before = first ? h0[unit] : h[phase][unit];
      const hidden_t hidden = gru_update<C>(gates[row + C::kReset], gates[row + C::kUpdate],
                                            C::whole(sums.lane[pe], unit), gates[row + C::kNew], before, unit);
      h[!phase][unit] = hidden;
      beat.lane[lane] = hidden;
    }
    beat.last = sums.last;
    states.write(beat);
    ++group;
  }
  phase = !phase;
  first = sums.last && !C::kStreaming;
}

}  // namespace hwgen

#endif  // HWGEN_GRU_RECURRENCE_HPP
