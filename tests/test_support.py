# SPDX-License-Identifier: Apache-2.0
"""docs/support.md says what happens: its tables are made anew and compared.

``python tests/support_table.py`` writes them.
"""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import pytest
import torch
from brevitas import nn as qnn
from support_options import sections
from support_table import PAGE, Option, outcome, table, written

torch.set_num_threads(1)


@pytest.mark.parametrize("title", sections())
def test_the_table_says_what_happens(title: str) -> None:
    found, before = table(title, sections()[title]).splitlines(), written(PAGE.read_text(), title).splitlines()
    wrong = [f"{now}\n    instead of\n{then}" for now, then in itertools.zip_longest(found, before) if now != then]
    assert not wrong, "python tests/support_table.py writes the tables anew\n" + "\n".join(wrong)


@pytest.mark.parametrize("layer", [qnn.QuantLSTM, qnn.QuantRNN, qnn.QuantLinear, torch.nn.RNNBase])
def test_every_argument_has_a_row(layer: type) -> None:
    arguments = set(inspect.signature(layer).parameters) - {"args", "kwargs", "mode"}
    if layer is qnn.QuantLinear:
        # Sizes are those of the layers around, the others those of any tensor.
        arguments -= {"in_features", "out_features", "return_quant_tensor", "device", "dtype"}
    heading = {"QuantLinear": "Layers around", "RNNBase": "torch.nn.LSTM"}.get(layer.__name__, layer.__name__)
    section = PAGE.read_text().split(f"### {heading}")[1].split("### ")[0]
    assert not {name for name in arguments if f"`{name}" not in section}


def test_a_model_that_computes_something_else_makes_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwgen import host

    run = host.run
    monkeypatch.setattr(host, "run", lambda *given: {name: array + 1 for name, array in run(*given).items()})
    with pytest.raises(AssertionError):
        outcome(Option("default", lambda folder: PAGE.parents[1] / "tests" / "models" / "default.onnx"), tmp_path)
