// SPDX-License-Identifier: Apache-2.0
//
// Streams that are destroyed with and without elements in them.
#include <hls_stream.h>

int main() {
  hls::stream<int, 8> drained("drained"), kept("kept"), unnamed;
  for (int i = 0; i < 20; ++i) {
    drained.write(i);
    if (drained.read() != i) return 1;
  }
  for (int i = 0; i < 5; ++i) kept.write(i);
  if (kept.read() != 0 || kept.read() != 1 || kept.size() != 3) return 1;
  unnamed.write(1);
}
