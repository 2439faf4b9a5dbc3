// SPDX-License-Identifier: Apache-2.0
//
// Three tasks with different rates and a test bench that stalls at random. FIFO_DEPTH comes from
// the command line of the compiler.
#include <ap_int.h>
#include <hls_stream.h>
#include <hls_task.h>

#include <cstdio>
#include <random>

typedef ap_uint<20> sample_t;
typedef ap_int<40> sum_t;

static void duplicate(hls::stream<sample_t>& in, hls::stream<sample_t>& out) {
#pragma HLS INLINE off
  const sample_t x = in.read();
  out.write(x);
  out.write(x);
}

// The running index of an element tells whether one was lost, repeated or overtaken.
static void weigh(hls::stream<sample_t>& in, hls::stream<sum_t>& out) {
  static ap_uint<20> index = 0;
#pragma HLS PIPELINE II = 1
  out << sum_t(in.read()) * sum_t(index);
  index++;
}

static void add_pairs(hls::stream<sum_t>& in, hls::stream<sum_t>& out) {
  sum_t a, b;
  in >> a;
  in.read(b);
  out.write(a + b);
}

static void top(hls::stream<sample_t>& in, hls::stream<sum_t>& out) {
#pragma HLS INTERFACE axis port = in
#pragma HLS INTERFACE axis port = out
  hls_thread_local hls::stream<sample_t, FIFO_DEPTH> doubled("doubled");
  hls_thread_local hls::stream<sum_t, FIFO_DEPTH> weighted("weighted");
  hls_thread_local hls::task t1(duplicate, in, doubled);
  hls_thread_local hls::task t2(weigh, doubled, weighted);
  hls_thread_local hls::task t3(add_pairs, weighted, out);
}

static long long input(long long i) { return (i * 7919 + 13) % 1000003; }

int main() {
  const long long count = 100000;
  hls::stream<sample_t> in("in");
  hls::stream<sum_t> out("out");
  if (in.capacity() != 2) return 2;
  top(in, out);

  std::mt19937 random(1);
  long long sent = 0, received = 0;
  while (received < count) {
    if (sent % 1000 == 0) top(in, out);  // calling again must change nothing
    for (auto burst = random() % 9; burst > 0 && sent < count && !in.full(); --burst)
      in.write(sample_t(input(sent++)));
    for (auto burst = random() % 9; burst > 0 && !out.empty(); --burst) {
      // x * 2i + x * (2i + 1), where the index wraps at 20 bits as in the design.
      const long long even = 2 * received % (1 << 20);
      const long long expected = input(received) * (2 * even + 1);
      const sum_t got = out.read();
      if (got != expected) {
        std::printf("element %lld is %lld, not %lld\n", received, got.to_int64(), expected);
        return 1;
      }
      ++received;
    }
  }
  if (!out.empty() || !hls::sim::blocked()) return 2;
  std::printf("%lld elements in order\n", received);
}
