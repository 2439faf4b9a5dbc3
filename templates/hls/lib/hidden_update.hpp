// SPDX-License-Identifier: Apache-2.0
//
// Elementwise update of the hidden state from the output gate and the new cell state.
#ifndef HWGEN_HIDDEN_UPDATE_HPP
#define HWGEN_HIDDEN_UPDATE_HPP

namespace hwgen {

/// h = Q(o * Q(tanh(c))) for hidden unit `unit`.  C: cell_tanh(c, unit), output(o, tanh, unit).
template <typename C>
typename C::hidden_t hidden_update(const typename C::factor_t& o, const typename C::cell_t& c, int unit) {
#pragma HLS INLINE
  return C::output(o, C::cell_tanh(c, unit), unit);
}

}  // namespace hwgen

#endif  // HWGEN_HIDDEN_UPDATE_HPP
