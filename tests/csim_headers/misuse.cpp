// SPDX-License-Identifier: Apache-2.0
//
// What a design must not do, or only in distress. The argument chooses.
#include <hls_stream.h>
#include <hls_task.h>

#include <memory>
#include <string>

static void forward(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read()); }

static void two_readers() {
  hls::stream<int> in("in"), a("a"), b("b");
  hls::task t1(forward, in, a), t2(forward, in, b);
  for (int i = 0; i < 3; ++i) in.write(i);
}

static void two_writers() {
  hls::stream<int> in("in"), out("out");
  hls::task t(forward, in, out);
  in.write(1);
  out.read();
  out.write(2);
}

// A little more than the default stack of 256 KiB.
static void overflow_stack(hls::stream<int>& in, hls::stream<int>& out) {
  volatile char big[272 * 1024] = {};
  out.write(in.read() + big[0]);
}

static void large_local_array() {
  hls::stream<int> in("in"), out("out");
  hls::task t(overflow_stack, in, out);
  in.write(1);
  out.read();
}

static void stream_gone() {
  std::unique_ptr<hls::stream<int>> in(new hls::stream<int>("in"));
  hls::stream<int> out("out");
  hls::task t(forward, *in, out);
  hls::sim::settle();
  in.reset();
  hls::sim::report_deadlock("as asked for");
}

static void give_up(hls::stream<int>& in, hls::stream<int>&) { std::exit(in.read()); }

// Static tasks are destroyed in std::exit, which here runs on the stack of one of them.
static void exit_in_task() {
  hls_thread_local hls::stream<int> in("in"), middle("middle"), out("out");
  hls_thread_local hls::task t1(forward, in, middle), t2(give_up, middle, out);
  in.write(5);
  out.read();
}

int main(int, char** argv) {
  const std::string which = argv[1];
  if (which == "two_readers") two_readers();
  if (which == "two_writers") two_writers();
  if (which == "large_local_array") large_local_array();
  if (which == "exit_in_task") exit_in_task();
  if (which == "stream_gone") stream_gone();
}
