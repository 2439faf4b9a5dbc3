// SPDX-License-Identifier: Apache-2.0
//
// The recurrent loop of an LSTM layer: hidden product, gates and state update of one time step.
#ifndef HWGEN_RECURRENCE_HPP
#define HWGEN_RECURRENCE_HPP

#include <hls_stream.h>

#include "cell_update.hpp"
#include "hidden_update.hpp"
#include "matvec.hpp"
#include "types.hpp"

namespace hwgen {

/// Hidden and cell codes of some units, as they leave the recurrence.
template <typename Hidden, typename Cell, int N>
struct state_beat {
  static const int kLanes = N;
  Hidden hidden[N];
  Cell cell[N];
  bool last;
};

/// An initial state that arrives on a stream before every sequence: H codes in beats of N.
template <typename Code, int H, int N>
class stream_state {
 public:
  explicit stream_state(hls::stream<beat<Code, N> >& codes) : codes_(codes) {}

  /// Read the state of the sequence that begins.
  void start() {
#pragma HLS INLINE
    for (int group = 0; group < H / N; ++group) {
#pragma HLS PIPELINE II=1
      const beat<Code, N> word = codes_.read();
      for (int lane = 0; lane < N; ++lane) {
#pragma HLS UNROLL
        state_[group * N + lane] = word.lane[lane];
      }
    }
  }

  Code operator[](int unit) const { return state_[unit]; }

 private:
  hls::stream<beat<Code, N> >& codes_;
  Code state_[H];
};

/// One time step: projected inputs arrive in beats of PE sums, states leave in beats of kUnits hidden units.
///
/// Rows are ordered unit by unit, the gates of a unit side by side, so that a unit is finished as soon as its rows
/// are.  One flattened loop over tiles, as in matvec; the elementwise part is the tail of the same pipeline, so a
/// step takes one cycle a tile and the depth of the pipeline once.
/// C: kGates, kHidden, kUnits, the types, activate(gate, total, unit), and what cell_update and hidden_update need.
/// M: the hidden matrix.  H0, C0: the states before the first step of a sequence; start() and operator[](unit).
template <typename C, typename M, typename Sums, typename States, typename H0, typename C0>
void recurrence(hls::stream<Sums>& projected, hls::stream<States>& states, H0& h0, C0& c0) {
#pragma HLS INLINE
  typedef typename C::total_t total_t;
  typedef typename C::hidden_t hidden_t;
  typedef typename C::cell_t cell_t;
  typedef typename C::factor_t factor_t;
  static_assert(M::kRows % M::kPe == 0, "PE must divide the number of gate rows");
  static_assert(M::kColumns % M::kSimd == 0, "SIMD must divide the number of hidden units");
  static_assert(M::kPe % C::kGates == 0 || C::kGates % M::kPe == 0, "PE and the number of gates must be multiples");
  static_assert(Sums::kLanes == M::kPe && States::kLanes == C::kUnits, "beats must carry PE sums and kUnits units");
  const int kFolds = M::kRows / M::kPe;
  const int kColumnTiles = M::kColumns / M::kSimd;
  const int kParts = M::kPe < C::kGates ? C::kGates / M::kPe : 1;

  // Two copies of h: one is read while the other is written.  They change places after each step.
  static hidden_t h[2][C::kHidden];
#pragma HLS ARRAY_PARTITION variable=h complete dim=0
  static cell_t c[C::kHidden];
#pragma HLS ARRAY_PARTITION variable=c cyclic factor=C::kUnits
  static bool phase = false;
#pragma HLS RESET variable=phase
  static bool first = true;
#pragma HLS RESET variable=first

  if (first) {
    h0.start();
    c0.start();
  }
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
// No step reads what it writes: h is read from one copy and written to the other, and each c is read and written once,
// in the same iteration.  Between steps the pipeline has drained.
#pragma HLS DEPENDENCE variable=h inter false
#pragma HLS DEPENDENCE variable=c inter false
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
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      // With PE a multiple of the gates, part is 0: the gate of a lane is a constant, its step function the only one.
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
      const cell_t before = first ? c0[unit] : c[unit];
      const cell_t after = cell_update<C>(C::forget(gates[row + C::kForget]), gates[row + C::kInput],
                                          gates[row + C::kCandidate], before, unit);
      const hidden_t hidden = hidden_update<C>(gates[row + C::kOutput], after, unit);
      c[unit] = after;
      h[!phase][unit] = hidden;
      beat.hidden[lane] = hidden;
      beat.cell[lane] = after;
    }
    beat.last = sums.last;
    states.write(beat);
    ++group;
  }
  phase = !phase;
  first = sums.last && !C::kStreaming;
}

}  // namespace hwgen

#endif  // HWGEN_RECURRENCE_HPP
