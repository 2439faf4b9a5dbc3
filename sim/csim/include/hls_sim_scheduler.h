// SPDX-License-Identifier: Apache-2.0
//
// The scheduler behind our hls_stream.h and hls_task.h; Vitis has no such header.
//
// Every hls::task is a fiber that runs until it has to wait for a stream. All tasks and the test
// bench share one OS thread, so a simulation takes the same course every time. Tasks run only while
// the test bench waits for a stream, polls one, or calls settle().
#ifndef HWGEN_HLS_SIM_SCHEDULER_H
#define HWGEN_HLS_SIM_SCHEDULER_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "hls_sim_fiber.h"

namespace hls {
namespace sim {

enum side { reading, writing };  // the two ends of a stream

struct process;

/// What the scheduler knows of a stream: everything but the elements.
struct channel {
  channel(std::size_t depth, const std::string& label) : name(label), capacity(depth) {}
  bool ready(side s) const { return s == reading ? fill > 0 : fill < capacity; }

  std::string name;
  std::size_t capacity;
  std::size_t fill = 0;
  process* owner[2] = {nullptr, nullptr};   // who reads and who writes, once they have done so
  process* waiter[2] = {nullptr, nullptr};  // who is to be woken when that side becomes ready
};

/// A task or the test bench.
struct process {
  process(const std::string& label, std::function<void()> function)
      : name(label), body(std::move(function)) {}

  std::string name;
  std::function<void()> body;
  fiber context;
  bool waiting = false;   // suspended until `at` is ready
  bool retired = false;   // never to run again
  channel* at = nullptr;  // the stream of the last operation that could not be done
  side end = reading;     // and which operation that was
};

class scheduler {
 public:
  /// Never destroyed: streams and tasks of static storage duration need it until the very end.
  static scheduler& instance() {
    static scheduler& the_one = *new scheduler;
    return the_one;
  }

  process* spawn(const std::function<void()>& body) {
    tasks_.emplace_back("task " + std::to_string(tasks_.size()), body);
    process* task = &tasks_.back();
    task->context.start(run_forever);
    queue_.push_back(task);
    idle_polls_ = 0;
    return task;
  }

  void retire(process* task) {
    if (task == current_) return;  // it called std::exit: we are on its stack
    queue_.erase(std::remove(queue_.begin(), queue_.end(), task), queue_.end());
    if (task->waiting && task->at) task->at->waiter[task->end] = nullptr;
    task->retired = true;
    task->body = nullptr;
    task->context.release();
  }

  std::string name_for_stream(const char* given) {
    const unsigned number = streams_++;
    return given ? given : "unnamed#" + std::to_string(number);
  }

  /// The stream is being destroyed.
  void forget(const channel& c) {
    for (process& task : tasks_)
      if (task.at == &c) task.at = nullptr;
  }

  /// Returns when the operation can be done.
  void acquire(channel& c, side s) {
    if (c.owner[s] != current_) claim(c, s);
    if (c.ready(s)) return;
    current_->waiting = true;
    current_->at = &c;
    current_->end = s;
    c.waiter[s] = current_;
    switch_to(next());
    // A task is resumed only when its stream is ready; the test bench also when all is stuck.
    if (!c.ready(s)) report_deadlock("the test bench waits, and no task can go on");
  }

  /// An element has passed this side.
  void moved(channel& c, side s) {
    if (s == reading)
      --c.fill;
    else
      ++c.fill;
    ++transfers_;
    idle_polls_ = 0;
    process*& waiter = c.waiter[s == reading ? writing : reading];
    if (!waiter) return;
    waiter->waiting = false;
    waiter->at = nullptr;
    queue_.push_back(waiter);
    waiter = nullptr;
  }

  /// Whether the operation can be done. "No" costs a task its turn, so that loops around a poll let
  /// the others work; the test bench hears "no" only when nothing more can happen.
  bool poll(channel& c, side s) {
    if (c.ready(s)) return true;
    if (current_ != &bench_) {
      current_->at = &c;
      current_->end = s;
      yield();
      return false;
    }
    while (!c.ready(s) && !blocked()) {
      if (!c.waiter[s]) c.waiter[s] = &bench_;  // a task that waits here already keeps its place
      switch_to(next());
      if (c.waiter[s] == &bench_) c.waiter[s] = nullptr;
    }
    return c.ready(s);
  }

  /// All tasks wait, or those that poll have done so in vain many times in a row. (One time would
  /// not do: a task may poll several streams in turn.)
  bool blocked() const { return idle_polls_ >= max_idle_polls * queue_.size(); }

  /// Lets the tasks run until blocked().
  void settle() {
    if (current_ == &bench_) switch_to(next());
  }

  [[noreturn]] void report_deadlock(const char* what) {
    std::fprintf(stderr, "DEADLOCK: %s\n", what);
    describe(bench_);
    for (const process& task : tasks_) describe(task);
    stop(3);
  }

  bool stopping() const { return stopping_; }

 private:
  scheduler() : bench_("test bench", nullptr) {}

  static constexpr std::size_t max_idle_polls = 1000;  // for each task that can run

  static void run_forever() {
    scheduler& s = instance();
    for (;;) {
      const std::uint64_t before = s.transfers_;
      s.current_->body();
      if (s.transfers_ == before) s.yield();  // a body that found nothing to do must not spin
    }
  }

  void yield() {
    ++idle_polls_;
    queue_.push_back(current_);
    switch_to(next());
  }

  process* next() {
    if (blocked()) return &bench_;
    process* p = queue_.front();
    queue_.pop_front();
    return p;
  }

  void switch_to(process* to) {
    process* from = current_;
    if (to == from) return;
    current_ = to;
    from->context.switch_to(to->context);
  }

  void claim(channel& c, side s) {
    if (c.owner[s] && !c.owner[s]->retired) {
      std::fprintf(stderr, "ERROR: hls::stream '%s' has two %s: %s and %s\n", c.name.c_str(),
                   s == reading ? "readers" : "writers", c.owner[s]->name.c_str(),
                   current_->name.c_str());
      stop(4);
    }
    c.owner[s] = current_;
  }

  static void describe(const process& p) {
    if (p.retired) return;
    if (!p.at) {
      std::fprintf(stderr, "  %s waits for %s\n", p.name.c_str(),
                   p.waiting ? "a stream that was destroyed" : "no stream");
      return;
    }
    const bool can_read = p.at->ready(reading), can_write = p.at->ready(writing);
    std::fprintf(stderr, "  %s %s to %s stream '%s', which is %s (%zu of %zu)\n", p.name.c_str(),
                 p.waiting ? "waits" : "polls", p.end == reading ? "read" : "write",
                 p.at->name.c_str(), can_read ? can_write ? "ready" : "full" : "empty", p.at->fill,
                 p.at->capacity);
  }

  [[noreturn]] void stop(int code) {
    stopping_ = true;  // what is left in the streams now is no news
    std::exit(code);
  }

  process bench_;
  process* current_ = &bench_;
  std::deque<process> tasks_;   // never shrinks, so that pointers to tasks stay valid
  std::deque<process*> queue_;  // who can run, in the order in which they became able to
  std::uint64_t transfers_ = 0;
  std::size_t idle_polls_ = 0;  // since an element last moved
  unsigned streams_ = 0;
  bool stopping_ = false;
};

/// For test benches: true when no task can go on without the test bench.
inline bool blocked() { return scheduler::instance().blocked(); }

/// For test benches: lets the tasks run until blocked().
inline void settle() { scheduler::instance().settle(); }

/// Says on stderr what every task waits for, and exits with code 3.
[[noreturn]] inline void report_deadlock(const char* what) {
  scheduler::instance().report_deadlock(what);
}

}  // namespace sim
}  // namespace hls

#endif
