// SPDX-License-Identifier: Apache-2.0
//
// What moves codes without computing: AXI4-Stream edges, change of beat width, forks, vectors side by side, reversal of a
// sequence.
#ifndef HWGEN_STREAMS_HPP
#define HWGEN_STREAMS_HPP

#include <ap_axi_sdata.h>
#include <hls_stream.h>

#include "types.hpp"

namespace hwgen {

/// Bits of a lane on an AXI4-Stream: the code's width padded to bytes.
template <int BITS>
struct lane_bits {
  static const int value = (BITS + 7) / 8 * 8;
};

/// Read one time step (or one state vector) of BEATS beats from an AXI4-Stream.  TLAST counts on the final beat.
template <int BEATS, typename Axis, typename Beat>
void axis_to_codes(hls::stream<Axis>& axis, hls::stream<Beat>& codes) {
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
    codes.write(beat);
  }
}

/// Write one time step (or one state vector) of BEATS beats to an AXI4-Stream, codes sign- or zero-extended to bytes.
/// TLAST is set on the final beat of the last step.
template <int BEATS, typename Beat, typename Axis>
void codes_to_axis(hls::stream<Beat>& codes, hls::stream<Axis>& axis) {
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
    word.last = i == BEATS - 1 && beat.last;
    axis.write(word);
  }
}

/// Narrow beats of In::kLanes lanes to beats of Out::kLanes lanes, which divide them, over BEATS input beats.
template <int BEATS, typename In, typename Out>
void narrow_beats(hls::stream<In>& wide, hls::stream<Out>& narrow) {
#pragma HLS INLINE
  static_assert(In::kLanes % Out::kLanes == 0, "output lanes must divide input lanes");
  const int kParts = In::kLanes / Out::kLanes;
  In in;
  int part = 0;
  for (int i = 0; i < BEATS * kParts; ++i) {
#pragma HLS PIPELINE II=1
    if (part == 0) in = wide.read();
    Out out;
    for (int lane = 0; lane < Out::kLanes; ++lane) {
#pragma HLS UNROLL
      out.lane[lane] = in.lane[part * Out::kLanes + lane];
    }
    out.last = in.last;
    narrow.write(out);
    part = part == kParts - 1 ? 0 : part + 1;
  }
}

/// Widen beats of In::kLanes lanes to beats of Out::kLanes lanes, a multiple of them, over BEATS output beats.
template <int BEATS, typename In, typename Out>
void widen_beats(hls::stream<In>& narrow, hls::stream<Out>& wide) {
#pragma HLS INLINE
  static_assert(Out::kLanes % In::kLanes == 0, "input lanes must divide output lanes");
  const int kParts = Out::kLanes / In::kLanes;
  Out out;
  int part = 0;
  for (int i = 0; i < BEATS * kParts; ++i) {
#pragma HLS PIPELINE II=1
    const In in = narrow.read();
    for (int lane = 0; lane < In::kLanes; ++lane) {
#pragma HLS UNROLL
      out.lane[part * In::kLanes + lane] = in.lane[lane];
    }
    out.last = in.last;
    if (part == kParts - 1) wide.write(out);
    part = part == kParts - 1 ? 0 : part + 1;
  }
}

/// A beat to each of several streams.
template <typename Beat>
void write_each(const Beat&) {}

template <typename Beat, typename First, typename... Rest>
void write_each(const Beat& beat, First& first, Rest&... rest) {
#pragma HLS INLINE
  first.write(beat);
  write_each(beat, rest...);
}

/// One stream to several readers, a vector of BEATS beats a turn.  A beat moves when all of them have room for it: where
/// paths from here meet again, each must hold what another needs before its first result.
template <int BEATS, typename Beat, typename... Readers>
void stream_fork(hls::stream<Beat>& codes, Readers&... readers) {
#pragma HLS INLINE
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    const Beat beat = codes.read();
    write_each(beat, readers...);
  }
}

/// A vector of each part, of as many beats as stand in the same place of BEATS, one behind the other.  What ends with the
/// last part ends the whole: `last` counts on the final beat only.
template <typename Beat>
void stream_concat(hls::stream<Beat>&) {}

template <int BEATS, int... REST, typename Beat, typename... Parts>
void stream_concat(hls::stream<Beat>& whole, hls::stream<Beat>& part, Parts&... parts) {
#pragma HLS INLINE
  for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
    whole.write(part.read());
  }
  stream_concat<REST...>(whole, parts...);
}

/// Store a sequence of at most LENGTH steps, BEATS beats each, and count its steps; a longer one is cut into pieces of
/// LENGTH steps.
template <int LENGTH, int BEATS, typename Beat>
int store_sequence(hls::stream<Beat>& sequence, Beat (&memory)[LENGTH * BEATS]) {
#pragma HLS INLINE
  int steps = 0;
  bool last = false;
  for (int t = 0; t < LENGTH; ++t) {
    if (last) break;
    for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
      const Beat beat = sequence.read();
      memory[t * BEATS + i] = beat;
      last = beat.last;
    }
    ++steps;
  }
  return steps;
}

/// Reverse the order of the time steps of a sequence of at most LENGTH steps, BEATS beats each.  The whole sequence is
/// stored before the first step leaves; a longer one is cut into pieces of LENGTH steps.
/// Owner is a type of the caller's own: calls that agree in all arguments would share the memory.
template <int LENGTH, int BEATS, typename Owner = void, typename Beat>
void sequence_reverse(hls::stream<Beat>& forward, hls::stream<Beat>& backward) {
#pragma HLS INLINE
  static Beat memory[LENGTH * BEATS];
#pragma HLS AGGREGATE variable=memory
  const int steps = store_sequence<LENGTH, BEATS>(forward, memory);
  for (int t = 0; t < LENGTH; ++t) {
    if (t == steps) break;
    for (int i = 0; i < BEATS; ++i) {
#pragma HLS PIPELINE II=1
      Beat beat = memory[(steps - 1 - t) * BEATS + i];
      beat.last = t == steps - 1 && i == BEATS - 1;
      backward.write(beat);
    }
  }
}

/// The time steps of a sequence in both directions, in turns: the first, the last, the second, the last but one and so on.
/// `last` is set on the final beat of each direction.  Storage and Owner are as in sequence_reverse.
template <int LENGTH, int BEATS, typename Owner, typename Beat>
void sequence_turns(hls::stream<Beat>& forward, hls::stream<Beat>& both) {
#pragma HLS INLINE
  static Beat memory[LENGTH * BEATS];
#pragma HLS AGGREGATE variable=memory
  const int steps = store_sequence<LENGTH, BEATS>(forward, memory);
  for (int t = 0; t < LENGTH; ++t) {
    if (t == steps) break;
    for (int i = 0; i < 2 * BEATS; ++i) {
#pragma HLS PIPELINE II=1
      Beat beat = memory[i < BEATS ? t * BEATS + i : (steps - 1 - t) * BEATS + i - BEATS];
      beat.last = t == steps - 1 && (i == BEATS - 1 || i == 2 * BEATS - 1);
      both.write(beat);
    }
  }
}

}  // namespace hwgen

#endif  // HWGEN_STREAMS_HPP
