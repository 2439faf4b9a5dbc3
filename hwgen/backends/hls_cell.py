# SPDX-License-Identifier: Apache-2.0
"""A recurrent layer in HLS C++: what the templates print of it, alone or as a part of a network."""

from __future__ import annotations

import numpy as np

from hwgen.backends.cpp import ap_type, call, code_type, constants, matrix, memory, step_struct
from hwgen.backends.hls_storage import fifo, storage
from hwgen.backends.naming import top_name
from hwgen.directions import DIRECTIONS
from hwgen.forms import Certified
from hwgen.integer import IntegerCell, IntegerGate, Interval
from hwgen.integer_cells import IntegerGru, IntegerRnn, RecurrentCell
from hwgen.quantizer import IntArray
from hwgen.schedule import RUN_AHEAD, Schedule, signed

# An HLS compiler makes the pipeline deeper than RTL that is written for it: so many times as deep is room enough.
_GAP = 2
# Time steps in front of the stream of sums: at the edge, in the input product, and in both changes of beat width.
_STEPS_IN_FRONT = 4


def cell_context(design: Schedule) -> dict[str, object]:
    """What the parameters and weights of a cell and its part of a top level print."""
    cell = design.cell
    input_sums, totals = signed(design.input_product.sums), signed(design.hidden_product.sums)
    ports = (*design.inputs, *design.outputs)
    contexts, sets = design.contexts, design.turns
    # Of interleaved sequences and of directions only what leaves names its context.
    initial = "initial_" if contexts > 1 else ""
    initial_beats = {"h0": f"{initial}hidden_beat", "c0": f"{initial}cell_beat"}
    beats = initial_beats | {"y": "hidden_beat", "h_n": "hidden_beat", "c_n": "cell_beat"}
    codes = {name: f"hls::stream<{beat}>& {name}_codes" for name, beat in beats.items()}
    context = {
        "space": f"{top_name(design)}_design",
        "guard": f"{top_name(design)}_".upper(),
        "recurrent_parameters": [
            "hls::stream<sums_beat>& sums",
            *(["hls::stream<Contexts::id_t>& contexts"] if contexts > sets or design.stack else []),
            *(codes[port.name] for port in design.inputs if port.name != "x"),
            "hls::stream<states_beat>& states",
        ],
        "product_parameters": [
            "hls::stream<input_beat>& codes",
            "hls::stream<projected_beat>& sums",
            *(["hls::stream<Contexts::id_t>& sets"] if design.stack else []),
        ],
        "select_parameters": ["hls::stream<states_beat>& states", *(codes[port.name] for port in design.outputs)],
        "design": design,
        "contexts": contexts,
        # Directions, or layers, each with weights, constants and initial states of its own; their steps take turns.
        "sets": sets,
        "stacked": design.stack is not None,
        "kept_codes": sets * cell.hidden_size,
        "context_gap": _GAP * design.depth,
        "context_steps": context_steps(design),
        "initial_beats": initial_beats,
        "cell": cell,
        "input_code": ap_type(cell.input.storage),
        "hidden_code": ap_type(cell.hidden.storage),
        "input_sum": ap_type(input_sums),
        "total": ap_type(totals),
        "products": [matrix(design.input_product, "input_", "sum_t"), matrix(design.hidden_product, "hidden_")],
        "bias": memory("bias", design.bias),
        "initial": [_initial(design, "InitialHidden", "hidden_t", "h0", cell.initial_hidden)],
        "steps": [_step(design, certified) for _, certified in cell.steps()],
        "resize": _resize(design),
        "run_ahead": run_ahead(design),
        "sums_fifo": sums_fifo(design),
        "storage": storage(design.options.style),
        "owners": _owners(design),
        "outputs": [port.name for port in design.outputs],
        "ports": {port.name: port for port in ports},
        "groups": cell.hidden_size // design.units,
    }
    if isinstance(cell, IntegerRnn):
        expression = _nested(cell.gate.steps)
        return context | {"recurrence": "rnn_recurrence", "expression": expression, "carries": False}
    if isinstance(cell, IntegerGru):
        return context | _gru(design, cell)
    context["initial"] = [
        _initial(design, "InitialHidden", "hidden_t", "h0", cell.initial_hidden),
        _initial(design, "InitialCell", "cell_t", "c0", cell.initial_cell),
    ]
    return context | _lstm(design, cell)


def cell_kind(cell: RecurrentCell) -> str:
    """What its templates and units are called after."""
    return "rnn" if isinstance(cell, IntegerRnn) else "gru" if isinstance(cell, IntegerGru) else "cell"


def _gate(gate: IntegerGate) -> dict[str, object]:
    """The rows of a gate: its number in the cell, and its codes from its accumulators."""
    return {
        "name": gate.name,
        "enum": f"k{'Candidate' if gate.name == 'cell' else gate.name.capitalize()}",
        "expression": _nested(gate.steps),
    }


def _gru(design: Schedule, cell: IntegerGru) -> dict[str, object]:
    """What a GRU has beyond others."""
    bias = cell.new_hidden.bias
    codes = cell.update.steps[-1].step
    steps = {
        "whole": cell.new_input.step,
        "scaled": cell.reset_product.requantize,
        "new_sum": cell.new_sum,
        "tanh": cell.tanh,
        "kept": cell.update_product.requantize,
        "added": cell.new_product.requantize,
        "hidden_sum": cell.hidden_sum,
    }
    calls = {f"{name}_call": call(certified) for name, certified in steps.items()}
    types = {f"{name}_type": code_type(steps[name]) for name in ("whole", "scaled", "kept", "added")}
    return {
        **calls,
        **types,
        "recurrence": "gru_recurrence",
        "carries": True,
        "factor": ap_type(design.factors.type),
        "gates": [_gate(gate) for gate in cell.rows],
        "hidden_bias": constants("hidden_bias", bias[:1] if (bias == bias[0]).all() else bias),
        "candidate_type": code_type(cell.tanh),
        "rest_type": ap_type(signed(Interval(cell.one - codes.last, cell.one - codes.first))),
        "new_sum_value": _sum_type(cell.new_sum),
        "hidden_sum_value": _sum_type(cell.hidden_sum),
    }


def _lstm(design: Schedule, cell: IntegerCell) -> dict[str, object]:
    """What a cell of several gates has beyond others."""
    return {
        "cell_code": ap_type(cell.cell.storage),
        "factor": ap_type(design.factors.type),
        "gates": [_gate(gate) for gate in cell.gates],
        "forget_call": call(cell.forget_product.requantize),
        "input_call": call(cell.input_product.requantize),
        "forget_type": code_type(cell.forget_product.requantize),
        "input_type": code_type(cell.input_product.requantize),
        "tanh_type": code_type(cell.cell_tanh),
        "sum_value": _sum_type(cell.cell_sum),
        "sum_call": call(cell.cell_sum),
        "tanh_call": call(cell.cell_tanh),
        "output_call": call(cell.output_product.requantize),
    }


def run_ahead(design: Schedule) -> int:
    """Beats of sums that the input product may compute before the recurrence takes them."""
    if design.options.look_ahead is not None:
        return max(2, design.options.look_ahead * design.hidden_product.folds)
    return max(2, min(RUN_AHEAD, design.hidden_product.folds))


def context_steps(design: Schedule) -> int:
    """Time steps that are between the edge and the recurrence at once: in the stream of sums, and in front of it."""
    return run_ahead(design) // design.hidden_product.folds + _STEPS_IN_FRONT


def sums_fifo(design: Schedule) -> str:
    """What holds these beats, if it is no shift register."""
    return fifo(design.options.style("sums"), run_ahead(design) > RUN_AHEAD)


def _owners(design: Schedule) -> dict[str, str]:
    """What tells apart the memories of reversals that would be one and the same function; otherwise nothing.

    Those of other cells would, and within a cell those of inputs and outputs of the same shape.
    """
    streams = [port for port in (*design.inputs, *design.outputs) if port.per_step]
    shapes = {(port.codes.storage, port.lanes, port.beats) for port in streams}
    alone = not design.module and len(shapes) == len(streams)
    return {"x": "", "y": ""} if alone else {"x": ", InputMatrix", "y": ", HiddenMatrix"}


def _step(design: Schedule, certified: Certified) -> dict[str, object]:
    """The constants of a step function; a unit of the second direction is counted on from those of the first."""
    if design.directions and certified.step.channels == DIRECTIONS:
        channels = "layers" if design.stack else "directions"
        return step_struct(certified, channels=channels, index=f"channel >= {design.cell.hidden_size}")
    return step_struct(certified)


def _initial(design: Schedule, struct: str, code: str, port: str, codes: IntArray | None) -> dict[str, object]:
    """A state before a sequence: constant ``codes``, or what arrives on ``port``."""
    entry: dict[str, object] = {"struct": struct, "code": code, "port": port}
    if codes is None:
        return entry | {"kind": "stream"}
    if (codes == codes[0]).all():
        return entry | {"kind": "uniform", "value": int(codes[0])}
    # Each direction has its own, be they the same.
    every = np.tile(codes, design.turns * design.cell.hidden_size // len(codes))
    return entry | {"kind": "constant", "memory": memory("codes", every)}


def _resize(design: Schedule) -> dict[str, int]:
    """How beats of input PE sums become beats of hidden PE sums: narrowed to ``lanes``, then widened."""
    have, want = design.input_product.pe, design.hidden_product.pe
    lanes = int(np.gcd(have, want))
    return {
        "lanes": lanes,
        "narrow": int(lanes < have),
        "widen": int(lanes < want),
        "in_beats": design.input_product.folds,
        "out_beats": design.hidden_product.folds,
    }


def _sum_type(certified: Certified) -> str:
    """The type of the sum of two codes that a step function takes."""
    return ap_type(signed(Interval(certified.step.lo, certified.step.hi)))


def _nested(steps: tuple[Certified, ...]) -> str:
    expression = "total"
    for certified in steps:
        expression = f"{call(certified)}({expression}, unit)"
    return expression
