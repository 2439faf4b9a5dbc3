# SPDX-License-Identifier: Apache-2.0
"""Rounding modes, integer types and quantizers, against implementations by others: qonnx, and Python's decimal."""

from __future__ import annotations

import decimal
import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.intquant import int_quant, max_int, min_int, resolve_rounding_mode

from hwgen.errors import ModelError
from hwgen.quantizer import FloatArray, IntegerType, Quantizer, RoundingMode

MODES = list(RoundingMode)
EIGHTHS = np.arange(-50, 51) / 8.0  # every kind of tie, and both neighbours of each
DECIMAL = {
    RoundingMode.ROUND: decimal.ROUND_HALF_EVEN,
    RoundingMode.CEIL: decimal.ROUND_CEILING,
    RoundingMode.FLOOR: decimal.ROUND_FLOOR,
    RoundingMode.UP: decimal.ROUND_UP,
    RoundingMode.DOWN: decimal.ROUND_DOWN,
    RoundingMode.HALF_UP: decimal.ROUND_HALF_UP,
    RoundingMode.HALF_DOWN: decimal.ROUND_HALF_DOWN,
}


def qonnx_codes(quantizer: Quantizer, values: FloatArray) -> FloatArray:
    codes, scale, zero = quantizer.codes, np.float64(quantizer.scale[0]), np.float64(quantizer.zero_point[0])
    real = int_quant(values, scale, zero, np.float64(codes.bits), codes.signed, codes.narrow, quantizer.rounding.value)
    return np.asarray(np.rint(real / scale + zero), np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_apply_rounds_as_qonnx_does(mode: RoundingMode) -> None:
    values = np.concatenate([EIGHTHS, np.random.default_rng(1).uniform(-300, 300, 5000)])
    np.testing.assert_array_equal(mode.apply(values), resolve_rounding_mode(mode.value)(values))


@pytest.mark.parametrize("mode", MODES)
def test_apply_rounds_as_decimal_does_one_ulp_beside_every_boundary(mode: RoundingMode) -> None:
    halves = np.arange(-41, 42) / 2.0
    values = np.concatenate([np.nextafter(halves, -np.inf), halves, np.nextafter(halves, np.inf)])
    wanted = [int(decimal.Decimal(float(v)).to_integral_value(rounding=DECIMAL[mode])) for v in values]
    np.testing.assert_array_equal(mode.apply(values), wanted)


@pytest.mark.parametrize("mode", MODES)
def test_apply_exact_rounds_rationals_as_decimal_does(mode: RoundingMode) -> None:
    for numerator, denominator in itertools.product(range(-60, 61), (1, 2, 3, 4, 7, 10)):
        value = Fraction(numerator, denominator)
        near = decimal.Decimal(numerator) / decimal.Decimal(denominator)
        wanted = int(near.to_integral_value(rounding=DECIMAL[mode]))
        assert mode.apply_exact(value) == wanted, value


@pytest.mark.parametrize("mode", MODES)
def test_apply_exact_sees_a_distance_that_no_float_holds(mode: RoundingMode) -> None:
    for halves, side in itertools.product(range(-7, 8), (-1, 1)):
        value = Fraction(halves, 2) + Fraction(side, 10**40)
        with decimal.localcontext() as context:
            context.prec = 60
            near = decimal.Decimal(halves) / 2 + side * decimal.Decimal(10) ** -40
            wanted = int(near.to_integral_value(rounding=DECIMAL[mode]))
        assert mode.apply_exact(value) == wanted, (halves, side)


@pytest.mark.parametrize("mode", MODES)
def test_boundary_is_where_qonnx_starts_to_round_to_the_code(mode: RoundingMode) -> None:
    codes = np.arange(-5, 6)
    for code, doubled, inclusive in zip(codes, *mode.boundary(codes), strict=True):
        reached = resolve_rounding_mode(mode.value)(EIGHTHS) >= code
        np.testing.assert_array_equal(
            (doubled < 2 * EIGHTHS) | (bool(inclusive) & (doubled == 2 * EIGHTHS)), reached, f"code {code}"
        )


@pytest.mark.parametrize(("signed", "narrow"), [(True, False), (True, True), (False, False), (False, True)])
@pytest.mark.parametrize("mode", MODES)
def test_quantize_equals_qonnx_int_quant_with_exact_ties_and_zero_points(
    mode: RoundingMode, signed: bool, narrow: bool
) -> None:
    for bits, scale in itertools.product((2, 3, 4, 8), (0.25, 2.0)):
        codes = IntegerType(bits, signed, narrow)
        values = np.arange(-(4 << bits), (4 << bits) + 1, dtype=np.float64) * (scale / 4)
        for zero in {codes.lo, codes.hi, (codes.lo + codes.hi) // 2, 0}:
            quantizer = Quantizer((scale,), (zero,), codes, mode)
            np.testing.assert_array_equal(quantizer.quantize(values), qonnx_codes(quantizer, values), str(quantizer))


@pytest.mark.parametrize("mode", MODES)
def test_quantize_and_quantize_exact_equal_qonnx_for_arbitrary_float32_scales(mode: RoundingMode) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        codes = IntegerType(int(rng.integers(2, 17)), bool(rng.integers(2)), bool(rng.integers(2)))
        scale = float(np.float32(rng.uniform(1e-4, 3)))
        quantizer = Quantizer((scale,), (int(rng.integers(codes.lo, codes.hi + 1)),), codes, mode)
        drawn = scale * rng.uniform(1.5 * codes.lo - 3, 1.5 * codes.hi + 3, 200)
        values = drawn.astype(np.float32).astype(np.float64)
        wanted = qonnx_codes(quantizer, values)
        np.testing.assert_array_equal(quantizer.quantize(values), wanted, f"seed {seed}: {quantizer}")
        np.testing.assert_array_equal([quantizer.quantize_exact(float(v)) for v in values], wanted, f"seed {seed}")


def test_quantize_exact_decides_32_bit_codes_that_float64_gets_wrong() -> None:
    scale = float(np.float32(1 / 3))
    quantizer = Quantizer((scale,), (0,), IntegerType(32, True))
    values = (2.0**30 + np.arange(2000) + 0.5) * scale  # as near to ties as float64 can be
    wanted = [round(Fraction(float(v)) / Fraction(scale)) for v in values]  # Python rounds rationals half to even
    assert [quantizer.quantize_exact(float(v)) for v in values] == wanted
    assert (np.rint(values / scale) != wanted).sum() > 100, "none of these values is beyond float64"


def test_every_channel_has_its_own_scale_and_zero_point() -> None:
    quantizer = Quantizer((0.5, 0.25, 2.0), (0, 3, -2), IntegerType(5, True))
    values = np.random.default_rng(2).uniform(-9, 9, (40, 3))
    for channel in range(3):
        alone = Quantizer((quantizer.scale[channel],), (quantizer.zero_point[channel],), quantizer.codes)
        wanted = qonnx_codes(alone, values[:, channel])
        np.testing.assert_array_equal(quantizer.quantize(values)[:, channel], wanted)
        np.testing.assert_array_equal([quantizer.quantize_exact(v, channel) for v in values[:, channel]], wanted)


def test_dequantize_is_the_scaled_distance_from_the_zero_point() -> None:
    quantizer = Quantizer((0.5, 3.0), (1, -2), IntegerType(4, True))
    np.testing.assert_array_equal(quantizer.dequantize(np.array([[-8, 7], [1, -2]])), [[-4.5, 27.0], [0.0, 0.0]])


def test_bipolar_codes_equal_qonnx_binary_quant() -> None:
    values = np.array([-3.0, -0.1, -0.0, 0.0, 0.1, 3.0])
    quantizer = Quantizer((0.5,), (0,), IntegerType(1, True, bipolar=True))
    np.testing.assert_array_equal(quantizer.dequantize(quantizer.quantize(values)), binary_quant(values, 0.5))
    np.testing.assert_array_equal([quantizer.quantize_exact(v) for v in values], quantizer.quantize(values))
    assert (quantizer.codes.lo, quantizer.codes.hi) == (-1, 1)
    assert quantizer.codes.storage == IntegerType(2, True)


@pytest.mark.parametrize(
    ("name", "mode"),
    [(mode.value, mode) for mode in MODES]
    + [("HALF_EVEN", RoundingMode.ROUND), ("ROUND_TO_ZERO", RoundingMode.DOWN), ("floor", RoundingMode.FLOOR)],
)
def test_parse_knows_the_names_of_qonnx_and_brevitas(name: str, mode: RoundingMode) -> None:
    assert RoundingMode.parse(name, "Quant 'q'") is mode


@pytest.mark.parametrize("name", ["", "NEAREST", "ROUND "])
def test_parse_refuses_an_unknown_mode_and_names_the_node(name: str) -> None:
    known = "ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN, HALF_EVEN, ROUND_TO_ZERO"
    message = f"Quant 'q': rounding mode must be one of {known}, not '{name}'"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        RoundingMode.parse(name, "Quant 'q'")


@pytest.mark.parametrize("bits", range(1, 17))
def test_ranges_equal_those_of_qonnx(bits: int) -> None:
    for signed, narrow in itertools.product((True, False), repeat=2):
        codes = IntegerType(bits, signed, narrow)
        assert (codes.lo, codes.hi) == (min_int(signed, narrow, bits), max_int(signed, narrow, bits)), codes


def test_holding_is_the_narrowest_plain_type_that_contains_the_interval() -> None:
    edges = [*range(-20, 21), -129, -128, 127, 128, 255, 256, -(2**31), 2**31 - 1, 2**31]
    for lo, hi in itertools.product(edges, repeat=2):
        if lo > hi:
            continue
        signed = lo < 0
        fitting = (b for b in itertools.count(1) if min_int(signed, False, b) <= lo and hi <= max_int(signed, False, b))
        assert IntegerType.holding(lo, hi) == IntegerType(next(fitting), signed), (lo, hi)
