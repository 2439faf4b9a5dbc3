# SPDX-License-Identifier: Apache-2.0
"""A graph being written: nodes, constants and quantizers under names that nothing else has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

from hwgen.calibration.cells import HWGEN_DOMAIN, QONNX_DOMAIN, Role
from hwgen.calibration.floats import FloatCell
from hwgen.calibration.weights import Weights
from hwgen.quantizer import FloatArray, IntegerType, Quantizer

# Stands where nothing is picked yet.
_PLACEHOLDER = Quantizer((2.0**-6,), (0,), IntegerType(16, True))
_DOMAINS = {QONNX_DOMAIN: 2, HWGEN_DOMAIN: 1}


@dataclass(frozen=True)
class Place:
    """A quantizer to be picked, called ``name``: ``what`` it holds in which ``layer``.

    ``signed`` is None where the data decide.  One that ``reaches_one`` has a code for 1, which its values are
    subtracted from.
    """

    name: str
    layer: str
    what: str
    role: Role
    signed: bool | None = None
    reaches_one: bool = False


@dataclass(frozen=True)
class FloatDense:
    """A dense layer: weight [outputs, inputs], bias [outputs]."""

    weight: Weights
    bias: FloatArray | None


class Writer:
    """Collects a graph; ``chosen`` has the quantizers by the name of their place, weights and biases included."""

    def __init__(self, taken: Iterable[str], labels: Iterable[str], chosen: Mapping[str, Quantizer]) -> None:
        self._taken = set(taken)
        self._labels = set(labels)
        self.chosen = chosen
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._numbers: dict[float, str] = {}
        self.places: dict[str, Place] = {}

    def tensor(self, wanted: str) -> str:
        """A new name for a tensor."""
        return _unique(wanted, self._taken)

    def label(self, wanted: str) -> str:
        """A new name for a node."""
        return _unique(wanted, self._labels)

    def op(self, operator: str, inputs: Sequence[str], wanted: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which is called nearly as ``wanted``."""
        output = self.tensor(wanted)
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=self.label(wanted), domain=domain, **attributes)
        )
        return output

    def constant(self, values: ArrayLike, wanted: str, dtype: type[np.generic] = np.float32) -> str:
        """Add an initializer."""
        name = self.tensor(wanted)
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def number(self, value: float) -> str:
        """A scalar that many share."""
        if value not in self._numbers:
            self._numbers[value] = self.constant(value, f"constant_{value:g}")
        return self._numbers[value]

    def place(self, place: Place) -> Place:
        """Note a quantizer to be picked."""
        self.places[place.name] = place
        return place

    def quantizer(self, name: str) -> Quantizer:
        """The quantizer of a place, or what stands for it."""
        return self.chosen.get(name, _PLACEHOLDER)

    def triple(self, name: str, wanted: str) -> list[str]:
        """Scale, zero point and bit width of a place."""
        quantizer = self.quantizer(name)
        scale = np.asarray(quantizer.scale) if len(quantizer.scale) > 1 else np.float32(quantizer.scale[0])
        return [
            self.constant(scale, f"{wanted}.scale"),
            self.number(quantizer.zero_point[0]),
            self.number(quantizer.codes.bits),
        ]

    def quant(self, tensor: str, quantizer: Quantizer, wanted: str, axes: int = 0, label: str = "") -> str:
        """A Quant node; scales per channel are along the first of ``axes`` axes."""
        scale, zero = (
            self.number(part[0])
            if len(part) == 1
            else self.constant(np.reshape(part, (-1, *(1,) * (axes - 1))), f"{wanted}.{what}")
            for part, what in ((quantizer.scale, "scale"), (quantizer.zero_point, "zero_point"))
        )
        output = self.tensor(wanted)
        codes = quantizer.codes
        if codes.bipolar:
            operator, inputs, attributes = "BipolarQuant", [tensor, scale], {}
        else:
            operator, inputs = "Quant", [tensor, scale, zero, self.number(codes.bits)]
            attributes = {
                "signed": int(codes.signed),
                "narrow": int(codes.narrow),
                "rounding_mode": quantizer.rounding.value,
            }
        name = label or self.label(wanted)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, domain=QONNX_DOMAIN, **attributes))
        return output

    def weight(self, weights: Weights, name: str, wanted: str) -> str:
        """A weight behind its quantizer."""
        return self.quant(self.constant(weights.values, f"{wanted}.values"), self.quantizer(name), wanted, 2)

    def bias(self, values: FloatArray | None, name: str, wanted: str) -> str:
        """A bias behind its quantizer; as it is where none is picked; a scalar 0 for none."""
        if values is None:
            return self.number(0.0)
        stored = self.constant(values, f"{wanted}.values")
        return self.quant(stored, self.chosen[name], wanted, 1) if name in self.chosen else stored

    def model(
        self, original: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], extra: Iterable[onnx.TensorProto]
    ) -> onnx.ModelProto:
        """What outputs depend on, as a model with the inputs and outputs of the ``original``."""
        live = {value.name for value in original.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if live.intersection(node.output):
                live.update(node.input)
                kept.append(node)
        constants = [tensor for tensor in (*extra, *self.initializers) if tensor.name in live]
        graph = helper.make_graph(kept[::-1], original.graph.name, inputs, original.graph.output, constants)
        domains = sorted({node.domain for node in kept})
        version = next(entry.version for entry in original.opset_import if entry.domain in ("", "ai.onnx"))
        imports = [helper.make_opsetid("", version)]
        known = {entry.domain: entry.version for entry in original.opset_import}
        imports += [helper.make_opsetid(name, _DOMAINS.get(name, known.get(name, 1))) for name in domains if name]
        return helper.make_model(graph, opset_imports=imports, ir_version=original.ir_version, producer_name="hwgen")


def _unique(wanted: str, taken: set[str]) -> str:
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}.{count}"
    taken.add(name)
    return name


@dataclass(frozen=True)
class WrittenCell:
    """A cell as it stands in the graph: its record, and its constant initial states [H] by name of the quantizer."""

    cell: FloatCell
    states: Mapping[str, FloatArray]
