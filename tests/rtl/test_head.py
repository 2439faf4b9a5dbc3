# SPDX-License-Identifier: Apache-2.0
"""Dense layers and step functions on streams as generated: codes of the stage, cycles of the contract, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from test_units import LIBRARY, build, run, verilator
from units import broken_heads, heads

from hwgen.backends import rtl
from hwgen.errors import ConfigError
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.synth import yosys

__all__ = ["verilator"]  # a fixture

FORMS = {"shift", "multiply", "search", "table"}


def written(layers: Sequence[heads.StreamedLayer], folder: Path) -> list[Path]:
    """Sources of generated layers."""
    paths = []
    for layer in layers:
        for name, text in layer.sources().items():
            paths.append(folder / name)
            paths[-1].parent.mkdir(exist_ok=True)
            paths[-1].write_text(text)
    return paths


def test_generated_layers_compute_the_codes_of_their_stage_in_the_cycles_of_their_contract(
    tmp_path: Path, verilator: Path
) -> None:
    layers = heads.benches()
    sources = written(layers, tmp_path)
    assert all(len(line) <= 100 for path in sources for line in path.read_text().splitlines())
    build(layers, [*LIBRARY, *sources], tmp_path, ["-Wall", "--assert"])
    ran, failed = run("heads", tmp_path)
    assert ran == len(layers)
    assert failed == 0, (tmp_path / "test.log").read_text()


def test_a_planted_error_in_a_generated_layer_is_found(tmp_path: Path, verilator: Path) -> None:
    layers = broken_heads.benches()
    build(layers, [*LIBRARY, *written(layers, tmp_path)], tmp_path, ["-DSYNTHESIS", "-Wno-fatal"])
    ran, failed = run("broken_heads", tmp_path)
    assert ran == len(broken_heads.ERRORS)
    # Each of these tests passes by failing.
    assert failed == 0, (tmp_path / "test.log").read_text()


def test_the_layers_cover_all_forms_shared_and_per_channel() -> None:
    found: dict[type, set[tuple[str, bool]]] = {DenseDesign: set(), MapDesign: set()}
    for layer in heads.benches():
        certified = layer.design.stage.step
        if certified is not None:
            found[type(layer.design)].add((certified.form.kind, certified.step.channels > 1))
    everything = {(form, channels) for form in FORMS for channels in (False, True)}
    # Biases of a dense layer are integers or fractions of a unit: those never suit a shift.
    assert found == {DenseDesign: everything - {("shift", True)}, MapDesign: everything}


# The front end of all other syntheses runs here with make test-long alone.
@pytest.mark.parametrize("frontend", [pytest.param("verilog", marks=pytest.mark.long), "slang"])
def test_every_net_of_a_generated_layer_has_a_driver(frontend: str, tmp_path: Path) -> None:
    chosen = ("multiply_folded", "table_folded", "sums_folded", "search_folded", "map_shift_channels", "map_constant")
    layers = [layer for layer in heads.benches() if layer.design.name in chosen]
    assert len(layers) == len(chosen)
    written(layers, tmp_path)
    library = " ".join(str(rtl.library() / path.name) for path in LIBRARY)
    commands = []
    for layer in layers:
        for name, text in layer.files().items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        top, sources = layer.design.name, " ".join(layer.sources())
        read = {"verilog": "read_verilog -sv -defer", "slang": f"read_slang --top {top}"}[frontend]
        commands += ["design -reset", f"{read} -DSYNTHESIS {library} {sources}"]
        commands += [f"synth_xilinx -family xc7 -noiopad -noclkbuf -flatten -top {top}", "check -assert"]
    yosys.run_script(commands, tmp_path, "layers on streams")


def layer_called(name: str) -> heads.StreamedLayer:
    return next(layer for layer in heads.benches() if layer.design.name == name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pe": 4}, "shift_folded: pe must divide the 6 outputs, not 4; legal are 1, 2, 3, 6"),
        ({"simd": 0}, "shift_folded: simd must divide the 10 inputs, not 0; legal are 1, 2, 5, 10"),
        ({"vectors": 0}, "shift_folded: vectors must be at least 1, not 0"),
    ],
    ids=str,
)
def test_illegal_foldings_of_a_dense_layer_are_refused(change: dict[str, int], message: str) -> None:
    design = layer_called("shift_folded").design
    assert isinstance(design, DenseDesign)
    with pytest.raises(ConfigError) as error:
        replace(design, **change)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_illegal_lanes_of_a_step_function_are_refused() -> None:
    design = layer_called("map_shift").design
    assert isinstance(design, MapDesign)
    with pytest.raises(
        ConfigError, match=r"^map_shift: lanes must divide the 6 features, not 4; legal are 1, 2, 3, 6$"
    ):
        replace(design, lanes=4)
