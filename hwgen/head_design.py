# SPDX-License-Identifier: Apache-2.0
"""Layers around the recurrence in hardware: dense layers and step functions on a stream, folded, with their cycles.

A stream carries vectors of codes, some of them a beat: a code of type t takes ``t.storage.bits`` bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hwgen import packing
from hwgen.errors import ConfigError
from hwgen.folding import PACKING, divisors
from hwgen.integer_network import DenseStage, StepStage
from hwgen.mapping import Memory, code_bits, memory, styled, weight_memory
from hwgen.packing import check_packing
from hwgen.quantizer import IntegerType
from hwgen.registers import Registers, latency, product_latency, product_stages
from hwgen.schedule import FoldedProduct, fold, packed, signed, with_graph
from hwgen.storage import AUTO


def _check_divides(name: str, option: str, value: int, whole: int, what: str) -> None:
    if value < 1 or whole % value:
        legal = ", ".join(map(str, divisors(whole)))
        raise ConfigError(f"{name}: {option} must divide the {whole} {what}, not {value}; legal are {legal}")


@dataclass(frozen=True)
class DenseDesign:
    """A dense layer: SIMD codes of ``source`` a beat in, PE codes of ``codes`` a beat out.

    ``name`` is an identifier: that of its module and of the folder of its memories.  At most ``vectors`` are between
    input and output.  Raises ConfigError for an illegal folding.

    With t the cycle in which a beat moves: the first beat of vector n enters at t >= t_out + 1 of the last beat of
    vector n - ``vectors``, and the tiles of the first fold are the beats that enter; those of other folds follow, one
    a cycle, during which nothing enters.  The codes of a fold are offered ``product_latency + step_latency + 1``
    cycles after its last tile.
    """

    name: str
    stage: DenseStage
    source: IntegerType
    codes: IntegerType
    pe: int
    simd: int
    vectors: int
    registers: Registers
    packing: int = 1
    # Styles of memories that the user chose, by name.
    memory: tuple[tuple[str, str], ...] = ()
    # How it is built if it takes one cycle.
    constant_products: str = "multiply"

    def __post_init__(self) -> None:
        rows, columns = self.stage.weights.shape
        _check_divides(self.name, "pe", self.pe, rows, "outputs")
        _check_divides(self.name, "simd", self.simd, columns, "inputs")
        if self.packing != 1:
            check_packing(f"{self.name}: {PACKING}", self.packing, self.legal_packings)
        if self.vectors < 1:
            raise ConfigError(f"{self.name}: vectors must be at least 1, not {self.vectors}")
        least, greatest = self.reach
        assert self.codes.storage.lo <= least <= greatest <= self.codes.storage.hi, f"{self.name}: {self.codes}"

    @property
    def reach(self) -> tuple[int, int]:
        """The least and the greatest code that can come out."""
        certified = self.stage.step
        if certified is None:
            return self.stage.total.lo, self.stage.total.hi
        return certified.step.first, certified.step.last

    @cached_property
    def product(self) -> FoldedProduct:
        """Weights in the order of the hardware: [pe, tile, lane]."""
        stage = self.stage
        product = fold(self.name, stage.weights, self.pe, self.simd, stage.weight, stage.total, self.style("weights"))
        product = with_graph(product, self.source, self.constant_products)
        return packed(product, self.packing, self.source)

    @property
    def legal_packings(self) -> tuple[int, ...]:
        """How many products may share a DSP."""
        weights = self.stage.weights
        return packing.legal(weights, self.stage.weight, self.source, self.pe, weights.size // (self.pe * self.simd))

    @property
    def sum_bits(self) -> int:
        """Bits of an accumulator."""
        return signed(self.stage.total).bits

    @property
    def tree(self) -> int:
        """Registers in the adder trees."""
        return product_stages(self.product, self.registers)[1]

    @property
    def product_latency(self) -> int:
        """Cycles from a tile to its sums."""
        return product_latency(self.product, self.registers)

    @property
    def step_latency(self) -> int:
        """Cycles from a sum to its code."""
        return 0 if self.stage.step is None else latency(self.stage.step, self.registers)

    @property
    def depth(self) -> int:
        """Beats that the output buffers: all that are on their way."""
        return self.product.folds * self.vectors

    @property
    def weight_memory(self) -> Memory:
        """The weights, all PE side by side."""
        return weight_memory(self.product)

    @property
    def bias_memory(self) -> Memory:
        """The biases of each fold."""
        return styled(memory(self.product.folds, self.pe * self.sum_bits, written=False), self.style("bias"))

    def style(self, name: str) -> str:
        """The style of a memory."""
        return dict(self.memory).get(name, AUTO)


@dataclass(frozen=True)
class MapDesign:
    """A step function on every code of a stream, ``lanes`` of the ``features`` of a vector a beat.

    ``name`` is an identifier: that of its module and of the folder of its memories.  Raises ConfigError for an illegal
    number of lanes.

    With t the cycle in which a beat moves: beat n enters at t >= t_out + 1 of beat n - ``depth``, and is offered
    ``step_latency + 1`` cycles after it entered.
    """

    name: str
    stage: StepStage
    source: IntegerType
    codes: IntegerType
    features: int
    lanes: int
    registers: Registers

    def __post_init__(self) -> None:
        _check_divides(self.name, "lanes", self.lanes, self.features, "features")
        step = self.stage.step.step
        assert step.channels in (1, self.features), f"{self.name}: {step.channels} functions"
        assert self.codes.storage.lo <= step.first <= step.last <= self.codes.storage.hi, f"{self.name}: {self.codes}"

    @property
    def beats(self) -> int:
        """Beats of a vector."""
        return self.features // self.lanes

    @property
    def value_bits(self) -> int:
        """Bits of an argument."""
        return code_bits(self.source)

    @property
    def step_latency(self) -> int:
        """Cycles from a code to that of the step function."""
        return latency(self.stage.step, self.registers)

    @property
    def depth(self) -> int:
        """Beats that are on their way at full rate."""
        return self.step_latency + 2
