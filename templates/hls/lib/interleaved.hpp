// SPDX-License-Identifier: Apache-2.0
//
// The recurrent loop of a layer that several sequences share, a context each: their time steps follow each other
// without waiting for the pipeline to drain.
#ifndef HWGEN_INTERLEAVED_HPP
#define HWGEN_INTERLEAVED_HPP

#include <hls_stream.h>

#include <cassert>

#include "matvec.hpp"
#include "types.hpp"

namespace hwgen {

/// An initial state that arrives on a stream before a sequence begins: H codes in beats of N, one a turn, into `state`,
/// which has a place for each of SETS of them.
template <typename Code, int H, int N, int SETS = 1>
class loaded_state {
 public:
  static const int kLoads = H / N;
  typedef Code code_t;

  loaded_state(hls::stream<beat<Code, N> >& codes, Code (&state)[SETS * H]) : codes_(codes), state_(state) {}

  void load(int group) {
#pragma HLS INLINE
    const beat<Code, N> word = codes_.read();
    for (int lane = 0; lane < N; ++lane) {
#pragma HLS UNROLL
      state_[group * N + lane] = word.lane[lane];
    }
  }

  Code operator[](int unit) const { return state_[unit]; }

 private:
  hls::stream<beat<Code, N> >& codes_;
  Code (&state_)[SETS * H];
};

/// Contexts that take turns: in the place of a stream that names them.  T: kContexts, id_t.
template <typename T>
class context_turns {
 public:
  explicit context_turns(typename T::id_t& next) : next_(next) {}

  typename T::id_t read() {
#pragma HLS INLINE
    const typename T::id_t context = next_;
    next_ = context == T::kContexts - 1 ? 0 : int(context) + 1;
    return context;
  }

 private:
  typename T::id_t& next_;
};

/// The loop for a long while, again and again.  A turn of it is a tile of a time step, a beat of an initial state, or a
/// wait: nothing ends with a step, so the next one begins while others are still in the pipeline.
///
/// Steps are taken in the order of `contexts`, which has one for each; nobody is preferred.  A step of a context begins
/// kGap turns after the last tile of the one before, or later: until then turns pass without a tile.  That is what the
/// pragmas below promise, whatever the order of the contexts is; where these take turns it costs nothing.
/// C: kHidden, the types.  T: kContexts, kGap, kStreaming, id_t.  U: what a unit is made of: kGates, kUnits, carried_t,
/// the state that is read and written by it alone, start(sums, pe, row, group), activate(row, total, group) and
/// finish(codes, sums, lane, group, carried, carried of the next step, beat), which returns the hidden state.
/// M: the hidden matrix.  H0, Carried0: the states before the first step: kLoads, code_t, load(group) and
/// operator[](unit).
/// SETS: 1, or as many as contexts if each has matrix, constants and initial states of its own.  They lie one behind
/// the other: units, groups and tiles of a context are counted on from those of the contexts before.
template <typename C, typename T, typename U, typename M, int SETS = 1, typename Sums, typename Ids, typename States,
          typename H0, typename Carried0>
void interleaved_recurrence(hls::stream<Sums>& projected, Ids& contexts, hls::stream<States>& states, H0& h0,
                            Carried0& carried0) {
#pragma HLS INLINE
  typedef typename C::total_t total_t;
  typedef typename C::hidden_t hidden_t;
  typedef typename U::code_t code_t;
  typedef typename U::carried_t carried_t;
  static_assert(M::kRows % M::kPe == 0, "PE must divide the number of gate rows");
  static_assert(M::kColumns % M::kSimd == 0, "SIMD must divide the number of hidden units");
  static_assert(M::kPe % U::kGates == 0 || U::kGates % M::kPe == 0, "PE and the number of gates must be multiples");
  static_assert(Sums::kLanes == M::kPe && States::kLanes == U::kUnits, "beats must carry PE sums and kUnits units");
  static_assert(SETS == 1 || SETS == T::kContexts, "there is one set of constants, or one for each context");
  const int kColumnTiles = M::kColumns / M::kSimd;
  const int kTiles = M::kRows / M::kPe * kColumnTiles;
  const int kParts = M::kPe < U::kGates ? U::kGates / M::kPe : 1;
  // From time to time the loop begins anew, which takes as long as its pipeline is deep.
  const int kTurns = 1 << 16;
  const int kLoads = H0::kLoads > Carried0::kLoads ? H0::kLoads : Carried0::kLoads;

  // Two copies of h for each context: one is read while the other is written.  A memory for each unit, in which those
  // of all contexts lie on top of each other.
  static hidden_t h[2 * T::kContexts][C::kHidden];
#pragma HLS ARRAY_PARTITION variable=h complete dim=2
#pragma HLS BIND_STORAGE variable=h type=ram_2p impl=lutram
  static carried_t carried[T::kContexts][C::kHidden];
#pragma HLS ARRAY_PARTITION variable=carried cyclic factor=U::kUnits dim=2
// A step reads nothing that it writes, and what it reads was written by the step before of the same context: that one
// was over kGap turns ago.  Nothing is promised beyond that, so a pipeline that is deeper from the read of h to its
// write gets a longer interval from the compiler, and no wrong state: then kGap is to be raised.
#pragma HLS DEPENDENCE variable=h inter RAW distance=T::kGap true
#pragma HLS DEPENDENCE variable=carried inter RAW distance=T::kGap true
  static bool phase[T::kContexts];
#pragma HLS ARRAY_PARTITION variable=phase complete
  static bool begun[T::kContexts] = {};
#pragma HLS ARRAY_PARTITION variable=begun complete
#pragma HLS RESET variable=begun
  static int wait[T::kContexts] = {};
#pragma HLS ARRAY_PARTITION variable=wait complete
#pragma HLS RESET variable=wait
  static bool taken = false;
#pragma HLS RESET variable=taken
  static typename T::id_t context;
  static bool first;
  static int loaded;
  static int tile;
  static int column;  // which SIMD columns the tile multiplies
  static int group;   // which kUnits hidden units its rows belong to
  static int part;    // which PE of their rows, where PE is less than the gates of one unit
  static total_t total[M::kPe];
#pragma HLS ARRAY_PARTITION variable=total complete
  static code_t codes_of[U::kUnits * U::kGates];
#pragma HLS ARRAY_PARTITION variable=codes_of complete
  static Sums sums;

#ifndef __SYNTHESIS__
  // What DEPENDENCE promises is checked in every simulation: the turn, and those in which contexts were written last.
  static long turn = 0;
  static long written[T::kContexts] = {};
#endif
  for (int number = 0; number < kTurns; ++number) {
// A turn a cycle; while no beat comes, what is in the pipeline goes on to its end.
#pragma HLS PIPELINE II=1 style=flp
#ifndef __SYNTHESIS__
    ++turn;
#endif
    for (int i = 0; i < T::kContexts; ++i) {
#pragma HLS UNROLL
      if (wait[i] > 0) --wait[i];
    }
    if (!taken) {
      context = contexts.read();
      assert(int(context) < T::kContexts && "TID names one of the contexts");
      taken = true;
      first = !begun[context];
      loaded = tile = column = group = part = 0;
    }
    // Where what this context has of its own begins.
    const int set = SETS > 1 ? int(context) : 0;
    if (first && loaded < kLoads) {
      if (loaded < H0::kLoads) h0.load(set * H0::kLoads + loaded);
      if (loaded < Carried0::kLoads) carried0.load(set * Carried0::kLoads + loaded);
      ++loaded;
      continue;
    }
    if (tile == 0 && wait[context] > 0) continue;
#ifndef __SYNTHESIS__
    assert((first || tile > 0 || turn - written[context] >= T::kGap) && "a step begins before the state that it reads");
#endif
    if (column == 0) sums = projected.read();
    hidden_t codes[M::kSimd];
#pragma HLS ARRAY_PARTITION variable=codes complete
    for (int lane = 0; lane < M::kSimd; ++lane) {
#pragma HLS UNROLL
      const int unit = column * M::kSimd + lane;
      codes[lane] = first ? h0[set * C::kHidden + unit] : h[2 * int(context) + phase[context]][unit];
    }
    total_t products[M::kPe];
#pragma HLS ARRAY_PARTITION variable=products complete
    tile_products<M>::add_up(set * kTiles + tile, codes, products);
    const int own_group = set * (C::kHidden / U::kUnits) + group;
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      // With PE a multiple of the gates, part is 0: the gate of a lane is a constant.
      const int row = kParts == 1 ? pe : part * M::kPe + pe;
      const total_t start = column == 0 ? U::start(sums, pe, row, own_group) : total[pe];
      total[pe] = start + products[pe];
    }
    ++tile;
    if (column < kColumnTiles - 1) {
      ++column;
      continue;
    }
    column = 0;
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      const int row = kParts == 1 ? pe : part * M::kPe + pe;
      codes_of[row] = U::activate(row, total[pe], own_group);
    }
    if (part < kParts - 1) {
      ++part;
      continue;
    }
    part = 0;
    States beat;
    for (int lane = 0; lane < U::kUnits; ++lane) {
#pragma HLS UNROLL
      const int unit = group * U::kUnits + lane;
      const carried_t before = first ? carried_t(carried0[set * C::kHidden + unit]) : carried[context][unit];
      carried_t after;
      h[2 * int(context) + !phase[context]][unit] = U::finish(codes_of, sums, lane, own_group, before, after, beat);
      carried[context][unit] = after;
    }
    beat.last = sums.last;
    beat.id = context;
    states.write(beat);
    ++group;
    if (tile < kTiles) continue;
    taken = false;
    phase[context] = !phase[context];
    begun[context] = T::kStreaming || !sums.last;
    wait[context] = begun[context] ? T::kGap : 0;
#ifndef __SYNTHESIS__
    written[context] = turn;
#endif
  }
}

}  // namespace hwgen

#endif  // HWGEN_INTERLEAVED_HPP
