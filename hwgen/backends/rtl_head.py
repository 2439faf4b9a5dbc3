# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog of the layers around the recurrence: a module for each, and one for a lane of its step function."""

from __future__ import annotations

from hwgen import mapping
from hwgen.adders import Pipeline
from hwgen.backends.naming import comment
from hwgen.backends.rtl_adders import adder_module
from hwgen.backends.rtl_step import Signal, StepBuilder
from hwgen.backends.rtl_template import bias_file, environment, weight_file
from hwgen.backends.sv import constant
from hwgen.forms import Certified
from hwgen.head_design import DenseDesign, MapDesign
from hwgen.quantizer import IntegerType


def dense_files(design: DenseDesign, origin: str) -> dict[str, str]:
    """The module of a dense layer, its lane and its memories as {path: text}; ``origin`` goes to their headers."""
    stage, product, operand_bits = design.stage, design.product, mapping.code_bits(design.source)
    folder = f"rom/{design.name}"
    context: dict[str, object] = {
        "name": design.name,
        "origin": origin,
        "design": design,
        "product": product,
        "folder": folder,
        **_edges(design.source, design.codes),
        "value_bits": design.sum_bits,
        "operand_bits": operand_bits,
        "weight_bits": mapping.weight_bits(product),
        "dsp": int(mapping.product_in_dsp(product, operand_bits, design.sum_bits)),
        "weight_block": int(design.weight_memory.block),
        "bias_block": int(design.bias_memory.block),
        "adders": product.graph and constant("Starts", stage.bias, design.sum_bits),
        "stepped": stage.step is not None,
        "indexed": False,
        # Beside the codes: the end of the vector and of the sequence.
        "fifo_bits": product.pe * design.codes.storage.bits + 2,
        "text": (
            f"Dense layer {comment(stage.name)}: {product.columns} inputs, {product.rows} outputs.  A vector takes "
            f"{product.cycles} cycles; the codes of {product.pe} rows are offered "
            f"{design.product_latency + design.step_latency + 1} cycles after their last tile."
        ),
    }
    if product.graph is None:
        files = {
            f"{folder}/weights.hex": weight_file(product),
            f"{folder}/bias.hex": bias_file(stage.bias, product, design.sum_bits),
        }
    else:
        pipeline, what = Pipeline(product.graph, design.sum_bits, design.tree), f"The product of {comment(stage.name)}"
        text = adder_module(f"{design.name}_adders", what, pipeline, operand_bits, origin)
        files = {f"src/{design.name}_adders.sv": text}
    builder = dense_lane(design)
    if builder is not None:
        files |= _lane(builder, design, context)
    files[f"src/{design.name}.sv"] = environment().get_template("dense.sv.jinja").render(context)
    return files


def map_files(design: MapDesign, origin: str) -> dict[str, str]:
    """The module of a step function on a stream, its lane and its memories as {path: text}."""
    stage = design.stage
    context: dict[str, object] = {
        "name": design.name,
        "origin": origin,
        "design": design,
        **_edges(design.source, design.codes),
        "value_bits": design.value_bits,
        # Beside the codes: the end of the sequence.
        "fifo_bits": design.lanes * design.codes.storage.bits + 1,
        "text": (
            f"Step function {comment(stage.name)} on each of {design.features} codes: a beat is offered "
            f"{design.step_latency + 1} cycles after it entered."
        ),
    }
    files = _lane(map_lane(design), design, context)
    files[f"src/{design.name}.sv"] = environment().get_template("map.sv.jinja").render(context)
    return files


def _edges(source: IntegerType, codes: IntegerType) -> dict[str, object]:
    """Bits of a code that enters and of one that leaves."""
    return {
        "source_bits": source.storage.bits,
        "source_signed": int(source.storage.signed),
        "code_bits": codes.storage.bits,
    }


def dense_lane(design: DenseDesign) -> StepBuilder | None:
    """The step function of a dense layer, of one lane; None if its sums are its codes."""
    if design.stage.step is None:
        return None
    product, folder = design.product, f"rom/{design.name}"
    builder = StepBuilder(design.registers, product.folds, product.pe, folder, noun="output")
    return _stepped(builder, design, design.stage.step, design.sum_bits)


def map_lane(design: MapDesign) -> StepBuilder:
    """The step function on a stream, of one lane."""
    folder = f"rom/{design.name}"
    builder = StepBuilder(design.registers, design.beats, design.lanes, folder, noun="feature")
    return _stepped(builder, design, design.stage.step, design.value_bits)


def _stepped(builder: StepBuilder, design: DenseDesign | MapDesign, certified: Certified, bits: int) -> StepBuilder:
    """From a value of so many bits to its code."""
    assert builder.lanes < 1000, f"{design.name}: the digits of {builder.lanes} lanes"
    code_bits = design.codes.storage.bits
    builder.begin(f"From a value to its code, {design.name}.")
    code = builder.step(Signal("value_i", bits, 0, 0), certified, "code")
    builder.block.assigns.append(("code_o", f"{code_bits}'($signed({code.name}))"))
    if code.bits > code_bits:
        # The sign of a code that has none.
        builder.block.signals.append((1, "unused_code"))
        builder.block.assigns.append(("unused_code", f"|{code.name}[{code.bits - 1}:{code_bits}]"))
    assert code.begin == design.step_latency
    return builder


def _lane(builder: StepBuilder, design: DenseDesign | MapDesign, context: dict[str, object]) -> dict[str, str]:
    """The module of one lane; what it needs of its surroundings joins ``context``."""
    context |= {
        "blocks": builder.blocks,
        "indexed": builder.indexed,
        "group_bits": builder.group_bits,
        "lane_digits": builder.parameter_uses("LaneDigits"),
        "lane_used": builder.parameter_uses("Lane"),
        "constant": not builder.instances(),
        "lane_text": (
            f"One of {builder.lanes} lanes of {context['name']}: its step function, whose code is there "
            f"{design.step_latency} cycles after the value.  certificate.json says what was checked about it."
        ),
    }
    text = environment().get_template("lane.sv.jinja").render(context)
    return {f"src/{context['name']}_lane.sv": text} | builder.files()
