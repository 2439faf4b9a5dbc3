// SPDX-License-Identifier: Apache-2.0
//
// Stands in for the hls_stream.h of Vitis HLS (UG1399, "HLS Stream Library") in plain C++14.
//
// It differs from Vitis C simulation in that a stream holds no more elements than it would in
// hardware: Depth, or 2 where none is given. A write to a full stream blocks like a read from an
// empty one, so too small a FIFO deadlocks here and not only in RTL simulation. A stream has one
// reader and one writer; a second one ends the run with exit code 4.
#ifndef HWGEN_HLS_STREAM_H
#define HWGEN_HLS_STREAM_H

#include <cstddef>
#include <cstdio>
#include <memory>
#include <utility>

#include "hls_sim_scheduler.h"

namespace hls {

template <typename T, int Depth = 0>
class stream;

/// A stream whose depth is not part of its type; parameters are usually declared like this.
template <typename T>
class stream<T, 0> {
 public:
  stream() : stream(nullptr, default_depth) {}
  explicit stream(const char* name) : stream(name, default_depth) {}
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  ~stream() {
    if (channel_.fill > 0 && !scheduler_.stopping())
      std::fprintf(stderr, "WARNING: hls::stream '%s' destroyed with %zu element(s) left in it\n",
                   channel_.name.c_str(), channel_.fill);
    scheduler_.forget(channel_);
  }

  T read() {
    scheduler_.acquire(channel_, sim::reading);
    T value = std::move(buffer_[head_]);
    head_ = wrapped(head_ + 1);
    scheduler_.moved(channel_, sim::reading);
    return value;
  }

  void write(const T& value) {
    scheduler_.acquire(channel_, sim::writing);
    buffer_[wrapped(head_ + channel_.fill)] = value;
    scheduler_.moved(channel_, sim::writing);
  }

  bool read_nb(T& value) {
    if (empty()) return false;
    value = read();
    return true;
  }

  bool write_nb(const T& value) {
    if (full()) return false;
    write(value);
    return true;
  }

  void read(T& value) { value = read(); }
  void operator>>(T& value) { value = read(); }
  void operator<<(const T& value) { write(value); }

  // The test bench sees the state that the tasks come to if it waits for them.
  bool empty() const { return !scheduler_.poll(channel_, sim::reading); }
  bool full() const { return !scheduler_.poll(channel_, sim::writing); }
  std::size_t size() const {
    scheduler_.settle();
    return channel_.fill;
  }

  std::size_t capacity() const { return channel_.capacity; }

 protected:
  stream(const char* name, std::size_t depth)
      : scheduler_(sim::scheduler::instance()),
        channel_(depth, scheduler_.name_for_stream(name)),
        buffer_(new T[depth]()) {}

 private:
  static constexpr std::size_t default_depth = 2;

  std::size_t wrapped(std::size_t i) const {
    return i < channel_.capacity ? i : i - channel_.capacity;
  }

  sim::scheduler& scheduler_;
  mutable sim::channel channel_;  // asking empty() may enter the asker as waiting
  std::unique_ptr<T[]> buffer_;   // a ring: the oldest element is at head_
  std::size_t head_ = 0;
};

template <typename T, int Depth>
class stream : public stream<T, 0> {
  static_assert(Depth > 0, "the depth of a stream is positive");

 public:
  stream() : stream<T, 0>(nullptr, Depth) {}
  explicit stream(const char* name) : stream<T, 0>(name, Depth) {}
};

}  // namespace hls

#endif
