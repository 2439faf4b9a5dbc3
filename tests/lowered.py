# SPDX-License-Identifier: Apache-2.0
"""Networks as ONNX graphs in onnxruntime, compared with hwgen in every value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime

from hwgen import host
from hwgen.backends.onnx_graph import to_onnx
from hwgen.integer_network import IntegerNetwork
from hwgen.network import Network

Counts = dict[str, int]
# onnxruntime as it comes, and with every node executed as it stands.
LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
)


def checked(network: Network, model: IntegerNetwork, float32: bool = False) -> onnx.ModelProto:
    """The graph, after onnx has checked it and inferred every shape."""
    graph = to_onnx(network, model, float32)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def sessions(graph: onnx.ModelProto) -> list[Any]:
    """One session for each of ``LEVELS``."""
    data, found = graph.SerializeToString(), []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        found.append(onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]))
    return found


def execute(session: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def random_inputs(network: Network, steps: int, batch: int, seed: int, spread: float = 1.5) -> dict[str, np.ndarray]:
    """Seeded normal inputs as the graph takes them."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for port in network.inputs:
        lengths = {"T": steps, "N": batch, "F": port.features, "S": port.count, "1": 1}
        shape = [lengths[axis] for axis in port.axes]
        arrays[port.name] = (spread * generator.standard_normal(shape)).astype(np.float32)
    return arrays


def code_inputs(network: Network, steps: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Inputs as the graph takes them: seeded codes over their whole range, a third of the vectors at its ends.

    The first sequence has all codes at the lower end, the last all at the upper end.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for port in network.inputs:
        wire = port.wires[0]
        codes = wire.quantizer.codes
        order = [axis for axis in "STNF" if axis in port.axes]
        lengths = {"T": steps, "N": batch, "F": port.features, "S": port.count}
        shape = [lengths[axis] for axis in order]
        values = generator.integers(codes.lo, codes.hi + 1, shape)
        ends = generator.choice([codes.lo, codes.hi], shape)
        values = np.where(codes.bipolar | (generator.random([*shape[:-1], 1]) < 1 / 3), ends, values)
        if "N" in order and batch > 2:
            values[..., 0, :], values[..., -1, :] = codes.lo, codes.hi
        kept = [axis for axis in port.axes if axis != "1"]
        real = wire.decode(values).transpose([order.index(axis) for axis in kept])
        ones = [place for place, axis in enumerate(port.axes) if axis == "1"]
        arrays[port.name] = np.expand_dims(real, ones).astype(np.float32)
    return arrays


def assert_equal(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], what: str) -> int:
    """Same names, types, shapes and values; returns how many values those are."""
    assert list(got) == list(wanted), what
    for name, values in wanted.items():
        assert got[name].dtype == values.dtype, f"{what}: {name}"
        np.testing.assert_array_equal(got[name], values, f"{what}: {name}", strict=True)
    return sum(values.size for values in wanted.values())


def assert_lowered(network: Network, model: IntegerNetwork, *inputs: Mapping[str, np.ndarray]) -> int:
    """Onnxruntime, optimised and not, gives what hwgen's integer model and its reference give on each of ``inputs``.

    Returns how many values were compared.
    """
    found, compared = sessions(checked(network, model)), 0
    for given in inputs:
        wanted = host.run(network, model, given)
        assert_equal(network.run(given), wanted, "reference")
        for session, level in zip(found, LEVELS, strict=True):
            compared += assert_equal(execute(session, given), wanted, f"onnxruntime, {level.name}")
    return compared


def count(network: Network, model: IntegerNetwork, *inputs: Mapping[str, np.ndarray]) -> tuple[Counts, Counts]:
    """What ``assert_lowered`` asserts, as numbers: of the integer model against the reference, and of onnxruntime."""
    integer, runtime = ({"codes": 0, "mismatches": 0} for _ in range(2))
    found = sessions(checked(network, model))
    for given in inputs:
        wanted = host.run(network, model, given)
        for counts, got in [(integer, network.run(given)), *((runtime, execute(session, given)) for session in found)]:
            assert list(got) == list(wanted)
            for name, values in wanted.items():
                assert got[name].shape == values.shape and got[name].dtype == values.dtype, name
                counts["codes"] += values.size
                counts["mismatches"] += int((got[name] != values).sum())
    return integer, runtime
