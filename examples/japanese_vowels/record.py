"""Export the trained QuantLSTM, and record what Brevitas itself computes with it on the test sequences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.nn import QuantLSTM
from numpy.typing import NDArray
from torch import Tensor

# What one layer in one direction exports to: 1 input, 8 weights and 4 biases go through a Quant each.
EXPECTED_NODES = {"QuantLSTMCell": 1, "Quant": 13}


@dataclass(frozen=True)
class Recording:
    """Brevitas's integer codes: a value is code * scale, exactly, in float32.

    `y` and `c` int8 [total steps, hidden] are the hidden and the cell state after every step of every sequence,
    one sequence after the other; `c_n` int8 [sequences, hidden] is the last cell state of each.
    """

    y: NDArray[np.int8]
    c: NDArray[np.int8]
    c_n: NDArray[np.int8]
    y_scale: np.float32
    c_scale: np.float32


def export(lstm: QuantLSTM, steps: int, path: Path) -> None:
    """Write the recurrent part alone as QONNX: x [steps, 1, features] to y, h_n, c_n."""
    lstm.eval()
    example = torch.zeros(steps, 1, lstm.layers[0][0].input_size)
    # dynamo=False: torch's newer exporter silently writes a graph without the LSTM.
    export_qonnx(
        lstm, args=example, export_path=str(path), dynamo=False, input_names=["x"], output_names=["y", "h_n", "c_n"]
    )
    _check_nodes(onnx.load(path))


def _check_nodes(model: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in model.graph.node)
    found = {name: counts[name] for name in EXPECTED_NODES}
    if found != EXPECTED_NODES:
        raise RuntimeError(f"the exported graph must hold {EXPECTED_NODES}, not {found}")


@torch.no_grad()
def record(lstm: QuantLSTM, sequences: list[Tensor]) -> Recording:
    """Run every sequence [steps, features] by itself, batch 1, as the hardware will see it."""
    lstm.eval()
    layer = lstm.layers[0][0]
    y_scale, c_scale = layer.io_quant.scale(), layer.cell.cell_state_quant.scale()
    traces = [_trace(lstm, sequence.unsqueeze(1)) for sequence in sequences]
    return Recording(
        y=_codes(torch.cat([y for y, _ in traces]), y_scale),
        c=_codes(torch.cat([c for _, c in traces]), c_scale),
        c_n=_codes(torch.stack([c[-1] for _, c in traces]), c_scale),
        y_scale=np.float32(y_scale.item()),
        c_scale=np.float32(c_scale.item()),
    )


def _trace(lstm: QuantLSTM, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden and the cell states [steps, hidden] after every step of x [steps, 1, features]."""
    y, (_, c_n) = lstm(x)
    # A whole-sequence forward returns the last cell state only: the ones in between come from one call a step.
    hidden: Tensor | None = None
    cell: Tensor | None = None
    hiddens, cells = [], []
    for step in x.split(1):
        _, (hidden, cell) = lstm(step, hidden, cell)
        hiddens.append(hidden)
        cells.append(cell)
    y_stepped, c = torch.cat(hiddens), torch.cat(cells)
    if not (torch.equal(y_stepped, y) and torch.equal(c[-1:], c_n)):
        raise RuntimeError("Brevitas's step-by-step outputs differ from its whole-sequence outputs")
    return y[:, 0], c[:, 0]


def _codes(values: Tensor, scale: Tensor) -> NDArray[np.int8]:
    codes = torch.round(values / scale)
    if not torch.equal(codes * scale, values):
        raise RuntimeError("a quantized value is not an integer code times its scale")
    if codes.min() < -128 or codes.max() > 127:
        raise RuntimeError(f"int8 codes must lie in -128..127, not {codes.min().item()}..{codes.max().item()}")
    return codes.to(torch.int8).numpy()
