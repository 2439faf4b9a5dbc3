// SPDX-License-Identifier: Apache-2.0
//
// Elements per second through a chain of three tasks. The first argument is the element count.
#include <hls_stream.h>
#include <hls_task.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

static void forward(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read()); }

template <int Depth>
static void measure(int count) {
  hls::stream<int, Depth> a("a"), b("b"), c("c"), d("d");
  hls::task first(forward, a, b), second(forward, b, c), third(forward, c, d);

  const auto start = std::chrono::steady_clock::now();
  int sent = 0, received = 0;
  while (received < count) {
    while (sent < count && !a.full()) a.write(sent++);
    while (!d.empty())
      if (d.read() != received++) std::exit(1);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("depth %2d: %.0f elements/s\n", Depth, count / elapsed.count());
}

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1000000;
  measure<1>(count);
  measure<2>(count);
  measure<32>(count);
}
