// SPDX-License-Identifier: Apache-2.0
//
// Stands in for the hls_task.h of Vitis HLS (UG1399, "Tasks and Channels") in plain C++14.
//
// A task calls its function over and over, as in Vitis, but as a fiber on the caller's thread (see
// hls_sim_scheduler.h). It keeps references to the streams that it was created with: a top function
// whose tasks are hls_thread_local must get the same streams at every call. The first call creates
// the tasks, so a test bench makes it before it writes more than the input streams hold.
#ifndef HWGEN_HLS_TASK_H
#define HWGEN_HLS_TASK_H

#include <cstddef>
#include <tuple>
#include <utility>

#include "hls_sim_scheduler.h"

#define hls_thread_local static thread_local

namespace hls {

class task {
 public:
  template <typename... Params, typename... Args>
  explicit task(void (*function)(Params...), Args&&... args)
      : process_(start(function, std::tuple<Params...>(std::forward<Args>(args)...),
                     std::index_sequence_for<Params...>())) {}
  ~task() { sim::scheduler::instance().retire(process_); }
  task(const task&) = delete;
  task& operator=(const task&) = delete;

 private:
  template <typename... Params, std::size_t... I>
  static sim::process* start(void (*function)(Params...), std::tuple<Params...> args,
                           std::index_sequence<I...>) {
    return sim::scheduler::instance().spawn(
        [function, args]() mutable { function(std::get<I>(args)...); });
  }

  sim::process* process_;
};

}  // namespace hls

#endif
