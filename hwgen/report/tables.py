# SPDX-License-Identifier: Apache-2.0
"""The tables of report.html."""

from __future__ import annotations

from typing import Any

from hwgen.report.shell import Cell, Table, grouped, interval, percent

Data = dict[str, Any]
LEVELS = {
    "integer": "float64 reference = integer model",
    "csim": "integer model = HLS C simulation",
    "rtl": "integer model = RTL simulation",
    "cocotb": "integer model = cocotb bench",
}
KINDS = ("lut", "ff", "dsp", "bram")
_HEAD = ("LUT", "FF", "DSP", "block RAM")


def all_tables(data: Data) -> dict[str, Table]:
    """Every table by name; one without rows is not shown."""
    verification = data["verification"] or {"levels": {}}
    return {
        "units": units(data["units"], data["bottleneck"]["unit"]),
        "resources": resources(data["resources"]),
        "levels": levels(verification["levels"]),
        "cycles": cycles(verification["levels"]),
        "patterns": patterns(verification["levels"]),
        "latency": latency(data["sequence"], data["project"]["clock_mhz"]),
        "quantizers": quantizers(data["layers"]),
        "accumulators": accumulators(data["layers"]),
        "steps": steps(data["proofs"]["steps"]),
        "memories": memories(data["memories"]),
        "ports": ports(data["ports"]),
    }


def units(entries: list[Data], slowest: str) -> Table:
    """Units that take part in the rate, except those that only pass on."""
    rows = [
        (
            Cell(entry["name"], "wrap strong" if entry["name"] == slowest else "wrap"),
            entry["kind"],
            f"{entry['cycles']:,}",
            "once a sequence" if entry["busy"] is None else percent(entry["busy"]),
        )
        for entry in entries
        if entry["kind"] not in ("fork", "narrow", "widen")
    ]
    return Table(("unit", "kind", "cycles", "busy"), rows, (2, 3))


def resources(found: Data) -> Table:
    """Predicted resources by unit, beside what was measured."""
    predicted = found["predicted"]
    rows: list[tuple[str | Cell, ...]] = []
    if predicted is not None:
        for name, values in predicted.get("units", {}).items():
            rows.append((name, *(grouped(values.get(kind, 0)) for kind in KINDS)))
        rows.append((Cell("predicted", "strong"), *(Cell(grouped(predicted[kind]), "strong") for kind in KINDS)))
    if found["measured"] is not None:
        measured = found["measured"]
        rows.append((f"measured, {measured['flow']}", *(grouped(measured[kind]) for kind in KINDS)))
    if rows:
        rows.append((Cell("device", "muted"), *(Cell(grouped(found["limits"][kind]), "muted") for kind in KINDS)))
    return Table(("unit", *_HEAD), rows, (1, 2, 3, 4))


def _wrong(number: int) -> Cell:
    return Cell(f"{number:,}", "bad" if number else "good")


def levels(found: Data) -> Table:
    """How much was compared at each level."""
    rows = [
        (
            LEVELS.get(name, name),
            f"{level['sequences']:,}",
            f"{level['steps']:,}",
            f"{level['codes']:,}",
            _wrong(level["mismatches"]),
        )
        for name, level in found.items()
    ]
    return Table(("level", "sequences", "steps", "codes", "mismatches"), rows, (1, 2, 3, 4))


def cycles(found: Data) -> Table:
    """Predicted and simulated cycles of every output."""
    rows = []
    for name, level in found.items():
        predicted = level["predicted_cycles"] or {}
        for port, simulated in (level["simulated_cycles"] or {}).items():
            wanted = predicted.get(port)
            for which in ("first", "last"):
                shown = "-" if wanted is None else f"{wanted[which]:,}"
                equal = wanted is not None and wanted[which] == simulated[which]
                verdict = Cell("equal", "good") if equal else Cell("-" if wanted is None else "differs", "bad")
                rows.append((name, f"{which} beat of {port}", shown, f"{simulated[which]:,}", verdict))
    return Table(("level", "", "predicted cycle", "simulated cycle", ""), rows, (2, 3))


def patterns(found: Data) -> Table:
    """Stalls, resets and the like."""
    rows = []
    for level in found.values():
        for name, entry in level.get("patterns", {}).items():
            verdict = (
                Cell("passed", "good") if entry["passed"] else Cell("; ".join(entry["problems"]) or "failed", "bad")
            )
            rows.append(
                (name, f"{entry['codes']:,}", _wrong(entry["mismatches"]), f"{entry['clock_cycles']:,}", verdict)
            )
    return Table(("pattern", "codes", "mismatches", "clock cycles", ""), rows, (1, 2, 3))


def latency(sequence: Data | None, clock_mhz: float) -> Table:
    """First and last beat of every output of the sequences in the picture."""
    rows = [] if sequence is None else [
        (port, f"{entry['first']:,}", f"{entry['first'] / clock_mhz:,.3f}", f"{entry['last']:,}")
        for port, entry in sequence["outputs"].items()
    ]  # fmt: skip
    return Table(("output", "first beat, cycle", "µs", "last beat, cycle"), rows, (1, 2, 3))


def _several(values: Any) -> str:
    if isinstance(values, list):
        return f"{min(values):.6g} .. {max(values):.6g} ({len(values)} channels)"
    return f"{values:.9g}"


def quantizers(layers: list[Data]) -> Table:
    """Codes and scales of every layer."""
    rows = [
        (layer["name"], name, entry["codes"], interval(entry["range"]), _several(entry["scale"]),
         _several(entry["zero_point"]), entry["rounding"])
        for layer in layers
        for name, entry in layer["quantizers"].items()
    ]  # fmt: skip
    return Table(("layer", "quantizer", "codes", "range", "scale", "zero point", "rounding"), rows, (3, 4, 5))


def accumulators(layers: list[Data]) -> Table:
    """Exact ranges of the sums for the actual weights."""
    rows = [
        (
            layer["name"],
            entry["name"],
            "" if entry["input_sum"] is None else interval(entry["input_sum"]),
            interval(entry["total"]),
            str(entry["bits"]),
            Cell(f"within {entry['bound']:.2g} LSB", "warn") if entry["bound"] else Cell("exact", "good"),
        )
        for layer in layers
        for entry in layer["accumulators"]
    ]
    return Table(("layer", "sum", "input product + bias", "whole", "bits", "arithmetic"), rows, (2, 3, 4))


def steps(entries: list[Data]) -> Table:
    """Form and proof of every step function."""
    rows = [
        (
            entry["name"],
            entry["form"],
            f"{entry['channels']:,}",
            interval(entry["domain"]),
            interval(entry["codes"]),
            f"{entry['thresholds_checked']:,}",
            f"{entry['comparisons']:,}",
            Cell(entry["result"], "good" if entry["result"] == "proven" else "bad"),
        )
        for entry in entries
    ]
    head = ("step function", "form", "functions", "domain", "codes", "thresholds", "points compared", "certificate")
    return Table(head, rows, (2, 3, 4, 5, 6))


def memories(entries: list[Data]) -> Table:
    """Words, bits and place of every memory."""
    several = any(entry["unit"] for entry in entries)
    rows = [
        (
            *([entry["unit"]] if several else []),
            entry["name"],
            f"{entry['words']:,} x {entry['word_bits']:,}",
            f"{entry['bits']:,}",
            entry["place"] or "-",
        )
        for entry in entries
    ]
    head = (*(["unit"] if several else []), "memory", "words x bits", "bits", "in")
    return Table(head, rows, (1 + several, 2 + several))


def ports(entries: list[Data]) -> Table:
    """AXI4-Streams of the design."""
    rows = [
        (
            Cell(entry["name"], "strong"),
            entry["direction"],
            f"{entry['lanes']:,} x {entry['codes']}",
            f"{entry['tdata_bits']:,}",
            f"{entry['beats']:,}",
            Cell(entry["what"], "wrap"),
        )
        for entry in entries
    ]
    return Table(("port", "", "codes a beat", "TDATA", "beats", "what"), rows, (2, 3, 4))


def flows(synthesis: Data | None) -> list[Data]:
    """What each flow of synth.json measured: a table, and the placed clock where there is one."""
    found = []
    for flow, result in (synthesis or {}).items():
        rows: list[tuple[str | Cell, ...]] = [
            (name, *(grouped(entry[kind]) for kind in KINDS)) for name, entry in result.get("units", {}).items()
        ]
        rows.append((Cell("whole, flattened", "strong"), *(grouped(result["measured"][kind]) for kind in KINDS)))
        if "predicted" in result:
            rows.append(("predicted", *(grouped(result["predicted"][kind]) for kind in KINDS)))
            errors = [result["relative_error"][kind] for kind in KINDS]
            rows.append((Cell("error", "muted"), *(Cell(_error(error), "muted") for error in errors)))
        placed = None
        if "fmax_mhz" in result:
            placed = f"placed and routed on {result['device']}: {result['fmax_mhz']:g} MHz"
        found.append(
            {
                "flow": flow,
                "table": Table((f"{flow}, Yosys", *_HEAD), rows, (1, 2, 3, 4)),
                "placed": placed,
                "path": result.get("critical_path", []),
            }
        )
    return found


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:+.1%}" if error else "exact"
