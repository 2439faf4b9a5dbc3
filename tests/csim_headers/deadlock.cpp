// SPDX-License-Identifier: Apache-2.0
//
// Two tasks in a cycle. `first` sends four elements before it takes any back. `second` holds one of
// them, so the two FIFOs, each of depth FIFO_DEPTH, must have room for three. With WRITE_ONLY the
// test bench never takes a result, and so is the one to block the rest.
#include <hls_stream.h>
#include <hls_task.h>

#include <cstdio>

static void first(hls::stream<int>& in, hls::stream<int>& there, hls::stream<int>& back,
                  hls::stream<int>& sum) {
  const int x = in.read();
  for (int i = 0; i < 4; ++i) there.write(x + i);
  int total = 0;
  for (int i = 0; i < 4; ++i) total += back.read();
  sum.write(total);
}

static void second(hls::stream<int>& there, hls::stream<int>& back) {
  back.write(10 * there.read());
}

static void top(hls::stream<int>& in, hls::stream<int>& sum) {
  hls_thread_local hls::stream<int, FIFO_DEPTH> there("there"), back("back");
  hls_thread_local hls::task t1(first, in, there, back, sum);
  hls_thread_local hls::task t2(second, there, back);
}

int main() {
  hls::stream<int> in("in"), sum("sum");
  top(in, sum);
  for (int x = 0; x < 20; ++x) {
    in.write(x);
#ifndef WRITE_ONLY
    if (sum.read() != 40 * x + 60) return 1;
#endif
  }
  std::printf("no deadlock\n");
}
