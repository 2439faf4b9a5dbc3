# SPDX-License-Identifier: Apache-2.0
"""What a tensor of the graph is while the graph is being read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from hwgen.layers import Activation, Bias, QuantizedTensor, Wire, exact_bias


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

    def exact_bias(self, row: int) -> Fraction:
        """The bias of an output as a rational number."""
        return exact_bias(self.bias, row)


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
