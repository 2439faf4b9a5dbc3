# SPDX-License-Identifier: Apache-2.0
"""The command line: arguments and messages, no logic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

import hwgen
from hwgen.errors import ConfigError, HwgenError, ToolError, UnsupportedError

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)
_PATH = click.Path(path_type=Path)


class _Commands(click.Group):
    """Turns hwgen's own errors into one message and exit status 1; anything else is a bug and shows its trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HwgenError as error:
            kind = type(error).__name__
            _err.print(f"[bold red]{kind}[/]: {escape(str(error))}", soft_wrap=True)
            if isinstance(error, ToolError) and error.log:
                _err.print(escape(f"(the tool printed {len(error.log.splitlines())} lines; the last are above)"))
            ctx.exit(1)


def _json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs to read.")(function)


def _constant_products(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--constant-products",
        default="multiply",
        show_default=True,
        metavar="HOW",
        help="Products of one cycle: multiply, shift-add, or da4ml (adders that da4ml finds).",
    )(function)


def _buffer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    memory = click.option(
        "--memory", multiple=True, metavar="NAME=STYLE", help="A memory as auto, block, distributed or constant."
    )
    look_ahead = click.option(
        "--look-ahead", multiple=True, metavar="[NODE=]N", help="Time steps that input products may be ahead."
    )
    return memory(look_ahead(function))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(hwgen.__version__, prog_name="hwgen")
def main() -> None:
    """Quantized recurrent networks to FPGA hardware, exactly.

    \b
    hwgen inspect model.onnx                 what is in the model, what will be generated
    hwgen build model.onnx -o project        an HLS project for it
    hwgen verify project                     reference = integer model = simulations, in every code
    hwgen calibrate float.onnx --data x.npy -o model.onnx      quantizers for a float model
    hwgen report project                     its page: dataflow, timelines, resources, certificates
    hwgen lower model.onnx -o lowered.onnx   the same integers as standard ONNX, for onnxruntime
    """  # noqa: D301 - click wants the character itself: it keeps lines as they are


@main.command(epilog="Example: hwgen inspect model.onnx")
@click.argument("model", type=_PATH)
@_json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show layers, quantizers, accumulator ranges, step functions, and what would be generated."""
    from hwgen.inspection import describe, print_description

    network = hwgen.load(model)
    try:
        description = describe(network, hwgen.schedule(network))
    except UnsupportedError as error:
        description = describe(network, None, str(error))
    if as_json:
        click.echo(json.dumps(description, indent=2))
    else:
        print_description(description, _out)


@main.command(epilog="Example: hwgen run model.onnx --input x.npy --output y.npz")
@click.argument("model", type=_PATH)
@click.option("--input", "inputs", multiple=True, required=True, metavar="[NAME=]X.npy", help="A graph input.")
@click.option("--output", type=_PATH, required=True, metavar="Y.npz", help="Graph outputs by name, as real values.")
def run(model: Path, inputs: tuple[str, ...], output: Path) -> None:
    """Execute the integer model: what the hardware computes, as real values."""
    from hwgen import host
    from hwgen.lowering import lower

    network = hwgen.load(model)
    with _err.status("running the integer model"):
        results = host.run(network, lower(network), host.read_arrays(network, inputs))
    host.write_arrays(output, results)
    for name, array in results.items():
        _out.print(f"{escape(name)}: {list(array.shape)}")


@main.command(epilog="Example: hwgen calibrate float.onnx --data x.npy -o model.onnx --method mse --bits 8")
@click.argument("model", type=_PATH)
@click.option(
    "--data", multiple=True, required=True, metavar="[NAME=]X.npy", help="A graph input, as the graph takes it."
)
@click.option("-o", "--output", type=_PATH, required=True, metavar="OUT.onnx", help="The file to write.")
@click.option("--method", default="minmax", show_default=True, help="How scales are found: minmax, percentile or mse.")
@click.option(
    "--percentile", default=99.9, show_default=True, metavar="P", help="Share of magnitudes that is not clipped."
)
@click.option("--power-of-two", is_flag=True, help="Powers of two for all scales.")
@click.option("--bits", default=8, show_default=True, metavar="N", help="Bits of activations.")
@click.option("--weight-bits", default=8, show_default=True, metavar="N", help="Bits of weights that are floats.")
@click.option("--accumulator-bits", type=int, metavar="N", help="Bits of gate accumulators (default: as --bits).")
@click.option("--cell-bits", type=int, metavar="N", help="Bits of cell states (default: as --bits).")
@click.option("--output-bits", type=int, metavar="N", help="Quantize the last sums as well (default: exact sums).")
@click.option("--per-channel", is_flag=True, help="A scale for each output channel of a weight.")
@_json_option
def calibrate(model: Path, data: tuple[str, ...], output: Path, method: str, as_json: bool, **options: Any) -> None:
    """Write a float or weight-only LSTM, GRU or RNN as a fully quantized model, with scales picked from data."""
    from hwgen import host
    from hwgen.calibration import Calibration, Method, Options
    from hwgen.calibration.report import print_report

    with _err.status("reading the model") as status:
        calibration = Calibration(model, Options(method=Method.parse(method), **options))
        arrays = host.read_arrays(calibration.network, data, "--data")
        report = calibration.run(arrays, output, lambda text: status.update(escape(text)))
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_report(report, _out)
        _out.print(
            f"{escape(str(output))}: calibrated on {report['sequences']:,} sequences of {report['steps']:,} steps"
        )


@main.command(epilog="Example: hwgen lower model.onnx -o lowered.onnx")
@click.argument("model", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, metavar="OUT.onnx", help="The file to write.")
@click.option("--float32", is_flag=True, help="Round outputs to float32, the model's own type (default: float64).")
@_json_option
def lower(model: Path, output: Path, float32: bool, as_json: bool) -> None:
    """Write the model as ONNX of standard operators that onnxruntime executes to the codes of the hardware.

    Inputs and outputs keep their names and layouts.  Everything between is computed in integers.
    """
    network = hwgen.load(model)
    with _err.status("lowering and certifying"):
        written = hwgen.lower(network, output, float32)
    summary = {"output": str(written), "bytes": written.stat().st_size, "layers": len(network.layers)}
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        _out.print(f"{escape(str(written))}: {summary['layers']} layers, {summary['bytes']:,} bytes")


@main.command(
    epilog="Example: hwgen build model.onnx -o project --target xc7z020 --clock 100 --steps-per-second 500000"
)
@click.argument("model", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, metavar="DIR", help="The project's folder.")
@click.option("--backend", default="hls", show_default=True, help="hls, rtl, or all.")
@click.option("--target", default="xc7z020", show_default=True, metavar="PART", help="FPGA part.")
@click.option("--clock", default=100.0, show_default=True, metavar="MHZ", help="Clock frequency.")
@click.option("--folding", type=_PATH, metavar="F.json", help="PE and SIMD, as in a project's folding.json.")
@click.option("--steps-per-second", type=float, metavar="N", help="Choose the smallest folding that reaches this rate.")
@click.option("--latency-us", type=float, metavar="US", help="... that has a sequence of --length steps done in time.")
@click.option("--length", type=int, default=1, show_default=True, metavar="T", help="Steps that --latency-us is for.")
@click.option("--fit", metavar="WHICH", help="smallest that keeps to these, or fastest that fits the part.")
@click.option(
    "--interleave",
    type=int,
    default=1,
    show_default=True,
    metavar="C",
    help="Sequences that take turns, by TID.",
)
@_constant_products
@click.option("--share-engine", metavar="WHAT", help="Take turns on one engine: directions, or layers.")
@click.option("--split-dense", is_flag=True, help="Halves of a dense layer behind both directions work while these do.")
@click.option(
    "--products-per-dsp",
    default="1",
    show_default=True,
    metavar="N",
    help="Narrow products that share a DSP, at most; 0: sums in LUTs; auto: what is best.",
)
@click.option(
    "--max-length",
    type=int,
    metavar="T",
    help="Longest sequence where one is stored whole, as by reversed layers (default 512).",
)
@_buffer_options
@click.option("--streaming", is_flag=True, help="Keep the state across sequences, for endless streams.")
@click.option(
    "--outputs",
    metavar="LIST",
    help="Of sequence,last_hidden,last_cell (default: sequence); of several layers, names of outputs.",
)
@_json_option
def build(model: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Generate a hardware project."""
    from hwgen.console import print_build
    from hwgen.folding import Folding, read_foldings
    from hwgen.storage import parse_look_ahead, parse_memories

    folding, outputs = options["folding"], options["outputs"]
    with _err.status("lowering and certifying"):
        network = hwgen.load(model)
        read = Folding.read if network.is_single_lstm else read_foldings
        design = hwgen.schedule(
            network,
            target=options["target"],
            clock_mhz=options["clock"],
            folding=read(folding) if folding else None,
            steps_per_second=options["steps_per_second"],
            latency_us=options["latency_us"],
            length=options["length"],
            fit=options["fit"],
            streaming=options["streaming"],
            interleave=options["interleave"],
            constant_products=options["constant_products"],
            share_engine=options["share_engine"],
            split_dense=options["split_dense"],
            products_per_dsp=options["products_per_dsp"],
            max_length=options["max_length"],
            outputs=tuple(outputs.split(",")) if outputs else None,
            memory=parse_memories(options["memory"]),
            look_ahead=parse_look_ahead(options["look_ahead"]),
        )
        project = hwgen.build(design, output, options["backend"])
    if as_json:
        click.echo(json.dumps({"project": str(project.path), **design.to_dict()}, indent=2))
    else:
        print_build(project.path, design, project.backends, _out)


@main.command(epilog="Example: hwgen explore model.onnx -o space --target xc7z020 --steps-per-second 500000")
@click.argument("models", type=_PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=_PATH, required=True, metavar="DIR", help="Folder of pareto.html and the data.")
@click.option("--target", default="xc7z020", show_default=True, metavar="PART", help="FPGA part.")
@click.option("--clock", default=100.0, show_default=True, metavar="MHZ", help="Clock frequency.")
@click.option("--length", type=int, default=1, show_default=True, metavar="T", help="Steps of a sequence, for latency.")
@click.option(
    "--interleave", default="1", show_default=True, metavar="LIST", help="Numbers of sequences to try: 1,2,4."
)
@_constant_products
@click.option(
    "--products-per-dsp",
    default="1",
    show_default=True,
    metavar="N",
    help="As hwgen build takes it; auto: one more axis.",
)
@click.option("--steps-per-second", type=float, metavar="N", help="Mark the smallest point that reaches this rate.")
@click.option("--latency-us", type=float, metavar="US", help="... that has a sequence done in time.")
@click.option(
    "--fit", metavar="WHICH", help="Mark the smallest that keeps to these, or the fastest that fits the part."
)
@click.option("--share-engine", metavar="WHAT", help="As hwgen build takes it.")
@click.option("--split-dense", is_flag=True, help="As hwgen build takes it.")
@click.option("--max-length", type=int, metavar="T", help="Longest sequence of a reversed layer (default 512).")
@_buffer_options
@click.option("--outputs", metavar="LIST", help="As hwgen build takes them.")
@click.option("--data", multiple=True, metavar="[NAME=]X.npy", help="Inputs for the accuracy of each model ...")
@click.option("--labels", type=_PATH, metavar="Y.npy", help="... and the right answers: one more axis of the front.")
@click.option("--least-accuracy", type=float, metavar="SHARE", help="Mark a point of a model that reaches this.")
@click.option(
    "--calibration",
    multiple=True,
    metavar="[NAME=]X.npy",
    help="Inputs that float models are calibrated with, as hwgen calibrate does, to all widths of:",
)
@click.option("--bits", metavar="LIST", help="Bits of activations: 4,6,8 (default: 8).")
@click.option("--weight-bits", metavar="LIST", help="Bits of weights that are floats (default: 8).")
@click.option("--method", metavar="HOW", help="How scales are found: minmax (default), percentile or mse.")
@click.option("--measure", type=int, metavar="N", help="Simulate and synthesise N points of the front, on Dask.")
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster that measures (default: this machine).")
@click.option("--workers", type=int, default=2, show_default=True, metavar="N", help="Processes here; 0: without Dask.")
@_json_option
def explore(models: tuple[Path, ...], output: Path, as_json: bool, **options: Any) -> None:
    """Predict every folding of one or several models: the Pareto front over cycles, latency, LUT, DSP and block RAM."""
    from hwgen.explore import run, widths
    from hwgen.explore.show import print_exploration
    from hwgen.storage import parse_look_ahead, parse_memories

    contexts, outputs = run.parse_interleave(options.pop("interleave")), options.pop("outputs")
    data, labels, count = options.pop("data"), options.pop("labels"), options.pop("measure")
    where = {name: options.pop(name) for name in ("scheduler", "workers")}
    several = {name: options.pop(name) for name in ("bits", "weight_bits", "method")}
    request = widths.Request.parse(options.pop("calibration"), **several)
    built = {
        "max_length": options.pop("max_length"),
        "share_engine": options.pop("share_engine"),
        "outputs": tuple(outputs.split(",")) if outputs else None,
        "memory": parse_memories(options.pop("memory")) or None,
        "look_ahead": parse_look_ahead(options.pop("look_ahead")),
    }
    if options.pop("split_dense"):
        built["split_dense"] = True
    if (products := options.pop("constant_products")) != "multiply":
        built["constant_products"] = products
    with _err.status("reading the models") as status:

        def progress(text: str) -> None:
            status.update(escape(text))

        calibrated = request.calibrate(models, output, progress) if request else None
        if calibrated and labels is None:
            calibrated.check_quality()
        networks = run.load_all(tuple(calibrated.files.values()) if calibrated else models)
        found = run.explore(
            networks,
            clock_mhz=options.pop("clock"),
            interleave=contexts,
            accuracy=run.accuracies(networks, data, labels),
            sqnr_db=calibrated.sqnr_db if calibrated else None,
            progress=progress,
            **options,
            **built,
        )
        measured = None
        if count is not None:
            files = calibrated.files if calibrated else dict(zip(networks, models, strict=True))
            measured = run.measure_front(found, files, output, count, progress=progress, **where, **built)
        written = run.write(found, output, measured)
    if as_json:
        click.echo(written["explore.json"].read_text(), nl=False)
    else:
        print_exploration(found, written, _out)


@main.command(epilog="Example: hwgen verify project --level csim --sequences 200 --seed 7")
@click.argument("project", type=_PATH)
@click.option("--level", default="all", show_default=True, help="csim, rtl, cocotb, or all.")
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]X.npy", help="Real inputs instead of random codes.")
@click.option("--sequences", default=64, show_default=True, metavar="N", help="Random sequences, back to back.")
@click.option("--seed", default=1, show_default=True, metavar="S", help="Seed of sequences and stalls.")
@click.option(
    "--verilog", type=_PATH, multiple=True, metavar="FILE", help="Level cocotb: files, or folders, of another design."
)
@click.option("--top", metavar="NAME", help="The module to simulate of --verilog; its ports are those of the project.")
@click.option("--trace", is_flag=True, help="Levels rtl and cocotb: write a waveform (VCD) of few sequences.")
@_json_option
def verify(project: Path, inputs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Compare the float64 reference, the integer model and the simulations; exit status 1 on any mismatch."""
    from hwgen import host
    from hwgen.console import print_verification
    from hwgen.verify import verify as run_verification

    opened = hwgen.open_project(project)
    arrays = host.read_arrays(opened.design.network, inputs) if inputs else None
    with _err.status("verifying") as status:
        report = run_verification(opened, arrays, progress=status.update, **options)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_verification(report, _out)
    if not report["passed"]:
        raise SystemExit(1)


@main.command(epilog="Example: hwgen report project --open")
@click.argument("project", type=_PATH)
@click.option("--open", "opening", is_flag=True, help="Show the page in the browser.")
def report(project: Path, opening: bool) -> None:
    """Make report.html and report.json of a project anew: one page, which works offline.

    hwgen build, verify and synth do so as well.
    """
    from hwgen.project import write_report

    page = write_report(hwgen.open_project(project)).resolve()
    _out.print(escape(str(page)), soft_wrap=True)
    if opening and click.launch(page.as_uri()):
        raise ConfigError(f"--open: no browser could be started; open {page}")


@main.command(epilog="Example: hwgen synth project --flow ecp5")
@click.argument("project", type=_PATH)
@click.option("--flow", help="xc7 or xcup (resources), ecp5 (placed as well).  Default: ecp5 for such parts, else xc7.")
@click.option("--device", help="ECP5 to place on: 25k, 45k or 85k.  Default: the project's target, or 45k.")
@_json_option
def synth(project: Path, flow: str | None, device: str | None, as_json: bool) -> None:
    """Synthesise the RTL with Yosys, and with nextpnr for ECP5; writes synth.json."""
    from hwgen.console import print_synthesis
    from hwgen.synth import synthesise

    opened = hwgen.open_project(project)
    flow = flow or opened.design.options.target.flows[0]
    with _err.status("synthesising") as status:
        result = synthesise(opened, flow, progress=status.update, device=device)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        print_synthesis(flow, result, _out)
