# SPDX-License-Identifier: Apache-2.0
"""Files and arrays that a hostile or unlucky user brings: each is refused by name, nothing else ever comes out.

Most are the default model with one thing changed.
"""

from __future__ import annotations

import io
import re
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from hwgen.errors import ConfigError, HwgenError, ModelError, UnsupportedError
from hwgen.frontend import load
from hwgen.frontend.quant_nodes import MAX_BITS
from hwgen.lowering import lower
from hwgen.network import Network

MODELS = Path(__file__).parent / "models"
CELL = "QuantLSTMCell '/layers.0.0/export_handler/QuantLSTMCell'"
INPUT_QUANT = "Quant '/layers.0.0/output_quant/export_handler/Quant'"
Edit = Callable[[onnx.ModelProto], None]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Turn a hang into a failure."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def model(name: str = "default") -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.onnx")


def refusal(content: onnx.ModelProto | bytes, folder: Path) -> HwgenError:
    """The error that loading and lowering ``content`` raises: it must be one of hwgen's own, and come soon."""
    path = folder / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with time_limit(20), pytest.raises(HwgenError) as caught:
        lower(load(path))
    assert type(caught.value) in (ModelError, UnsupportedError)
    assert "\n" not in str(caught.value), "a message is one line"
    return caught.value


def cell(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "QuantLSTMCell")


def quant(model: onnx.ModelProto, tensor: str) -> onnx.NodeProto:
    """The Quant node that reads ``tensor``."""
    return next(node for node in model.graph.node if "Quant" in node.op_type and node.input[0] == tensor)


def weight_quant(model: onnx.ModelProto, index: int = 3) -> onnx.NodeProto:
    """The Quant node of an input of the cell."""
    return next(node for node in model.graph.node if cell(model).input[index] in node.output)


def put(model: onnx.ModelProto, node: onnx.NodeProto, index: int, value: ArrayLike | TensorProto) -> None:
    """Give one input of one node a constant of its own."""
    tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), f"edited_{index}")
    model.graph.initializer.append(tensor)
    node.input[index] = tensor.name


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    drop_attribute(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def drop_attribute(node: onnx.NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)


# Files that are no models.


def pattern(path: Path, message: str) -> str:
    return f"^{re.escape(f'{path}: {message}')}$"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    with pytest.raises(ModelError, match=pattern(path, "no such file")):
        load(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=pattern(tmp_path, "not a file; a model is one .onnx file")):
        load(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    with pytest.raises(ModelError, match=pattern(path, "empty file")):
        load(path)


def test_a_file_beyond_2_gib_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # sparse: it takes no space
    tracemalloc.start()
    message = "2147483649 bytes, more than an ONNX file can have (2 GiB)"
    with pytest.raises(ModelError, match=pattern(path, message)):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a" * 300 + ".onnx", "a" * 5000, "nul\0.onnx", "file.onnx/inside"])
def test_an_impossible_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.onnx").write_bytes(b"x")
    with pytest.raises(ModelError):
        load(tmp_path / name)


RNG = np.random.default_rng(0)
NO_MODELS = {
    "random bytes": RNG.bytes(1000),
    "zeros": bytes(1000),
    "text": b"input,output\n1,2\n" * 20,
    "a PNG header": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + RNG.bytes(60),
    "a ZIP header": b"PK\x03\x04" + RNG.bytes(60),
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "one byte": b"\x08",
    "a valid protobuf of something else": b"\x08\x07",
    "a model without a graph": helper.make_model(helper.make_graph([], "empty", [], [])).SerializeToString(),
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=list(NO_MODELS))
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    error = refusal(content, tmp_path)
    assert isinstance(error, ModelError)
    assert re.search(
        r"bad\.onnx: not an ONNX (file, or a truncated one; export it again|model: it holds no graph)$", str(error)
    )


def top_level_ends(content: bytes) -> list[int]:
    """Where each field of a serialized model ends: the cuts at which the rest still parses."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value, at, last = value | (content[at] & 127) << shift, at + 1, content[at] < 128
            shift += 7
            if last:
                return value, at

    at, ends = 0, []
    while at < len(content):
        key, at = varint(at)
        size, at = varint(at)
        at += size if key & 7 == 2 else 0
        ends.append(at)
    return ends


@pytest.mark.parametrize("name", ["default", "states"])
def test_a_model_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    content = (MODELS / f"{name}.onnx").read_bytes()
    ends = top_level_ends(content)
    assert ends[-1] == len(content) and len(ends) > 4
    cuts = {*range(1, len(content), 211), *range(len(content) - 60, len(content)), *ends[:-1]}
    for cut in sorted(cuts):
        error = refusal(content[:cut], tmp_path)
        assert isinstance(error, ModelError), f"cut at {cut} of {len(content)}: {error}"


@pytest.mark.parametrize("name", [b"h_n", b"/layers.0.0/Unsqueeze_1", b"QuantLSTMCell", b"qonnx.custom_op.general"])
def test_names_that_are_no_text_are_refused(name: bytes, tmp_path: Path) -> None:
    content = (MODELS / "default.onnx").read_bytes()
    assert name in content
    error = refusal(content.replace(name, b"\xff" * len(name)), tmp_path)
    assert isinstance(error, ModelError)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_give_a_model_or_a_refusal(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    content = np.frombuffer((MODELS / "states.onnx").read_bytes(), np.uint8)
    path, refused = tmp_path / "bad.onnx", 0
    for _ in range(25):
        damaged = content.copy()
        places = rng.integers(0, len(content), int(rng.integers(1, 20)))
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            with time_limit(20):
                lower(load(path))
        except (ModelError, UnsupportedError):
            refused += 1
    assert refused > 0, f"seed {seed}"


# Graphs without a cell that can be read.


def one_node_model(*nodes: onnx.NodeProto, output: str = "y") -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 3, 10])
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    weights = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in (("W", (1, 80, 10)), ("R", (1, 80, 20)))
    ]
    return helper.make_model(helper.make_graph(list(nodes), "graph", [x], [y], weights))


def test_constant_outputs_are_refused_and_the_message_names_dynamo_false(tmp_path: Path) -> None:
    zeros = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.zeros((5, 3, 20), np.float32)))
    error = refusal(one_node_model(zeros), tmp_path)
    assert str(error) == (
        "no output depends on an input (constant outputs 'y'): torch's dynamo exporter drops quantized recurrent "
        "layers silently; export again with export_qonnx(..., dynamo=False)"
    )


TO_CALIBRATE = (
    "its activations have no quantizers; hwgen calibrate picks them from data and writes a fully quantized model: "
    "hwgen calibrate MODEL --data X.npy -o OUT.onnx"
)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            helper.make_node("LSTM", ["x", "W", "R"], ["y", "", ""], name="rnn", hidden_size=20),
            f"LSTM 'rnn': {TO_CALIBRATE}",
        ),
        (
            helper.make_node("GRU", ["x", "W", "R"], ["y", ""], name="rnn", hidden_size=20),
            f"GRU 'rnn': {TO_CALIBRATE}",
        ),
        (
            helper.make_node("RNN", ["x", "W", "R"], ["y", ""], hidden_size=20),
            f"RNN 'y': {TO_CALIBRATE}",
        ),
    ],
    ids=["LSTM", "GRU", "RNN"],
)
def test_float_recurrent_nodes_are_refused_by_name(node: onnx.NodeProto, message: str, tmp_path: Path) -> None:
    error = refusal(one_node_model(node), tmp_path)
    assert isinstance(error, UnsupportedError)
    assert str(error) == message


def test_a_scan_is_refused_by_name(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [3, 10])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [3, 10])],
    )
    error = refusal(
        one_node_model(helper.make_node("Scan", ["x"], ["y"], name="loop", num_scan_inputs=1, body=body)), tmp_path
    )
    assert isinstance(error, UnsupportedError)
    assert str(error) == "Scan 'loop': must have 2 states, hidden and cell, and 1 sequence, not 0 states"


def test_a_graph_without_recurrence_is_refused_with_what_it_has(tmp_path: Path) -> None:
    error = refusal(
        one_node_model(helper.make_node("Relu", ["x"], ["z"]), helper.make_node("Abs", ["z"], ["y"])), tmp_path
    )
    assert isinstance(error, ModelError)
    assert str(error) == (
        "no recurrent node: the graph has Abs, Relu; a QuantLSTMCell, QuantRNNCell, QuantGRUCell or Scan is needed"
    )


# The default model with one thing changed.  Each case: the edit, the class, and the whole message as an expression.


def input_scale(value: ArrayLike) -> Edit:
    return lambda m: put(m, quant(m, "x"), 1, value)


def input_bits(value: ArrayLike) -> Edit:
    return lambda m: put(m, quant(m, "x"), 3, value)


def cell_input(index: int, value: ArrayLike | TensorProto) -> Edit:
    return lambda m: put(m, cell(m), index, value)


def cell_attribute(name: str, value: object) -> Edit:
    return lambda m: set_attribute(cell(m), name, value)


def weight_value(index: int, value: ArrayLike | TensorProto) -> Edit:
    return lambda m: put(m, weight_quant(m, index), 0, value)


def weight_scale(index: int, value: ArrayLike) -> Edit:
    return lambda m: put(m, weight_quant(m, index), 1, value)


def unquantized(index: int) -> Edit:
    """Bypass the Quant node of one input of the cell."""

    def edit(m: onnx.ModelProto) -> None:
        cell(m).input[index] = weight_quant(m, index).input[0]

    return edit


def drop_cell_attribute(name: str) -> Edit:
    return lambda m: drop_attribute(cell(m), name)


def odd_attribute(**fields: object) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        drop_attribute(cell(m), "cifg")
        cell(m).attribute.append(onnx.AttributeProto(name="cifg", **fields))

    return edit


def nodes(*made: onnx.NodeProto, into: tuple[int, str] | None = None) -> Edit:
    """Append nodes; ``into`` then gives one input of the cell to a tensor of theirs."""

    def edit(m: onnx.ModelProto) -> None:
        m.graph.node.extend(made)
        if into:
            cell(m).input[into[0]] = into[1]

    return edit


def tensor(name: str, dims: list[int], **data: object) -> TensorProto:
    """A tensor that claims ``dims``, and holds ``data`` or nothing."""
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, **data)


def external(m: onnx.ModelProto) -> None:
    put(m, cell(m), 21, tensor("far", [1], data_location=TensorProto.EXTERNAL))


def external_outside(m: onnx.ModelProto) -> None:
    """A scale whose data claim to lie outside the model's folder, and do."""
    far = tensor("far", [1], data_location=TensorProto.EXTERNAL)
    far.external_data.add(key="location", value="../../../../etc/hostname")
    put(m, cell(m), 21, far)


def inputs_shape(*dims: int) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        port = next(value for value in m.graph.input if value.name == "x")
        port.CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, dims))

    return edit


def drop_inputs(node_of: Callable[[onnx.ModelProto], onnx.NodeProto], keep: int) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        del node_of(m).input[keep:]

    return edit


def second_cell(m: onnx.ModelProto) -> None:
    twin = m.graph.node.add()
    twin.CopyFrom(cell(m))
    twin.name = "second"
    twin.input[0] = cell(m).output[0]
    twin.output[:] = ["a", "b", "c"]
    m.graph.output[0].name = "a"


def head(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Softplus", ["y"], ["z"], name="head"))
    m.graph.output[0].name = "z"


def output_is_input(m: onnx.ModelProto) -> None:
    m.graph.output[0].name = "x"


def pre_layer(m: onnx.ModelProto) -> None:
    m.graph.node.insert(0, helper.make_node("Relu", ["x"], ["x2"], name="before"))
    quant(m, "x").input[0] = "x2"


def unsqueeze_axes(value: ArrayLike) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        put(m, next(node for node in m.graph.node if "h_n" in node.output), 1, value)

    return edit


def twice(what: str) -> Edit:
    def edit(m: onnx.ModelProto) -> None:
        repeated = getattr(m.graph, what)
        repeated.add().CopyFrom(repeated[0])

    return edit


def initializer_also_written(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Relu", ["x"], [quant(m, "x").input[1]], name="writer"))


def input_also_written(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Relu", ["y"], ["x"], name="writer"))


def no_opset(m: onnx.ModelProto) -> None:
    del m.opset_import[:]


def no_custom_opset(m: onnx.ModelProto) -> None:
    del m.opset_import[1]


def rounding(node_of: Callable[[onnx.ModelProto], onnx.NodeProto], name: str, value: object) -> Edit:
    return lambda m: set_attribute(node_of(m), name, value)


def narrow_one_bit(m: onnx.ModelProto) -> None:
    put(m, quant(m, "x"), 3, 1.0)
    set_attribute(quant(m, "x"), "signed", 0)
    set_attribute(quant(m, "x"), "narrow", 1)


def different_hidden_scale(m: onnx.ModelProto) -> None:
    """Sums whose ratio of scales has to be known to many more digits than an accumulator has bits."""
    put(m, weight_quant(m, 7), 1, np.float32(0.003))
    put(m, cell(m), 21, np.float32(1e-9))


ACC = f"{CELL}, quantizer 'input_acc'"
WEIGHT = "Quant '/layers.0.0/input_weight/weight_quant/export_handler/Quant'"
BIAS = "Quant '/layers.0.0/bias_quant/export_handler/Quant'"
F32 = np.float32
FIRST_WEIGHT = "layers.0.0.input_gate_params.input_weight.weight"
CASES: dict[str, tuple[Edit, str]] = {
    # Quantizers: scales, zero points, widths, modes.
    "scale is text": (
        input_scale(np.array(["a"], object)),
        f"ModelError: {INPUT_QUANT}: its scale must hold numbers, not .*",
    ),
    "scale per channel for the input": (
        input_scale(np.ones(10, F32)),
        f"UnsupportedError: {INPUT_QUANT}: its input needs one scale per tensor, not 10",
    ),
    "cell scale empty": (
        cell_input(21, np.zeros(0, F32)),
        f"ModelError: {ACC}: scale must have 1 or 20 entries, not 0",
    ),
    "cell scale of 3 channels": (
        cell_input(21, np.ones(3, F32)),
        f"ModelError: {ACC}: scale must have 1 or 20 entries, not 3",
    ),
    "cell scale computed": (
        nodes(helper.make_node("Abs", ["x"], ["live"]), into=(21, "live")),
        f"UnsupportedError: {ACC}: its scale ('live') is computed in the graph; it must be a constant: export the "
        "model in eval mode with fixed scales",
    ),
    "output scale per channel": (
        cell_input(15, np.full(20, 0.01, F32)),
        f"UnsupportedError: {CELL}: output needs one scale per tensor, not 20",
    ),
    "weight scale per input": (
        weight_scale(3, np.ones((1, 10), F32)),
        f"UnsupportedError: {WEIGHT}: scale must be one number or one per output channel (20), not shape [1, 10]",
    ),
    "bias scale of 7 channels": (
        weight_scale(11, np.ones(7, F32)),
        f"UnsupportedError: {BIAS}: scale must be one number or one per output channel (20), not shape [7]",
    ),
    "input and hidden scales differ": (
        different_hidden_scale,
        "UnsupportedError: /layers.0.0/export_handler/QuantLSTMCell, input gate, row 0: the input product has "
        "scale .* and the hidden product .*; no accumulator of 40 bits holds their sum to within 0.0001 LSB; use "
        "scales whose ratio is a power of two, or narrower codes",
    ),
    "zero points per channel": (
        cell_input(22, np.arange(20, dtype=F32)),
        f"UnsupportedError: {ACC}: one zero point per tensor is supported, not 20 different ones",
    ),
    "bits twice": (
        input_bits(np.array([8, 8], F32)),
        f"UnsupportedError: {INPUT_QUANT}: one bit width per tensor is supported, not 2",
    ),
    "bias bits 33": (
        lambda m: put(m, weight_quant(m, 11), 3, F32(33)),
        f"ModelError: {BIAS}: bit width must be an integer from 1 to 32, not 33",
    ),
    "one signed bit": (
        cell_input(23, F32(1)),
        f"UnsupportedError: {ACC}: a signed quantizer of 1 bit means {{-1, 0}} to Brevitas and {{-1, +1}} to "
        "QONNX; use BipolarQuant (binary quantizers), unsigned codes, or 2 bits",
    ),
    "a single code": (
        narrow_one_bit,
        f"ModelError: {INPUT_QUANT}: a uint1 narrow quantizer has a single code, 0; widen it or drop narrow",
    ),
    "rounding mode unknown": (
        rounding(lambda m: quant(m, "x"), "rounding_mode", "NEAREST"),
        f"ModelError: {INPUT_QUANT}: rounding mode must be one of ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, "
        "HALF_DOWN, HALF_EVEN, ROUND_TO_ZERO, not 'NEAREST'",
    ),
    "cell rounding mode unknown": (
        rounding(cell, "input_acc_rounding_mode", "STOCHASTIC"),
        f"ModelError: {ACC}: rounding mode must be one of .*, not 'STOCHASTIC'",
    ),
    "rounding mode is a number": (
        rounding(cell, "input_acc_rounding_mode", 3),
        f"ModelError: {ACC}: rounding mode must be one of .*, not '3'",
    ),
    # Attributes.
    "signed missing": (
        drop_cell_attribute("input_acc_signed"),
        f"ModelError: {CELL}: attribute 'input_acc_signed' is missing",
    ),
    "cifg missing": (drop_cell_attribute("cifg"), f"ModelError: {CELL}: attribute 'cifg' is missing"),
    "batch_first missing": (
        drop_cell_attribute("batch_first"),
        f"ModelError: {CELL}: attribute 'batch_first' is missing",
    ),
    "cifg 2": (cell_attribute("cifg", 2), f"ModelError: {CELL}: attribute 'cifg' must be 0 or 1, not 2"),
    "cifg text": (cell_attribute("cifg", "yes"), f"ModelError: {CELL}: attribute 'cifg' must be 0 or 1, not 'yes'"),
    "cifg list": (cell_attribute("cifg", [0, 1]), f"ModelError: {CELL}: attribute 'cifg' must be 0 or 1, not [0, 1]"),
    "cifg without a value": (odd_attribute(), f"ModelError: {CELL}: attribute 'cifg' is missing"),
    "cifg by reference": (
        odd_attribute(ref_attr_name="other", type=onnx.AttributeProto.INT),
        f"ModelError: {CELL}: attribute 'cifg' has no readable value",
    ),
    # Not quantized.
    "input not quantized": (
        unquantized(0),
        f"UnsupportedError: {CELL}: its input ('x') must come from a Quant node, but nothing quantizes it; set "
        "every quantizer of the layer",
    ),
    "weight not quantized": (
        unquantized(4),
        f"UnsupportedError: {CELL}: input weight of the forget gate "
        "('layers.0.0.forget_gate_params.input_weight.weight') is not quantized; set weight_quant, or calibrate "
        "the model",
    ),
    "hidden weight not quantized": (
        unquantized(10),
        f"UnsupportedError: {CELL}: hidden weight of the output gate "
        "('layers.0.0.output_gate_params.hidden_weight.weight') is not quantized; set weight_quant, or calibrate "
        "the model",
    ),
    "weight computed": (
        nodes(helper.make_node("Abs", ["x"], ["live"]), into=(3, "live")),
        f"UnsupportedError: {CELL}: its input weight ('live') must be a constant of the file",
    ),
    # Shapes.
    "output count": (lambda m: cell(m).output.append("fourth"), f"ModelError: {CELL}: must have 1 to 3 outputs, not 4"),
    "input count": (drop_inputs(cell, 47), f"ModelError: {CELL}: must have 48 inputs, not 47"),
    "Quant inputs": (drop_inputs(lambda m: quant(m, "x"), 3), f"ModelError: {INPUT_QUANT}: must have 4 inputs, not 3"),
    "weight Quant without inputs": (
        drop_inputs(lambda m: weight_quant(m, 3), 0),
        f"ModelError: {WEIGHT}: must have 4 inputs, not 0",
    ),
    "input weight of one axis": (
        weight_value(3, np.zeros(200, F32)),
        f"ModelError: {CELL}: its input weight must have shape [H, I], not [200]",
    ),
    "input weight empty": (
        weight_value(3, np.zeros((20, 0), F32)),
        f"ModelError: {CELL}: its input weight must have shape [H, I], not [20, 0]",
    ),
    "input weight of another gate": (
        weight_value(5, np.zeros((20, 11), F32)),
        "ModelError: Quant '.*': input weight of the cell gate must have shape [20, 10], not [20, 11]",
    ),
    "hidden weight": (
        weight_value(8, np.zeros((20, 10), F32)),
        "ModelError: Quant '.*': hidden weight of the forget gate must have shape [20, 20], not [20, 10]",
    ),
    "bias": (
        weight_value(14, np.zeros(21, F32)),
        "ModelError: Quant '.*': bias of the output gate must have shape [20], not [21]",
    ),
    "float bias": (
        cell_input(11, np.zeros(3, F32)),
        f"ModelError: {CELL}: bias of the input gate must have shape [20], not [3]",
    ),
    "float bias NaN": (
        cell_input(11, np.full(20, np.nan, F32)),
        f"ModelError: {CELL}: its bias of the input gate must be finite, not nan",
    ),
    "float bias beyond the accumulator": (
        cell_input(11, np.full(20, 1e30, F32)),
        r"UnsupportedError: input gate, row 0: its bias is .* accumulator units, at most 2^40 are supported",
    ),
    "weight infinite": (
        weight_value(3, np.full((20, 10), np.inf, F32)),
        f"ModelError: {WEIGHT}: its input weight of the input gate must be finite, not inf",
    ),
    "declared input features": (
        inputs_shape(5, 3, 9),
        "ModelError: graph input 'x': shape must be [T, batch, 10] to fit the weights, not [5, 3, 9]",
    ),
    "declared input rank": (
        inputs_shape(5, 10),
        "ModelError: graph input 'x': must have axes [time, batch, features], not shape [5, 10]",
    ),
    "initial state shape": (
        cell_input(1, np.zeros((3, 7), F32)),
        f"ModelError: {CELL}, initial hidden state: shape must be [batch, 20], not [3, 7]",
    ),
    "initial state empty": (
        cell_input(2, np.zeros((0, 20), F32)),
        f"ModelError: {CELL}, initial cell state: shape must be [batch, 20], not [0, 20]",
    ),
    "initial state a scalar": (
        cell_input(2, F32(0)),
        f"ModelError: {CELL}, initial cell state: shape must be [batch, 20], not []",
    ),
    "initial state off the grid": (
        cell_input(1, np.full((3, 20), 0.0001, F32)),
        f"UnsupportedError: {CELL}, initial hidden state: 0.0001 is not a value of the state's quantizer (int8, "
        "scale .*)",
    ),
    "initial states differ per batch": (
        cell_input(2, np.eye(3, 20, dtype=F32)),
        f"UnsupportedError: {CELL}, initial cell state: it differs between the sequences of a batch; make it a "
        "graph input by passing states to export_qonnx",
    ),
    "initial state NaN": (
        cell_input(1, np.full((3, 20), np.nan, F32)),
        f"ModelError: {CELL}, initial hidden state: its value must be finite, not nan",
    ),
    "initial state computed": (
        nodes(helper.make_node("Abs", ["x"], ["live"], name="abs"), into=(1, "live")),
        f"UnsupportedError: {CELL}, initial hidden state: 'live' comes from Abs 'abs', which hwgen does not read; "
        "it reads Add, ArgMax, .*",
    ),
    # The graph around the cell.
    "two cells": (
        second_cell,
        "ModelError: QuantLSTMCell 'second': its input: must have 10 features to fit the weights, not 20",
    ),
    "a head after the LSTM": (
        head,
        "UnsupportedError: graph output 'z': 'z' comes from Softplus 'head', which hwgen does not read; it reads "
        "Add, ArgMax, .*",
    ),
    "an output that is the input": (
        output_is_input,
        "UnsupportedError: graph output 'x' is graph input 'x' itself, unquantized",
    ),
    "a layer before the LSTM": (
        pre_layer,
        "UnsupportedError: Relu 'before': its argument must be quantized, or come from a dense layer",
    ),
    "Unsqueeze beyond the rank": (
        unsqueeze_axes(np.array([5])),
        "ModelError: Unsqueeze '.*': axes must be different ones of 3, not [5]",
    ),
    "Unsqueeze of one axis twice": (
        unsqueeze_axes(np.array([0, -4])),
        "ModelError: Unsqueeze '.*': axes must be different ones of 4, not [0, -4]",
    ),
    "Unsqueeze of no numbers": (
        unsqueeze_axes(np.array([0.5], F32)),
        "ModelError: Unsqueeze '.*': axes must be different ones of 3, not [0.5]",
    ),
    # Names and data of tensors.
    "a tensor written twice": (
        nodes(helper.make_node("Relu", ["x"], ["y"])),
        "ModelError: tensor 'y' is written by two nodes",
    ),
    "an initializer twice": (twice("initializer"), "ModelError: tensor '.*' stands among the initializers twice"),
    "a graph input twice": (twice("input"), "ModelError: tensor 'x' stands among the graph inputs twice"),
    "a graph output twice": (twice("output"), "ModelError: tensor 'y' stands among the graph outputs twice"),
    "an initializer that is also written": (
        initializer_also_written,
        "ModelError: tensor '.*' is written by Relu 'writer', but is an initializer too",
    ),
    "an input that is also written": (
        input_also_written,
        "ModelError: tensor 'x' is written by Relu 'writer', but is a graph input too",
    ),
    "external data": (external, "UnsupportedError: initializer 'far': data in another file; save it in one file"),
    "external data outside the folder": (
        external_outside,
        "UnsupportedError: initializer 'far': data in another file; save it in one file",
    ),
    "a claim of 2^40 elements": (
        cell_input(21, tensor("vast", [2**40])),
        "ModelError: initializer 'vast': impossible shape [1099511627776]",
    ),
    "a claim whose product is vast": (
        cell_input(21, tensor("vast", [2**20, 2**20])),
        "ModelError: initializer 'vast': impossible shape [1048576, 1048576]",
    ),
    "a claim of 2^27 elements without data": (
        cell_input(21, tensor("vast", [2**27])),
        "ModelError: initializer 'vast': unreadable data (.*)",
    ),
    "a vast weight without data": (
        weight_value(3, tensor("vast", [2**13, 2**13])),
        "ModelError: initializer 'vast': unreadable data (.*)",
    ),
    "a negative dimension": (
        cell_input(21, tensor("odd", [-1], float_data=[1.0])),
        "ModelError: initializer 'odd': impossible shape [-1]",
    ),
    "too few bytes": (
        cell_input(21, tensor("short", [20], raw_data=bytes(40))),
        "ModelError: initializer 'short': unreadable data (.*)",
    ),
    "bytes that are no floats": (
        cell_input(21, tensor("short", [1], raw_data=bytes(3))),
        "ModelError: initializer 'short': unreadable data (.*)",
    ),
    "an unknown element type": (
        cell_input(21, TensorProto(name="odd", data_type=99, dims=[1])),
        "ModelError: initializer 'odd': unreadable data (.*)",
    ),
    "no element type": (
        cell_input(21, TensorProto(name="odd", dims=[1])),
        "ModelError: initializer 'odd': unreadable data (.*)",
    ),
    "a Constant without output": (
        nodes(helper.make_node("Constant", [], [], name="void", value=tensor("t", [1], float_data=[1.0]))),
        "ModelError: Constant 'void': must have 1 output, not 0",
    ),
    "an Identity without input": (
        nodes(helper.make_node("Identity", [], ["same"], name="void"), into=(0, "same")),
        "ModelError: Identity 'void': must have 1 input and 1 output, not 0 and 1",
    ),
    "a constant expression that cannot be evaluated": (
        nodes(helper.make_node("Gather", [FIRST_WEIGHT, FIRST_WEIGHT], ["g"], odd=1), into=(21, "g")),
        "ModelError: Gather 'g': cannot be evaluated (.*)",
    ),
    "a constant expression without output": (
        nodes(helper.make_node("Gather", [FIRST_WEIGHT, FIRST_WEIGHT], [""]), into=(21, "")),
        f"UnsupportedError: {ACC}: its scale ('') is computed in the graph; it must be a constant: export the "
        "model in eval mode with fixed scales",
    ),
    # Versions.
    "no opset": (no_opset, "ModelError: .*bad.onnx: no opset_import; the file is truncated: export it again"),
    "no opset of the cell's domain": (
        no_custom_opset,
        "ModelError: .*bad.onnx: Quant '.*' is of domain 'qonnx.custom_op.general', which opset_import does not "
        "name; the file is truncated: export it again",
    ),
    # Cycles.
    "an Identity of itself": (
        nodes(helper.make_node("Identity", ["a"], ["a"], name="loop"), into=(21, "a")),
        "ModelError: Identity 'loop': stands in a cycle: it depends on its own output",
    ),
    "Identities in a circle": (
        nodes(helper.make_node("Identity", ["a"], ["b"]), helper.make_node("Identity", ["b"], ["a"]), into=(0, "a")),
        "ModelError: Identity '.*': stands in a cycle: it depends on its own output",
    ),
    "constants in a circle": (
        nodes(
            helper.make_node("Concat", ["a", "a"], ["b"], axis=0),
            helper.make_node("Concat", ["b", "b"], ["a"], axis=0),
            into=(21, "a"),
        ),
        "ModelError: Concat '.*': stands in a cycle: it depends on its own output",
    ),
    "a cell that feeds itself": (
        lambda m: cell(m).input.__setitem__(1, cell(m).output[1]),
        f"ModelError: {CELL}: stands in a cycle: it depends on its own output",
    ),
}


def message_pattern(message: str) -> str:
    """Everything literal but .* itself."""
    return "^" + ".*".join(re.escape(part) for part in message.split(".*")) + "$"


@pytest.mark.parametrize(("edit", "message"), CASES.values(), ids=list(CASES))
def test_a_model_with_one_thing_wrong_is_refused(edit: Edit, message: str, tmp_path: Path) -> None:
    bad = model()
    edit(bad)
    error = refusal(bad, tmp_path)
    assert re.search(message_pattern(message), f"{type(error).__name__}: {error}"), f"{type(error).__name__}: {error}"


# Each parameter of a quantizer, in the node of the input, in the cell, and in the node of a weight.
WIDTH = "bit width must be an integer from 1 to 16"
RANGE = "zero point must lie among the codes -12[78]..127"
PARAMETERS: list[tuple[str, int, ArrayLike, str]] = [
    ("scale", 1, F32(np.nan), "ModelError: {}: its scale must be finite, not nan"),
    ("scale", 1, F32(np.inf), "ModelError: {}: its scale must be finite, not inf"),
    ("scale", 1, F32(0), "ModelError: {}: scale must be positive, not 0"),
    ("scale", 1, F32(-0.5), "ModelError: {}: scale must be positive, not -0.5"),
    ("scale", 1, np.float64(1e-300), "ModelError: {}: scale must be a float32 number, not 1e-300"),
    ("scale", 1, np.float64(1e300), "ModelError: {}: scale must be a float32 number, not 1e\\+300"),
    (
        "scale",
        1,
        np.zeros(0, F32),
        "ModelError: {}: (its scale holds no number|scale must have 1 or 20 entries, not 0)",
    ),
    ("zero point", 2, F32(0.5), "ModelError: {}: zero point must be an integer, not 0.5"),
    ("zero point", 2, F32(np.nan), "ModelError: {}: its zero point must be finite, not nan"),
    ("zero point", 2, F32(128), f"UnsupportedError: {{}}: {RANGE}, not 128: zero must be representable"),
    ("zero point", 2, F32(-129), f"UnsupportedError: {{}}: {RANGE}, not -129: zero must be representable"),
    ("zero point", 2, np.zeros(0), "ModelError: {}: (its zero point holds no number|zero point must have 1 or 20 .*)"),
    ("bit width", 3, F32(0), f"ModelError: {{}}: {WIDTH}, not 0"),
    ("bit width", 3, F32(-8), f"ModelError: {{}}: {WIDTH}, not -8"),
    ("bit width", 3, F32(2.5), f"ModelError: {{}}: {WIDTH}, not 2.5"),
    ("bit width", 3, F32(17), f"ModelError: {{}}: {WIDTH}, not 17"),
    ("bit width", 3, F32(33), f"ModelError: {{}}: {WIDTH}, not 33"),
    ("bit width", 3, F32(np.nan), "ModelError: {}: its bit width must be finite, not nan"),
]


@pytest.mark.parametrize("owner", [INPUT_QUANT, ACC, WEIGHT], ids=["input", "cell", "weight"])
@pytest.mark.parametrize(("what", "index", "value", "message"), PARAMETERS)
def test_a_quantizer_with_an_impossible_parameter_is_refused(
    what: str, index: int, value: ArrayLike, message: str, owner: str, tmp_path: Path
) -> None:
    bad = model()
    node = {INPUT_QUANT: quant(bad, "x"), ACC: cell(bad), WEIGHT: weight_quant(bad)}[owner]
    put(bad, node, index + (20 if owner == ACC else 0), value)
    error = refusal(bad, tmp_path)
    assert re.fullmatch(message.format(re.escape(owner)), f"{type(error).__name__}: {error}"), (what, str(error))


@pytest.mark.parametrize("dims", [[2**40], [2**20, 2**20], [2**27], [2**13, 2**13], [2**62, 2**62, 0]])
@pytest.mark.parametrize("index", [3, 7, 11])
def test_absurd_claims_take_no_memory(dims: list[int], index: int, tmp_path: Path) -> None:
    bad = model()
    put(bad, weight_quant(bad, index), 0, tensor("vast", dims))
    tracemalloc.start()
    refusal(bad, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("operator", ["Identity", "Unsqueeze", "Concat", "Gather"])
def test_long_chains_of_constants_neither_hang_nor_overflow(operator: str, tmp_path: Path) -> None:
    bad = model()
    put(bad, cell(bad), 21, np.ones(1, F32))
    start = cell(bad).input[21]
    bad.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "zero"))
    length = 4000 if operator in ("Identity", "Unsqueeze") else 60
    for n in range(length):
        before = start if n == 0 else f"chain{n - 1}"
        inputs = {"Identity": [before], "Unsqueeze": [before, "zero"], "Concat": [before, before]}
        attributes = {} if operator in ("Identity", "Unsqueeze") else {"axis": 0}
        made = helper.make_node(operator, inputs.get(operator, [before, "zero"]), [f"chain{n}"], **attributes)
        bad.graph.node.append(made)
    cell(bad).input[21] = f"chain{length - 1}"
    path = tmp_path / "chain.onnx"
    path.write_bytes(bad.SerializeToString())
    with time_limit(10):
        if operator == "Identity":
            assert load(path).layer.gate("input").accumulator.scale == (1.0,)
        else:
            assert isinstance(refusal(bad, tmp_path), UnsupportedError)


def test_constants_that_fan_out_at_every_level_are_evaluated_once(tmp_path: Path) -> None:
    good = model()
    good.graph.initializer.append(numpy_helper.from_array(np.ones(1, F32), "level0"))
    good.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "zero"))
    for level in range(1, 8):
        copies = [f"copy{level}_{n}" for n in range(9)]
        for copy in copies:
            good.graph.node.append(helper.make_node("Identity", [f"level{level - 1}"], [copy]))
        good.graph.node.append(helper.make_node("Concat", copies, [f"wide{level}"], axis=0))
        good.graph.node.append(helper.make_node("Gather", [f"wide{level}", "zero"], [f"level{level}"]))
    cell(good).input[21] = "level7"
    onnx.save(good, tmp_path / "good.onnx")
    with time_limit(10):
        assert load(tmp_path / "good.onnx").layer.gate("input").accumulator.scale == (1.0,)


def test_constants_behind_moves_are_read(tmp_path: Path) -> None:
    """What must keep working beside all the refusals: scales behind Unsqueeze, Gather and Identity."""
    good = model()
    made = [
        helper.make_node("Unsqueeze", ["scales", "zero"], ["a"]),
        helper.make_node("Gather", ["a", "zero"], ["b"], axis=1),
        helper.make_node("Squeeze", ["b"], ["c"]),
        helper.make_node("Identity", ["c"], ["d"]),
    ]
    good.graph.initializer.append(numpy_helper.from_array(np.array([0.25, 7.0], F32), "scales"))
    good.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "zero"))
    nodes(*made, into=(21, "d"))(good)
    onnx.save(good, tmp_path / "good.onnx")
    assert load(tmp_path / "good.onnx").layer.gate("input").accumulator.scale == (0.25,)


def test_states_through_another_quantizer_are_refused(tmp_path: Path) -> None:
    bad = model("states")
    put(bad, weight_quant(bad, 1), 1, F32(0.5))
    error = refusal(bad, tmp_path)
    assert isinstance(error, UnsupportedError)
    assert re.match(
        f"^{CELL}, initial hidden state: its Quant node must have the state's own quantizer "
        r"\(int8, scale .*\), not int8, scale 0\.5$",
        str(error),
    )


def test_states_straight_from_a_graph_input_are_refused(tmp_path: Path) -> None:
    bad = model("states")
    cell(bad).input[1] = weight_quant(bad, 1).input[0]
    error = refusal(bad, tmp_path)
    assert isinstance(error, UnsupportedError)
    assert "must come from a Quant node, but it comes from Gather" in str(error)


# Arrays that do not fit a good model.


@pytest.fixture(scope="module")
def stateful() -> Network:
    return load(MODELS / "states.onnx")


GOOD = {"x": np.zeros((5, 3, 10)), "h0": np.zeros((1, 3, 20)), "c0": np.zeros((1, 3, 20))}
BINDINGS: dict[str, tuple[dict[str, object], str]] = {
    "a wrong name": ({"X": GOOD["x"]}, "the model needs 'x', 'h0', 'c0', given 'X', 'h0', 'c0'"),
    "no h0": ({"h0": None}, "the model needs 'x', 'h0', 'c0', given 'x', 'c0'"),
    "one too many": ({"z": 1.0}, "the model needs 'x', 'h0', 'c0', given 'x', 'h0', 'c0', 'z'"),
    "features": ({"x": np.zeros((5, 3, 11))}, "'x': shape must be [T, batch, 10], not [5, 3, 11]"),
    "rank": ({"x": np.zeros((5, 10))}, "'x': shape must be [T, batch, 10], not [5, 10]"),
    "a number": ({"x": 1.0}, "'x': shape must be [T, batch, 10], not []"),
    "an empty list": ({"x": []}, "'x': shape must be [T, batch, 10], not [0]"),
    "no steps": ({"x": np.zeros((0, 3, 10))}, "at least one step of one sequence is needed, not shape [0, 3, 10]"),
    "no sequences": ({"x": np.zeros((5, 0, 10))}, "at least one step of one sequence is needed, not shape [5, 0, 10]"),
    "NaN": ({"x": np.full((5, 3, 10), np.nan)}, "'x': every value must be a finite float32"),
    "infinity": ({"c0": np.full((1, 3, 20), -np.inf)}, "'c0': every value must be a finite float32"),
    "beyond float32": ({"x": np.full((5, 3, 10), 1e39)}, "'x': every value must be a finite float32"),
    "text": ({"x": np.full((5, 3, 10), "1.0")}, "'x': numbers are needed, not <U3"),
    "objects": ({"x": np.full((5, 3, 10), None)}, "'x': numbers are needed, not object"),
    "complex": ({"x": np.full((5, 3, 10), 1j)}, "'x': numbers are needed, not complex128"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]]}, "'x': an array of numbers is needed"),
    "None": ({"x": [None]}, "'x': numbers are needed, not object"),
    "states of another batch": ({"h0": np.zeros((1, 2, 20))}, "the batch of 'h0' is 2, that of 'x' is 3"),
    "states of two layers": ({"h0": np.zeros((3, 1, 20))}, "'h0': shape must be [1, batch, 20], not [3, 1, 20]"),
    "states of another size": ({"c0": np.zeros((1, 3, 10))}, "'c0': shape must be [1, batch, 20], not [1, 3, 10]"),
}


@pytest.mark.parametrize(("changes", "message"), BINDINGS.values(), ids=list(BINDINGS))
@pytest.mark.filterwarnings("error")
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object], message: str, stateful: Network) -> None:
    arrays: dict[str, object] = {**GOOD, **changes}
    if "X" in changes:
        arrays = {"X": arrays["X"], "h0": GOOD["h0"], "c0": GOOD["c0"]}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    separator = " " if message.startswith("'") else ": "
    with pytest.raises(ConfigError, match=f"^--input{separator}{re.escape(message)}"):
        stateful.bind(arrays)  # type: ignore[arg-type]


def test_arrays_that_fit_are_taken_with_and_without_the_axis_of_layers(stateful: Network) -> None:
    bound = stateful.bind({**GOOD, "h0": np.ones((3, 20)), "c0": np.ones((1, 3, 20), np.int8)})
    assert [bound[role].shape for role in ("x", "h0", "c0")] == [(5, 3, 10), (3, 20), (3, 20)]
    assert bound["c0"].dtype == np.float64


def test_the_widest_supported_code_is_what_the_messages_say() -> None:
    assert MAX_BITS == 16


def test_a_good_model_is_not_refused() -> None:
    assert load(MODELS / "default.onnx").warnings == ()
    assert io.BytesIO(load(MODELS / "default.onnx").source).read() == (MODELS / "default.onnx").read_bytes()


def test_quantizers_of_two_domains_in_one_file_are_read_alike(tmp_path: Path) -> None:
    """Brevitas and QONNX have called the domain of Quant differently over the years."""
    model = onnx.load(MODELS / "default.onnx")
    quants = [node for node in model.graph.node if node.op_type == "Quant"]
    for node in quants[::2]:
        node.domain = "onnx.brevitas"
    assert len(quants) > 4
    path = tmp_path / "default.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="of domain 'onnx.brevitas', which opset_import does not name"):
        load(path)
    model.opset_import.append(helper.make_opsetid("onnx.brevitas", 1))
    onnx.save(model, path)
    found, wanted = load(path).layers, load(MODELS / "default.onnx").layers
    assert repr(found) == repr(wanted)
