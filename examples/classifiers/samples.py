# SPDX-License-Identifier: Apache-2.0
"""The data sets: read from the packages that ship them to train, and from the .npz files beside this to evaluate."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float32]
Integers = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
# The test sequences of a data set that another example has already.
_KEPT_ELSEWHERE = {"vowels": HERE.parent / "japanese_vowels" / "held_out.npz"}
_MOTIONS = ("Standing", "Running", "Walking", "Badminton")
# About the standard deviation of each channel in the training set: three of an accelerometer, three of a gyroscope.
_MOTION_SIZES = np.array([7.0, 7.0, 3.5, 2.0, 2.0, 3.5], np.float32)
_DIGITS_TO_TRAIN = 898


@dataclass(frozen=True)
class Samples:
    """Sequences float32 [steps, features], as a network takes them, and the class of each, counted from 0."""

    sequences: tuple[Reals, ...]
    labels: Integers

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.sequences)

    @property
    def lengths(self) -> Integers:
        """Steps of each sequence."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    def by_length(self) -> Iterator[tuple[Integers, Reals]]:
        """For each length the numbers of the sequences that have it, and these as one array [steps, n, features].

        A reversed layer starts from a sequence's last step: padding would become part of what it computes.
        """
        for length in np.unique(self.lengths):
            chosen = np.flatnonzero(self.lengths == length)
            yield chosen, np.stack([self.sequences[index] for index in chosen], axis=1)

    def first_steps(self, steps: int) -> Reals:
        """The first ``steps`` of each sequence that has as many: one array [steps, n, features]."""
        long = [sequence[:steps] for sequence in self.sequences if len(sequence) >= steps]
        return np.stack(long, axis=1)

    def save(self, path: Path) -> None:
        """Write sequences end to end."""
        x = np.concatenate(self.sequences)
        np.savez_compressed(path, x=x, lengths=self.lengths.astype(np.int32), labels=self.labels.astype(np.int32))


def held_out(data: str, folder: Path = HERE) -> Samples:
    """The test sequences of a data set, from a file: no other package is needed."""
    with np.load(_KEPT_ELSEWHERE.get(data, folder / f"{data}.npz")) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        return Samples(tuple(np.split(file["x"], ends)), file["labels"].astype(np.int64))


def keep(data: str, test: Samples, folder: Path) -> None:
    """Write the test sequences where ``held_out`` finds them, or make sure that they are there."""
    if data not in _KEPT_ELSEWHERE:
        test.save(folder / f"{data}.npz")
    kept = held_out(data, folder)
    same = all(np.array_equal(*pair) for pair in zip(kept.sequences, test.sequences, strict=True))
    if not same or not np.array_equal(kept.labels, test.labels):
        raise SystemExit(f"{_KEPT_ELSEWHERE[data]} does not hold the test sequences of the installed package")


def load(data: str) -> tuple[Samples, Samples]:
    """The training and the test split of "vowels", "motions" or "digits", from the package that ships the data."""
    if data == "digits":
        return _digits()
    found = _series("JapaneseVowels", [str(n) for n in range(1, 10)]) if data == "vowels" else None
    return found or _scaled(_series("BasicMotions", list(_MOTIONS)))


def _scaled(splits: tuple[Samples, Samples]) -> tuple[Samples, Samples]:
    """Channels of about the same size; the divisors are constants, so that a test sequence is never looked at."""
    train, test = (Samples(tuple(s / _MOTION_SIZES for s in split.sequences), split.labels) for split in splits)
    return train, test


def _series(name: str, classes: list[str]) -> tuple[Samples, Samples]:
    """Both splits of a data set in sktime's .ts text: one case a line, channels between colons, its class last."""
    splits = []
    for split in ("TRAIN", "TEST"):
        path = _package_file("aeon", "datasets", "data", name, f"{name}_{split}.ts")
        cases = path.read_text(encoding="utf-8").partition("@data\n")[2].splitlines()
        rows = [case.strip().split(":") for case in cases if case.strip()]
        # The file has one row for each channel; a recurrent layer wants one for each step.
        sequences = [
            np.array([channel.split(",") for channel in channels], np.float32).T.copy() for *channels, _ in rows
        ]
        splits.append(Samples(tuple(sequences), np.array([classes.index(row[-1]) for row in rows], np.int64)))
    return splits[0], splits[1]


def _digits() -> tuple[Samples, Samples]:
    """scikit-learn's digits, rows of 8 pixels from top to bottom, 16 grey levels as 0 to 1.

    The first half trains, the second tests, as in scikit-learn's own example: other people wrote the latter.
    """
    path = _package_file("sklearn", "datasets", "data", "digits.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pixels, labels = table[:, :-1].reshape(-1, 8, 8) / np.float32(16), table[:, -1].astype(np.int64)
    halves = slice(_DIGITS_TO_TRAIN), slice(_DIGITS_TO_TRAIN, None)
    train, test = (Samples(tuple(pixels[half]), labels[half]) for half in halves)
    return train, test


def _package_file(package: str, *parts: str) -> Path:
    # find_spec locates a top-level package without importing it: its own dependencies are not needed.
    spec = importlib.util.find_spec(package)
    names = {"sklearn": "scikit-learn"}
    install = f"pip install --no-deps {names.get(package, package)}"
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"a data set comes with the package {package!r}, which is not installed: run `{install}`")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise SystemExit(f"the installed {package!r} has no {path.name}: run `{install}` for a release that holds it")
    return path
