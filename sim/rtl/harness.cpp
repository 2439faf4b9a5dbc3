// SPDX-License-Identifier: Apache-2.0
//
// Feeds vectors/*.txt to a generated design under Verilator and compares what comes out, with random stalls on either
// side.  ports.hpp, generated, names the ports.  Exit status: 0 equal, 1 different, 2 usage, 3 nothing moves any more.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "ports.hpp"
#include "vectors.hpp"
#include "verilated.h"
#ifdef HWGEN_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

using bench::mismatches;
using bench::random_bits;
using bench::vectors;

// Cycles without a beat after which the design is said to hang, and that show that nothing more comes.
constexpr long kHang = 200000;
constexpr long kQuiet = 2000;

// TDATA as Verilator declares it: an integer up to 64 bits, an array of 32-bit words beyond.
template <typename T>
std::uint8_t get_byte(const T& data, int index) {
  return std::uint8_t(data >> (8 * index));
}
template <std::size_t N>
std::uint8_t get_byte(const VlWide<N>& data, int index) {
  return std::uint8_t(data[index / 4] >> (8 * (index % 4)));
}
template <typename T>
void set_byte(T& data, int index, std::uint8_t byte) {
  data = T((data & ~(T(0xff) << (8 * index))) | T(T(byte) << (8 * index)));
}
template <std::size_t N>
void set_byte(VlWide<N>& data, int index, std::uint8_t byte) {
  const int shift = 8 * (index % 4);
  data[index / 4] = (data[index / 4] & ~(0xffu << shift)) | (std::uint32_t(byte) << shift);
}

/// A lane of a beat, sign-extended.
template <typename T>
long get_lane(const T& data, int lane, int bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::uint64_t(get_byte(data, lane * bytes + i)) << (8 * i);
  const int unused = 64 - 8 * bytes;
  return long(std::int64_t(value << unused) >> unused);
}

template <typename T>
void set_lane(T& data, int lane, int bytes, long code) {
  for (int i = 0; i < bytes; ++i) set_byte(data, lane * bytes + i, std::uint8_t(std::uint64_t(code) >> (8 * i)));
}

/// Drives vectors onto a port.  Once TVALID is high it stays so until the beat is taken.
template <typename Data>
class source {
 public:
  source(Data& tdata, CData& tvalid, CData& tready, CData& tlast, CData* tid, int lanes, int bytes, const vectors& data, unsigned seed)
      : tdata_(tdata), tvalid_(tvalid), tready_(tready), tlast_(tlast), tid_(tid), lanes_(lanes), bytes_(bytes), data_(data), random_(seed) {}

  /// Before the clock edge of a cycle.
  void drive(unsigned stall_percent) {
    if (!tvalid_ && next_ < data_.codes.size() && !random_.chance(stall_percent)) {
      for (int lane = 0; lane < lanes_; ++lane) set_lane(tdata_, lane, bytes_, data_.codes[next_ + std::size_t(lane)]);
      const std::size_t end = next_ + std::size_t(lanes_), width = std::size_t(data_.width);
      tlast_ = end % width == 0 && data_.last[end / width - 1];
      if (tid_) *tid_ = CData(data_.id[next_ / width]);
      tvalid_ = 1;
    }
  }

  /// With all signals settled, before the edge: whether a beat is taken.
  bool takes() { return taken_ = tvalid_ && tready_; }

  /// After the edge.
  void advance() {
    if (!taken_) return;
    next_ += std::size_t(lanes_);
    tvalid_ = 0;
  }

 private:
  Data& tdata_;
  CData &tvalid_, &tready_, &tlast_;
  CData* tid_;  ///< null where there is none
  int lanes_, bytes_;
  const vectors& data_;
  random_bits random_;
  std::size_t next_ = 0;
  bool taken_ = false;
};

/// Takes codes from a port, and checks that a beat that waits does not change.
template <typename Data>
class sink {
 public:
  sink(Data& tdata, CData& tvalid, CData& tready, CData& tlast, CData* tid, int lanes, int bytes, int bits, bool is_signed, int width, unsigned seed)
      : result(width, tid != nullptr), tdata_(tdata), tvalid_(tvalid), tready_(tready), tlast_(tlast), tid_(tid), lanes_(lanes), bytes_(bytes), bits_(bits), signed_(is_signed), random_(seed) {}

  void drive(unsigned stall_percent) { tready_ = !random_.chance(stall_percent); }

  bool takes(long cycle) {
    if (waiting_ && (!tvalid_ || !same())) ++malformed;
    waiting_ = tvalid_ && !tready_;
    if (waiting_) remember();
    if (!tvalid_ || !tready_) return false;
    if (first < 0) first = cycle;
    last = cycle;
    for (int lane = 0; lane < lanes_; ++lane) {
      const long padded = get_lane(tdata_, lane, bytes_);
      const int unused = 64 - bits_;
      const std::uint64_t shifted = std::uint64_t(padded) << unused;
      const long code = signed_ ? long(std::int64_t(shifted) >> unused) : long(shifted >> unused);
      const long extended = signed_ || bits_ < 8 * bytes_ ? padded : long(std::uint64_t(padded) << (64 - 8 * bytes_) >> (64 - 8 * bytes_));
      if (code != extended) ++malformed;
      result.codes.push_back(code);
    }
    if (result.codes.size() % std::size_t(result.width) == 0) {
      result.last.push_back(tlast_);
      result.id.push_back(id());
    } else if (tlast_) {
      ++malformed;
    }
    // All beats of a vector name the same sequence.
    if (vector_id_ >= 0 && unsigned(vector_id_) != id()) ++malformed;
    vector_id_ = result.codes.size() % std::size_t(result.width) == 0 ? -1 : long(id());
    return true;
  }

  vectors result;
  long malformed = 0;  ///< lanes not extended to bytes, TLAST inside a vector, or a beat withdrawn or changed
  long first = -1;
  long last = -1;

 private:
  bool same() const {
    for (int i = 0; i < lanes_ * bytes_; ++i) {
      if (get_byte(tdata_, i) != kept_[std::size_t(i)]) return false;
    }
    return tlast_ == kept_last_ && id() == kept_id_;
  }
  unsigned id() const { return tid_ ? *tid_ : 0; }
  void remember() {
    kept_.resize(std::size_t(lanes_ * bytes_));
    for (int i = 0; i < lanes_ * bytes_; ++i) kept_[std::size_t(i)] = get_byte(tdata_, i);
    kept_last_ = tlast_;
    kept_id_ = id();
  }

  Data& tdata_;
  CData &tvalid_, &tready_, &tlast_;
  CData* tid_;
  int lanes_, bytes_, bits_;
  bool signed_;
  random_bits random_;
  bool waiting_ = false;
  std::vector<std::uint8_t> kept_;
  CData kept_last_ = 0;
  unsigned kept_id_ = 0;
  long vector_id_ = -1;
};

/// [--vectors DIR] [--write DIR] [--stall PERCENT] [--stall-in PERCENT] [--stall-out PERCENT] [--seed N]
/// [--trace FILE] [--reset CYCLES: reset after so many cycles of traffic, then start again]
struct arguments {
  std::string vectors_dir = "vectors";
  std::string write_dir;
  std::string trace;
  unsigned stall_in = 0;
  unsigned stall_out = 0;
  unsigned seed = 1;
  long reset = 0;

  arguments(int count, char** values) {
    for (int i = 1; i < count; i += 2) {
      const std::string name = values[i];
      if (i + 1 == count) usage(name);
      const char* value = values[i + 1];
      if (name == "--vectors") vectors_dir = value;
      else if (name == "--write") write_dir = value;
      else if (name == "--trace") trace = value;
      else if (name == "--stall") stall_in = stall_out = unsigned(std::atoi(value));
      else if (name == "--stall-in") stall_in = unsigned(std::atoi(value));
      else if (name == "--stall-out") stall_out = unsigned(std::atoi(value));
      else if (name == "--reset") reset = std::atol(value);
      else if (name == "--seed") seed = unsigned(std::atoi(value));
      else usage(name);
    }
  }

 private:
  static void usage(const std::string& name) {
    std::cerr << "unknown option, or no value for it: " << name << "\n";
    std::exit(2);
  }
};

}  // namespace

int main(int count, char** values) {
  const arguments arguments(count, values);
  const auto context = std::make_unique<VerilatedContext>();
#ifdef HWGEN_TRACE
  context->traceEverOn(true);
#endif
  const auto top = std::make_unique<Vtop>(context.get());
#ifdef HWGEN_TRACE
  VerilatedVcdC trace;
  if (!arguments.trace.empty()) {
    top->trace(&trace, 99);
    trace.open(arguments.trace.c_str());
  }
#endif

  unsigned seed = arguments.seed;
#define HWGEN_VECTORS(name, lanes, lane_bits, bits, is_signed, beats) \
  vectors name##_vectors(lanes* beats, HWGEN_TID_##name != nullptr);  \
  name##_vectors.read(arguments.vectors_dir + "/" #name ".txt");
#define HWGEN_SOURCE(name, lanes, lane_bits, bits, is_signed, beats)                                         \
  source name##_source(top->s_axis_##name##_tdata, top->s_axis_##name##_tvalid, top->s_axis_##name##_tready, \
                       top->s_axis_##name##_tlast, HWGEN_TID_##name, lanes, lane_bits / 8, name##_vectors, ++seed);
#define HWGEN_SINK(name, lanes, lane_bits, bits, is_signed, beats)                                         \
  sink name##_sink(top->m_axis_##name##_tdata, top->m_axis_##name##_tvalid, top->m_axis_##name##_tready,   \
                   top->m_axis_##name##_tlast, HWGEN_TID_##name, lanes, lane_bits / 8, bits, is_signed, lanes* beats, ++seed);
#define HWGEN_DRIVE_SOURCE(name, ...) name##_source.drive(arguments.stall_in);
#define HWGEN_DRIVE_SINK(name, ...) name##_sink.drive(arguments.stall_out);
#define HWGEN_TAKE_SOURCE(name, ...) moved |= name##_source.takes();
#define HWGEN_TAKE_SINK(name, ...) moved |= name##_sink.takes(cycle);
#define HWGEN_ADVANCE(name, ...) name##_source.advance();
#define HWGEN_SILENCE(name, ...) top->s_axis_##name##_tvalid = 0;
  HWGEN_INPUTS(HWGEN_VECTORS)
  HWGEN_OUTPUTS(HWGEN_VECTORS)

  long cycle = 0;
  const auto edge = [&](int level) {
    top->aclk = CData(level);
    top->eval();
#ifdef HWGEN_TRACE
    if (trace.isOpen()) trace.dump(std::uint64_t(2 * cycle + level));
#endif
  };
  const auto reset = [&] {
    HWGEN_INPUTS(HWGEN_SILENCE)
    // The design answers a registered copy of reset: the last two cycles bring it up.
    for (const long end = cycle + 10; cycle < end; ++cycle) {
      top->aresetn = cycle >= end - 2;
      edge(0);
      edge(1);
    }
  };
  reset();
  if (arguments.reset > 0) {
    // Some traffic that reset cuts off in the middle of a sequence.
    HWGEN_INPUTS(HWGEN_SOURCE)
    HWGEN_OUTPUTS(HWGEN_SINK)
    bool moved = false;
    for (const long end = cycle + arguments.reset; cycle < end; ++cycle) {
      HWGEN_INPUTS(HWGEN_DRIVE_SOURCE)
      HWGEN_OUTPUTS(HWGEN_DRIVE_SINK)
      edge(0);
      HWGEN_INPUTS(HWGEN_TAKE_SOURCE)
      HWGEN_OUTPUTS(HWGEN_TAKE_SINK)
      edge(1);
      HWGEN_INPUTS(HWGEN_ADVANCE)
    }
    reset();
  }
  HWGEN_INPUTS(HWGEN_SOURCE)
  HWGEN_OUTPUTS(HWGEN_SINK)

  long begin = -1;
  int status = 0;
  for (long idle = 0;; ++cycle) {
    HWGEN_INPUTS(HWGEN_DRIVE_SOURCE)
    HWGEN_OUTPUTS(HWGEN_DRIVE_SINK)
    edge(0);
    bool moved = false, complete = true;
    if (x_source.takes() && begin < 0) begin = cycle;
#define HWGEN_COMPLETE(name, ...) complete &= name##_sink.result.count() >= name##_vectors.count();
    HWGEN_INPUTS(HWGEN_TAKE_SOURCE)
    HWGEN_OUTPUTS(HWGEN_TAKE_SINK)
    HWGEN_OUTPUTS(HWGEN_COMPLETE)
    edge(1);
    HWGEN_INPUTS(HWGEN_ADVANCE)
    idle = moved ? 0 : idle + 1;
    // Once all is there, a while longer shows that nothing more comes.
    if (complete && idle > kQuiet) break;
    if (idle > kHang || context->gotFinish()) {
      std::cout << "the design hangs: no beat in the " << idle << " cycles before cycle " << cycle - begin << "\n";
      status = 3;
      break;
    }
  }
  top->final();

  long wrong = 0, compared = 0;
#define HWGEN_COMPARE(name, ...)                                                                            \
  wrong += mismatches(#name, name##_vectors, name##_sink.result) + name##_sink.malformed;                   \
  compared += long(name##_sink.result.codes.size());                                                        \
  if (!arguments.write_dir.empty()) name##_sink.result.write(arguments.write_dir + "/" #name ".txt");       \
  std::cout << #name << ": first beat in cycle " << name##_sink.first - begin << ", last beat in cycle " << name##_sink.last - begin << "\n";
  HWGEN_OUTPUTS(HWGEN_COMPARE)
  std::cout << x_vectors.count() << " steps, " << compared << " codes compared, " << wrong << " mismatches\n";
  return status != 0 ? status : wrong == 0 ? 0 : 1;
}
