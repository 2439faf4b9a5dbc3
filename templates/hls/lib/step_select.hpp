// SPDX-License-Identifier: Apache-2.0
//
// One time step of each sequence.
#ifndef HWGEN_STEP_SELECT_HPP
#define HWGEN_STEP_SELECT_HPP

#include <hls_stream.h>

namespace hwgen {

/// Step P::kStep from the first, which is 0, of a sequence that has it; one time step of P::kBeats beats a turn.
/// P is a type of each selection's own: selections with the same P would share their state.
template <typename P, typename Beat>
void step_from_first(hls::stream<Beat>& steps, hls::stream<Beat>& selected) {
#pragma HLS INLINE
  // Stays behind kStep until the sequence ends.
  static int step = 0;
#pragma HLS RESET variable=step
  bool last = false;
  for (int i = 0; i < P::kBeats; ++i) {
#pragma HLS PIPELINE II=1
    Beat beat = steps.read();
    last = beat.last;
    beat.last = true;
    if (step == P::kStep) selected.write(beat);
  }
  if (last) {
    step = 0;
  } else if (step <= P::kStep) {
    ++step;
  }
}

/// Step P::kStep from the last, which is 1, of a sequence of at least as many; one time step of P::kBeats beats a turn.
/// The last kStep steps stay in a ring, and the oldest of them leaves when the sequence has ended.
template <typename P, typename Beat>
void step_from_last(hls::stream<Beat>& steps, hls::stream<Beat>& selected) {
#pragma HLS INLINE
  static Beat ring[P::kStep * P::kBeats];
#pragma HLS AGGREGATE variable=ring
  // Where the next step goes; any place is a beginning.
  static int slot = 0;
#pragma HLS RESET variable=slot
  bool last = false;
  for (int i = 0; i < P::kBeats; ++i) {
#pragma HLS PIPELINE II=1
    const Beat beat = steps.read();
    ring[slot * P::kBeats + i] = beat;
    last = beat.last;
  }
  slot = slot == P::kStep - 1 ? 0 : slot + 1;
  if (!last) return;
  for (int i = 0; i < P::kBeats; ++i) {
#pragma HLS PIPELINE II=1
    Beat beat = ring[slot * P::kBeats + i];
    beat.last = true;
    selected.write(beat);
  }
}

}  // namespace hwgen

#endif  // HWGEN_STEP_SELECT_HPP
