# SPDX-License-Identifier: Apache-2.0
"""report.html: the data of report.json as one page."""

from __future__ import annotations

from typing import Any

from hwgen.devices import device
from hwgen.report import charts, drawing, tables
from hwgen.report.shell import Card, environment, grouped, percent

Data = dict[str, Any]
_NAMES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM"}
# So many units have a colour of their own in bars.
_COLOURS = 8


def render(data: Data) -> str:
    """The page of what ``describe`` gives."""
    slowest = _slowest_step(data)
    steps = [
        {
            "unit": step["unit"],
            "open": step["unit"] == slowest,
            "period": step["period"],
            "tiles": step["tiles"],
            "depth": step["depth"],
            "picture": charts.time_step(step),
        }
        for step in data["time_steps"]
    ]
    # The slowest first, the others behind it where one looks for them.
    steps.sort(key=lambda step: not step["open"])
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            data=data,
            project=data["project"],
            facts=_facts(data["project"]),
            cards=_cards(data),
            bars=_bars(data["resources"]),
            legend=_legend(data["resources"]),
            dataflow=drawing.dataflow(data["dataflow"], data["bottleneck"]["cycles"]),
            steps=steps,
            sequence=None if data["sequence"] is None else charts.sequence(data["sequence"]),
            tables=tables.all_tables(data),
            many_memories=_count_of_many(data["memories"]),
            flows=tables.flows(data["synthesis"]),
        )
    )


def _slowest_step(data: Data) -> str | None:
    """The recurrent layer whose time step is looked at first."""
    slowest = max(data["time_steps"], key=lambda step: step["period"], default=None)
    return None if slowest is None else slowest["unit"]


def _count_of_many(memories: list[Data]) -> str:
    """How many memories are folded away; nothing where few can be shown."""
    return f"{len(memories)} memories" if len(memories) > 8 else ""


def _facts(project: Data) -> list[tuple[str, str]]:
    target = project["target"]
    facts = [
        ("target", target["part"]),
        ("clock", f"{project['clock_mhz']:g} MHz"),
        ("backends", ", ".join({"hls": "HLS C++", "rtl": "SystemVerilog"}[name] for name in project["backends"])),
        ("outputs", ", ".join(project["outputs"])),
    ]
    if not device(target["part"]).is_amd:
        facts.append(("block RAM", "of 36 kbit, blocks of 18 kbit as halves"))
    if project["streaming"]:
        facts.append(("state", "kept across sequences"))
    if project["max_length"] is not None:
        facts.append(("longest sequence", f"{project['max_length']:,} steps"))
    return [*facts, ("model", f"sha256 {project['model_sha256'][:16]}")]


def _cards(data: Data) -> list[Card]:
    summary, parts = data["summary"], data["bottleneck"]["parts"]
    about = "" if summary["exact"] else "about "
    made = f"{parts['tiles']:,} tiles + {parts['depth']:,} depth, " if "tiles" in parts else ""
    cards = [
        Card(f"{summary['step_cycles']:,}", "cycles a time step", f"{about}{made}{data['bottleneck']['unit']}"),
        Card(
            f"{summary['steps_per_second']:,.0f}",
            "steps/s",
            f"{about}at {data['project']['clock_mhz']:g} MHz, sustained",
        ),
    ]
    first = summary["first_output"]
    if first is not None:
        text = f"{first['cycles']:,} cycles, first beat of x to first of {first['port']}"
        if data["project"]["max_length"] is not None:
            text += f" ({first['sequence_steps']} steps, which a reversed layer stores first)"
        cards.append(Card(f"{first['microseconds']:,.4g}", "µs to the first output", text))
    cards.append(_verdict(summary["verified"]))
    usage = data["resources"]["usage"]
    if usage:
        most = usage[0]
        text = f"{grouped(most['used'])} of {most['limit']:,}, {data['resources']['basis']}: what binds first"
        cards.append(
            Card(percent(most["share"]), f"of the {_NAMES[most['kind']]}s", text, "bad" if most["share"] > 1 else "")
        )
    else:
        text = f"for {summary['weights']:,} weights"
        cards.append(Card(f"{summary['multipliers']:,}", "multiplications a cycle", text))
    return cards


def _verdict(verified: Data) -> Card:
    if verified["state"] == "not verified":
        return Card("not verified yet", "", "compare every code of it: hwgen verify DIR", "warn words")
    text = f"of {verified['codes']:,} codes compared, levels {', '.join(verified['levels'])}"
    passed = verified["state"] == "passed"
    if not passed and not verified["mismatches"]:
        text += "; cycles or protocol are not as predicted"
    return Card(f"{verified['mismatches']:,}", "mismatches", text, "good" if passed else "bad")


def _legend(resources: Data) -> list[tuple[str, str]]:
    units = _units(resources)
    return [(name, f"c{number % _COLOURS}") for number, name in enumerate(units)]


def _units(resources: Data) -> dict[str, Data]:
    return (resources["predicted"] or {}).get("units", {})


def _bars(resources: Data) -> list[Data]:
    """A bar for each resource: its share of the device, cut into units, and a mark where synthesis measured it."""
    units, measured = _units(resources), resources["measured"] or {}
    bars = []
    for kind, name in _NAMES.items():
        entry = next((entry for entry in resources["usage"] if entry["kind"] == kind), None)
        if entry is None:
            continue
        whole = entry["used"] or 1
        parts = [
            {
                "name": unit,
                "kind": f"c{number % _COLOURS}",
                "width": f"{100 * values.get(kind, 0) / whole:.2f}%",
                "tip": f"{unit}: {grouped(values.get(kind, 0))} {name}",
            }
            for number, (unit, values) in enumerate(units.items())
            if values.get(kind, 0)
        ]
        found = measured.get(kind)
        bars.append(
            {
                "name": name,
                "used": grouped(entry["used"]),
                "limit": grouped(entry["limit"]),
                "share": percent(entry["share"]),
                "width": f"{min(100 * entry['share'], 100):.2f}%",
                "over": entry["share"] > 1,
                "parts": parts,
                "measured": None if found is None or resources["basis"] == "measured" else grouped(found),
                "mark": None if found is None else f"{min(100 * found / entry['limit'], 100):.2f}%",
            }
        )
    return bars
