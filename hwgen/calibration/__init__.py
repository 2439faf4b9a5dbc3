# SPDX-License-Identifier: Apache-2.0
"""Weight-only and float models to fully quantized ones: scales are picked from data.

A float graph is rewritten with placeholders for quantizers and read as any other model is.  The network that this gives
is evaluated without its quantizers on the data; what is seen at their places gives the scales, with which the graph is
written once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from hwgen import host
from hwgen.calibration.choose import Chooser
from hwgen.calibration.files import read_float_model
from hwgen.calibration.observe import Observer, evaluate
from hwgen.calibration.options import Method, Options
from hwgen.calibration.report import Measured
from hwgen.calibration.rewrite import rewrite
from hwgen.engine import Engine
from hwgen.errors import ConfigError, printable
from hwgen.export.graph import free_shapes
from hwgen.frontend import read_network
from hwgen.integer_network import IntegerNetwork, RecurrentStage
from hwgen.layers import SelectLayer
from hwgen.lowering import lower
from hwgen.quantizer import FloatArray

__all__ = ["Calibration", "Method", "Options"]


class Calibration:
    """A float model, ready to be calibrated; ``network`` tells its inputs.

    Raises ModelError or UnsupportedError, naming the node, for a model that cannot be.
    """

    def __init__(self, path: str | Path, options: Options) -> None:
        self.path, self.options = Path(path), options
        self._model, self._graph, self._source = read_float_model(self.path)
        self._draft = rewrite(self._model, self._graph, options, {})
        self.network = read_network(self._draft.model, self.path.stem, b"")

    def run(
        self,
        data: Mapping[str, ArrayLike],
        out: str | Path,
        progress: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        """Pick quantizers from ``data``, arrays by graph input, and write the quantized model to ``out``.

        Returns what was picked and what it costs, as plain data.  Raises ConfigError for data that do not fit.
        """
        target = Path(out)
        if target.is_file() and target.read_bytes() == self._source:
            raise ConfigError(f"--output {target}: is the model itself, which would be lost; choose another file")
        given = self._bound(data)
        observer = Observer()
        exact = evaluate(self.network, self._draft, given, observer, lambda name: progress(f"observing {name}"))
        progress("choosing scales")
        chosen = Chooser(self.network, self._draft, observer.seen, self.options).choose()
        final = rewrite(self._model, self._graph, self.options, chosen)
        network = read_network(final.model, self.path.stem, b"")
        free_shapes(final.model, network)
        progress("lowering and certifying")
        integers = lower(network)
        progress("measuring the cost")
        codes = integers.run(host.encode(network, data), lambda cell, x, h0, c0: Engine(cell).run(x, h0, c0))
        wires = network.wires
        if exact.keys() != wires.keys():
            # A quantizer that the draft's placeholders made one with the next stands by itself.
            exact = evaluate(network, final, given)
        measured = Measured(
            network,
            final,
            chosen,
            observer.seen,
            exact,
            {name: wire.decode(codes[name]) for name, wire in wires.items()},
        )
        first = next(array for array in given.values() if array.ndim == 3)
        report = {
            "model": str(self.path),
            "output": str(target),
            "options": asdict(self.options) | {"method": self.options.method.value},
            "steps": first.shape[0],
            "sequences": first.shape[1],
            "layers": measured.layers(),
            "outputs": measured.outputs(),
            "warnings": [*final.warnings, *network.warnings, *_bounded(integers)],
        }
        content = final.model.SerializeToString(deterministic=True)
        host.write_file(target, lambda file: file.write(content))
        return report

    def _bound(self, data: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Arrays by wire; the option that they come from has another name here than in ``hwgen run``."""
        try:
            given = self.network.bind(data)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--input", "--data", 1)) from error
        steps = next(len(array) for array in given.values() if array.ndim == 3)
        for layer in self.network.layers:
            if isinstance(layer, SelectLayer) and not -steps <= layer.index < steps:
                raise ConfigError(f"--data: {printable(layer.name)} picks time step {layer.index} of {steps}")
        return given


def _bounded(integers: IntegerNetwork) -> list[str]:
    """Gates whose two products have no common grid, which weights that come quantized may lead to."""
    found = []
    for stage in integers.stages:
        gates = stage.cell.gates if isinstance(stage, RecurrentStage) else ()
        names = [gate.name for gate in gates if gate.bound]
        if names:
            found.append(
                f"{stage.name}: sums of the {', '.join(names)} gates are within "
                f"{max(gate.bound for gate in gates):.2g} LSB, not exact: the file's scales of W and R have no small "
                "ratio"
            )
    return found
