# SPDX-License-Identifier: Apache-2.0
"""Reference = integer model = C simulation = RTL: every option set, several sizes and foldings, codes and cycles."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MODELS

import hwgen
from hwgen.folding import Folding, divisors, legal_hidden_pe
from hwgen.schedule import schedule
from hwgen.verify import verify

NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))
ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")
Record = Callable[[str, object], None]


def random_folding(gates: int, hidden: int, inputs: int, seed: str) -> Folding:
    """Any legal folding; beats then often need narrowing and widening between the two products."""
    generator = random.Random(seed)
    return Folding(
        generator.choice(divisors(gates * hidden)),
        generator.choice(divisors(inputs)),
        generator.choice(legal_hidden_pe(gates, hidden)),
        generator.choice(divisors(hidden)),
    )


def folding_called(kind: str, network: hwgen.Network, seed: str) -> Folding | None:
    layer = network.layer
    gates, hidden, inputs = len(layer.gates), layer.hidden_size, layer.input_size
    return {
        "derived": lambda: None,
        "serial": lambda: Folding(1, 1, 1, 1),
        "unrolled": lambda: Folding(gates * hidden, inputs, gates * hidden, hidden),
        "random": lambda: random_folding(gates, hidden, inputs, seed),
    }[kind]()


def assert_exact(model: Path, kind: str, folder: Path, sequences: int, record_property: Record) -> None:
    network = hwgen.load(model)
    seed = f"{model.stem} {kind}"
    folding = folding_called(kind, network, seed)
    max_length = 24 if network.layer.reverse else None
    design = schedule(network, folding=folding, outputs=ALL_OUTPUTS, max_length=max_length)
    project = hwgen.build(design, folder, backend="all")
    # The patterns of the cocotb bench are those of tests/rtl/test_cocotb.py.
    csim, rtl = (verify(project, level=level, sequences=sequences, seed=len(seed)) for level in ("csim", "rtl"))
    levels = csim["levels"] | rtl["levels"]
    message = f"{seed}: {design.folding}, {levels}"
    for name in ("csim", "rtl"):
        record_property(f"{name} codes", levels[name]["codes"])
        record_property(f"{name} mismatches", levels[name]["mismatches"])
        assert levels[name]["codes"] > 0, message
    assert all(level["mismatches"] == 0 for level in levels.values()), message
    assert levels["rtl"]["predicted_cycles"] == levels["rtl"]["simulated_cycles"], message


@pytest.mark.parametrize("name", NAMES)
def test_every_option_set(name: str, tmp_path: Path, record_property: Record) -> None:
    kind = ("derived", "random", "serial", "unrolled")[NAMES.index(name) % 4]
    assert_exact(MODELS / f"{name}.onnx", kind, tmp_path / "project", 40, record_property)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["serial", "unrolled", "random"])
@pytest.mark.parametrize("size", [(10, 20), (24, 36)], ids=["10x20", "24x36"])
@pytest.mark.parametrize("name", NAMES)
def test_matrix_of_option_sets_sizes_and_foldings(
    name: str, size: tuple[int, int], kind: str, tmp_path: Path, record_property: Record
) -> None:
    import option_sets

    model = tmp_path / f"{name}.onnx"
    option_set = option_sets.OPTION_SETS[name]
    option_sets.export(option_set, option_sets.make_module(option_set, size, seed=1), model)
    assert_exact(model, kind, tmp_path / "project", 60, record_property)
