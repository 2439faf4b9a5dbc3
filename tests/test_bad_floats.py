# SPDX-License-Identifier: Apache-2.0
"""Float models and data that hwgen calibrate must refuse, by the name of the node or option, writing nothing.

Models are written by hand: neither torch nor Brevitas is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from hwgen.calibration import Calibration, Options
from hwgen.calibration.observe import evaluate
from hwgen.cli import main
from hwgen.errors import ConfigError, HwgenError, ModelError, UnsupportedError
from hwgen.frontend import load
from hwgen.layers import LstmLayer

INPUTS, H, STEPS, BATCH = 5, 6, 7, 9
ROWS = {"LSTM": 4 * H, "GRU": 3 * H, "RNN": H}
Edit = Callable[[onnx.ModelProto], None]


def model(kind: str = "LSTM", opset: int = 17, **attributes: Any) -> onnx.ModelProto:
    """One recurrent node with a dense layer on its last state."""
    random, rows = np.random.default_rng(7), ROWS[kind]
    stored: dict[str, NDArray[Any]] = {
        "W": random.normal(0, 0.5, (1, rows, INPUTS)).astype(np.float32),
        "R": random.normal(0, 0.4, (1, rows, H)).astype(np.float32),
        "B": random.normal(0, 0.3, (1, 2 * rows)).astype(np.float32),
        "V": random.normal(0, 0.5, (3, H)).astype(np.float32),
        "b": random.normal(0, 0.5, 3).astype(np.float32),
        "first": np.array([0], np.int64),
    }
    attributes = {"hidden_size": H} | ({"linear_before_reset": 1} if kind == "GRU" else {}) | attributes
    outputs = ["", "h", "c"] if kind == "LSTM" else ["", "h"]
    nodes = [
        helper.make_node(kind, ["x", "W", "R", "B"], outputs, "rnn", **attributes),
        helper.make_node("Squeeze", ["h", "first"], ["last"], "squeeze"),
        helper.make_node("Gemm", ["last", "V", "b"], ["y"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def rnn(m: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in m.graph.node if node.op_type in ROWS)


def store(m: onnx.ModelProto, name: str, value: ArrayLike, dtype: type = np.float32) -> str:
    """Put a constant in the place of any of this name."""
    for tensor in [tensor for tensor in m.graph.initializer if tensor.name == name]:
        m.graph.initializer.remove(tensor)
    m.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
    return name


def give(m: onnx.ModelProto, place: int, name: str) -> None:
    """Set an input of the recurrent node, leaving out those before it that it lacks."""
    node = rnn(m)
    node.input.extend([""] * (place + 1 - len(node.input)))
    node.input[place] = name


def constant_input(place: int, value: ArrayLike, dtype: type = np.float32) -> Edit:
    return lambda m: give(m, place, store(m, f"given_{place}", value, dtype))


def graph_input(place: int, name: str, dims: list[int | None], kind: int = TensorProto.FLOAT) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        m.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
        give(m, place, name)

    return edit


def behind(*nodes: onnx.NodeProto) -> Edit:
    """Nodes between the head and the output: from 'scores' to 'y'."""

    def edit(m: onnx.ModelProto) -> None:
        m.graph.node[-1].output[0] = "scores"
        m.graph.node.extend(nodes)

    return edit


def replaced(name: str, value: ArrayLike) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        store(m, name, value)

    return edit


def softened(m: onnx.ModelProto) -> None:
    """R behind a tanh."""
    m.graph.node.insert(0, helper.make_node("Tanh", ["R"], ["soft"], "soften"))
    give(m, 2, "soft")


def weight_as_input(m: onnx.ModelProto) -> None:
    m.graph.input.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, [3, H]))
    m.graph.node[-1].input[1] = "v"


def saved(m: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "float.onnx"
    onnx.save(m, path)
    return path


def data(steps: int = STEPS, batch: int = BATCH, inputs: int = INPUTS) -> NDArray[np.float32]:
    return np.random.default_rng(8).normal(0, 1, (steps, batch, inputs)).astype(np.float32)


def unchanged(m: onnx.ModelProto) -> None:
    del m


def drop_input(place: int) -> Edit:
    return lambda m: rnn(m).input.__setitem__(place, "")


LSTM, GRU, RNN = "LSTM 'rnn'", "GRU 'rnn'", "RNN 'rnn'"
REFUSED: dict[str, tuple[onnx.ModelProto, Edit, type[HwgenError], str]] = {
    "peepholes": (
        model(),
        constant_input(7, np.ones((1, 3 * H))),
        UnsupportedError,
        f"{LSTM}: peepholes (input P) are not supported; train the model without them, as torch.nn.LSTM is",
    ),
    "clip": (
        model(clip=3.0),
        unchanged,
        UnsupportedError,
        f"{LSTM}: attribute clip is not supported; export it without: the quantizer of the accumulator clips to the "
        "range that the data shows",
    ),
    "custom activations": (
        model(activations=["HardSigmoid", "Tanh", "Tanh"]),
        unchanged,
        UnsupportedError,
        f"{LSTM}: its activations must be sigmoid, tanh, tanh, not hardsigmoid, tanh, tanh",
    ),
    "too few activations": (
        model(activations=["Sigmoid"]),
        unchanged,
        ModelError,
        f"{LSTM}: must have 3 activations, not 1",
    ),
    "another activation of an RNN": (
        model("RNN", activations=["Softsign"]),
        unchanged,
        UnsupportedError,
        f"{RNN}: its activations must be tanh or relu, not softsign",
    ),
    "parameters of activations": (
        model("GRU", activation_alpha=[0.2]),
        unchanged,
        UnsupportedError,
        f"{GRU}: attribute activation_alpha is not supported; sigmoid, tanh and relu take none",
    ),
    "a reset gate before the product": (
        model("GRU", linear_before_reset=0),
        unchanged,
        UnsupportedError,
        f"{GRU}: linear_before_reset must be 1, not 0: the reset gate multiplies the hidden product U h + b, as in "
        "torch.nn.GRU; train and export it with reset_after (Keras) or with torch",
    ),
    "packed sequences": (
        model(),
        graph_input(4, "lengths", [None], TensorProto.INT32),
        UnsupportedError,
        f"{LSTM}: sequence_lens ('lengths') is computed from an input; packed sequences cannot be calibrated: export "
        "the model on a plain tensor; the hardware takes sequences of any length",
    ),
    "sequences of constant, different lengths": (
        model(),
        constant_input(4, [3, 4, 5], np.int32),
        UnsupportedError,
        f"{LSTM}: sequence_lens ('given_4') is different for each sequence; packed sequences cannot be calibrated: "
        "export the model on a plain tensor; the hardware takes sequences of any length",
    ),
    "weights that are an input": (
        model(),
        graph_input(1, "weights", [1, 4 * H, INPUTS]),
        UnsupportedError,
        f"{LSTM}: W ('weights') must be a constant, or a constant behind Quant or DequantizeLinear, but comes from a "
        "graph input",
    ),
    "weights that are computed": (
        model(),
        softened,
        UnsupportedError,
        f"{LSTM}: R ('soft') must be a constant, or a constant behind Quant or DequantizeLinear, but comes from Tanh "
        "'soften'",
    ),
    "no recurrent weight": (
        model(),
        drop_input(2),
        ModelError,
        f"{LSTM}: must have inputs X, W and R; R is missing",
    ),
    "weights of another hidden size": (
        model(),
        replaced("R", np.ones((1, 4 * H, H + 1))),
        ModelError,
        f"{LSTM}: W must have shape [1, {4 * (H + 1)}, {INPUTS}], not [1, {4 * H}, {INPUTS}]",
    ),
    "hidden_size of its own": (
        model(hidden_size=H + 2),
        unchanged,
        ModelError,
        f"{LSTM}: hidden_size must be {H}, as R has it, not {H + 2}",
    ),
    "weights without the axis of directions": (
        model(),
        replaced("W", np.ones((4 * H, INPUTS))),
        ModelError,
        f"{LSTM}: W must have shape [directions, 4 * units, n], not [{4 * H}, {INPUTS}]",
    ),
    "a bias of the wrong shape": (
        model("RNN"),
        replaced("B", np.ones((1, H))),
        ModelError,
        f"{RNN}: B must have shape [1, {2 * H}], not [1, {H}]",
    ),
    "weights NaN": (
        model(),
        replaced("W", np.full((1, 4 * H, INPUTS), np.nan)),
        ModelError,
        f"{LSTM}: its W must be finite, not nan",
    ),
    "a direction that is none": (
        model(direction="sideways"),
        unchanged,
        ModelError,
        f"{LSTM}: direction must be one of forward, reverse, bidirectional, not 'sideways'",
    ),
    "layout 2": (
        model(layout=2),
        unchanged,
        ModelError,
        f"{LSTM}: attribute 'layout' must be 0 or 1, not 2",
    ),
    "initial states that differ": (
        model(),
        constant_input(5, np.arange(2 * H).reshape(1, 2, H)),
        UnsupportedError,
        f"{LSTM}, initial_h ('given_5'): differs between the sequences of a batch; make it a graph input, or the same "
        "for all",
    ),
    "initial states of the wrong size": (
        model(),
        constant_input(6, np.arange(H + 1).reshape(1, 1, H + 1)),
        ModelError,
        f"{LSTM}, initial_c ('given_6'): must have 1 directions and {H} units, not [1, 1, {H + 1}]",
    ),
    # All that torch's dynamo exporter leaves of projections.
    "initial states of zeros and of the wrong size": (
        model(),
        constant_input(6, np.zeros((1, 1, H + 1))),
        ModelError,
        f"{LSTM}, initial_c ('given_6'): must have 1 directions and {H} units, not [1, 1, {H + 1}]",
    ),
    "an operator of no layer": (
        model(),
        behind(helper.make_node("Softplus", ["scores"], ["y"], "soft")),
        UnsupportedError,
        "Softplus 'soft': cannot be calibrated; hwgen calibrate reads Add, ArgMax, Concat, Dropout, Flatten, GRU, "
        "Gather, Gemm, Identity, LSTM, MatMul, RNN, Relu, Reshape, Sigmoid, Slice, Squeeze, Tanh, TopK, Transpose, "
        "Unsqueeze",
    ),
    "a softmax": (
        model(),
        behind(helper.make_node("Softmax", ["scores"], ["y"], "soft", axis=-1)),
        UnsupportedError,
        "Softmax 'soft': leave it out of the model: the argmax of its argument is the same",
    ),
    "a sum of two layers": (
        model(),
        behind(helper.make_node("Add", ["scores", "scores"], ["y"], "twice")),
        UnsupportedError,
        "Add 'twice': hwgen reads the sum of a dense layer and its constant bias alone",
    ),
    "a dense layer that is scaled": (
        model(),
        lambda m: m.graph.node[-1].attribute.append(helper.make_attribute("alpha", 0.5)),
        UnsupportedError,
        "Gemm 'head': alpha must be 1, not 0.5",
    ),
    "a dense layer whose weight is an input": (
        model(),
        weight_as_input,
        UnsupportedError,
        "Gemm 'head': its weight ('v') must be a constant, or a constant behind Quant or DequantizeLinear, but comes "
        "from a graph input",
    ),
    "a bias of the head of the wrong shape": (
        model(),
        replaced("b", np.ones(2)),
        UnsupportedError,
        "Gemm 'head': its bias must have shape [3], not [2]",
    ),
    "a cycle": (
        model(),
        lambda m: m.graph.node[0].input.__setitem__(0, "y"),
        ModelError,
        "LSTM 'rnn': stands in a cycle: it depends on its own output",
    ),
    "outputs that ignore the input": (
        model(),
        lambda m: give(m, 0, store(m, "constant", data())),
        ModelError,
        "no output depends on an input (constant outputs 'y'): torch's dynamo exporter drops quantized recurrent "
        "layers silently; export again with export_qonnx(..., dynamo=False)",
    ),
    "weights quantized in parts": (
        model(),
        lambda m: quantize_weights(m, [1, 2 * H + 2, 1]),
        UnsupportedError,
        "Quant 'quant_W': its scale [1, 14, 1] must fit the shape [1, 24, 5] of what it quantizes",
    ),
    "weights with scales by column": (
        model(),
        lambda m: quantize_weights(m, [1, 1, INPUTS]),
        UnsupportedError,
        "rnn/input, W: its scale must be one number or one per output channel",
    ),
}


def quantize_weights(m: onnx.ModelProto, shape: list[int]) -> None:
    """Put W behind a Quant node with scales of a shape."""
    store(m, "scale", 0.01 + 0.001 * np.arange(np.prod(shape)).reshape(shape))
    for name, value in (("zero", 0.0), ("eight", 8.0)):
        store(m, name, value)
    node = helper.make_node(
        "Quant", ["W", "scale", "zero", "eight"], ["Wq"], "quant_W", domain="qonnx.custom_op.general"
    )
    m.graph.node.insert(0, node)
    m.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 2))
    give(m, 1, "Wq")


@pytest.mark.parametrize("name", REFUSED)
def test_bad_models_are_refused_by_name(name: str, tmp_path: Path) -> None:
    original, edit, kind, message = REFUSED[name]
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    edit(changed)
    path = saved(changed, tmp_path)
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught:
        Calibration(path, Options()).run({"x": data()}, tmp_path / "model.onnx")
    assert type(caught.value) is kind
    assert [file.name for file in tmp_path.iterdir()] == ["float.onnx"]


@pytest.mark.parametrize("kind", ROWS)
def test_the_same_models_unchanged_are_calibrated(kind: str, tmp_path: Path) -> None:
    calibration = Calibration(saved(model(kind), tmp_path), Options())
    calibration.run({"x": data()}, tmp_path / "model.onnx")
    assert load(tmp_path / "model.onnx").run({"x": data()})["y"].shape == (BATCH, 3)


@pytest.mark.parametrize(("opset", "message"), [
    (13, "opset must be from 14 to .*, not 13"),
    (999, "opset must be from 14 to .*, not 999; export it again with opset_version=17"),
])  # fmt: skip
def test_opsets_of_another_age_are_refused(opset: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        Calibration(saved(model(opset=opset), tmp_path), Options())


def test_a_model_without_float_cells_has_nothing_to_calibrate(default_model: Path) -> None:
    with pytest.raises(
        ModelError, match="holds no LSTM, GRU or RNN node; there is nothing to calibrate: hwgen inspect"
    ):
        Calibration(default_model, Options())


# What is not refused, though unusual.


def coupled_by_hand(m: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0])


@pytest.mark.parametrize("attributes", [{"input_forget": 1}, {"direction": "reverse"}])
def test_coupled_and_reversed_nodes_mean_what_onnxruntime_says(attributes: dict[str, Any], tmp_path: Path) -> None:
    m = model(**attributes)
    calibration = Calibration(saved(m, tmp_path), Options())
    wanted = coupled_by_hand(m, data())
    own = calibration.network.present(
        evaluate(calibration.network, calibration._draft, calibration.network.bind({"x": data()}))
    )
    np.testing.assert_allclose(own["y"], wanted, atol=1e-5)
    calibration.run({"x": data()}, tmp_path / "model.onnx")
    network = load(tmp_path / "model.onnx")
    layer = network.layers[0]
    assert isinstance(layer, LstmLayer)
    assert layer.coupled == ("input_forget" in attributes) and layer.reverse == ("direction" in attributes)
    if layer.coupled:
        gate = layer.gate("input").activation_quantizer
        assert abs(float(gate.dequantize(gate.quantize(np.ones(1)))[0]) - 1) < 0.005, "1 - i needs a code for 1"
    np.testing.assert_allclose(network.run({"x": data()})["y"], wanted, atol=0.1)


def test_layout_1_has_the_batch_in_front(tmp_path: Path) -> None:
    m = model(layout=1)
    store(m, "first", [1], np.int64)
    calibration = Calibration(saved(m, tmp_path), Options())
    x = data().swapaxes(0, 1)
    calibration.run({"x": x}, tmp_path / "model.onnx")
    network = load(tmp_path / "model.onnx")
    assert network.inputs[0].layout == f"[batch, T, {INPUTS}]"
    time_major = model()
    found, wanted = network.run({"x": x})["y"], coupled_by_hand(time_major, data())
    np.testing.assert_allclose(found, wanted, atol=0.1)


def test_constant_equal_lengths_are_left_out_with_a_warning(tmp_path: Path) -> None:
    m = model()
    constant_input(4, [STEPS] * BATCH, np.int32)(m)
    report = Calibration(saved(m, tmp_path), Options()).run({"x": data()}, tmp_path / "model.onnx")
    assert report["warnings"] == [
        "LSTM 'rnn': its sequence_lens is the same for all sequences and left out; they may have any length"
    ]


def test_peepholes_of_zero_are_none(tmp_path: Path) -> None:
    m = model()
    constant_input(7, np.zeros((1, 3 * H)))(m)
    Calibration(saved(m, tmp_path), Options()).run({"x": data()}, tmp_path / "model.onnx")


# Data in other files.


def split_off(folder: Path, location: str, **entries: str) -> Path:
    """A model whose W lies in another file."""
    m = model()
    tensor = next(tensor for tensor in m.graph.initializer if tensor.name == "W")
    (folder / "model").mkdir(exist_ok=True)
    content = tensor.raw_data
    (folder / "model" / "weights.bin").write_bytes(content)
    (folder / "outside.bin").write_bytes(content)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in ({"location": location} | entries).items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "model" / "float.onnx"
    path.write_bytes(m.SerializeToString())
    return path


def test_data_in_the_models_folder_are_read(tmp_path: Path) -> None:
    path = split_off(tmp_path, "weights.bin")
    one, other = tmp_path / "a.onnx", tmp_path / "b.onnx"
    Calibration(path, Options()).run({"x": data()}, one)
    Calibration(saved(model(), tmp_path), Options()).run({"x": data()}, other)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../outside.bin", {}, "its data must lie in the folder of the model, not at '../outside.bin'"),
        ("/etc/hostname", {}, "its data must lie in the folder of the model, not at '/etc/hostname'"),
        ("link.bin", {}, "its data must lie in the folder of the model, not at 'link.bin'"),
        ("", {}, "its data must lie in the folder of the model, not at ''"),
        ("nowhere.bin", {}, r"its data in 'nowhere.bin' cannot be read \(No such file or directory\)"),
        ("weights.bin", {"length": "999999"}, r"claims bytes 0..999999 of weights.bin, which has 480"),
        ("weights.bin", {"offset": "-4"}, r"claims bytes -4.."),
        ("weights.bin", {"offset": "four"}, r"offset and length of its data must be integers"),
        ("weights.bin", {"length": "8"}, r"unreadable data"),
    ],
)
def test_data_anywhere_else_are_refused(location: str, entries: dict[str, str], message: str, tmp_path: Path) -> None:
    path = split_off(tmp_path, location, **entries)
    (path.parent / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelError, match=f"initializer 'W': {message}"):
        Calibration(path, Options())


# Data and options, as a user types them.


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["calibrate", *arguments])
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return " ".join(result.stderr.split())


ARRAYS: dict[str, tuple[ArrayLike, str]] = {
    "features": (data(inputs=4), f"--data 'x': shape must be [T, batch, {INPUTS}], not [{STEPS}, {BATCH}, 4]"),
    "rank": (np.zeros((STEPS, INPUTS)), f"--data 'x': shape must be [T, batch, {INPUTS}], not [{STEPS}, {INPUTS}]"),
    "NaN": (np.full((STEPS, BATCH, INPUTS), np.nan), "--data 'x': every value must be a finite float32"),
    "infinity": (np.full((STEPS, BATCH, INPUTS), 1e39), "--data 'x': every value must be a finite float32"),
    "empty": (data(steps=0), "--data: at least one step of one sequence is needed, not shape [0, 9, 5]"),
    "text": (np.array([[["a"] * INPUTS]]), "--data 'x': numbers are needed, not <U1"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_data_that_do_not_fit_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(model(), tmp_path)
    monkeypatch.chdir(tmp_path)
    array, message = ARRAYS[name]
    np.save("x.npy", np.asarray(array))
    assert refused("float.onnx", "--data", "x.npy", "-o", "model.onnx") == f"ConfigError: {message}"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["float.onnx", "x.npy"]


def test_sequences_without_the_step_that_is_picked_are_refused(tmp_path: Path) -> None:
    m = model()
    rnn(m).output[0] = "Y"
    store(m, "fifth", 4, np.int64)
    m.graph.node[1].CopyFrom(helper.make_node("Squeeze", ["Y", "one"], ["y_all"], "squeeze"))
    store(m, "one", [1], np.int64)
    m.graph.node.insert(2, helper.make_node("Gather", ["y_all", "fifth"], ["last"], "pick", axis=0))
    calibration = Calibration(saved(m, tmp_path), Options())
    with pytest.raises(ConfigError, match=r"^--data: 'pick' picks time step 4 of 4$"):
        calibration.run({"x": data(steps=4)}, tmp_path / "model.onnx")
    calibration.run({"x": data(steps=5)}, tmp_path / "model.onnx")


def test_options_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(model(), tmp_path)
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", data())
    call = ("float.onnx", "--data", "x.npy", "-o", "model.onnx")
    assert "Missing option '--data'" in refused("float.onnx", "-o", "model.onnx")
    assert "Missing option '-o'" in refused("float.onnx", "--data", "x.npy")
    assert "--data nowhere.npy: no such file" in refused("float.onnx", "--data", "nowhere.npy", "-o", "model.onnx")
    assert "--data float.onnx: not a .npy file" in refused("float.onnx", "--data", "float.onnx", "-o", "model.onnx")
    assert "--method must be one of minmax, percentile, mse, not 'kl'" in refused(*call, "--method", "kl")
    assert "--bits must be from 2 to 16, not 1" in refused(*call, "--bits", "1")
    assert "all 1 inputs are given already" in refused(*call, "--data", "x.npy")
    assert "is the model itself, which would be lost" in refused(*call[:3], "-o", "float.onnx")
    assert "nowhere/model.onnx: cannot be written" in refused(*call[:3], "-o", "nowhere/model.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["float.onnx", "x.npy"]


def test_states_that_are_inputs_need_data_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = model()
    graph_input(5, "h0", [1, None, H])(m)
    path = saved(m, tmp_path)
    with pytest.raises(ConfigError, match=r"^--data: the model needs 'x', 'h0', given 'x'$"):
        Calibration(path, Options()).run({"x": data()}, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", data())
    np.save("h.npy", np.random.default_rng(1).normal(0, 0.3, (1, BATCH, H)))
    arguments = ["calibrate", "float.onnx", "--data", "x.npy", "--data", "h0=h.npy", "-o", "model.onnx"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    layer = load(tmp_path / "model.onnx").layers[0]
    assert isinstance(layer, LstmLayer) and layer.initial_hidden.source == "h0"
