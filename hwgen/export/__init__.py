# SPDX-License-Identifier: Apache-2.0
"""Brevitas modules to QONNX files that compute what the module computes, checked before they are there.

Nothing else in hwgen imports torch and Brevitas, and this only once it is called.  See docs/export.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from hwgen.agreement import Agreement, Trace, check_integer_model, compare, compare_parameters
from hwgen.errors import ConfigError, ModelError, UnsupportedError, listing, printable
from hwgen.export import modules
from hwgen.export.graph import checked_names, free_shapes, input_mark, name_cells, name_ports
from hwgen.export.recording import recording, trials
from hwgen.export.tracing import trace_to_file
from hwgen.frontend import load
from hwgen.lowering import lower
from hwgen.network import Network

__all__ = ["check_qonnx", "export_qonnx"]


def export_qonnx(
    module: Any,
    example_input: Any,
    path: str | Path,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Agreement:
    """Write a Brevitas module with recurrent layers as QONNX, in evaluation mode, and check the file against it.

    ``example_input`` is a tensor or a tuple of tensors, as the module takes them.  Names are x, h0, c0 and y, h_n, c_n
    for a bare QuantLSTM or QuantRNN, otherwise those of the arguments of ``forward``, and y.  The module stays as it
    was.  The file appears only if it computes what the module computes; returns what was compared.  Raises
    UnsupportedError for what hwgen cannot read, ConfigError for a wrong example, ModelError for a difference.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ConfigError(f"path {path}: its folder does not exist; make it first")
    example = modules.checked_example(example_input)
    partial = path.with_name(f".{path.name}.partial")
    try:
        _write(module, example, partial, path.stem, input_names, output_names)
        agreement = check_qonnx(module, example, partial)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"path {path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
    return agreement


def _write(
    module: Any,
    example: tuple[Any, ...],
    path: Path,
    name: str,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> None:
    with modules.left_as_it_was(module):
        modules.check_module(module)
        kinds = modules.value_kinds(modules.run(module, example, "example_input"))
        kept = [place for place, is_value in enumerate(kinds) if is_value]
        inputs = modules.input_names(module, len(example)) if input_names is None else input_names
        outputs = modules.output_names(module, len(kept)) if output_names is None else output_names
        names = checked_names(inputs, len(example), "input_names"), checked_names(outputs, len(kept), "output_names")
        if set(names[0]) & set(names[1]):
            raise ConfigError(f"output_names: must differ from those of the inputs, {listing(names[0])}")
        trace_to_file(module, example, path)
    model = onnx.load(path)
    _repair(model, names, kept, len(kinds))
    onnx.save(model, path)
    network = load(path, name)
    _check_used(network, names)
    free_shapes(model, network)
    onnx.save(model, path)


def _repair(model: onnx.ModelProto, names: tuple[list[str], list[str]], kept: list[int], tensors: int) -> None:
    """Name nodes and ports; drop the outputs that are not ``kept``."""
    found = [port.name for port in model.graph.input]
    _refuse_unused([name for place, name in enumerate(names[0]) if input_mark(place) not in found])
    if len(model.graph.output) != tensors:
        raise UnsupportedError(
            f"the traced graph has {len(model.graph.output)} outputs, the module gives {tensors} tensors; forward must "
            "return tensors, in tuples or lists if several"
        )
    taken = sorted(set(names[0]) & set(name_cells(model)))
    if taken:
        raise ConfigError(f"input_names: {listing(map(printable, taken))} is the name of a layer; choose another")
    name_ports(model, names[0], kept, names[1])


def _check_used(network: Network, names: tuple[list[str], list[str]]) -> None:
    """Refuse ports that have nothing to do with the network."""
    _refuse_unused([name for name in names[0] if name not in [port.name for port in network.inputs]])
    constant = [printable(name) for name in names[1] if name not in [output.name for output in network.outputs]]
    if constant:
        raise UnsupportedError(f"output {listing(constant)} of the module depends on no input; leave it out")


def _refuse_unused(names: list[str]) -> None:
    if names:
        raise UnsupportedError(f"input {listing(map(printable, names))} of the module reaches no output; leave it out")


def check_qonnx(module: Any, example_input: Any, path: str | Path, random_inputs: bool = True) -> Agreement:
    """Compare a file that ``export_qonnx`` wrote with its module, on the example and on seeded random inputs.

    Without ``random_inputs`` the example alone: a batch of real data, say, of which the result then tells.
    Every time step of every recurrent layer is compared from the module's own states, and every output.  Raises
    ModelError if anything differs by more than float32 next to a rounding boundary explains, or if hwgen's integer
    model differs from its reference.
    """
    example = modules.checked_example(example_input)
    network = load(path)
    model = lower(network)
    agreement = Agreement()
    with modules.left_as_it_was(module):
        for given in trials(network, example) if random_inputs else (example,):
            traces: dict[str, Trace] = {}
            with recording(module, traces):
                results = modules.values(modules.run(module, given, "input of another length or batch size"))
            named = {port.name: modules.as_array(tensor) for port, tensor in zip(network.inputs, given, strict=True)}
            if not agreement.places:
                agreement = compare_parameters(network, traces)
            agreement += compare(network, named, traces, results)
            check_integer_model(network, model, named)
    if agreement.wrong:
        raise ModelError(
            f"the exported file computes something else than the module: {agreement.wrong:,} of {agreement.values:,} "
            f"values differ by more than a rounding boundary explains ({agreement})"
        )
    return agreement
