# SPDX-License-Identifier: Apache-2.0
"""What the host does around the hardware: real arrays to codes and codes to real arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwgen.engine import Engine
from hwgen.errors import ConfigError, listing, printable
from hwgen.integer import IntegerCell
from hwgen.kernel import in_parallel
from hwgen.network import Network
from hwgen.quantizer import FloatArray, IntArray

# Elements that a processor's cache holds along with what is computed from them.
_CACHED = 2**16


def encode(network: Network, inputs: Mapping[str, ArrayLike]) -> dict[str, IntArray]:
    """Graph inputs by ONNX name to codes by role: x [T, batch, I], and h0 and c0 [batch, H] where they are inputs."""
    layer = network.layer
    quantizers = {"x": layer.input, "h0": layer.initial_hidden.quantizer, "c0": layer.initial_cell.quantizer}
    return {role: quantizers[role].quantize(real).astype(np.int64) for role, real in network.bind(inputs).items()}


def decode(network: Network, sequence: IntArray, h: IntArray, c: IntArray) -> dict[str, FloatArray]:
    """Codes of the layer to the graph's outputs as real values, by ONNX name and in the graph's layout."""
    layer = network.layer
    return network.present(layer.output.dequantize(sequence), layer.output.dequantize(h), layer.cell.dequantize(c))


def run(network: Network, cell: IntegerCell, inputs: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Execute the integer model on real inputs; returns each graph output under its ONNX name."""
    layer, real = network.layer, network.bind(inputs)
    h0, c0 = (
        state.quantizer.quantize(real[role]).astype(np.int64) if role in real else None
        for role, state in (("h0", layer.initial_hidden), ("c0", layer.initial_cell))
    )
    values = layer.output.dequantize(np.arange(cell.hidden.lo, cell.hidden.hi + 1))
    sequence, h, c = Engine(cell).run_decoded(_by_step(layer.input.quantize, real["x"]), h0, c0, values)
    return network.present(sequence, layer.output.dequantize(h), layer.cell.dequantize(c))


def _by_step(quantize: Callable[[FloatArray], FloatArray], values: FloatArray) -> IntArray:
    """Codes of values [T, ...]: on all processors, as many steps at a time as their caches hold."""
    codes = np.empty(values.shape, np.int64)
    count = max(1, _CACHED // values[0].size)

    def convert(begin: int) -> None:
        codes[begin : begin + count] = quantize(values[begin : begin + count])

    in_parallel(convert, range(0, len(values), count))
    return codes


def read_arrays(network: Network, arguments: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Read ``X.npy`` and ``NAME=F.npy`` arguments; a file without a name is for the input that has none yet."""
    names = [port.name for port in network.inputs]
    arrays: dict[str, NDArray[np.generic]] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        if not separator or name not in names:
            free = [known for known in names if known not in arrays]
            if separator and not Path(argument).exists():
                raise ConfigError(f"--input {printable(argument)}: the inputs are {listing(map(printable, names))}")
            if not free:
                raise ConfigError(f"--input {printable(argument)}: all {len(names)} inputs are given already")
            name, file = free[0], argument
        if name in arrays:
            raise ConfigError(f"--input: {printable(name)} is given twice")
        arrays[name] = _read_array(Path(file))
    return arrays


def _read_array(path: Path) -> NDArray[np.generic]:
    try:
        # Mapping first: a header that claims more than the file holds is refused before memory is taken.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise ConfigError(f"--input {path}: no such file") from error
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ConfigError(f"--input {path}: not a .npy file of numbers ({error})") from error


def write_arrays(path: Path, arrays: Mapping[str, FloatArray]) -> None:
    """Write an .npz file, complete or not at all."""
    # numpy's own savez would turn names into member names of the archive, slashes included: they stay as they are.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
