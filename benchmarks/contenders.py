# SPDX-License-Identifier: Apache-2.0
"""One contender of the run benchmark, timed in a process of its own: its threads and nobody else's.

``python contenders.py NAME MODEL.onnx INPUTS HIDDEN STEPS BATCH SECONDS`` prints {"seconds": [one per repetition]}.
Everyone gets the same float32 inputs [STEPS, BATCH, INPUTS] and gives real outputs of every step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.float32]
Run = Callable[[Inputs], object]
MIN_REPETITIONS = 3


def hwgen_run(model: Path, size: tuple[int, int]) -> Run:
    """``hwgen run``: real inputs to codes, the integer model, codes to real outputs."""
    import hwgen
    from hwgen import host, kernel
    from hwgen.lowering import lower

    kernel.load_library()
    network = hwgen.load(model)
    cell, name = lower(network), network.inputs[0].name
    return lambda x: host.run(network, cell, {name: x})


def hwgen_engine(model: Path, size: tuple[int, int]) -> Run:
    """The integer model alone, from codes to codes."""
    import hwgen
    from hwgen.engine import Engine
    from hwgen.lowering import lower_cell

    network = hwgen.load(model)
    quantizer, tested = network.layer.input, Engine(lower_cell(network.layer), compiled=True)
    codes: dict[int, NDArray[np.int64]] = {}

    def run(x: Inputs) -> object:
        if id(x) not in codes:
            codes[id(x)] = quantizer.quantize(x.astype(np.float64)).astype(np.int64)
        return tested.run(codes[id(x)])

    return run


def hwgen_specification(model: Path, size: tuple[int, int]) -> Run:
    """The interpreter that defines the integer model, from codes to codes: what runs without a C++ compiler."""
    import hwgen
    from hwgen.lowering import lower_cell

    network = hwgen.load(model)
    cell = lower_cell(network.layer)
    return lambda x: cell.run(network.layer.input.quantize(x.astype(np.float64)).astype(np.int64))


def brevitas_eager(model: Path, size: tuple[int, int]) -> Run:
    """The module that ``model`` was exported from."""
    import torch
    from option_sets import OPTION_SETS, make_module

    return _torch_run(make_module(OPTION_SETS["default"], size), torch)


def torch_float(model: Path, size: tuple[int, int]) -> Run:
    """The float LSTM of torch, not quantized."""
    import torch

    return _torch_run(torch.nn.LSTM(*size).eval(), torch)


def _torch_run(module: Callable[[object], object], torch: object) -> Run:
    def run(x: Inputs) -> object:
        with torch.no_grad():  # type: ignore[attr-defined]
            return module(torch.from_numpy(x))  # type: ignore[attr-defined]

    return run


def onnxruntime_float(model: Path, size: tuple[int, int]) -> Run:
    """The LSTM operator of onnxruntime in float, with seeded weights."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    (features, hidden), generator = size, np.random.default_rng(0)
    shapes = {"W": (1, 4 * hidden, features), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden)}
    constants = [
        numpy_helper.from_array(generator.uniform(-0.1, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["X", *shapes], ["Y"], hidden_size=hidden)],
        "lstm",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["steps", "batch", features])],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, ["steps", 1, "batch", hidden])],
        constants,
    )
    model_proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"X": x})


CONTENDERS: dict[str, Callable[[Path, tuple[int, int]], Run]] = {
    "Brevitas eager": brevitas_eager,
    "hwgen run": hwgen_run,
    "hwgen engine, codes to codes": hwgen_engine,
    "hwgen specification, codes to codes": hwgen_specification,
    "torch nn.LSTM in float": torch_float,
    "onnxruntime LSTM in float": onnxruntime_float,
}


def export(size: tuple[int, int], path: Path) -> None:
    """Write the model that ``brevitas_eager`` makes."""
    import option_sets

    option_set = option_sets.OPTION_SETS["default"]
    option_sets.export(option_set, option_sets.make_module(option_set, size), path)


def measure(run: Run, x: Inputs, seconds: float) -> list[float]:
    """Times of repetitions after one that is not counted, for about ``seconds``."""
    run(x)
    times: list[float] = []
    while len(times) < MIN_REPETITIONS or sum(times) < seconds:
        begin = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - begin)
    return times


def main() -> None:
    """Measure what the command line names."""
    name, model = sys.argv[1], Path(sys.argv[2])
    features, hidden, steps, batch = map(int, sys.argv[3:7])
    x = np.random.default_rng(1).standard_normal((steps, batch, features)).astype(np.float32)
    run = CONTENDERS[name](model, (features, hidden))
    print(json.dumps({"seconds": measure(run, x, float(sys.argv[7]))}))


if __name__ == "__main__":
    main()
