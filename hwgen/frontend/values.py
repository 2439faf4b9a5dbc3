# SPDX-License-Identifier: Apache-2.0
"""What a tensor of the graph is while the graph is being read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from hwgen.layers import Activation, Bias, DenseLayer, QuantizedTensor, Wire, exact_bias
from hwgen.quantizer import IntegerType, Quantizer

# Sums that leave the graph as they are; their exact range is a matter of lowering.
_SUMS = IntegerType(40, True)


@dataclass(frozen=True)
class Dense:
    """A dense layer whose quantizer has not been met yet."""

    name: str
    source: Wire
    weight: QuantizedTensor
    bias: Bias

    def with_bias(self, bias: Bias) -> Dense:
        """The same layer with a bias."""
        return replace(self, bias=bias)

    def sums(self, name: str) -> DenseLayer:
        """The layer whose wire ``name`` carries the sums themselves."""
        scale, rows = self.source.quantizer.exact_scale(0), range(len(self.weight.codes))
        units = [self.weight.quantizer.exact_scale(row) * scale for row in rows]
        quantizer = Quantizer(tuple(map(float, units)) if len(set(units)) > 1 else (float(units[0]),), (0,), _SUMS)
        wire = Wire(name, len(rows), self.source.per_step, quantizer, self._rest(units))
        return DenseLayer(self.name, self.source, self.weight, self.bias, None, wire)

    def _rest(self, units: list[Fraction]) -> tuple[float, ...] | None:
        """What each bias has beyond whole units of its sum."""
        exact = [exact_bias(self.bias, row) / unit for row, unit in enumerate(units)]
        rest = [value - (value + Fraction(1, 2)).__floor__() for value in exact]
        return tuple(float(part * unit) for part, unit in zip(rest, units, strict=True)) if any(rest) else None


@dataclass(frozen=True)
class Value:
    """A tensor: its axes, and one of three things.

    A graph input that no quantizer has read yet (``part`` says which entry of an axis of PARTS); wires, several of
    them along an axis of PARTS; or a dense layer's sums.  ``activation`` is applied to the latter two and waits for
    its quantizer.
    """

    axes: tuple[str, ...]
    graph_input: str | None = None
    part: int = 0
    stack: tuple[Wire, ...] = ()
    dense: Dense | None = None
    activation: Activation = Activation.IDENTITY

    def with_axes(self, axes: tuple[str, ...]) -> Value:
        """The same values under other axes."""
        return replace(self, axes=axes)

    def with_activation(self, activation: Activation) -> Value:
        """An activation of them."""
        return replace(self, activation=activation)

    def with_wire(self, wire: Wire) -> Value:
        """The wire that they became."""
        return Value(self.axes, stack=(wire,))
