// SPDX-License-Identifier: Apache-2.0
//
// Elementwise update of the cell state from the gate codes.
#ifndef HWGEN_CELL_UPDATE_HPP
#define HWGEN_CELL_UPDATE_HPP

namespace hwgen {

/// c = Q(Q(f * c) + Q(i * g)) for hidden unit `unit`.  C: kept(f, c, unit), added(i, g, unit), cell_sum(sum, unit).
template <typename C>
typename C::cell_t cell_update(const typename C::factor_t& f, const typename C::factor_t& i,
                               const typename C::factor_t& g, const typename C::cell_t& c, int unit) {
#pragma HLS INLINE
  return C::cell_sum(C::kept(f, c, unit) + C::added(i, g, unit), unit);
}

}  // namespace hwgen

#endif  // HWGEN_CELL_UPDATE_HPP
