// SPDX-License-Identifier: Apache-2.0
//
// What a hidden unit of each cell is made of, for the loop that several sequences share.
#ifndef HWGEN_CONTEXT_UNITS_HPP
#define HWGEN_CONTEXT_UNITS_HPP

#include <ap_int.h>

#include "cell_update.hpp"
#include "gru_update.hpp"
#include "hidden_update.hpp"
#include "types.hpp"

namespace hwgen {

/// Of an LSTM.  C: see recurrence.
template <typename C>
struct lstm_unit {
  static const int kGates = C::kGates;
  static const int kUnits = C::kUnits;
  typedef typename C::factor_t code_t;
  typedef typename C::cell_t carried_t;

  /// What the total of a row starts from.
  template <typename Sums>
  static typename C::total_t start(const Sums& sums, int pe, int, int) {
    return sums.lane[pe];
  }

  /// The code of a gate.  Rows are those of kUnits units, the gates of each side by side.
  static code_t activate(int row, const typename C::total_t& total, int group) {
    return C::activate(row % kGates, total, group * kUnits + row / kGates);
  }

  template <typename Sums, typename States>
  static typename C::hidden_t finish(const code_t (&gates)[kUnits * kGates], const Sums&, int lane, int group,
                                     const carried_t& before, carried_t& after, States& beat) {
    const int unit = group * kUnits + lane, row = lane * kGates;
    after = cell_update<C>(C::forget(gates[row + C::kForget]), gates[row + C::kInput], gates[row + C::kCandidate],
                           before, unit);
    beat.cell[lane] = after;
    return beat.hidden[lane] = hidden_update<C>(gates[row + C::kOutput], after, unit);
  }
};

/// Of a plain RNN, PE units side by side.  C: see rnn_recurrence.  It carries nothing but h.
template <typename C, int PE>
struct rnn_unit {
  static const int kGates = 1;
  static const int kUnits = PE;
  typedef typename C::hidden_t code_t;
  typedef ap_uint<1> carried_t;

  template <typename Sums>
  static typename C::total_t start(const Sums& sums, int pe, int, int) {
    return sums.lane[pe];
  }

  static code_t activate(int row, const typename C::total_t& total, int group) {
    return C::activate(total, group * kUnits + row);
  }

  template <typename Sums, typename States>
  static typename C::hidden_t finish(const code_t (&codes)[kUnits], const Sums&, int lane, int, const carried_t&,
                                     carried_t& after, States& beat) {
    after = 0;
    return beat.lane[lane] = codes[lane];
  }
};

/// Of a GRU, with products of PE rows.  C: see gru_recurrence.  It carries h a second time, unit by unit.
template <typename C, int PE>
struct gru_unit {
  static const int kGates = C::kGates;
  static const int kUnits = C::kUnits;
  typedef typename C::factor_t code_t;
  typedef typename C::hidden_t carried_t;

  /// Rows of the candidate start from the bias of their hidden sum.
  template <typename Sums>
  static typename C::total_t start(const Sums& sums, int pe, int row, int group) {
    return row % kGates == C::kNew ? typename C::total_t(C::hidden_bias(group * kUnits + row / kGates))
                                   : typename C::total_t(sums.lane[pe]);
  }

  static code_t activate(int row, const typename C::total_t& total, int group) {
    return C::activate(row % kGates, total, group * kUnits + row / kGates);
  }

  template <typename Sums, typename States>
  static typename C::hidden_t finish(const code_t (&gates)[kUnits * kGates], const Sums& sums, int lane, int group,
                                     const carried_t& before, carried_t& after, States& beat) {
    const int unit = group * kUnits + lane, row = lane * kGates;
    // The last rows are those of the candidate: its input sum is in the beat at hand.
    const int pe = PE % kGates == 0 ? row + C::kNew : PE - 1;
    after = gru_update<C>(gates[row + C::kReset], gates[row + C::kUpdate], C::whole(sums.lane[pe], unit),
                          gates[row + C::kNew], before, unit);
    return beat.lane[lane] = after;
  }
};

/// The state before a sequence of a cell that carries h: that of h.
template <typename H0>
class same_state {
 public:
  static const int kLoads = 0;

  explicit same_state(const H0& h0) : h0_(h0) {}

  void load(int) {}
  typename H0::code_t operator[](int unit) const { return h0_[unit]; }

 private:
  const H0& h0_;
};

/// The state before a sequence of a cell that carries nothing.
struct no_state {
  static const int kLoads = 0;
  void load(int) {}
  ap_uint<1> operator[](int) const { return 0; }
};

}  // namespace hwgen

#endif  // HWGEN_CONTEXT_UNITS_HPP
