# SPDX-License-Identifier: Apache-2.0
"""The rows of the table of exactness, and how one is measured.

Option sets of one layer alone, those of stacks, plain RNNs, weight-only layers after ``hwgen calibrate``, whole
networks, and seeded random combinations of all that.  tests/test_exactness.py runs the short ones, and
benchmarks/exactness.py all.  Only rows of the files in tests/models do without torch and Brevitas.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lowered
from conftest import MODELS
from exactness_table import Result
from hardware import plan, single_layer

import hwgen
from hwgen.lowering import lower
from hwgen.verify import verify

Design = hwgen.Dataflow | hwgen.Schedule
Progress = Callable[[str], None]
FOLDINGS = ("derived", "random", "serial", "unrolled")


@dataclass(frozen=True)
class Row:
    """``write`` puts the model into a file and says what it is; ``short`` rows are part of make test."""

    name: str
    write: Callable[[Path], str]
    design: Callable[[hwgen.Network], Design]
    sequences: int = 20
    seed: int = 20
    short: bool = False


def measure(row: Row, folder: Path, result: Result, progress: Progress = lambda message: None) -> None:
    """Run a row through every level and note in ``result`` what each compared; raises only what hwgen raises."""
    progress("exporting")
    result["what"] = row.write(folder / "model.onnx")
    network = hwgen.load(folder / "model.onnx")
    progress("onnxruntime on the lowered graph")
    given = lowered.random_inputs(network, 5, 3, row.seed), lowered.code_inputs(network, 9, 4, row.seed)
    real, onnx = lowered.count(network, lower(network), *given)
    project = hwgen.build(row.design(network), folder / "project", backend="all")
    for level in ("csim", "rtl"):
        report = verify(project, level=level, sequences=row.sequences, seed=row.seed, progress=progress)
        found = {name: {key: entry[key] for key in ("codes", "mismatches")} for name, entry in report["levels"].items()}
        # The same sequences at both levels.
        integer = {key: found["integer"][key] + real[key] for key in real}
        result["levels"] |= {"integer": integer, "onnx": onnx, level: found[level]}
    cycles = report["levels"]["rtl"]
    predicted, simulated = cycles["predicted_cycles"], cycles["simulated_cycles"]
    last = [max(port["last"] for port in ports.values()) for ports in (predicted, simulated)]
    result["cycles"] = {"predicted": last[0], "simulated": last[1], "equal": predicted == simulated}


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    from combinations import FIRST_RNN, SEEDS
    from test_networks import MODELS as NETWORKS

    short_networks = ("two layers", "bidirectional", "bidirectional, shared weights", "two bidirectional layers")
    # One of each head, small; and plain RNNs.
    short_seeds = (2, 6, 7, 22, 33, 35, 45)
    names = sorted(path.stem for path in MODELS.glob("*.onnx"))
    return [
        *(_option_set(name, FOLDINGS[place % 4]) for place, name in enumerate(names)),
        *(Row(f"stack {name}", _stack(name), plan) for name in STACKS),
        *(Row(f"weight-only {name}", _weight_only(name), plan) for name in WEIGHT_ONLY),
        *(Row(f"float {name}", _float(name), _network_design(name)) for name in FLOAT),
        *(Row(f"RNN {name}", _rnn(name), _network_design(name)) for name in _rnn_variants()),
        *(
            Row(f"network {name}", _network(name), _network_design(name), short=name in short_networks)
            for name in NETWORKS
        ),
        *(
            Row(
                f"combination {seed}{' (RNN)' if seed >= FIRST_RNN else ''}",
                _combination(seed),
                _folded(seed),
                short=seed in short_seeds,
            )
            for seed in SEEDS
        ),
    ]


# Option sets of one layer: the files of tests/models.


def _option_set(name: str, kind: str) -> Row:
    seed = f"{name} {kind}"

    def write(path: Path) -> str:
        shutil.copyfile(MODELS / f"{name}.onnx", path)
        return f"10 -> 20, folding {kind}"

    return Row(
        f"option set {name}", write, lambda network: single_layer(network, kind, seed), 40, len(seed), short=True
    )


# Option sets of several layers, with Brevitas' own quantizers, whose scales are floats.

STACKS: dict[str, dict[str, object]] = {
    "num_layers=2": {"num_layers": 2},
    "num_layers=3, coupled": {"num_layers": 3, "coupled_input_forget_gates": True},
    "bidirectional": {"bidirectional": True},
    "num_layers=2, bidirectional": {"num_layers": 2, "bidirectional": True},
    "shared_input_hidden_weights": {"bidirectional": True, "shared_input_hidden_weights": True},
    "shared_cell_state_quant=False": {
        "num_layers": 2,
        "bidirectional": True,
        "shared_cell_state_quant": False,
        "cat_output_cell_states": False,
    },
    "cat_output_cell_states=False": {"bidirectional": True, "cat_output_cell_states": False},
    "batch_first, 4-bit weights": {"num_layers": 2, "batch_first": True, "weight_bit_width": 4},
}


def _stack(name: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        import torch
        from brevitas.export import export_qonnx
        from brevitas.nn import QuantLSTM
        from option_sets import quiet

        torch.manual_seed(len(name))
        with quiet(), torch.no_grad():
            module = QuantLSTM(10, 12, **STACKS[name]).train()
            for _ in range(4):
                module(torch.randn(7, 7, 10))
            example = torch.randn(7, 3, 10)
            export_qonnx(module.eval(), args=example, export_path=str(path), dynamo=False)
        return "10 -> 12"

    return write


# Weight-only layers: hwgen calibrate gives them the other quantizers.

WEIGHT_ONLY: dict[str, dict[str, object]] = {
    "default": {},
    "coupled_input_forget_gates": {"coupled_input_forget_gates": True},
    "num_layers=2, bidirectional": {"num_layers": 2, "bidirectional": True},
}


def _weight_only(name: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        import torch
        from brevitas.export import export_qonnx
        from option_sets import quiet
        from test_calibrate import FEATURES, weight_only

        from hwgen.calibration import Calibration, Options

        torch.manual_seed(len(name))
        x, source = torch.randn(12, 16, FEATURES), path.with_name("weight_only.onnx")
        with quiet():
            module = weight_only(**WEIGHT_ONLY[name]).eval()
            # Brevitas' file of a larger batch is valid for no runtime: one Squeeze takes an axis that has its length.
            export_qonnx(module, args=x[:, :1], export_path=str(source), dynamo=False)
        calibration = Calibration(source, Options())
        (port,) = calibration.network.inputs
        calibration.run({port.name: x.numpy()}, path)
        return f"{FEATURES} -> {module.layers[0][0].hidden_size}, hwgen calibrate"

    return write


# Float models of tests/test_calibrate.py, which hwgen calibrate gives all quantizers.

FLOAT = (
    *("lstm, two bidirectional layers, batch first", "lstm, states given", "rnn, relu, head", "gru"),
    *("gru, two bidirectional layers", "gru, batch first, head on the last step", "gru, lstm, argmax"),
)


def _float(name: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        import torch
        from test_calibrate import FEATURES, HIDDEN, MODELS, export, inputs_of

        from hwgen.calibration import Calibration, Options

        torch.manual_seed(len(name))
        calibration = Calibration(export(MODELS[name](), path.with_name("float.onnx")), Options())
        calibration.run(inputs_of(calibration.network), path)
        return f"{FEATURES} -> {HIDDEN}, hwgen calibrate"

    return write


# Plain RNNs, written by hwgen.export_qonnx.


def _rnn_variants() -> list[str]:
    from test_export import VARIANTS

    return list(VARIANTS)


def _rnn(name: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        from test_export import made
        from test_networks import FEATURES, HIDDEN

        hwgen.export_qonnx(*made(name), path)
        return f"{FEATURES} -> {HIDDEN}"

    return write


# Whole networks.


def _network(name: str) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        from test_networks import FEATURES, HIDDEN, export

        export(name, path)
        return f"{FEATURES} -> {HIDDEN}"

    return write


def _network_design(name: str) -> Callable[[hwgen.Network], Design]:
    """Every second one folded at random, at any of three clocks."""
    seed = len(name)
    return lambda network: plan(network, seed if seed % 2 else None, clock_mhz=(50, 100, 200)[seed % 3])


# Random combinations.


def _combination(seed: int) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        from combinations import export

        return export(seed, path)

    return write


def _folded(seed: int) -> Callable[[hwgen.Network], Design]:
    """Every second one folded at random."""
    return lambda network: plan(network, seed if seed % 2 else None)
