# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog of products by shifts and additions: a module for each, a signal for each of its adders."""

from __future__ import annotations

from hwgen.adders import Pipeline
from hwgen.backends.rtl_template import environment

_MAKERS = {"own": "canonical signed digits, shared sums of two", "da4ml": "found by da4ml"}


def adder_module(name: str, what: str, pipeline: Pipeline, code_bits: int, origin: str) -> str:
    """The module ``name`` of a product; codes go in with ``code_bits`` each, ``origin`` and ``what`` to its header."""
    graph, bits, place, held = pipeline.graph, pipeline.graph.bits, pipeline.place, pipeline.held
    names = [f"x{column}" for column in range(graph.columns)]
    names += [f"a{number}" for number in range(len(graph.adders))]

    def signal(node: int, stage: int) -> str:
        """A node behind so many registers in all."""
        behind = stage - place[node]
        return f"{names[node]}_q{behind}" if behind else names[node]

    def operand(node: int, shift: int, width: int, stage: int) -> str:
        text = f"{width}'({signal(node, stage)})"
        return f"({text} <<< {shift})" if shift else text

    used = {source for adder in graph.adders for source in (adder.left, adder.right)}
    used |= {term.node for term in graph.rows if term is not None}
    inputs, unused = [], []
    for column in range(graph.columns):
        slice_ = f"codes_i[{column * code_bits} +: {code_bits}]"
        if column not in used:
            unused.append(slice_)
            continue
        low = f"codes_i[{column * code_bits} +: {bits[column]}]"
        inputs.append({"name": names[column], "bits": bits[column], "value": low})
        if bits[column] < code_bits:
            # The range of codes is less than their bits: what is cut repeats the sign.
            unused.append(f"codes_i[{column * code_bits + bits[column]} +: {code_bits - bits[column]}]")
    adders = []
    for node, adder in enumerate(graph.adders, graph.columns):
        left = operand(adder.left, adder.left_shift, bits[node], place[node])
        right = operand(adder.right, adder.right_shift, bits[node], place[node])
        sign = "-" if adder.minus else "+"
        adders.append({"name": names[node], "bits": bits[node], "left": left, "sign": sign, "right": right})
    registers = [
        {"name": f"{names[node]}_q{count}", "bits": bits[node], "source": signal(node, place[node] + count - 1)}
        for node in range(len(names))
        for count in range(1, held[node] + 1)
    ]
    rows, width = [], pipeline.sum_bits
    for row, term in enumerate(graph.rows):
        value = f"$signed(starts_i[{row * width} +: {width}])"
        if term is not None:
            value += f" {'-' if term.minus else '+'} {operand(term.node, term.shift, width, pipeline.stages)}"
            if bits[term.node] > width:
                # Sums may wrap around: the whole one fits.
                unused.append(signal(term.node, pipeline.stages))
        rows.append({"at": row * width, "value": value})
    text = (
        f"{what}: {len(graph.rows)} x {graph.columns} constants, as a graph of shifts and additions "
        f"({_MAKERS[graph.maker]}).  {counts(pipeline)}  What starts a row is taken a cycle before its sum is there, "
        f"{pipeline.stages + 1} cycles after the codes."
    )
    context = {
        "name": name,
        "origin": origin,
        "text": text,
        "columns": graph.columns,
        "code_bits": code_bits,
        "sum_bits": width,
        "inputs": inputs,
        "unused": unused,
        "adders": adders,
        "registers": registers,
        "rows": rows,
    }
    return environment().get_template("adders.sv.jinja").render(context)


def counts(pipeline: Pipeline) -> str:
    """What a graph takes, in words: adders, levels, bits; and what products one by one would."""
    graph = pipeline.graph
    rows = sum(term is not None for term in graph.rows)
    matrix = graph.matrix
    products, digits = int((matrix != 0).sum()), graph.digits
    return (
        f"{len(graph.adders)} adders and {rows} that add where rows start, {graph.depth + 1} levels, "
        f"{pipeline.adder_bits} bits of carry chains, {pipeline.register_bits} bits of registers within; one by one "
        f"they would be {products} products of {digits - products} adders and {max(products - rows, 0)} to sum them up."
    )
