// SPDX-License-Identifier: Apache-2.0
//
// Stands in for the ap_axi_sdata.h of Vitis HLS (UG1399, "AXI4-Stream Interfaces") in plain C++14.
//
// Only ap_axiu, one beat of an AXI4-Stream. A side channel of width 0 has no field at all, so that
// code which uses one that it did not ask for fails to compile.
#ifndef HWGEN_AP_AXI_SDATA_H
#define HWGEN_AP_AXI_SDATA_H

#include <ap_int.h>

namespace hls {
namespace sim {

template <int Bits>
struct axi_user {
  ap_uint<Bits> user;
};
template <>
struct axi_user<0> {};

template <int Bits>
struct axi_id {
  ap_uint<Bits> id;
};
template <>
struct axi_id<0> {};

template <int Bits>
struct axi_dest {
  ap_uint<Bits> dest;
};
template <>
struct axi_dest<0> {};

}  // namespace sim
}  // namespace hls

template <int DataBits, int UserBits, int IdBits, int DestBits>
struct ap_axiu : hls::sim::axi_user<UserBits>,
                 hls::sim::axi_id<IdBits>,
                 hls::sim::axi_dest<DestBits> {
  ap_uint<DataBits> data;
  ap_uint<(DataBits + 7) / 8> keep;
  ap_uint<(DataBits + 7) / 8> strb;
  ap_uint<1> last;
};

#endif
