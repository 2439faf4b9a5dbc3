// SPDX-License-Identifier: Apache-2.0
//
// Elementwise update of a GRU: candidate and hidden state from the gate codes and both sums of the candidate.
#ifndef HWGEN_GRU_UPDATE_HPP
#define HWGEN_GRU_UPDATE_HPP

namespace hwgen {

/// n = Q(tanh(Q(a + Q(r * b)))) and h = Q(Q((1 - z) * n) + Q(z * h)) for hidden unit `unit`: a is the code of the input
/// sum of the candidate, b that of its hidden sum.
/// C: scaled(r, b, unit), candidate(sum, unit), kept(z, h, unit), added(z, n, unit), hidden_sum(sum, unit).
template <typename C>
typename C::hidden_t gru_update(const typename C::factor_t& r, const typename C::factor_t& z,
                                const typename C::whole_t& a, const typename C::factor_t& b,
                                const typename C::hidden_t& h, int unit) {
#pragma HLS INLINE
  const typename C::candidate_t n = C::candidate(a + C::scaled(r, b, unit), unit);
  return C::hidden_sum(C::kept(z, h, unit) + C::added(z, n, unit), unit);
}

}  // namespace hwgen

#endif  // HWGEN_GRU_UPDATE_HPP
