"""The Japanese Vowels data set, read from the text files inside the installed `aeon` package."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

FEATURES = 12
SPEAKERS = 9


@dataclass(frozen=True)
class Batch:
    """Padded sequences: `x` float32 [steps, batch, 12], `lengths` and `labels` int64 [batch]."""

    x: Tensor
    lengths: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Utterances:
    """One split: each sequence is float32 [steps, 12] LPC cepstrum coefficients; `labels` int64 [n] in 0..8."""

    sequences: list[Tensor]
    labels: Tensor

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.sequences)

    def batch(self, indices: list[int]) -> Batch:
        """Pad the chosen sequences with zeros after their ends; a causal network's valid steps never see them."""
        chosen = [self.sequences[i] for i in indices]
        lengths = torch.tensor([len(sequence) for sequence in chosen])
        return Batch(pad_sequence(chosen), lengths, self.labels[indices])


def load(split: str) -> Utterances:
    """Read the "TRAIN" (270 sequences) or "TEST" (370 sequences) split."""
    return parse_ts(_find(split).read_text(encoding="utf-8"))


def parse_ts(text: str) -> Utterances:
    """Parse sktime's .ts text: one case a line, channels separated by ':', the class label last."""
    header, marker, body = text.partition("@data\n")
    if not marker:
        raise ValueError(f"a .ts file must hold a line '@data'; this one begins with {header[:60]!r}")
    cases = [_parse_case(line) for line in body.splitlines() if line.strip()]
    return Utterances([sequence for sequence, _ in cases], torch.tensor([label for _, label in cases]))


def _parse_case(line: str) -> tuple[Tensor, int]:
    *channels, label = line.strip().split(":")
    if len(channels) != FEATURES:
        raise ValueError(f"each case must hold {FEATURES} channels, not {len(channels)}: {line[:60]!r}")
    columns = [[float(value) for value in channel.split(",")] for channel in channels]
    # The file holds one row a channel and counts speakers from 1; a recurrent layer wants one row a step.
    return torch.tensor(columns, dtype=torch.float32).T.contiguous(), int(label) - 1


def _find(split: str) -> Path:
    # find_spec locates a top-level package without importing it: aeon's own dependencies are not needed.
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the data set comes with the package 'aeon', which is not installed: run `pip install aeon` "
            "(or `pip install --no-deps aeon`: only its data files are read)"
        )
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "JapaneseVowels", f"JapaneseVowels_{split}.ts")
    if not path.is_file():
        raise SystemExit(f"the installed 'aeon' has no {path.name}: run `pip install aeon` for a release that holds it")
    return path
