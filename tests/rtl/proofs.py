# SPDX-License-Identifier: Apache-2.0
"""Proofs by Yosys' SAT solver: a unit beside its specification, equal for all inputs.

A property is proven over a window: registers start with any contents, unknown ones included, inputs are free in every
cycle, and the assertion is checked in the last cycle alone.  Every cycle of every run that lies so many cycles behind
its start is the end of such a window, so this is a proof for runs of any length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.backends import rtl
from hwgen.step import StepFunction
from hwgen.synth.yosys import run_script

PROPERTIES = Path(__file__).parent / "formal"


@dataclass(frozen=True)
class Property:
    """A module ``name`` with assertions that hold in the last of ``cycles`` cycles.

    Its output ``covered`` can be 1 then: the assertions say something.
    """

    name: str
    text: str
    cycles: int


@dataclass(frozen=True)
class Verdict:
    """What the solver found: no counterexample, and a witness of the cover."""

    holds: bool
    covered: bool

    @property
    def proven(self) -> bool:
        """Whether the assertions hold, and not for want of cases."""
        return self.holds and self.covered


def library() -> dict[str, str]:
    """The static units as {name: text}."""
    return {path.name: path.read_text() for path in sorted(rtl.library().glob("*.sv"))}


def check(properties: Sequence[Property], files: Mapping[str, str], folder: Path, cover: bool = True) -> list[Verdict]:
    """Decide properties of ``files`` (SystemVerilog, and memory contents) in one run of Yosys in ``folder``.

    Without ``cover`` the covers are left out, and nothing counts as proven.
    """
    assert len({prop.name for prop in properties}) == len(properties) > 0
    sources = {"past.sv": (PROPERTIES / "past.sv").read_text(), **files}
    sources |= {f"{prop.name}.sv": prop.text for prop in properties}
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    modules = " ".join(name for name in sources if name.endswith(".sv"))
    # Deferred: parameters first, since an unparametrised search or memory has no contents.
    commands = [f"read_verilog -sv -formal -DSYNTHESIS -defer {modules}", "design -save sources"]
    for prop in properties:
        commands += ["design -load sources", f"prep -flatten -top {prop.name}", "chformal -lower"]
        # What is undefined stays so: it must not be chosen to suit the proof.
        commands += ["memory_map -keepdc", "opt -full -keepdc", "wreduce -keepdc", "opt -full -keepdc"]
        commands += [f"log begin {prop.name}"]
        window = f"sat -seq {prop.cycles} -set-def-inputs"
        commands += [f"{window} -prove-asserts -prove-skip {prop.cycles - 1}"]
        commands += [f"{window} -set-at {prop.cycles} covered 1"] if cover else []
    log = run_script(commands, folder, "Yosys")
    (folder / "yosys.log").write_text(log)
    verdicts = []
    for prop, part in zip(properties, re.split(r"^begin ", log, flags=re.M)[1:], strict=True):
        assert part.startswith(prop.name), part[:100]
        assert "Import proof for assert" in part, f"{prop.name} asserts nothing"
        proofs = re.findall(r"SAT proof finished - (no model|model) found", part)
        witnesses = re.findall(r"SAT solving finished - (no model|model) found", part)
        assert len(proofs) == 1 and len(witnesses) == cover, part[-2000:]
        verdicts.append(Verdict(proofs == ["no model"], witnesses == ["model"]))
    return verdicts


def literal(value: int) -> str:
    """An integer as a signed number of 32 bits."""
    assert abs(value) < 2**31
    return f"-32'sd{-value}" if value < 0 else f"32'sd{value}"


def counted(name: str, step: StepFunction) -> str:
    """A step function by its definition, first + number of thresholds <= value, as a SystemVerilog function."""
    width = max(1, step.thresholds.shape[1].bit_length())
    lines = [
        f"  function automatic logic signed [31:0] {name}(",
        "    input logic signed [31:0] value, input logic [31:0] channel",
        "  );",
        f"    logic [{width - 1}:0] count;",
        "    begin",
        "      count = 0;",
    ]
    for thresholds in step.thresholds.T.tolist():
        *others, threshold = map(literal, thresholds)
        for index, other in reversed(list(enumerate(others))):
            threshold = f"channel == {index} ? {other} : {threshold}"
        lines.append(f"      if (value >= ({threshold})) count = count + 1'b1;")
    return "\n".join([*lines, f"      {name} = {literal(step.first)} + 32'(count);", "    end", "  endfunction", ""])
