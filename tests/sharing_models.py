# SPDX-License-Identifier: Apache-2.0
"""Bidirectional layers whose directions have the same input weights, and their foldings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from brevitas.export import export_qonnx
from option_sets import quiet
from test_networks import lstm

import hwgen
from hwgen.dataflow import Dataflow

INPUTS, HIDDEN = 64, 16
# Both swap input and forget gate of the second direction: as lanes of a tile, and as tiles.
LANES, TILES = (4, 1), (1, 4)
# Tiles with parts of a unit: rows change places neither within a tile nor as whole tiles.
BETWEEN = (2, 2)
# Two ports take as many blocks as two memories.
FAST = (16, 1)
MAX_LENGTH = 12


def export_shared(path: Path, shared: bool = True) -> None:
    """A bidirectional LSTM by Brevitas; ``shared`` input weights or a matrix for each direction."""
    torch.manual_seed(1)
    module = lstm(INPUTS, HIDDEN, bidirectional=True, shared_input_hidden_weights=shared)
    x = 1.5 * torch.randn(7, 4, INPUTS)
    module.train()
    with torch.no_grad():
        for _ in range(5):
            module(1.5 * torch.randn_like(x))
    module.eval()
    with quiet():
        export_qonnx(module, args=(x,), export_path=str(path), dynamo=False)


def folded(network: hwgen.Network, *folds: tuple[int, int], **options: Any) -> Dataflow:
    """A design with the input products of both directions folded alike, or each in its own way."""
    base = hwgen.schedule(network, max_length=MAX_LENGTH)
    assert isinstance(base, Dataflow)
    names = [name for name, folding in base.foldings().items() if "input" in folding]
    assert len(names) == 2
    foldings = {
        name: {"input": {"pe": pe, "simd": simd}, "hidden": {"pe": 1, "simd": 4}}
        for name, (pe, simd) in zip(names, folds * (2 // len(folds)), strict=True)
    }
    design = hwgen.schedule(network, folding=foldings, max_length=MAX_LENGTH, **options)
    assert isinstance(design, Dataflow)
    return design
