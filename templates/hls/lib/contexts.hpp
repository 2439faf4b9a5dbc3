// SPDX-License-Identifier: Apache-2.0
//
// What names the sequences that share a design: beats with a context, and TID at AXI4-Stream edges.
#ifndef HWGEN_CONTEXTS_HPP
#define HWGEN_CONTEXTS_HPP

#include <ap_axi_sdata.h>
#include <hls_stream.h>

#include "streams.hpp"
#include "types.hpp"

namespace hwgen {

/// A beat with the context that it belongs to.
template <typename T, int N, typename Id>
struct context_beat {
  static const int kLanes = N;
  typedef T lane_t;
  T lane[N];
  bool last;
  Id id;
};

/// Hidden and cell codes of some units, as they leave the recurrence, with their context.
template <typename Hidden, typename Cell, int N, typename Id>
struct context_state_beat {
  static const int kLanes = N;
  Hidden hidden[N];
  Cell cell[N];
  bool last;
  Id id;
};

/// The codes of a beat without its context.
template <typename Beat, typename From>
Beat without_context(const From& from) {
#pragma HLS INLINE
  Beat beat;
  for (int lane = 0; lane < Beat::kLanes; ++lane) {
#pragma HLS UNROLL
    beat.lane[lane] = from.lane[lane];
  }
  beat.last = from.last;
  return beat;
}

/// Vectors of two contexts, BEATS beats each, to a stream for each of them; one vector a turn.
template <int BEATS, typename From, typename Beat>
void stream_split(hls::stream<From>& both, hls::stream<Beat>& first, hls::stream<Beat>& second) {
#pragma HLS INLINE
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const From beat = both.read();
    if (beat.id == 0) {
      first.write(without_context<Beat>(beat));
    } else {
      second.write(without_context<Beat>(beat));
    }
  }
}

/// Of the same vectors those of context ID.
template <int BEATS, int ID, typename From, typename Beat>
void stream_keep(hls::stream<From>& both, hls::stream<Beat>& kept) {
#pragma HLS INLINE
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const From beat = both.read();
    if (beat.id == ID) kept.write(without_context<Beat>(beat));
  }
}

/// The vectors of two layers of a stack as they take turns, one a turn: of FIRST beats that come in, and of SECOND that
/// come back from the first layer for the second one, which follows a step behind.  The first layer takes two steps of a
/// sequence before both take turns, and after its last one the second layer takes what is left.  The shorter vectors end
/// with beats of zeros.  Whose vector it is goes to `sets` and to `contexts`; `turn`, `begun` and `ended` are the state.
template <int FIRST, int SECOND, typename Beat, typename Id>
void stack_join(hls::stream<Beat>& first, hls::stream<Beat>& second, hls::stream<Beat>& both, hls::stream<Id>& sets,
                hls::stream<Id>& contexts, bool& turn, bool& begun, bool& ended) {
#pragma HLS INLINE
  const int kBeats = FIRST > SECOND ? FIRST : SECOND;
  bool last = false;
  for (int i = 0; i < kBeats; ++i) {
#pragma HLS PIPELINE II=1
    Beat beat;
    if (i < (turn ? SECOND : FIRST)) {
      beat = turn ? second.read() : first.read();
      last = beat.last;
    } else {
      for (int lane = 0; lane < Beat::kLanes; ++lane) {
#pragma HLS UNROLL
        beat.lane[lane] = 0;
      }
    }
    beat.last = last && i == kBeats - 1;
    if (i == 0) {
      sets.write(turn ? 1 : 0);
      contexts.write(turn ? 1 : 0);
    }
    both.write(beat);
  }
  if (turn) {
    turn = ended && !last;
    begun = begun && !last;
    ended = ended && !last;
  } else {
    turn = begun || last;
    begun = true;
    ended = last;
  }
}

/// As axis_to_codes reads a time step; TID of its first beat goes to `contexts`, once for the whole step.
template <int BEATS, typename Axis, typename Beat, typename Id>
void axis_to_contexts(hls::stream<Axis>& axis, hls::stream<Beat>& codes, hls::stream<Id>& contexts) {
#pragma HLS INLINE
  typedef typename Beat::lane_t code_t;
  const int kBits = lane_bits<code_t::width>::value;
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const Axis word = axis.read();
    Beat beat;
    for (int lane = 0; lane < Beat::kLanes; ++lane) {
#pragma HLS UNROLL
      beat.lane[lane] = code_t(word.data.range(lane * kBits + code_t::width - 1, lane * kBits));
    }
    beat.last = i == BEATS - 1 && word.last == 1;
    if (i == 0) contexts.write(word.id);
    codes.write(beat);
  }
}

/// As codes_to_axis writes a time step, with the context of each beat as its TID.
template <int BEATS, typename Beat, typename Axis>
void contexts_to_axis(hls::stream<Beat>& codes, hls::stream<Axis>& axis) {
#pragma HLS INLINE
  typedef typename Beat::lane_t code_t;
  const int kBits = lane_bits<code_t::width>::value;
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const Beat beat = codes.read();
    Axis word;
    for (int lane = 0; lane < Beat::kLanes; ++lane) {
#pragma HLS UNROLL
      word.data.range(lane * kBits + kBits - 1, lane * kBits) = ap_int<kBits>(beat.lane[lane]);
    }
    word.keep = -1;
    word.strb = -1;
    word.id = beat.id;
    word.last = i == BEATS - 1 && beat.last;
    axis.write(word);
  }
}

}  // namespace hwgen

#endif  // HWGEN_CONTEXTS_HPP
