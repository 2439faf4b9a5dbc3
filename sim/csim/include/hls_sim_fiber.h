// SPDX-License-Identifier: Apache-2.0
//
// Fibers for hls_sim_scheduler.h: stacks, and the switch from one to another. Vitis has no such
// header.
#ifndef HWGEN_HLS_SIM_FIBER_H
#define HWGEN_HLS_SIM_FIBER_H

#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>

#ifndef HLS_SIM_STACK_BYTES  // of each task; a multiple of the page size
#define HLS_SIM_STACK_BYTES (256 * 1024)
#endif

namespace hls {
namespace sim {

/// A flow of control with a stack of its own; without start(), the one that main() runs in.
class fiber {
 public:
  void start(void (*entry)()) {
    // The lowest pages cannot be accessed: a stack overflow is to end the run, not to corrupt it.
    void* memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard_bytes, PROT_NONE) != 0) {
      std::perror("no memory for the stack of an hls::task");
      std::abort();
    }
    stack_.reset(static_cast<char*>(memory));
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get() + guard_bytes;
    context_.uc_stack.ss_size = stack_bytes;
    makecontext(&context_, entry, 0);
    running_ = false;
  }

  /// The fiber is never switched to again. Objects on its stack are not destroyed.
  void release() { stack_.reset(); }

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(HLS_SIM_SWAPCONTEXT)
  // swapcontext() makes a system call, which takes several times as long as all the rest of moving
  // an element. GCC's own setjmp goes without. (Clang's loses registers when optimizing.)
  [[gnu::noinline]] void switch_to(fiber& to) {
    if (__builtin_setjmp(jump_) == 0) to.resume();
  }

 private:
  [[gnu::noinline]] void resume() {
    if (running_) __builtin_longjmp(jump_, 1);
    running_ = true;
    setcontext(&context_);
  }

  void* jump_[5];  // where to go on, once running_
#else
  void switch_to(fiber& to) { swapcontext(&context_, &to.context_); }

 private:
#endif

  static constexpr std::size_t stack_bytes = HLS_SIM_STACK_BYTES;
  static constexpr std::size_t guard_bytes = 64 * 1024;  // whole pages on every common machine

  struct unmap {
    void operator()(char* memory) const { munmap(memory, guard_bytes + stack_bytes); }
  };

  std::unique_ptr<char, unmap> stack_;
  ucontext_t context_;
  bool running_ = true;  // false from start() to the first switch
};

}  // namespace sim
}  // namespace hls

#endif
