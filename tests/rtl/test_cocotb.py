# SPDX-License-Identifier: Apache-2.0
"""The cocotb bench passes every generated design, and finds each fault that is planted in one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import hwgen
from hwgen import vectors
from hwgen.cli import main
from hwgen.errors import ConfigError, ToolError
from hwgen.folding import Folding
from hwgen.project import port_files
from hwgen.rtl_cycles import Prediction, predict
from hwgen.schedule import Schedule, schedule
from hwgen.verify import protocol, verify

MODELS = Path(__file__).parents[1] / "models"
ALL_OUTPUTS = ("sequence", "last_hidden", "last_cell")
# Without stalls at the outputs, and all.
UNSTALLED = {"full_rate", "idle", "long_input_stalls", "one_at_a_time"}
PATTERNS = UNSTALLED | {
    "backpressure", "idle_and_backpressure", "long_output_stalls", "single_steps", "reset_in_sequence"
}  # fmt: skip


def build(folder: Path, model: str, folding: tuple[int, int, int, int] | None = None, **options: Any) -> hwgen.Project:
    chosen = Folding(*folding) if folding else None
    design = hwgen.schedule(hwgen.load(MODELS / f"{model}.onnx"), folding=chosen, **options)
    return hwgen.build(design, folder / "project", backend="rtl")


def failed(report: dict[str, Any]) -> dict[str, str]:
    """The patterns that failed, with what was wrong."""
    patterns = report["levels"]["cocotb"]["patterns"]
    assert set(patterns) == PATTERNS
    return {name: "; ".join(entry["problems"]) for name, entry in patterns.items() if not entry["passed"]}


def check(project: hwgen.Project, sequences: int = 8) -> None:
    """Everything passes, and everything was compared: each pattern sends all of its sequences through every output."""
    report = verify(project, level="cocotb", sequences=sequences)
    level = report["levels"]["cocotb"]
    assert failed(report) == {}, failed(report)
    assert report["passed"]
    assert level["mismatches"] == 0
    assert level["predicted_cycles"] == level["simulated_cycles"]
    of_state = len([port for port in project.design.outputs if port.name != "y"])
    sequences = level["sequences"]
    vectors_of_y = level["steps"] if any(port.name == "y" for port in project.design.outputs) else 0
    width = project.design.outputs[0].width
    of_all = (vectors_of_y + of_state * sequences) * width
    of_singles = sequences * len(project.design.outputs) * width
    assert level["codes"] == 8 * of_all + 2 * of_singles


@pytest.mark.parametrize(
    ("model", "folding", "options"),
    [
        ("states", (4, 5, 1, 10), {"outputs": ALL_OUTPUTS}),
        ("states_reversed", (8, 5, 1, 10), {"outputs": ALL_OUTPUTS}),
        ("coupled", (10, 1, 6, 5), {"clock_mhz": 50}),
        ("mixed_widths", None, {"streaming": True}),
        # All in one cycle: 160 bits a beat.
        ("narrow4", (80, 10, 80, 20), {}),
    ],
)
def test_patterns(
    model: str, folding: tuple[int, int, int, int] | None, options: dict[str, Any], tmp_path: Path
) -> None:
    check(build(tmp_path, model, folding, **options))


def test_interleaved_sequences_and_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The initial states come without TID, in the order in which their sequences begin.
    project = build(tmp_path, "states", (8, 5, 8, 20), outputs=ALL_OUTPUTS, interleave=3)
    check(project)

    def mixed_up(*arguments: Any) -> dict[str, str]:
        files = port_files(*arguments)
        # The last state that leaves is said to be of another context.
        lines = files["h_n"].splitlines()
        count, tid, ends = map(int, lines[-2].split())
        lines[-2] = f"{count} {(tid + 1) % 3} {ends}"
        return files | {"h_n": "\n".join(lines) + "\n"}

    monkeypatch.setattr(protocol, "port_files", mixed_up)
    found = failed(verify(project, level="cocotb", sequences=4))
    assert set(found) == PATTERNS
    assert all(re.search(r"h_n: beat \d+: codes equal; .*; TID \d, not \d", text) for text in found.values()), found


@pytest.mark.long
@pytest.mark.parametrize("model", sorted(path.stem for path in MODELS.glob("*.onnx")))
def test_patterns_on_all_option_sets(model: str, tmp_path: Path) -> None:
    design = hwgen.schedule(hwgen.load(MODELS / f"{model}.onnx"))
    check(hwgen.build(design, tmp_path / "project", backend="rtl"), sequences=64)


# A design from elsewhere: the generated units in one file, behind the ports of an HLS tool's export.  Around it is a
# fault, which the file fault.hex chooses when the simulation starts.
EXPORTED = """
module exported (
  input  logic ap_clk,
  input  logic ap_rst_n,
  input  logic [IN-1:0] x_TDATA,
  input  logic [IN/8-1:0] x_TKEEP,
  input  logic [IN/8-1:0] x_TSTRB,
  input  logic x_TLAST,
  input  logic x_TVALID,
  output logic x_TREADY,
  output logic [OUT-1:0] y_TDATA,
  output logic [OUT/8-1:0] y_TKEEP,
  output logic [OUT/8-1:0] y_TSTRB,
  output logic y_TLAST,
  output logic y_TVALID,
  input  logic y_TREADY
);
  logic [7:0] chosen [0:0];
  initial $readmemh("fault.hex", chosen);
  logic [7:0] fault;
  assign fault = chosen[0];

  logic valid, ready, last, x_ready, reset_n;
  logic [OUT-1:0] data;
  TOP u_design (
    .aclk(ap_clk), .aresetn(reset_n),
    .s_axis_x_tdata(x_TDATA), .s_axis_x_tlast(x_TLAST), .s_axis_x_tvalid(x_TVALID && x_TREADY),
    .s_axis_x_tready(x_ready),
    .m_axis_y_tdata(data), .m_axis_y_tlast(last), .m_axis_y_tvalid(valid), .m_axis_y_tready(ready)
  );

  int waited, accepted, sequences, idle;
  logic was_reset, drop, again;
  always_ff @(posedge ap_clk) begin
    was_reset <= was_reset | (ap_rst_n & ~was_reset);
    waited <= y_TVALID && !y_TREADY ? waited + 1 : 0;
    if (y_TVALID && y_TREADY && waited > 20) drop <= fault == 2;
    else if (valid) drop <= 0;
    if (x_TVALID && x_TREADY) accepted <= accepted + 1;
    if (y_TVALID && y_TREADY && last) sequences <= sequences + 1;
    idle <= valid || x_TVALID ? 0 : idle + 1;
    if (y_TVALID && y_TREADY) again <= fault == 9 && idle < 40 && last;
    if (!ap_rst_n) begin
      waited <= 0;
      drop <= 0;
      accepted <= 0;
      sequences <= 0;
      idle <= 0;
      again <= 0;
    end
  end

  assign reset_n = fault == 7 ? ap_rst_n | was_reset : ap_rst_n;
  assign x_TREADY = x_ready && !(fault == 8 && accepted > 12);
  assign ready = y_TREADY || drop;
  logic extra;
  assign extra = again && idle >= 40;
  assign y_TVALID = (valid && !drop && !(fault == 3 && waited == 5)) || (fault == 5 && !ap_rst_n) || extra;
  assign y_TDATA = fault == 4 && waited == 7 ? ~data : data;
  assign y_TLAST = extra || (fault == 6 ? last && y_TREADY : last && !(fault == 1 && sequences == 1));
  assign y_TKEEP = {OUT/8{1'b1}} ^ (OUT/8)'(fault == 10 && last);
  assign y_TSTRB = {OUT/8{1'b1}} & {OUT/8{&x_TKEEP & &x_TSTRB}};
endmodule
"""
# Patterns that must find a fault, and those that must not, for it shows only under stalls or at a reset.
FAULTS = {
    "TLAST lost": (1, PATTERNS, set(), r"TLAST 0, not 1"),
    "beat dropped after backpressure": (2, {"backpressure", "long_output_stalls"}, UNSTALLED, r"y: \d+ beats, not \d+"),
    "TVALID withdrawn": (
        3,
        {"backpressure", "long_output_stalls"},
        UNSTALLED,
        r"TVALID fell before the beat was taken",
    ),
    "TDATA changes": (4, {"backpressure", "long_output_stalls"}, UNSTALLED, r"TDATA or TLAST changed before the beat"),
    "TVALID during reset": (5, PATTERNS, set(), r"TVALID during reset"),
    "TLAST waits for TREADY": (6, {"backpressure", "idle_and_backpressure"}, UNSTALLED, r"TDATA or TLAST changed"),
    "no reset": (7, {"reset_in_sequence"}, PATTERNS - {"reset_in_sequence"}, r"y: .*, not "),
    "no input taken": (8, PATTERNS - {"single_steps"}, set(), r"hangs: no beat in .*; x: \d+ sequences were not taken"),
    "one beat too many": (9, PATTERNS, set(), r"y: \d+ beats, not \d+"),
    "TKEEP": (10, PATTERNS, set(), r"TKEEP is not all ones"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[hwgen.Project, Path]:
    """A project with its RTL as one file under another top."""
    project = build(tmp_path_factory.mktemp("exported"), "default", (8, 5, 8, 10))
    rtl, bits = (
        project.path / "rtl",
        {port.name: port.bits for port in (*project.design.inputs, *project.design.outputs)},
    )
    units = [(rtl / name).read_text() for name in (rtl / "sources.f").read_text().split()]
    wrapper = EXPORTED.replace("TOP", protocol.generated(project).top)
    wrapper = re.sub(r"\bIN\b", str(bits["x"]), re.sub(r"\bOUT\b", str(bits["y"]), wrapper))
    (rtl / "exported.sv").write_text("\n".join([*units, wrapper]))
    (rtl / "fault.hex").write_text("0\n")
    return project, rtl / "exported.sv"


def test_patterns_on_the_default_model(exported: tuple[hwgen.Project, Path]) -> None:
    check(exported[0])


def test_a_design_from_elsewhere_passes(exported: tuple[hwgen.Project, Path]) -> None:
    project, source = exported
    result = call("verify", project.path, "--level", "cocotb", "--verilog", source, "--top", "exported")
    assert result.exit_code == 0, result.output
    report = json.loads((project.path / "verify.json").read_text())
    level = report["levels"]["cocotb"]
    assert level["verilog"] == [str(source.resolve())]
    assert level["top"] == "exported"
    assert level["predicted_cycles"] is None
    # The same design behind wires: its cycles are those of the prediction all the same.
    some = protocol.bounded(project.design, vectors.random_sequences(project.design, 64, 1))
    ports = predict(project.design, some.lengths).ports
    assert level["simulated_cycles"] == {name: {"first": a, "last": b} for name, (a, b) in ports.items()}
    assert failed(report) == {}
    assert "cocotb, y: first beat in cycle" in result.output
    assert "predicted" not in result.output


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name: str, exported: tuple[hwgen.Project, Path]) -> None:
    project, source = exported
    fault, finding, passing, problem = FAULTS[name]
    (source.parent / "fault.hex").write_text(f"{fault:x}\n")
    try:
        report = verify(project, level="cocotb", sequences=6, verilog=[source], top="exported")
    finally:
        (source.parent / "fault.hex").write_text("0\n")
    found = failed(report)
    assert not report["passed"]
    assert finding <= set(found), found
    assert not passing & set(found), found
    for text in (found[pattern] for pattern in finding):
        assert re.search(problem, text), found


def test_a_flipped_weight_is_found_without_a_build(
    exported: tuple[hwgen.Project, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = exported
    verilog = protocol.generated(project)
    model = protocol.build(verilog, project.path / "rtl")
    path = project.path / "rtl" / "rom" / "hidden_weights.hex"
    whole = path.read_text()
    lines = whole.split("\n")
    lines[3] = f"{int(lines[3], 16) ^ 0x40 << 160:0{len(lines[3])}x}"
    path.write_text("\n".join(lines))
    with monkeypatch.context() as patch:
        patch.setattr("hwgen.toolchain.run", lambda *arguments, **options: pytest.fail("built again"))
        assert protocol.build(verilog, project.path / "rtl") == model
    result = call("verify", project.path, "--level", "cocotb", "--sequences", "4")
    path.write_text(whole)
    assert result.exit_code == 1
    assert re.search(r"cocotb, full_rate: y: beat \d+: codes \[.+\], not \[.+\]; TLAST \d, not \d", result.output)
    assert "NOT equal" in result.output
    report = json.loads((project.path / "verify.json").read_text())
    assert report["levels"]["cocotb"]["mismatches"] > 0
    # The first step of a sequence starts from a hidden state of zero.
    assert set(failed(report)) == PATTERNS - {"single_steps"}
    # Cycles do not depend on weights.
    assert report["levels"]["cocotb"]["predicted_cycles"] == report["levels"]["cocotb"]["simulated_cycles"]


def test_a_wrong_prediction_is_found(exported: tuple[hwgen.Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = exported

    def late(design: Schedule, lengths: tuple[int, ...]) -> Prediction:
        return Prediction({name: (first, last + 1) for name, (first, last) in predict(design, lengths).ports.items()})

    monkeypatch.setattr(protocol, "predict_cycles", late)
    report = verify(project, level="cocotb", sequences=4)
    found = failed(report)
    assert set(found) == {"full_rate", "single_steps", "reset_in_sequence"}
    for text in found.values():
        assert re.fullmatch(r"y: first and last beat in cycles .*, predicted .*", text)
    assert report["levels"]["cocotb"]["mismatches"] == 0
    assert not report["passed"]


def test_ports_that_do_not_fit_are_named(
    exported: tuple[hwgen.Project, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, source = exported
    right = protocol.describe
    for edit, message in (
        ({"name": "z"}, r"the top level has no port m_axis_z_tdata or z_TDATA"),
        ({"lane_bits": 16}, r"y_TDATA has 16 bits, not 2 lanes of 16"),
    ):

        def describe(*arguments: Any, edit: dict[str, Any] = edit, **options: Any) -> dict[str, Any]:
            description = right(*arguments, **options)
            description["ports"][-1] |= edit
            for traffic in description["sets"]:
                folder = Path(description["vectors"]) / traffic
                shutil.copy(folder / "y.txt", folder / "z.txt")
            return description

        monkeypatch.setattr(protocol, "describe", describe)
        with pytest.raises(ToolError, match=message):
            verify(project, level="cocotb", sequences=2, verilog=[source], top="exported")
    (tmp_path / "broken.v").write_text("module exported (input ap_clk\n")
    with pytest.raises(ToolError, match=r"(?s)building the cocotb bench failed .*syntax error"):
        verify(project, level="cocotb", sequences=2, verilog=[tmp_path / "broken.v"], top="exported")
    assert not [path for path in project.path.iterdir() if "building" in path.name]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_waveforms_are_written_and_named(exported: tuple[hwgen.Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = exported
    monkeypatch.setenv("OPTIMIZE", "-O0")
    for level in ("rtl", "cocotb"):
        result = call("verify", project.path, "--level", level, "--trace")
        assert result.exit_code == 0, result.output
        waveform = project.path / f"{level}.vcd"
        assert f"{level}: waveform in {waveform}" in result.output
        times = [int(time) for time in re.findall(r"^#(\d+)$", waveform.read_text(), re.M)]
        assert times == sorted(set(times))
        assert len(times) > 1000
        report = json.loads((project.path / "verify.json").read_text())
        assert report["levels"][level]["waveform"] == str(waveform)
        assert report["levels"]["integer"]["sequences"] == report["levels"][level]["sequences"] < 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--level", "rtl", "--verilog", __file__, "--top", "t"), r"--verilog needs --level cocotb, not rtl"),
        (("--level", "cocotb", "--verilog", "a.v"), r"--verilog needs --top NAME, .* an identifier, not 'None'"),
        (("--level", "cocotb", "--verilog", "a.v", "--top", "a b"), r"an identifier, not 'a b'"),
        (("--level", "cocotb", "--verilog", "missing.v", "--top", "t"), r"--verilog missing.v: must be a .v or .sv"),
        (("--level", "cocotb", "--verilog", __file__, "--top", "t"), r"--verilog .*: must be a .v or .sv file"),
        (("--level", "cocotb"), r"--level cocotb: the project has no rtl backend; build it with --backend rtl or all"),
        (("--trace",), r"--trace needs level rtl or cocotb, of a project with the rtl backend"),
        (("--level", "verilog"), r"--level must be one of csim, rtl, cocotb, all, not 'verilog'"),
    ],
)  # fmt: skip
def test_refusals(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project")
    result = call("verify", project.path, *arguments)
    assert result.exit_code == 1
    assert re.search(message, " ".join(result.stderr.split())), result.stderr
    assert not (project.path / "verify.json").exists()


def test_a_missing_cocotb_says_how_to_install_it(
    exported: tuple[hwgen.Project, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = exported
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        result = call("verify", project.path, "--level", "cocotb")
    assert result.exit_code == 1
    assert "cocotb was not found; install it with: pip install 'hwgen[sim]'" in " ".join(result.stderr.split())


def test_few_and_short_sequences_for_slow_designs() -> None:
    slow = schedule(hwgen.load(MODELS / "default.onnx"), folding=Folding(1, 1, 1, 1))
    fast = schedule(hwgen.load(MODELS / "default.onnx"), folding=Folding(80, 10, 80, 20))

    def taken(design: Schedule) -> vectors.Sequences:
        return protocol.bounded(design, vectors.random_sequences(design, 64, 1))

    assert taken(fast).lengths == vectors.random_sequences(fast, 64, 1).lengths
    assert len(taken(slow).lengths) >= 3
    assert set(taken(slow).lengths) <= {1, 2, 3}
    # What is left of them is as it was.
    whole, cut = vectors.random_sequences(slow, 64, 1), taken(slow)
    assert (cut.codes["x"][: cut.lengths[0]] == whole.codes["x"][: cut.lengths[0]]).all()
    begin = whole.lengths[0]
    part = slice(cut.lengths[0], cut.lengths[0] + cut.lengths[1])
    assert (cut.codes["x"][part] == whole.codes["x"][begin : begin + cut.lengths[1]]).all()


def test_without_rtl_there_is_nothing_to_build(tmp_path: Path) -> None:
    project = hwgen.build(hwgen.schedule(hwgen.load(MODELS / "two_bits.onnx")), tmp_path / "project")
    with pytest.raises(ToolError, match="no RTL; build the project again"):
        protocol.generated(project)
    with pytest.raises(ConfigError, match="--top names a module of the files that --verilog gives; there are none"):
        protocol.foreign([], "top")
    with pytest.raises(ConfigError, match="an identifier"):
        protocol.foreign([tmp_path / "a.v"], "9lives")
