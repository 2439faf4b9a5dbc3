# SPDX-License-Identifier: Apache-2.0
"""The engine gives the codes of IntegerCell.run, bit by bit: every model, every form, every dot product, any batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwgen
from hwgen import engine, host, kernel
from hwgen.engine import Engine
from hwgen.errors import ToolError
from hwgen.forms import FITTERS, Certified, Form, MultiplyForm, SearchForm, ShiftForm
from hwgen.integer import IntegerCell, Product
from hwgen.lowering import lower, lower_cell
from hwgen.quantizer import IntArray, IntegerType, RoundingMode

MODELS = sorted((Path(__file__).parent / "models").glob("*.onnx"))
STEPS = 5
# One sequence, groups and a rest, and blocks and a rest, on several threads.
BATCHES = (1, 21, 75)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for the compiled engine, so that what is tested is compiled here."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        kernel._build_plan.cache_clear()
        yield folder
    kernel._build_plan.cache_clear()


@functools.cache
def cell_of(name: str) -> IntegerCell:
    return lower_cell(hwgen.load(MODELS[0].with_name(f"{name}.onnx")).layer)


@functools.cache
def wide_cell_of(name: str) -> IntegerCell:
    """Two copies of a cell side by side, the units of the second in another order: more than one tile of them."""
    cell = cell_of(name)
    order = np.concatenate([np.arange(cell.hidden_size), np.roll(np.arange(cell.hidden_size), 7)])

    def spread(values: IntArray) -> IntArray:
        return values if len(values) == 1 else values[order]

    def recurrent(weights: IntArray) -> IntArray:
        copies = np.arange(2).repeat(cell.hidden_size)
        return np.where(copies[:, np.newaxis] == copies, weights[order][:, order], 0)

    def other(certified: Certified) -> Certified:
        arrays = ("offset", "multiplier", "thresholds", "table")
        changes: dict[str, Any] = {
            name: spread(getattr(certified.form, name)) for name in arrays if hasattr(certified.form, name)
        }
        return replace(certified, form=replace(certified.form, **changes))

    gates = [replace(gate, input_weights=gate.input_weights[order], bias=gate.bias[order]) for gate in cell.gates]
    gates = [replace(gate, hidden_weights=recurrent(gate.hidden_weights)) for gate in gates]
    h, c = (None if state is None else state[order] for state in (cell.initial_hidden, cell.initial_cell))
    cell = replace(cell, gates=tuple(gates), hidden_size=len(order), initial_hidden=h, initial_cell=c)
    return with_forms(cell, other)


def with_forms(cell: IntegerCell, change: Callable[[Certified], Certified]) -> IntegerCell:
    """The cell with every form changed."""

    def product(of: Product) -> Product:
        return replace(of, requantize=change(of.requantize))

    return replace(
        cell,
        gates=tuple(replace(gate, steps=tuple(map(change, gate.steps))) for gate in cell.gates),
        forget_product=product(cell.forget_product),
        input_product=product(cell.input_product),
        output_product=product(cell.output_product),
        cell_sum=change(cell.cell_sum),
        cell_tanh=change(cell.cell_tanh),
    )


def random_codes(generator: np.random.Generator, codes: IntegerType, shape: tuple[int, ...]) -> IntArray:
    """A third of the vectors at the ends of the range, where accumulators come closest to theirs."""
    if codes.bipolar:
        return generator.choice([-1, 1], shape)
    values = generator.integers(codes.lo, codes.hi, shape, endpoint=True)
    extremes = generator.choice([codes.lo, codes.hi], shape)
    return np.where(generator.random((*shape[:-1], 1)) < 1 / 3, extremes, values)


def saturated_codes(cell: IntegerCell, batch: int) -> IntArray:
    """Inputs [STEPS, batch, I] that drive one gate row each to one end of its accumulator."""
    rows = np.concatenate([gate.input_weights for gate in cell.gates])
    rows = rows[np.arange(batch) % len(rows)] * np.where(np.arange(batch) % 2, 1, -1)[:, np.newaxis]
    return np.broadcast_to(np.where(rows > 0, cell.input.hi, cell.input.lo), (STEPS, batch, cell.input_size))


def assert_same(cell: IntegerCell, tested: Engine, batches: tuple[int, ...] = BATCHES) -> None:
    generator = np.random.default_rng(7)
    for batch in batches:
        h0, c0 = (random_codes(generator, kind, (batch, cell.hidden_size)) for kind in (cell.hidden, cell.cell))
        given = cell.initial_hidden is None or cell.initial_cell is None
        for x in (random_codes(generator, cell.input, (STEPS, batch, cell.input_size)), saturated_codes(cell, batch)):
            for states in [(h0, c0)] if given else [(None, None), (h0, c0)]:
                assert_equal(tested.run(x, *states), cell.run(x, *states))


def assert_equal(results: tuple[IntArray, ...], expected: tuple[IntArray, ...]) -> None:
    for got, wanted in zip(results, expected, strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", [path.stem for path in MODELS])
def test_equals_the_specification_on_every_model(name: str) -> None:
    # The specification is slow on trees of 2^16 thresholds.
    batches = (21,) if name == "wide_everything" else BATCHES
    for cell in (cell_of(name), wide_cell_of(name)):
        assert_same(cell, Engine(cell, compiled=True), batches)


@pytest.mark.parametrize("name", ["default", "coupled", "states_reversed"])
def test_is_the_specification_if_told_not_to_compile(name: str) -> None:
    cell = cell_of(name)
    assert_same(cell, Engine(cell, compiled=False))


@pytest.mark.parametrize("target", kernel.TARGETS, ids=lambda target: " ".join(target) or "any processor")
@pytest.mark.parametrize("policy", [kernel.FLOAT, kernel.DOUBLE], ids=lambda policy: policy.name)
@pytest.mark.parametrize("name", ["default", "per_channel4_float_bias", "coupled", "narrow4"])
def test_every_dot_product_and_processor(
    name: str, policy: kernel.Policy, target: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "TARGETS", (target,))
    monkeypatch.setattr(kernel, "choose_policy", lambda cell, has_bytes: policy)
    cell = wide_cell_of(name)
    assert_same(cell, Engine(cell, compiled=True))


@pytest.mark.parametrize("varied", [False, True], ids=["shared", "per channel"])
@pytest.mark.parametrize("kind", [*FITTERS, "wide"])
@pytest.mark.parametrize("name", ["two_bits", "default", "power_of_two", "floor_power_of_two", "wide_state"])
def test_every_form_wherever_it_exists(name: str, kind: str, varied: bool) -> None:
    cell = wide_cell_of(name)

    def other(certified: Certified) -> Certified:
        form = wide_multiply(certified) if kind == "wide" else FITTERS[kind](certified.step)
        if form is None or len(certified.step.thresholds) > 1:
            return certified
        return replace(certified, form=vary(form, cell.hidden_size) if varied else form)

    changed = with_forms(cell, other)
    assert_same(changed, Engine(changed, compiled=True))


@pytest.mark.parametrize("shift", [-2, 0, 1, 11])
@pytest.mark.parametrize("rounding", list(RoundingMode), ids=lambda mode: mode.value)
def test_every_shift_and_rounding(rounding: RoundingMode, shift: int) -> None:
    cell = wide_cell_of("power_of_two")

    def other(certified: Certified) -> Certified:
        if not isinstance(certified.form, ShiftForm):
            return certified
        return replace(certified, form=replace(certified.form, shift=shift, rounding=rounding))

    changed = with_forms(cell, other)
    assert_same(changed, Engine(changed, compiled=True))


def test_zero_points_of_products() -> None:
    cell = wide_cell_of("default")
    changed = replace(
        cell,
        forget_product=replace(cell.forget_product, left_zero=3, right_zero=-1),
        input_product=replace(cell.input_product, left_zero=-2, right_zero=5),
        output_product=replace(cell.output_product, left_zero=7, right_zero=-11),
    )
    assert_same(changed, Engine(changed, compiled=True))


def wide_multiply(certified: Certified) -> MultiplyForm | None:
    """The multiply form with a multiplier of 50 bits, beyond the width of one int64 product."""
    form = FITTERS["multiply"](certified.step)
    if not isinstance(form, MultiplyForm):
        return None
    more = 50 - int(form.multiplier.max()).bit_length()
    return replace(form, multiplier=form.multiplier << more, offset=form.offset << more, shift=form.shift + more)


def vary(form: Form, channels: int) -> Form:
    """A form that differs a little from channel to channel, in the same range of codes."""
    channel = np.arange(channels)
    if isinstance(form, ShiftForm | MultiplyForm):
        return replace(form, offset=form.offset + (channel << max(form.shift, 1) >> 1))
    if isinstance(form, SearchForm):
        return replace(form, thresholds=form.thresholds + channel[:, np.newaxis])
    place = np.arange(form.table.shape[1]) + channel[:, np.newaxis]
    rows = channel[:, np.newaxis] % len(form.table)
    return replace(form, table=form.table[rows, np.minimum(place, form.table.shape[1] - 1)])


@pytest.mark.parametrize("name", ["default", "batch_first", "states", "states_reversed", "constant_states"])
def test_run_is_the_integer_model_on_real_values(name: str) -> None:
    network = hwgen.load(MODELS[0].with_name(f"{name}.onnx"))
    model, generator = lower(network), np.random.default_rng(5)
    lengths = {"T": STEPS, "N": 9, "S": 1}
    inputs = {
        port.name: generator.standard_normal([lengths.get(axis, port.features) for axis in port.axes])
        for port in network.inputs
    }
    wanted = host.decode(network, model.run(host.encode(network, inputs)))
    got = host.run(network, model, inputs)
    assert list(got) == list(wanted)
    for output, values in got.items():
        np.testing.assert_array_equal(values, wanted[output])


def test_accepts_what_is_not_contiguous() -> None:
    cell = cell_of("default")
    x = random_codes(np.random.default_rng(2), cell.input, (10, 2 * STEPS, cell.input_size)).swapaxes(0, 1)[::2]
    assert_equal(Engine(cell, compiled=True).run(x), cell.run(x))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_no_steps_and_no_sequences(shape: tuple[int, int]) -> None:
    cell = cell_of("default")
    x = np.zeros((*shape, cell.input_size), np.int64)
    assert_equal(Engine(cell, compiled=True).run(x), cell.run(x))


def test_refuses_codes_outside_their_type() -> None:
    cell = cell_of("states")
    x, state = np.zeros((1, 1, cell.input_size), np.int64), np.zeros((1, cell.hidden_size), np.int64)
    with pytest.raises(ValueError, match=r"^x: codes must be of type int8, not 128 to 128$"):
        Engine(cell).run(x + 128, state, state)
    with pytest.raises(ValueError, match=r"^c0: codes must be of type int8, not -129 to -129$"):
        Engine(cell).run(x, state, state - 129)
    with pytest.raises(ValueError, match="initial state"):
        Engine(cell).run(x)


def test_compiles_once_and_only_if_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel._build_plan.cache_clear()
    cell = cell_of("default")
    x = np.zeros((1, 1, cell.input_size), np.int64)
    Engine(cell).run(x)
    assert not list(tmp_path.rglob("*.so"))
    monkeypatch.setattr(engine, "_GATES_WORTH_COMPILING", 0)
    Engine(cell).run(x)
    (library,) = tmp_path.rglob("*.so")
    compiled = library.stat().st_mtime_ns
    Engine(cell, compiled=True).run(x)
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")] == [compiled]
    kernel._build_plan.cache_clear()


@pytest.mark.parametrize("fault", ["no compiler", "compiler fails", "cache is a file"])
def test_without_a_library_the_specification_runs(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_GATES_WORTH_COMPILING", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if fault == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif fault == "compiler fails":
        monkeypatch.setattr(kernel, "SOURCE", Path(__file__))
    else:
        (tmp_path / "cache").write_text("")
    kernel._build_plan.cache_clear()
    cell = cell_of("default")
    assert_same(cell, Engine(cell))
    with pytest.raises(ToolError):
        Engine(cell, compiled=True).run(np.zeros((1, 1, cell.input_size), np.int64))
    kernel._build_plan.cache_clear()


def test_dot_products_are_exact_by_the_bounds_of_their_sums() -> None:
    cell, choose = cell_of("default"), kernel.choose_policy
    assert [choose(cell, has_bytes) for has_bytes in (True, False)] == [kernel.BYTES, kernel.FLOAT]
    # Weights of 9 bits; codes of 16; then sums of exactly 2^24, which a float32 still holds, and beyond.
    assert choose(cell_of("shifted_weights"), True) is kernel.FLOAT
    assert choose(cell_of("wide_everything"), True) is kernel.DOUBLE
    assert choose(with_weight_sum(cell, 2**24 // 128), False) is kernel.FLOAT
    assert choose(with_weight_sum(cell, 2**24 // 128 + 1), False) is kernel.DOUBLE
    assert choose(with_weight_sum(cell, 2**28 // 255), True) is kernel.BYTES
    assert choose(with_weight_sum(cell, 2**28 // 255 + 1), True) is kernel.DOUBLE


def with_weight_sum(cell: IntegerCell, total: int) -> IntegerCell:
    """The cell with rows of weights whose magnitudes sum up to ``total`` (their type is left as it is)."""
    row = np.zeros_like(cell.gates[0].input_weights)
    row[:, 0] = -total
    hidden = np.zeros_like(cell.gates[0].hidden_weights)
    return replace(cell, gates=tuple(replace(g, input_weights=row, hidden_weights=hidden) for g in cell.gates))
