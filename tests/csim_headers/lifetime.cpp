// SPDX-License-Identifier: Apache-2.0
//
// Tasks that come and go, and static ones that outlive the streams of main().
#include <hls_stream.h>
#include <hls_task.h>
#include <sys/resource.h>

static void increment(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read() + 1); }

static void static_top(hls::stream<int>& in, hls::stream<int>& out) {
  hls_thread_local hls::stream<int, 3> middle[2];
  hls_thread_local hls::task t1(increment, in, middle[0]);
  hls_thread_local hls::task t2(increment, middle[0], middle[1]);
  hls_thread_local hls::task t3(increment, middle[1], out);
}

int main() {
  const rlimit limit = {256 << 20, 256 << 20};  // less than the stacks of 1000 tasks
  if (setrlimit(RLIMIT_AS, &limit) != 0) return 2;
  hls::stream<int> in("in"), out("out");
  for (int round = 0; round < 1000; ++round) {
    hls::task t(increment, in, out);
    in.write(round);
    if (out.read() != round + 1) return 1;
  }
  {
    hls::task never_run(increment, in, out);
  }
  hls::stream<int, 5> in2("in2"), out2("out2");
  static_top(in2, out2);
  in2.write(1);
  return out2.read() == 4 ? 0 : 1;
}
