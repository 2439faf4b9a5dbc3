// SPDX-License-Identifier: Apache-2.0
//
// Folded matrix-vector product: PE rows times SIMD columns each cycle, weights on chip.
#ifndef HWGEN_MATVEC_HPP
#define HWGEN_MATVEC_HPP

#include <hls_stream.h>

#include "types.hpp"

namespace hwgen {

/// SIMD products of one row and their sum.  M: weight(pe, tile, lane).
template <typename M, typename Sum, typename Code>
Sum dot(int pe, int tile, const Code (&x)[M::kSimd]) {
#pragma HLS INLINE
  Sum sum = 0;
  for (int lane = 0; lane < M::kSimd; ++lane) {
#pragma HLS UNROLL
    sum += M::weight(pe, tile, lane) * x[lane];
  }
  return sum;
}

/// Whether a matrix has adders for its products, M::add_up(x, y), in the place of weights.
template <typename M>
struct has_adders {
  template <typename T>
  static char test(typename T::adders*);
  template <typename T>
  static long test(...);
  static const bool value = sizeof(test<M>(0)) == sizeof(char);
};

/// What the PEs make of a tile: of each row the sum of its products.
template <typename M, bool Adders = has_adders<M>::value>
struct tile_products {
  template <typename Sum, typename Code>
  static void add_up(int tile, const Code (&x)[M::kSimd], Sum (&y)[M::kPe]) {
#pragma HLS INLINE
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      y[pe] = dot<M, Sum, Code>(pe, tile, x);
    }
  }
};

template <typename M>
struct tile_products<M, true> {
  template <typename Sum, typename Code>
  static void add_up(int, const Code (&x)[M::kSimd], Sum (&y)[M::kPe]) {
#pragma HLS INLINE
    M::add_up(x, y);
  }
};

/// All rows of M times a vector that arrives in beats of SIMD codes; sums leave in beats of PE rows.
///
/// One flattened loop over tiles, tile = fold * kColumnTiles + column: a tile is what PE x SIMD multipliers do in one
/// cycle.  The vector is read in the first fold and kept for the others.  M: kRows, kColumns, kPe, kSimd,
/// weight(pe, tile, lane) or add_up(x, y), bias(row).  Of several matrices, whose tiles and rows lie one behind the other,
/// that of number `set` is multiplied.
template <typename M, typename In, typename Out>
void matvec(hls::stream<In>& vector, hls::stream<Out>& sums, int set = 0) {
#pragma HLS INLINE
  typedef typename Out::lane_t sum_t;
  typedef typename In::lane_t code_t;
  static_assert(M::kRows % M::kPe == 0, "PE must divide the number of rows");
  static_assert(M::kColumns % M::kSimd == 0, "SIMD must divide the number of columns");
  static_assert(In::kLanes == M::kSimd && Out::kLanes == M::kPe, "beats must carry SIMD codes in and PE sums out");
  const int kFolds = M::kRows / M::kPe;
  const int kColumnTiles = M::kColumns / M::kSimd;

  In kept[kColumnTiles];
// Registers: with few columns a code is read again sooner than a memory could give it back.
#pragma HLS ARRAY_PARTITION variable=kept complete
  Out result;
  sum_t sum[M::kPe];
#pragma HLS ARRAY_PARTITION variable=sum complete
  bool last = false;
  int fold = 0;
  int column = 0;
  for (int tile = 0; tile < kFolds * kColumnTiles; ++tile) {
// One tile a cycle: each accumulator is carried from tile to tile through a single addition.
#pragma HLS PIPELINE II=1
    const In x = fold == 0 ? vector.read() : kept[column];
    if (fold == 0) {
      kept[column] = x;
      last = x.last;
    }
    code_t codes[M::kSimd];
#pragma HLS ARRAY_PARTITION variable=codes complete
    for (int lane = 0; lane < M::kSimd; ++lane) {
#pragma HLS UNROLL
      codes[lane] = x.lane[lane];
    }
    sum_t products[M::kPe];
#pragma HLS ARRAY_PARTITION variable=products complete
    tile_products<M>::add_up(set * kFolds * kColumnTiles + tile, codes, products);
    for (int pe = 0; pe < M::kPe; ++pe) {
#pragma HLS UNROLL
      const sum_t start = column == 0 ? sum_t(M::bias(set * M::kRows + fold * M::kPe + pe)) : sum[pe];
      sum[pe] = start + products[pe];
      result.lane[pe] = sum[pe];
    }
    if (column == kColumnTiles - 1) {
      result.last = last;
      sums.write(result);
      column = 0;
      ++fold;
    } else {
      ++column;
    }
  }
}

}  // namespace hwgen

#endif  // HWGEN_MATVEC_HPP
