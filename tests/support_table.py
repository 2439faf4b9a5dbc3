# SPDX-License-Identifier: Apache-2.0
"""What hwgen does with each option of torch's and Brevitas' recurrent layers, found out by trying each.

``python tests/support_table.py [TITLE ..]`` writes the tables into docs/support.md, between the two markers;
test_support.py compares them.  Needs torch and brevitas.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lowered import assert_equal, code_inputs, random_inputs
from option_sets import quiet

import hwgen
from hwgen import host
from hwgen.errors import HwgenError
from hwgen.lowering import lower

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
BEGIN, END = "<!-- tests/support_table.py: begin -->", "<!-- tests/support_table.py: end -->"


@dataclass(frozen=True)
class Option:
    """``make`` writes a model into a folder and returns its file; ``how`` says how it is supported, if it is."""

    name: str
    make: Callable[[Path], Path]
    how: str = ""


def outcome(option: Option, folder: Path) -> str:
    """What the table says of an option, from what happens.

    A model that is read must compute the same in the reference and in the integer model, for real inputs and for codes
    of the whole range.  Raises AssertionError where it does not.
    """
    try:
        with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = option.make(folder)
    except HwgenError as error:
        return refused(error, folder)
    except AssertionError:
        raise
    except Exception as error:  # whatever torch and Brevitas raise of what they cannot export
        return f"not exported: {type(error).__name__}: {message(error, folder)}"
    try:
        network = hwgen.load(path)
        model = lower(network)
    except HwgenError as error:
        return refused(error, folder)
    for given in (random_inputs(network, 5, 3, seed=1), code_inputs(network, 6, 4, seed=2)):
        found = host.run(network, model, given)
        assert_equal(network.run(given), found, option.name)
        assert any(len(np.unique(values)) > 1 for values in found.values()), f"{option.name}: no output moves"
    try:
        hwgen.schedule(network)
    except HwgenError as error:
        return f"in software{': ' * bool(option.how)}{option.how}; hardware: {refused(error, folder)}"
    return f"yes{': ' * bool(option.how)}{option.how}"


def refused(error: HwgenError, folder: Path) -> str:
    """A refusal in full."""
    return f"{type(error).__name__}: {message(error, folder)}"


def message(error: Exception, folder: Path) -> str:
    """The first line of what an error says, as code."""
    text = (str(error).strip().splitlines() or [""])[0].replace(f"{folder}/", "")
    shortened = text if isinstance(error, HwgenError) or len(text) <= 100 else f"{text[:100].rpartition(' ')[0]} .."
    return f"`{shortened.replace('|', '/').replace('`', chr(39))}`"


def table(title: str, options: Iterable[Option], heard: Callable[[str], None] = lambda row: None) -> str:
    """One table as Markdown, under its title."""
    lines = [f"### {title}", "", "| option | |", "|---|---|"]
    for option in options:
        with tempfile.TemporaryDirectory(prefix="hwgen-support-") as folder:
            lines.append(f"| {option.name} | {outcome(option, Path(folder))} |")
        heard(lines[-1])
    return "\n".join(lines)


def written(page: str, title: str) -> str:
    """The table of a page under a title, between the markers."""
    inside = page.split(BEGIN)[1].split(END)[0]
    return next(
        (part.strip() for part in re.split(r"^(?=### )", inside, flags=re.M) if part.startswith(f"### {title}\n")), ""
    )


def main(parts: list[str]) -> None:
    """Write the tables into the page, or those whose titles have one of ``parts``."""
    from support_options import sections

    torch.set_num_threads(1)
    for title, options in sections().items():
        if not parts or any(part in title for part in parts):
            new = table(title, options, lambda row: print(row, file=sys.stderr))
            page = PAGE.read_text()
            old = written(page, title)
            PAGE.write_text(page.replace(old, new) if old else page.replace(END, f"{new}\n\n{END}"))
    print(f"written: {PAGE.name}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
