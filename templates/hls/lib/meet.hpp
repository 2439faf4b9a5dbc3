// SPDX-License-Identifier: Apache-2.0
//
// Where both halves of a dense layer meet: one has the steps of a sequence from the first to the last, the other one from
// the last to the first.
#ifndef HWGEN_MEET_HPP
#define HWGEN_MEET_HPP

#include <hls_stream.h>

#include "types.hpp"

namespace hwgen {

/// Time steps of a sequence.
typedef ap_uint<17> steps_t;

/// How many steps of BEATS beats each sequence has, a sequence a turn; one of more than LENGTH steps is cut into pieces.
template <int LENGTH, int BEATS, typename Beat>
void count_steps(hls::stream<Beat>& counted, hls::stream<steps_t>& steps) {
#pragma HLS INLINE
  steps_t count = 0;
  bool last = false;
  for (int t = 0; t < LENGTH; ++t) {
    if (last) break;
    for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
      last = counted.read().last;
    }
    ++count;
  }
  steps.write(count);
}

/// The sums of a step: stored, or added to those that are there.
template <int BEATS, typename Sums, typename Beat>
void store_or_add(hls::stream<Beat>& side, Sums* memory, int step, bool add) {
#pragma HLS INLINE
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
// Each beat has a place of its own.
#pragma HLS DEPENDENCE variable=memory inter false
    const Beat beat = side.read();
    Sums sums = memory[step * BEATS + i];
    for (int lane = 0; lane < Beat::kLanes; ++lane) {
#pragma HLS UNROLL
      const typename Sums::lane_t value = beat.lane[lane];
      sums.lane[lane] = add ? typename Sums::lane_t(sums.lane[lane] + value) : value;
    }
    memory[step * BEATS + i] = sums;
  }
}

/// The steps of both sides in turns, BEATS beats each; what comes second of a step is added to what came first.  The
/// sequence leaves in the order of time once all of it is there.
/// Owner is a type of the caller's own: calls that agree in all arguments would share the memory.
template <int LENGTH, int BEATS, typename Owner, typename Forward, typename Backward, typename Sums>
void sequence_meet(hls::stream<steps_t>& steps, hls::stream<Forward>& forward, hls::stream<Backward>& backward,
                   hls::stream<Sums>& sums) {
#pragma HLS INLINE
  static_assert(Forward::kLanes == Sums::kLanes && Backward::kLanes == Sums::kLanes, "a sum out for each pair of sums");
  static Sums memory[LENGTH * BEATS];
#pragma HLS AGGREGATE variable=memory
  const int count = steps.read();
  for (int t = 0; t < LENGTH; ++t) {
    if (t == count) break;
    const int opposite = count - 1 - t;
    store_or_add<BEATS>(forward, memory, t, opposite < t);
    store_or_add<BEATS>(backward, memory, opposite, opposite <= t);
  }
  for (int t = 0; t < LENGTH; ++t) {
    if (t == count) break;
    for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
      Sums beat = memory[t * BEATS + i];
      beat.last = t == count - 1 && i == BEATS - 1;
      sums.write(beat);
    }
  }
}

}  // namespace hwgen

#endif  // HWGEN_MEET_HPP
