// SPDX-License-Identifier: Apache-2.0

// The integer model for speed: every code equals that of IntegerCell.run, which says what is computed and why.
// hwgen/kernel.py compiles this file at first use and fills in the structs below.
//
// A call takes some sequences of the batch through all time steps, a block of them at once.  Hidden units stand in
// tiles a few vectors wide, so that what one tile of one block needs stays in the first-level cache.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX512VNNI__) || (defined(__AVXVNNI__) && !defined(__AVX512F__))
#define HWGEN_BYTES
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512")
#endif

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kUnits = kVectorBytes / 2;            // hidden units of a tile: two vectors of 32-bit sums
constexpr int kSums = kVectorBytes == 64 ? 16 : 8;  // vectors of sums in registers at a time
constexpr int kBlock = 32;                          // sequences of a block

enum Kind : int64_t { kShift, kMultiply, kWide, kSearch, kTable };

// A form of hwgen/forms.py, with multipliers and offsets for every unit.  A table or search tree is one row of codes
// for all units (stride 0), or one for each.
struct Step {
    int64_t kind, shift, lo, hi, first, size, levels, stride, even, below_zero, above_zero;
    const int64_t *multiplier, *offset;
    const void* rows;
};

struct Gate {
    const char* weights;  // [tiles][depth / pack][kUnits][pack], in the number format of the dot products
    const int64_t* bias;  // of every unit
    const Step* step[2];  // the second may be absent
};

struct Product {
    int64_t left_zero, right_zero;
    const Step* step;
};

struct Cell {
    int64_t input_size, hidden_size, input_lo, hidden_lo, reverse, coupled, coupled_one;
    Gate gate[4];  // input, forget (unused if coupled), cell, output
    Product forget_product, input_product, output_product;
    const Step *cell_sum, *cell_tanh;
};

// Sequences of a batch: x [steps, batch, I], h, c, h_n, c_n [batch, H], y [steps, batch, H].  For a code of h, y gets
// values[code - hidden_lo]: the code itself, or a real value, whose bits are just copied.
struct Batch {
    int64_t steps, batch;
    const int64_t *x, *h, *c, *values;
    int64_t *y, *h_n, *c_n;
};

namespace {

// How dot products are taken; hwgen/kernel.py chooses a policy whose sums are exact for the cell at hand.  It packs
// kPack operands side by side, and counts them from the least code if kFromLeast.

#ifdef HWGEN_BYTES
constexpr bool kHasBytes = true;
struct Bytes {  // 0..255 times -128..127, four products at once, in 32 bits
    using Operand = uint8_t;
    using Sum = int32_t;
    using Code = int32_t;
    typedef Sum Vector __attribute__((vector_size(kVectorBytes)));
    static constexpr int kPack = 4;
    static constexpr bool kFromLeast = true;

    static Vector splat(const Operand* operands) {
        int32_t four;
        std::memcpy(&four, operands, sizeof four);
        return Vector{} + four;
    }
    static Vector add(Vector sum, Vector operands, Vector weights) {
#if defined(__AVX512VNNI__)
        return (Vector)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)operands, (__m512i)weights);
#else
        return (Vector)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)operands, (__m256i)weights);
#endif
    }
};
#else
constexpr bool kHasBytes = false;
#endif

template <class Real, class Integer>
struct Reals {  // integers in floating point
    using Operand = Real;
    using Sum = Real;
    using Code = Integer;
    typedef Real Vector __attribute__((vector_size(kVectorBytes)));
    static constexpr int kPack = 1;
    static constexpr bool kFromLeast = false;

    static Vector splat(const Operand* operand) { return Vector{} + *operand; }
    static Vector add(Vector sum, Vector operands, Vector weights) { return sum + operands * weights; }
};

// sums[row][unit] = bias[unit] + sum of operands[row][k] * weights[k][unit], for kCount rows.
template <class Dot, int kCount, class Code>
void dot(const typename Dot::Operand* operands, int64_t depth, const char* weights, const int64_t* bias, Code* sums) {
    using Vector = typename Dot::Vector;
    constexpr int kParts = kUnits * sizeof(typename Dot::Sum) / kVectorBytes;
    Vector sum[kCount][kParts] = {};
    for (int64_t k = 0; k < depth; k += Dot::kPack) {
        Vector weight[kParts];
        for (int p = 0; p < kParts; ++p, weights += sizeof(Vector)) std::memcpy(&weight[p], weights, sizeof(Vector));
        // Unrolled, or the sums would live in memory.
#pragma GCC unroll 16
        for (int r = 0; r < kCount; ++r) {
            const Vector operand = Dot::splat(operands + r * depth + k);
            for (int p = 0; p < kParts; ++p) sum[r][p] = Dot::add(sum[r][p], operand, weight[p]);
        }
    }
    alignas(kVectorBytes) typename Dot::Sum plain[kCount * kUnits];
    std::memcpy(plain, sum, sizeof plain);
    for (int r = 0; r < kCount; ++r)
        for (int u = 0; u < kUnits; ++u) sums[r * kUnits + u] = Code(plain[r * kUnits + u]) + Code(bias[u]);
}

// codes[row][u] = function(codes[row][u], u); no iteration sees what another writes, so that vectors may be used.
template <class Code, class Function>
void apply(int64_t rows, Code* codes, Function function) {
    for (int64_t r = 0; r < rows; ++r, codes += kUnits)
#pragma GCC ivdep
        for (int u = 0; u < kUnits; ++u) codes[u] = Code(function(codes[u], u));
}

// Applies a form to codes [rows, kUnits] of the tile that starts at `unit`, in place.  Places beyond the last hidden
// unit hold sums that mean nothing: what becomes an index is limited.
template <class Code>
void evaluate(const Step& step, int64_t unit, int64_t rows, Code* codes) {
    const int64_t shift = step.shift, lo = step.lo, hi = step.hi, stride = step.stride;
    const Code *row = static_cast<const Code*>(step.rows) + unit * stride, least = Code(lo), last = Code(step.size - 1);
    switch (step.kind) {
    case kShift: {
        const int64_t left = int64_t(1) << std::max<int64_t>(-shift, 0), right = std::max<int64_t>(shift, 0);
        const int64_t below = step.below_zero, above = step.above_zero, even = step.even;
        return apply(rows, codes, [=, b = step.offset + unit](int64_t value, int u) {
            const int64_t total = value * left + b[u];
            return std::clamp((total + (total < 0 ? below : above) + ((total >> right) & even)) >> right, lo, hi);
        });
    }
    case kMultiply:
        return apply(rows, codes, [=, m = step.multiplier + unit, b = step.offset + unit](int64_t value, int u) {
            return std::clamp((value * m[u] + b[u]) >> shift, lo, hi);
        });
    case kWide:
        return apply(rows, codes, [=, m = step.multiplier + unit, b = step.offset + unit](__int128 value, int u) {
            return std::clamp(int64_t((value * m[u] + b[u]) >> shift), lo, hi);
        });
    case kSearch:
        return apply(rows, codes, [=, levels = step.levels, first = step.first](Code value, int u) {
            int64_t place = 1;
            for (int64_t level = 0; level < levels; ++level) place = 2 * place + (value >= row[u * stride + place]);
            return first + std::min<int64_t>(place - (int64_t(1) << levels), last);
        });
    default:
        if (stride == 0)  // much the most frequent, and simple enough for vectors
            return apply(rows, codes, [=](Code value, int) { return row[std::clamp<Code>(value - least, 0, last)]; });
        return apply(rows, codes, [=](Code value, int u) {
            return row[u * stride + std::clamp<Code>(value - least, 0, last)];
        });
    }
}

// right = product of left and right, requantized.
template <class Code>
void multiply(const Product& product, int64_t unit, int64_t rows, const Code* left, Code* right) {
    const Code left_zero = Code(product.left_zero), right_zero = Code(product.right_zero);
    for (int64_t n = 0; n < rows * kUnits; ++n) right[n] = (left[n] - left_zero) * (right[n] - right_zero);
    evaluate(*product.step, unit, rows, right);
}

// Sequences begin .. begin + rows of a batch, from their first step to their last.
template <class Dot>
class Block {
  public:
    Block(const Cell& cell, const Batch& batch, int64_t begin, int64_t rows)
        : cell_(cell), batch_(batch), begin_(begin), rows_(rows), tiles_((cell.hidden_size + kUnits - 1) / kUnits),
          depth_((cell.input_size + cell.hidden_size + Dot::kPack - 1) / Dot::kPack * Dot::kPack),
          operands_(rows * depth_), next_(rows * depth_), state_(tiles_ * kBlock * kUnits) {}

    void run() {
        const int64_t inputs = cell_.input_size, hidden = cell_.hidden_size, first = begin_ * hidden;
        for (int64_t r = 0; r < rows_; ++r) {
            pack(batch_.h + first + r * hidden, hidden, cell_.hidden_lo, &next_[r * depth_ + inputs]);
            for (int64_t u = 0; u < hidden; ++u) state(r, u) = Code(batch_.c[first + r * hidden + u]);
        }
        for (int64_t n = 0; n < batch_.steps; ++n) {
            const int64_t t = cell_.reverse ? batch_.steps - 1 - n : n, row = t * batch_.batch + begin_;
            std::swap(operands_, next_);
            for (int64_t r = 0; r < rows_; ++r)
                pack(batch_.x + (row + r) * inputs, inputs, cell_.input_lo, &operands_[r * depth_]);
            for (int64_t tile = 0; tile < tiles_; ++tile) advance(tile, batch_.y + row * hidden);
        }
        const int64_t least = Dot::kFromLeast ? cell_.hidden_lo : 0;
        for (int64_t r = 0; r < rows_; ++r)
            for (int64_t u = 0; u < hidden; ++u) {
                batch_.h_n[first + r * hidden + u] = int64_t(next_[r * depth_ + inputs + u]) + least;
                batch_.c_n[first + r * hidden + u] = state(r, u);
            }
    }

  private:
    using Operand = typename Dot::Operand;
    using Code = typename Dot::Code;

    template <class Integer>
    static void pack(const Integer* codes, int64_t count, int64_t least, Operand* operands) {
#pragma GCC ivdep
        for (int64_t n = 0; n < count; ++n) operands[n] = Operand(Dot::kFromLeast ? codes[n] - least : codes[n]);
    }

    // Cell states are [tiles][kBlock][kUnits].
    Code& state(int64_t r, int64_t u) { return state_[(u / kUnits * kBlock + r) * kUnits + u % kUnits]; }

    // The next state of a tile; h goes to y and to the operands of the next step.
    void advance(int64_t tile, int64_t* y) {
        const int64_t unit = tile * kUnits, count = rows_ * kUnits;
        alignas(kVectorBytes) Code input[kBlock * kUnits], forget[kBlock * kUnits];
        alignas(kVectorBytes) Code candidate[kBlock * kUnits], output[kBlock * kUnits];
        activate(cell_.gate[0], tile, input);
        if (cell_.coupled)
            for (int64_t n = 0; n < count; ++n) forget[n] = Code(cell_.coupled_one) - input[n];
        else
            activate(cell_.gate[1], tile, forget);
        activate(cell_.gate[2], tile, candidate);
        activate(cell_.gate[3], tile, output);
        Code* c = &state(0, unit);
        multiply(cell_.forget_product, unit, rows_, forget, c);
        multiply(cell_.input_product, unit, rows_, input, candidate);
        for (int64_t n = 0; n < count; ++n) c[n] += candidate[n];
        evaluate(*cell_.cell_sum, unit, rows_, c);
        Code* h = std::copy_n(c, count, candidate) - count;
        evaluate(*cell_.cell_tanh, unit, rows_, h);
        multiply(cell_.output_product, unit, rows_, output, h);
        const int64_t units = std::min<int64_t>(kUnits, cell_.hidden_size - unit), least = cell_.hidden_lo;
        const int64_t* values = batch_.values;
        for (int64_t r = 0; r < rows_; ++r, h += kUnits, y += cell_.hidden_size) {
#pragma GCC ivdep
            for (int64_t u = 0; u < units; ++u) y[unit + u] = values[h[u] - least];
            pack(h, units, least, &next_[r * depth_ + cell_.input_size + unit]);
        }
    }

    void activate(const Gate& gate, int64_t tile, Code* codes) {
        constexpr int kRows = kSums * kVectorBytes / int(sizeof(typename Dot::Sum)) / kUnits;
        const char* weights = gate.weights + tile * kUnits * depth_ * sizeof(Operand);
        const int64_t* bias = gate.bias + tile * kUnits;
        int64_t r = 0;
        for (; r + kRows <= rows_; r += kRows)
            dot<Dot, kRows>(&operands_[r * depth_], depth_, weights, bias, codes + r * kUnits);
        for (; r < rows_; ++r) dot<Dot, 1>(&operands_[r * depth_], depth_, weights, bias, codes + r * kUnits);
        for (const Step* step : gate.step)
            if (step) evaluate(*step, tile * kUnits, rows_, codes);
    }

    const Cell& cell_;
    const Batch& batch_;
    const int64_t begin_, rows_, tiles_, depth_;
    std::vector<Operand> operands_, next_;  // [rows][depth]: x, h, padding
    std::vector<Code> state_;
};

template <class Dot>
void run(const Cell& cell, const Batch& batch, int64_t begin, int64_t end) {
    for (; begin < end; begin += kBlock)
        Block<Dot>(cell, batch, begin, std::min<int64_t>(kBlock, end - begin)).run();
}

}  // namespace

// What hwgen/kernel.py must know of the processor that this is compiled for.
extern "C" int64_t hwgen_units() { return kUnits; }
extern "C" int64_t hwgen_has_bytes() { return kHasBytes; }

// Sequences begin .. end of a batch, with the dot products of a policy: 0 Bytes, 1 float, 2 double.
extern "C" void hwgen_run(const Cell* cell, const Batch* batch, int64_t policy, int64_t begin, int64_t end) {
#ifdef HWGEN_BYTES
    if (policy == 0) run<Bytes>(*cell, *batch, begin, end);
#endif
    if (policy == 1) run<Reals<float, int32_t>>(*cell, *batch, begin, end);
    if (policy == 2) run<Reals<double, int64_t>>(*cell, *batch, begin, end);
}
