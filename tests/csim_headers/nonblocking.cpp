// SPDX-License-Identifier: Apache-2.0
//
// Polling, by tasks and by the test bench.
#include <hls_stream.h>
#include <hls_task.h>

#include <cstdio>

#define CHECK(condition)                                    \
  do {                                                      \
    if (!(condition)) {                                     \
      std::printf("line %d: %s\n", __LINE__, #condition);   \
      std::exit(1);                                         \
    }                                                       \
  } while (0)

// Without tasks all depends on the stream alone.
static void alone() {
  hls::stream<int, 3> s("s");
  int x = -1;
  CHECK(s.capacity() == 3 && s.size() == 0 && s.empty() && !s.full());
  CHECK(!s.read_nb(x) && x == -1);
  for (int i = 0; i < 3; ++i) CHECK(s.write_nb(i));
  CHECK(!s.write_nb(3) && s.full() && !s.empty() && s.size() == 3);
  for (int i = 0; i < 3; ++i) CHECK(s.read_nb(x) && x == i);
  CHECK(!s.read_nb(x) && x == 2);
}

static void merge(hls::stream<int>& a, hls::stream<int>& b, hls::stream<int>& out) {
  int x;
  if (a.read_nb(x)) out.write(x);
  if (b.read_nb(x)) out.write(-x);
}

// Neither input may be starved, and the order within each must stay.
static void polling_reader() {
  hls::stream<int> a("a"), b("b"), out("out");
  hls::task t(merge, a, b, out);
  int sent_a = 0, sent_b = 0, received_a = 0, received_b = 0;
  while (received_a < 1000 || received_b < 1000) {
    if (sent_a < 1000 && a.write_nb(sent_a + 1)) ++sent_a;
    if (sent_b < 1000 && sent_a % 3 != 0 && b.write_nb(sent_b + 1)) ++sent_b;
    int x = 0;
    while (out.read_nb(x)) CHECK(x == (x > 0 ? ++received_a : -++received_b));
  }
  CHECK(hls::sim::blocked());
  b.write(7);
  CHECK(!hls::sim::blocked());  // the task has not had its turn yet
  CHECK(out.read() == -7);
}

static void count_up(hls::stream<int>& out) {
  static int next = 0;
  if (out.write_nb(next)) ++next;
}

static void polling_writer() {
  hls::stream<int, 4> out("numbers");
  hls::task t(count_up, out);
  CHECK(out.size() == 4);
  for (int i = 0; i < 1000; ++i) CHECK(out.read() == i);
  hls::sim::settle();
  CHECK(out.full());
  for (int i = 0; i < 4; ++i) CHECK(out.read() == 1000 + i);
  // The task has not run since it filled the stream, so nothing is left.
}

static void pass_if_any(hls::stream<int>& in, hls::stream<int>& out) {
  if (in.empty() || out.full()) return;
  out.write(in.read());
}

static void await(hls::stream<int>& in, hls::stream<int>& out) {
  while (in.empty()) {
  }
  out.write(in.read());
}

static void do_nothing(hls::stream<int>&) {}

// Bodies that never block must neither hang the simulation nor keep it from coming to an end.
static void busy_tasks() {
  hls::stream<int> in("in"), middle("middle"), out("out"), unused("unused");
  hls::task idle(do_nothing, unused), t1(pass_if_any, in, middle), t2(await, middle, out);
  for (int i = 0; i < 100; ++i) {
    in.write(i);
    CHECK(out.read() == i);
    CHECK(out.empty());
  }
}

static void increment(hls::stream<int>& in, hls::stream<int>& out) { out.write(in.read() + 1); }

// The test bench may look at a stream that a task waits for.
static void looking_on() {
  hls::stream<int> in("in"), out("out"), in2("in2"), out2("out2");
  hls::task t(increment, in, out);
  hls::sim::settle();
  hls::task t2(increment, in2, out2);  // which runs while we look at `in`
  for (int i = 0; i < 10; ++i) {
    CHECK(in.empty() && out.empty());
    in.write(i);
    CHECK(in.size() == 0 && out.size() == 1);
    CHECK(out.read() == i + 1);
  }
}

int main(int argc, char**) {
  alone();
  polling_reader();
  polling_writer();
  busy_tasks();
  looking_on();
  std::printf("all well\n");
  if (argc > 1) {  // and tasks that poll in vain are a deadlock, too
    hls::stream<int> never("never"), nor_this("nor_this"), out("out");
    hls::task t(merge, never, nor_this, out);
    out.read();
  }
}
