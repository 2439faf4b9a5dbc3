// SPDX-License-Identifier: Apache-2.0
//
// Step functions: monotone maps from a bounded integer domain to codes, in the four forms that hwgen proves exact.
//
// Each form is a template over a class P of constants that the generator writes:
//   value_t, code_t   types of argument and result
//   kLo, kHi          least and greatest code (shift, multiply)
// and, form by form, what stands above each of them.
#ifndef HWGEN_STEP_HPP
#define HWGEN_STEP_HPP

#include <ap_int.h>

namespace hwgen {

/// Rounding modes, named as in QONNX: ROUND is half to even, UP and DOWN are away from and towards zero.
enum rounding_mode { ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN };

/// Limit a value to the codes kLo..kHi of P.
template <typename P, typename T>
typename P::code_t clamp_code(const T& value) {
#pragma HLS INLINE
  if (value < T(P::kLo)) return typename P::code_t(P::kLo);
  if (value > T(P::kHi)) return typename P::code_t(P::kHi);
  return typename P::code_t(value);
}

/// clamp(round((value + offset) / 2^kShift)); a kShift below 1 multiplies instead: (value << -kShift) + offset.
/// P: total_t (holds the sum and its rounding), kShift, kRounding, offset(channel).
template <typename P>
typename P::code_t step_shift(const typename P::value_t& value, int channel) {
#pragma HLS INLINE
  typedef typename P::total_t total_t;
  const int kCut = P::kShift > 0 ? P::kShift : 0;
  const int kGain = P::kShift < 0 ? -P::kShift : 0;
  total_t total = total_t(total_t(value) << kGain) + P::offset(channel);
  if (kCut > 0) {
    const total_t kLast = (total_t(1) << kCut) - 1;
    const total_t kHalf = (total_t(1) << kCut) >> 1;
    const bool negative = total < 0;
    total_t increment = 0;
    switch (P::kRounding) {
      case ROUND:  // the bit above the cut sends halves to the even neighbour
        increment = kHalf - 1 + total_t((total >> kCut) & 1);
        break;
      case CEIL: increment = kLast; break;
      case FLOOR: increment = 0; break;
      case UP: increment = negative ? total_t(0) : kLast; break;
      case DOWN: increment = negative ? kLast : total_t(0); break;
      case HALF_UP: increment = negative ? total_t(kHalf - 1) : kHalf; break;
      case HALF_DOWN: increment = negative ? kHalf : total_t(kHalf - 1); break;
    }
    total = (total + increment) >> kCut;
  }
  return clamp_code<P>(total);
}

/// clamp((value * multiplier + offset) >> kShift).
/// P: total_t (holds product and sum), kShift, multiplier(channel), offset(channel).
template <typename P>
typename P::code_t step_multiply(const typename P::value_t& value, int channel) {
#pragma HLS INLINE
  typedef typename P::total_t total_t;
  const total_t total = total_t(value * P::multiplier(channel)) + P::offset(channel);
  return clamp_code<P>(total_t(total >> P::kShift));
}

/// kFirst + number of thresholds that the value reaches, by binary search, one level for each bit of the result.
/// P: kFirst, kCount, kLevels, threshold(level, channel, place): level l holds 2^l thresholds of a complete tree.
template <typename P>
typename P::code_t step_search(const typename P::value_t& value, int channel) {
#pragma HLS INLINE
  ap_uint<P::kLevels + 1> place = 0;
  for (int level = 0; level < P::kLevels; ++level) {
#pragma HLS UNROLL
    const bool reached = value >= P::threshold(level, channel, int(place));
    place = (place << 1) + (reached ? 1 : 0);
  }
  // Places beyond the last threshold stand for the last code.
  const int count = int(place) < P::kCount ? int(place) : P::kCount;
  return typename P::code_t(P::kFirst + count);
}

/// entry(channel, value - kDomainLo), a read-only memory over the whole domain.
template <typename P>
typename P::code_t step_table(const typename P::value_t& value, int channel) {
#pragma HLS INLINE
  return typename P::code_t(P::entry(channel, int(value) - P::kDomainLo));
}

}  // namespace hwgen

#endif  // HWGEN_STEP_HPP
