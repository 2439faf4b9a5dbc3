// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ap_axi_sdata.h>
#include <hls_stream.h>

typedef ap_axiu<20, 0, 0, 0> narrow_beat;
typedef ap_axiu<64, 3, 5, 7> wide_beat;

/// Packs three narrow beats into a wide one.
void pack_top(hls::stream<narrow_beat>& in, hls::stream<wide_beat>& out);
