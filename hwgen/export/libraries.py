# SPDX-License-Identifier: Apache-2.0
"""Torch and Brevitas, imported when they are needed and not before."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from hwgen.errors import ToolError


@functools.cache
def libraries() -> Any:
    """The parts of torch and Brevitas that an export needs; raises ToolError if they are not installed."""
    try:
        import brevitas
        import onnxoptimizer  # noqa: F401  Brevitas asks for it in the middle of an export
        import torch
        from brevitas.nn import quant_rnn
        from brevitas.nn.mixin.parameter import QuantWeightMixin
        from brevitas.quant_tensor import QuantTensor
    except ImportError as error:
        raise ToolError(f"export_qonnx needs torch and Brevitas ({error}): pip install 'hwgen[train]'") from error
    return SimpleNamespace(
        torch=torch,
        config=brevitas.config,
        Tensor=torch.Tensor,
        PackedSequence=torch.nn.utils.rnn.PackedSequence,
        QuantTensor=QuantTensor,
        QuantWeightMixin=QuantWeightMixin,
        Stack=quant_rnn.QuantRecurrentStackBase,
        LstmLayer=quant_rnn._QuantLSTMLayer,
        RnnLayer=quant_rnn._QuantRNNLayer,
    )
