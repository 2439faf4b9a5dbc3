# SPDX-License-Identifier: Apache-2.0
"""Static units refuse illegal parameters when they are elaborated, and stop a simulation that breaks their contract."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwgen import toolchain
from hwgen.backends import rtl

LIBRARY = sorted(rtl.library().glob("*.sv"))
VIOLATIONS = Path(__file__).parent / "units" / "violations.sv"

# Unit, parameters besides its defaults, and the whole message.
REFUSED = (
    ("adder_tree", "Count=4 Stages=3", "3 stages for 2 levels of adders"),
    ("adder_tree", "Count=4 Stages=-1", "-1 stages for 2 levels of adders"),
    ("adder_tree", "Count=0", "Count must be at least 1, not 0"),
    ("adder_tree", "TermBits=0", "TermBits must be at least 1, not 0"),
    ("axis_input", "LaneBits=8 CodeBits=9 ValueBits=9", "CodeBits 9 do not fit a lane of LaneBits 8"),
    ("axis_input", "CodeBits=8 ValueBits=8 Signed=0", "ValueBits 8 do not hold 8-bit codes, Signed 0"),
    ("axis_input", "CodeBits=8 ValueBits=7", "ValueBits 7 do not hold 8-bit codes, Signed 1"),
    ("axis_output", "Beats=0", "Beats must be at least 1, not 0"),
    ("axis_output", "Vectors=0", "Vectors must be at least 1, not 0"),
    ("clamp", "Lo=5 Hi=4", "Lo 5 is above Hi 4"),
    ("clamp", "CodeBits=7", "CodeBits 7 do not hold -128 to 127"),
    ("clamp", "CodeBits=8 Lo=0 Hi=255", "CodeBits 8 do not hold 0 to 255"),
    ("clamp", "CodeBits=3 Lo=-5 Hi=0", "CodeBits 3 do not hold -5 to 0"),
    ("context_hidden", "Contexts=1", "Contexts must be at least 2, not 1"),
    ("context_hidden", "Units=2 Groups=5 Simd=4", "10 hidden units are not a multiple of Simd 4"),
    ("context_memory", "Contexts=1", "Contexts must be at least 2, not 1"),
    ("context_memory", "Block=2", "Block must be 0 or 1, not 2"),
    ("context_memory", "Units=1 Groups=20 Simd=3", "20 hidden units are not a multiple of Simd 3"),
    ("context_queue", "Beats=0", "Beats must be at least 1, not 0"),
    ("interleave_control", "Contexts=1", "Contexts must be at least 2, not 1"),
    ("interleave_control", "ColumnTiles=5 Groups=20 Period=99", "Period 99 is below the 100 tiles of a step"),
    ("constants", "Depth=0", "Depth must be at least 1, not 0"),
    ("constants", "Depth=2 Stride=3 Offset=3", "Offset 3 is not below Stride 3"),
    ("delay", "Width=0", "Width must be at least 1, not 0"),
    ("delay", "Stages=-1", "Stages must be at least 0, not -1"),
    ("flag_delay", "Stages=-2", "Stages must be at least 0, not -2"),
    ("hold", "Width=0", "Width must be at least 1, not 0"),
    ("hold", "Delay=-1", "Delay must be at least 0, not -1"),
    ("hidden_memory", "Units=2 Groups=5 Simd=4", "10 hidden units are not a multiple of Simd 4"),
    ("initial_state", "Lanes=3 Beats=5 ReadLanes=4", "15 values are not a multiple of ReadLanes 4"),
    ("input_product", "Rows=80 Pe=3", "Rows 80 is not a multiple of Pe 3"),
    ("input_product", "Columns=10 Simd=4", "Columns 10 is not a multiple of Simd 4"),
    ("input_product", "WeightStages=0", "WeightStages must be at least 1, not 0"),
    ("input_product", "Steps=0", "Steps must be at least 1, not 0"),
    ("tile_product", "Pe=2 Gates=4", "rows change places within 4: Pe must be 1 or a multiple, not 2"),
    ("tile_product", "Gates=2 Order=64'h2", "Order has row 2, of 2"),
    ("tile_product", "Gates=2 Sets=2", "rows change places in one set of weights only, Sets is 2"),
    ("tile_product", "Sets=0", "Sets must be at least 1, not 0"),
    ("matvec", "Pe=0", "Pe must be at least 1, not 0"),
    ("matvec", "Simd=0", "Simd must be at least 1, not 0"),
    ("matvec", "ProductStages=-1", "ProductStages must be at least 0, not -1"),
    ("matvec", "Simd=4 TreeStages=3", "3 stages for 2 levels of adders"),
    ("matvec", "Bipolar=1 WeightBits=2", "Bipolar 1 needs weights of 1 bit, not 2"),
    ("matvec", "Pack=-1", "Pack must be at least 0, and 1 with Bipolar 0, not -1"),
    ("matvec", "Pack=2 Bipolar=1 WeightBits=1", "Pack must be at least 0, and 1 with Bipolar 1, not 2"),
    ("packed_products", "Pack=1", "Pack must be at least 2, not 1"),
    ("packed_products", "WeightBits=1", "WeightBits must be at least 2, not 1"),
    ("packed_products", "FieldBits=3", "FieldBits 3 do not hold a weight of 4 bits"),
    (
        "packed_products",
        "Pack=4 FieldBits=8",
        "4 weights of 4 bits, 8 apart, need more than the 25 bits of a multiplier",
    ),
    ("digit_products", "WeightBits=1", "WeightBits must be at least 2, not 1"),
    ("digit_products", "Chain=0", "Chain must be at least 1, not 0"),
    ("product", "LeftBits=9 RightBits=8 ProductBits=16", "ProductBits 16 do not hold a product of 17 bits"),
    ("product", "LeftBits=9 RightBits=8 LeftZero=1", "ProductBits 17 do not hold a product of 18 bits"),
    ("multiply", "LeftBits=0", "LeftBits 0 and RightBits 8 must be at least 1"),
    ("select", "Count=0", "Count must be at least 1, not 0"),
    ("recurrence_control", "ColumnTiles=5 Groups=20 Period=99", "Period 99 is below the 100 tiles of a step"),
    ("argmax", "ValueBits=0", "ValueBits must be at least 1, not 0"),
    ("argmax", "Count=0", "Count must be at least 1, not 0"),
    ("argmax", "RankBits=0", "RankBits must be at least 1, not 0"),
    ("rom", "Depth=0", "Depth must be at least 1, not 0"),
    ("rom", "Stages=-1", "Stages must be at least 0, not -1"),
    ("rom", "Block=1 Stages=0", "block RAM is read with 1 stage or more, not 0"),
    ("shared_rom", "Depth=0", "Depth must be at least 1, not 0"),
    ("shared_rom", "Stages=0", "block RAM is read with 1 stage or more, not 0"),
    ("sequence_reverse", "Length=0", "Length must be at least 1, not 0"),
    ("sequence_reverse", "Beats=0", "Beats must be at least 1, not 0"),
    ("sequence_meet", "Length=0", "Length must be at least 1, not 0"),
    ("sequence_meet", "Beats=0", "Beats must be at least 1, not 0"),
    ("sequence_meet", "CountBeats=0", "CountBeats must be at least 1, not 0"),
    ("sequence_meet", "BackwardBits=10", "SumBits 9 do not hold sums of 8 and 10 bits"),
    ("sequence_meet", "Block=2", "Block must be 0 or 1, not 2"),
    ("sequence_turns", "Length=0", "Length must be at least 1, not 0"),
    ("sequence_turns", "Beats=0", "Beats must be at least 1, not 0"),
    ("sequence_turns", "Block=2", "Block must be 0 or 1, not 2"),
    ("state_memory", "Units=1 Groups=20 Simd=3", "20 hidden units are not a multiple of Simd 3"),
    ("step_select", "Width=0", "Width must be at least 1, not 0"),
    ("step_select", "Beats=0", "Beats must be at least 1, not 0"),
    ("step_select", "Index=-1", "Index must be at least 0, not -1"),
    ("step_select", "Back=2", "Back must be 0 or 1, not 2"),
    ("step_multiply", "TotalBits=32 Shift=32", "Shift 32 is not within TotalBits 32"),
    ("step_multiply", "Shift=-1", "Shift -1 is not within TotalBits 32"),
    ("step_multiply", "OffsetBits=33", "TotalBits 32 are fewer than OffsetBits 33"),
    ("step_multiply", "Lo=9 Hi=8", "Lo 9 is above Hi 8"),
    ("step_search", "Count=0", "a search needs a threshold, Count is 0"),
    ("step_search", "OutputRegister=2", "OutputRegister must be 0 or 1, not 2"),
    ("step_search", "Count=7 Stages=4", "4 stages for 3 levels, OutputRegister 1"),
    ("step_search", "Count=7 Stages=3 OutputRegister=0", "3 stages for 3 levels, OutputRegister 0"),
    ("step_search", "ValueBits=17 ThresholdBits=16", "ThresholdBits 16 are fewer than ValueBits 17"),
    ("step_shift", "TotalBits=18 Shift=18", "Shift 18 cuts all of TotalBits 18"),
    ("step_shift", "OffsetBits=19", "TotalBits 18 are fewer than OffsetBits 19"),
    ("step_shift", "Rounding=7", "Rounding must be from 0 to 6, not 7"),
    ("step_shift", "Lo=-129", "CodeBits 8 do not hold -129 to 127"),
    ("step_table", "Size=0", "Size must be at least 1, not 0"),
    ("step_table", "Rows=0", "Rows must be at least 1, not 0"),
    ("step_table", "Stages=-1", "Stages must be at least 0, not -1"),
    ("stream_buffer", "Width=0", "Width must be at least 1, not 0"),
    ("stream_buffer", "Depth=0", "Depth must be at least 1, not 0"),
    ("stream_buffer", "Block=2", "Block must be 0 or 1, not 2"),
    ("stream_concat", "Width=0", "Width must be at least 1, not 0"),
    ("stream_concat", "Parts=0", "Parts must be at least 1, not 0"),
    ("stream_concat", "Beats=64'h100000000", "Beats of part 0 must be at least 1, not 0"),
    ("stream_credit", "Depth=0", "Depth must be at least 1, not 0"),
    ("stream_index", "Count=0", "Count must be at least 1, not 0"),
    ("stream_fork", "Width=0", "Width must be at least 1, not 0"),
    ("stream_fork", "Outputs=0", "Outputs must be at least 1, not 0"),
    ("stream_keep", "Beats=0", "Beats must be at least 1, not 0"),
    ("stream_keep", "Turn=2", "Turn must be 0 or 1, not 2"),
    ("stream_split", "Beats=0", "Beats must be at least 1, not 0"),
    ("stack_join", "Width=0", "Width must be at least 1, not 0"),
    ("stack_join", "SecondBeats=0", "vectors must have a beat at least, not 2 and 0"),
    ("turns", "Stacked=2", "Stacked must be 0 or 1, not 2"),
    ("tile_product", "Stacked=1", "a stack is of two layers, Sets is 1"),
    ("stream_narrow", "Width=0", "Width must be at least 1, not 0"),
    ("stream_narrow", "Factor=0", "Factor must be at least 1, not 0"),
    ("stream_widen", "Width=0", "Width must be at least 1, not 0"),
    ("stream_widen", "Factor=0", "Factor must be at least 1, not 0"),
    ("stream_fifo", "Width=0", "Width must be at least 1, not 0"),
    ("stream_fifo", "Depth=0", "Depth must be at least 1, not 0"),
    ("state_memory", "Block=2", "Block must be 0 or 1, not 2"),
    ("sequence_reverse", "Block=-1", "Block must be 0 or 1, not -1"),
    ("sums_buffer", "Block=2", "Block must be 0 or 1, not 2"),
    ("sums_buffer", "ReadStages=0", "ReadStages must be at least 1, not 0"),
    ("sums_buffer", "Steps=0", "Steps must be at least 1, not 0"),
    ("sums_buffer", "WritePe=6 Common=4", "WritePe 6 is not a multiple of Common 4"),
    ("sums_buffer", "ReadPe=6 Common=4", "ReadPe 6 is not a multiple of Common 4"),
    ("sums_buffer", "Rows=10", "Rows 10 is not a multiple of a line, 4"),
)

FIRED = {
    "fifo_overflow": "a word was written to a full FIFO of Depth 3",
    "no_credit": "a beat entered without room for it among 2",
    "nothing_left": "a beat left that had not entered, there is room for 2",
    "another_end": "a sequence of 2 steps ends after another number of them",
    "no_such_step": "a sequence of 2 steps ended, step 2 was wanted",
    "no_room": "a vector was begun without room for it among 2",
    "not_reserved": "a beat came that was not reserved, vectors are of 2",
    "initial_not_there": "an initial state of 2 beats was taken that is not there",
    "initial_not_in_use": "an initial state of 2 beats was released that is not in use",
    "freed_twice": "a time step was freed beyond the Steps 2 there are",
    "row_in_row": "first_i is 1, within a row: 1",
    "no_begin": "first_i is 0, within a row: 0",
    "too_many_steps": "more than Steps 2 time steps in the buffer",
    "step_not_there": "a time step was taken that is not there, of Steps 2",
    "done_early": "a time step was done with 8 of its 16 sums",
    "not_taken": "8 sums were read that were not taken",
    "no_such_group": "h of group 7 is written, there are 5",
    "no_such_hidden_group": "h of group 3 is written, there are 3",
    "no_such_cell_group": "c of group 3 is written, there are 3",
    "step_within_step": "a step began within another",
    "interleaved_within_step": "a step began within another",
    "no_such_context": "a step of context 3, there are 3",
    "no_context_to_queue": "a beat of context 3, there are 3",
    "mixed_contexts": "context 2 within a step of context 1",
    "context_not_there": "a step was taken that has not entered, of Steps 2",
    "no_such_shared_hidden_group": "h of group 3 is written, there are 3",
    "no_such_shared_cell_group": "c of group 3 is written, there are 3",
}


@functools.cache
def lint(unit: str, parameters: str) -> dict[str, str]:
    """What a unit and the units inside it say to its parameters: {file:line: message}."""
    options = [f"-G{parameter}" for parameter in parameters.split()]
    command: list[str | Path] = [
        toolchain.verilator(),
        "--lint-only",
        "-Wno-lint",
        "--top-module",
        f"hwgen_{unit}",
        *options,
        *LIBRARY,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    messages = re.findall(r"^%Warning-USERFATAL: (?:[^ ]*/)?(hwgen_\w+\.sv:\d+):\d+: (.*)$", result.stderr, re.M)
    assert (result.returncode != 0) == bool(messages), result.stderr
    return dict(messages)


@pytest.mark.parametrize(("unit", "parameters", "message"), REFUSED, ids=lambda value: str(value).replace(" ", ","))
def test_illegal_parameters_are_refused_with_their_numbers(unit: str, parameters: str, message: str) -> None:
    assert message in lint(unit, parameters).values()


@pytest.mark.parametrize("unit", [path.stem.removeprefix("hwgen_") for path in LIBRARY])
def test_default_parameters_are_not_refused(unit: str) -> None:
    assert lint(unit, "") == {}


def test_every_refusal_of_the_library_is_tested() -> None:
    wanted = set()
    for path in LIBRARY:
        lines = path.read_text().splitlines()
        wanted |= {f"{path.name}:{n + 1}" for n in range(1, len(lines)) if " : gen_refused_" in lines[n - 1]}
    assert set().union(*(lint(unit, parameters) for unit, parameters, _ in REFUSED)) == wanted


def test_every_assertion_of_the_library_is_tested() -> None:
    text = "".join(path.read_text() for path in LIBRARY)
    stops = text.count("$fatal(") - text.count(" : gen_refused_")
    # One of them has two ways to be broken.
    assert stops == len(FIRED) - 1


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The users of units, compiled once for all violations."""
    folder = tmp_path_factory.mktemp("violations")
    (folder / "weights.hex").write_text("0\n0\n")
    (folder / "bias.hex").write_text("0\n")
    control = (rtl.library() / "hwgen_recurrence_control.sv").read_text()
    assert control.count("wait_q == '0 &&") == 1
    broken = control.replace("wait_q == '0 &&", "").replace("module hwgen_", "module broken_")
    interleave = (rtl.library() / "hwgen_interleave_control.sv").read_text()
    assert interleave.count("busy_q == '0 &&") == 1
    broken += interleave.replace("busy_q == '0 &&", "").replace("module hwgen_", "module broken_")
    (folder / "broken.sv").write_text(broken)
    command: list[str | Path] = [
        toolchain.verilator(),
        "--binary",
        "--assert",
        "-Wno-fatal",
        "--top-module",
        "violations",
    ]
    command += [
        "-CFLAGS",
        "-std=c++20 -O0",
        "-MAKEFLAGS",
        "CFG_CXXFLAGS_PCH_I=-include",
        "-MAKEFLAGS",
        f"PYTHON3={sys.executable}",
        *LIBRARY,
        VIOLATIONS,
        "broken.sv",
    ]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def simulate(folder: Path, violation: str) -> tuple[int, str]:
    command = [str(folder / "obj_dir" / "Vviolations"), f"+violation={violation}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_users_that_keep_the_contracts_are_left_alone(simulation: Path) -> None:
    status, text = simulate(simulation, "none")
    assert status == 0, text
    assert "Fatal" not in text


@pytest.mark.parametrize("violation", FIRED)
def test_a_violation_stops_the_simulation(violation: str, simulation: Path) -> None:
    status, text = simulate(simulation, violation)
    assert status != 0, text
    assert FIRED[violation] in text
