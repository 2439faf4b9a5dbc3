// SPDX-License-Identifier: Apache-2.0
#include "axis_top.h"

#include <hls_task.h>

static void pack(hls::stream<narrow_beat>& in, hls::stream<wide_beat>& out) {
  wide_beat beat;
  beat.data = 0;
  for (int i = 0; i < 3; ++i) {
    const narrow_beat part = in.read();
    beat.data.range(20 * i + 19, 20 * i) = part.data;
    beat.last = part.last;
  }
  beat.keep = -1;
  beat.strb = -1;
  beat.user = 5;
  beat.id = 21;
  beat.dest = 85;
  out.write(beat);
}

void pack_top(hls::stream<narrow_beat>& in, hls::stream<wide_beat>& out) {
  hls_thread_local hls::task t(pack, in, out);
}
