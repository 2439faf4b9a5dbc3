# SPDX-License-Identifier: Apache-2.0
"""What the host does around the hardware: real arrays to codes and codes to real arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from hwgen.integer import IntegerCell
from hwgen.network import Network
from hwgen.quantizer import FloatArray, IntArray


def encode(network: Network, inputs: Mapping[str, ArrayLike]) -> dict[str, IntArray]:
    """Graph inputs by ONNX name to codes by role: x [T, batch, I], and h0 and c0 [batch, H] where they are inputs."""
    layer = network.layer
    quantizers = {"x": layer.input, "h0": layer.initial_hidden.quantizer, "c0": layer.initial_cell.quantizer}
    return {role: quantizers[role].quantize(real).astype(np.int64) for role, real in network.bind(inputs).items()}


def decode(network: Network, sequence: IntArray, h: IntArray, c: IntArray) -> dict[str, FloatArray]:
    """Codes of the layer to the graph's outputs as real values, by ONNX name and in the graph's layout."""
    layer = network.layer
    return network.present(
        layer.output.dequantize(sequence), layer.output.dequantize(h), layer.cell.dequantize(c)
    )


def run(network: Network, cell: IntegerCell, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Execute the integer model on real inputs; returns each graph output under its ONNX name."""
    codes = encode(network, inputs)
    return decode(network, *cell.run(codes["x"], codes.get("h0"), codes.get("c0")))
