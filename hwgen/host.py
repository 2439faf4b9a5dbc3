# SPDX-License-Identifier: Apache-2.0
"""What the host does around the hardware: real arrays to codes and codes to real arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwgen.engine import Engine
from hwgen.errors import ConfigError, listing, printable
from hwgen.integer_network import CellStage, IntegerNetwork, SelectStage
from hwgen.kernel import in_parallel
from hwgen.network import Network
from hwgen.quantizer import FloatArray, IntArray

# Elements that a processor's cache holds along with what is computed from them.
_CACHED = 2**16


def encode(network: Network, inputs: Mapping[str, ArrayLike]) -> dict[str, IntArray]:
    """Graph inputs by ONNX name to codes by wire: [T, batch, features], and states [batch, H]."""
    wires = network.wires
    return {
        name: _by_step(wires[name].encode, real) if wires[name].per_step else wires[name].encode(real).astype(np.int64)
        for name, real in network.bind(inputs).items()
    }


def decode(network: Network, codes: Mapping[str, IntArray]) -> dict[str, FloatArray]:
    """Codes by wire to the graph's outputs as real values, by ONNX name and in the graph's layout."""
    shown = {wire for output in network.outputs for wire in output.wires}
    return network.present({wire.name: wire.decode(codes[wire.name]) for wire in shown})


def run(network: Network, model: IntegerNetwork, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Execute the integer model on real inputs; returns each graph output under its ONNX name."""
    codes = encode(network, inputs)
    first = model.stages[0]
    if len(model.stages) == 1 and isinstance(first, CellStage):
        return _run_cell(network, first, codes)
    _check_length(model, codes)
    return decode(network, model.run(codes, lambda cell, x, h0, c0: Engine(cell).run(x, h0, c0)))


def _run_cell(network: Network, stage: CellStage, codes: Mapping[str, IntArray]) -> dict[str, FloatArray]:
    """A model of one LSTM layer, whose sequence comes as real values from the engine."""
    sequence, hidden, cell = (network.wires[name] for name in stage.wires)
    values = sequence.decode(np.arange(stage.cell.hidden.lo, stage.cell.hidden.hi + 1))
    h0, c0 = (None if name is None else codes[name] for name in (stage.initial_hidden, stage.initial_cell))
    y, h, c = Engine(stage.cell).run_decoded(codes[stage.source], h0, c0, values)
    return network.present({sequence.name: y, hidden.name: hidden.decode(h), cell.name: cell.decode(c)})


def _check_length(model: IntegerNetwork, codes: Mapping[str, IntArray]) -> None:
    """Refuse sequences that do not have the time step that a layer picks."""
    steps = min(len(array) for array in codes.values() if array.ndim == 3)
    for stage in model.stages:
        if isinstance(stage, SelectStage) and not -steps <= stage.index < steps:
            raise ConfigError(f"--input: {printable(stage.name)} picks time step {stage.index} of {steps}")


def _by_step(quantize: Callable[[FloatArray], FloatArray], values: FloatArray) -> IntArray:
    """Codes of values [T, ...]: on all processors, as many steps at a time as their caches hold."""
    codes = np.empty(values.shape, np.int64)
    count = max(1, _CACHED // values[0].size)

    def convert(begin: int) -> None:
        codes[begin : begin + count] = quantize(values[begin : begin + count])

    in_parallel(convert, range(0, len(values), count))
    return codes


def read_arrays(network: Network, arguments: Sequence[str], option: str = "--input") -> dict[str, NDArray[np.generic]]:
    """Read ``X.npy`` and ``NAME=F.npy`` arguments; a file without a name is for the input that has none yet."""
    names = [port.name for port in network.inputs]
    arrays: dict[str, NDArray[np.generic]] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        if not separator or name not in names:
            free = [known for known in names if known not in arrays]
            if separator and not Path(argument).exists():
                raise ConfigError(f"{option} {printable(argument)}: the inputs are {listing(map(printable, names))}")
            if not free:
                raise ConfigError(f"{option} {printable(argument)}: all {len(names)} inputs are given already")
            name, file = free[0], argument
        if name in arrays:
            raise ConfigError(f"{option}: {printable(name)} is given twice")
        arrays[name] = _read_array(Path(file), option)
    return arrays


def _read_array(path: Path, option: str) -> NDArray[np.generic]:
    try:
        # Mapping first: a header that claims more than the file holds is refused before memory is taken.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise ConfigError(f"{option} {path}: no such file") from error
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ConfigError(f"{option} {path}: not a .npy file of numbers ({error})") from error


def write_arrays(path: Path, arrays: Mapping[str, FloatArray]) -> None:
    """Write an .npz file, complete or not at all."""
    # numpy's own savez would turn names into member names of the archive, slashes included: they stay as they are.
    write_file(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have ``write`` fill a file, complete or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
