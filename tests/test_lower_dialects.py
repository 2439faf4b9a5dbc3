# SPDX-License-Identifier: Apache-2.0
"""Lowered models of the Scan form and of QuantRNNCell: onnxruntime gives hwgen's codes, random ones and extreme ones.

What Brevitas' QuantRNN becomes is compared in test_export.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import test_rnn_cell
import test_scan
from lowered import LEVELS, assert_equal, assert_lowered, checked, code_inputs, execute, random_inputs, sessions
from onnx import TensorProto, helper, numpy_helper
from scan_graphs import GATES, Parameters, Scales, random_parameters, scan_model, with_state_sum
from test_lower_onnx import constants

import hwgen
from hwgen import host
from hwgen.errors import UnsupportedError
from hwgen.layers import LstmLayer, RnnLayer
from hwgen.lowering import lower
from hwgen.network import Network

INPUTS, HIDDEN = test_scan.INPUTS, test_scan.HIDDEN
SIZES = ((1, 1), (25, 16), (200, 2))


def load(model: onnx.ModelProto, folder: Path) -> Network:
    onnx.save(model, folder / "model.onnx")
    return hwgen.load(folder / "model.onnx")


def assert_codes_agree(network: Network, single: bool = False) -> int:
    """Codes of hwgen and of onnxruntime for all sizes, or for one sequence at a time; how many were compared."""
    sizes = ((1, 1), (40, 1), (300, 1)) if single else SIZES
    inputs = [code_inputs(network, *size, seed=seed) for seed, size in enumerate(sizes)]
    return assert_lowered(network, lower(network), *inputs)


# The Scan form.


def scan(scales_of: Callable[[Parameters], Scales], **options: Any) -> onnx.ModelProto:
    parameters = random_parameters(INPUTS, HIDDEN, 3)
    return scan_model(parameters, scales_of(parameters), **options)


def ratio(kind: str) -> onnx.ModelProto:
    """Products of different scales; "real" and "nearly small" ones are bounded."""
    return scan(lambda parameters: test_scan.mixed(parameters, kind))


def powers(_: Parameters) -> Scales:
    """Powers of two throughout: float32 then holds every sum, and the file itself gives the very codes."""
    return Scales(
        input=2.0**-6,
        output=2.0**-7,
        input_weight=dict.fromkeys(GATES, 2.0**-8),
        hidden_weight=dict.fromkeys(GATES, 2.0**-7),
        accumulator=dict.fromkeys(GATES, 2.0**-5),
        activation={gate: 2.0 ** -(7 if gate == "cell" else 8) for gate in GATES},
        term=2.0**-6,
        state=2.0**-5,
        argument=2.0**-4,
        tanh=2.0**-7,
    )


SCANS: dict[str, onnx.ModelProto] = {
    **{name: scan(scales_of) for name, scales_of in test_scan.CASES.items()},
    **{f"ratio {kind}": ratio(kind) for kind in ("power of two", "small integers", "real", "nearly small")},
    "powers of two": scan(powers),
    "powers of two, sum of two codes": scan(lambda parameters: with_state_sum(powers(parameters))),
    "rows": scan(test_scan.CASES["copied"], columns=False),
    "reversed": scan(test_scan.CASES["state and argument"], reverse=True),
    "time is the last axis": scan(test_scan.CASES["own"], axis=2, columns=False),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans(name: str, tmp_path: Path) -> None:
    network = load(SCANS[name], tmp_path)
    steps = sum(steps * batch for steps, batch in SIZES), sum(batch for _, batch in SIZES)
    assert assert_codes_agree(network) == len(LEVELS) * HIDDEN * (steps[0] + 2 * steps[1])


@pytest.mark.parametrize("name", ["own", "own, state not quantized"])
def test_zero_points(name: str, tmp_path: Path) -> None:
    model = scan(test_scan.CASES[name])
    test_scan.set_zero_points(model)
    network = load(model, tmp_path)
    assert network.layer.input.zero_point == (10,)
    assert_codes_agree(network)


@pytest.mark.parametrize("name", ["powers of two", "powers of two, sum of two codes"])
def test_the_lowered_scan_gives_what_the_scan_itself_gives(name: str, tmp_path: Path) -> None:
    """Both in onnxruntime, over whole sequences: with powers of two nothing is left to float32."""
    network, original = load(SCANS[name], tmp_path), test_scan.session_of(SCANS[name])
    inputs = code_inputs(network, 300, 1, seed=4)
    wanted = execute(original, inputs)
    for session in sessions(checked(network, lower(network), float32=True)):
        assert_equal(execute(session, inputs), wanted, name)
    assert all(len(np.unique(values)) > 10 for values in wanted.values())


def test_quantizers_of_terms_and_of_the_argument_are_in_the_graph(tmp_path: Path) -> None:
    """Each changes codes, so that equality above says something about it."""
    network = load(SCANS["powers of two"], tmp_path)
    layer, inputs = network.layer, code_inputs(network, 60, 8, seed=5)
    assert None not in (layer.forget_product, layer.input_product, layer.tanh_argument)
    whole = network.run(inputs)["hidden"]
    for changed in (replace(layer, forget_product=None, input_product=None), replace(layer, tanh_argument=None)):
        other = replace(network, layers=(changed,))
        assert (other.run(inputs)["hidden"] != whole).any()
        assert_lowered(other, lower(other), inputs)


def test_terms_of_different_scales_are_refused(tmp_path: Path) -> None:
    """A layer made by hand: the reader of Scan gives none."""
    network = load(SCANS["powers of two"], tmp_path)
    other = replace(network, layers=(replace(network.layer, forget_product=None),))
    message = r"^lstm: f \* c and i \* g must have one scale, not 0.03125 and 0.015625$"
    with pytest.raises(UnsupportedError, match=message):
        lower(other)


@pytest.mark.parametrize("between", [False, True])
def test_scans_one_after_the_other(between: bool, tmp_path: Path) -> None:
    network = load(test_scan.two_scans(between), tmp_path)
    assert len([layer for layer in network.layers if isinstance(layer, LstmLayer)]) == 2
    assert_codes_agree(network)


def test_one_sequence_without_an_axis_for_more(tmp_path: Path) -> None:
    """The sequence and the states: the file says so, and onnxruntime refuses more."""
    network = load(test_scan.without_batch_axis(), tmp_path)
    assert_codes_agree(network, single=True)
    (session, *_) = sessions(checked(network, lower(network)))
    shapes = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["sequence"] == ["time", INPUTS] and shapes["hidden"] == ["time", HIDDEN]
    assert shapes["h0"] == shapes["c_n"] == [HIDDEN, 1]
    inputs = code_inputs(network, 5, 1, seed=6)
    inputs["h0"] = np.repeat(inputs["h0"], 2, axis=1)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 1"):
        execute(session, inputs)


@pytest.mark.parametrize("name", ["copied", "ratio real"])
def test_states_of_a_run_start_the_next(name: str, tmp_path: Path) -> None:
    """What leaves as float32 is on the grid of the state, and so gives the same codes again."""
    network = load(SCANS[name], tmp_path)
    whole = code_inputs(network, 50, 4, seed=7)
    model = lower(network)
    wanted = host.run(network, model, whole)["hidden"].astype(np.float32)
    for session in sessions(checked(network, model, float32=True)):
        state, pieces = {key: whole[key] for key in ("h0", "c0")}, []
        for begin in range(0, 50, 10):
            got = execute(session, {"sequence": whole["sequence"][begin : begin + 10], **state})
            pieces.append(got["hidden"])
            state = {"h0": got["h_n"], "c0": got["c_n"]}
        np.testing.assert_array_equal(np.concatenate(pieces), wanted)


# QuantRNNCell.


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("rounding", test_rnn_cell.ROUNDINGS)
@pytest.mark.parametrize(("batch_first", "reverse"), [(0, 0), (1, 1)])
def test_rnn_cells(nonlinearity: str, rounding: str, batch_first: int, reverse: int, tmp_path: Path) -> None:
    model = test_rnn_cell.rnn(
        nonlinearity=nonlinearity,
        batch_first=batch_first,
        reverse_input=reverse,
        output_rounding_mode=rounding,
        gate_acc_rounding_mode=rounding,
    )
    network = load(model, tmp_path)
    assert isinstance(network.layers[0], RnnLayer)
    assert assert_codes_agree(network) > 0
    inputs = random_inputs(network, 50, 9, seed=8)
    assert_lowered(network, lower(network), inputs)


@pytest.mark.parametrize("scale", [0.0625, 0.0390625, 0.05])
def test_rnn_cells_whose_state_has_another_scale(scale: float, tmp_path: Path) -> None:
    model = test_rnn_cell.rnn()
    test_rnn_cell.put(model, 5, scale)
    assert_codes_agree(load(model, tmp_path))


def test_rnn_cells_with_given_states_and_scales_for_each_unit(tmp_path: Path) -> None:
    model = test_rnn_cell.rnn(nonlinearity="relu")
    test_rnn_cell.put(model, 8, np.linspace(0.02, 0.08, test_rnn_cell.H))
    (h0,) = (tensor for tensor in model.graph.initializer if tensor.name == "h0")
    model.graph.initializer.remove(h0)
    model.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [None, test_rnn_cell.H]))
    cell = test_rnn_cell.node(model)
    quant = next(node for node in model.graph.node if node.name == "quant_x")
    state = onnx.NodeProto.FromString(quant.SerializeToString())
    state.name, state.input[0], state.output[0] = "quant_h0", "h0", "h0_q"
    model.graph.node.insert(0, state)
    cell.input[1] = "h0_q"
    network = load(model, tmp_path)
    assert [port.name for port in network.inputs] == ["x", "h0"]
    assert_codes_agree(network)


# A fault must be seen.

FAULTS = (
    ("own", "lstm/cell_sum/table"),
    ("ratio real", "lstm/forget_gate/hidden_weights"),
    ("state and argument", "lstm/hidden_state_tanh/table"),
    ("state and argument", "c0/quantize/scale"),
    ("rnn", "rnn/hidden_gate/input_weights"),
    ("rnn", "rnn/hidden_gate/hidden_weights"),
    ("rnn", "rnn/hidden_gate/bias"),
    ("rnn", "rnn/hidden_gate/tanh/table"),
)


@pytest.mark.parametrize(("name", "tensor"), FAULTS)
def test_a_planted_fault_is_seen(name: str, tensor: str, tmp_path: Path) -> None:
    network = load(test_rnn_cell.rnn() if name == "rnn" else SCANS[name], tmp_path)
    model = lower(network)
    graph = checked(network, model)
    found = next(constant for constant in constants(graph.graph) if constant.name == tensor)
    values = numpy_helper.to_array(found).copy()
    # The entry in the middle, which is used often; what goes into a sum changes by as much as moves its code.
    places = values.reshape(-1)
    middle = places.size // 2
    if values.dtype.kind == "f":
        places[middle] *= 1.01
    else:
        places[middle] += max(1, abs(int(places[middle])) // 4)
    found.CopyFrom(numpy_helper.from_array(values, tensor))
    inputs = code_inputs(network, 60, 64, seed=9)
    wanted = host.run(network, model, inputs)
    for session in sessions(graph):
        got = execute(session, inputs)
        assert sum(int((got[key] != wanted[key]).sum()) for key in wanted) > 0
