# SPDX-License-Identifier: Apache-2.0
"""``hwgen.schedule``: a folding that is given, a small balanced one, or the best for a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwgen import planning
from hwgen.dataflow import CellNode, Dataflow, DenseNode, Design
from hwgen.devices import device
from hwgen.errors import ConfigError, listing
from hwgen.explore.fit import Target, choose
from hwgen.explore.space import space
from hwgen.folding import Folding
from hwgen.network import Network


def schedule(
    network: Network,
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    folding: Folding | Mapping[str, Any] | None = None,
    steps_per_second: float | None = None,
    latency_us: float | None = None,
    length: int = 1,
    fit: str | None = None,
    **options: Any,
) -> Design:
    """Fold a network for a device.

    ``folding`` fixes PE and SIMD, as ``folding.json`` of a project has them.  With a target the least resources that
    keep to it are taken: ``steps_per_second``; ``latency_us`` from the first input beat to the last output beat of a
    sequence of ``length`` steps; ``fit`` smallest, or fastest, the highest rate that fits the device.  Both times are
    those of the RTL.  With neither, a small balanced design is taken.  ``options`` are those of
    ``hwgen.planning.schedule``: streaming, max_length, outputs, interleave, memory, look_ahead,
    constant_products.

    Raises ConfigError where the options cannot be met, and says what limits them; UnsupportedError for what has no
    hardware.
    """
    wanted = {"--steps-per-second": steps_per_second, "--latency-us": latency_us, "--fit": fit}
    asked = [option for option, value in wanted.items() if value is not None]
    base = planning.schedule(network, target, clock_mhz, folding, final=not asked, **options)
    if not asked:
        return _checked(base)
    if folding is not None:
        raise ConfigError(f"--folding and {asked[0]} exclude each other: the target is what a folding follows from")
    part = device(target)
    goal = Target.of(part, base.options.clock_mhz, steps_per_second, latency_us, length, fit or "smallest")
    chosen = choose(space(base, part.flow), goal).folding
    return _checked(planning.schedule(network, target, clock_mhz, chosen, **options))


def _checked(design: Design) -> Design:
    """The design, unless it has no product for an option that is about products of one cycle."""
    maker = design.options.constant_products
    if maker == "multiply" or any(product.graph is not None for product in design.products):
        return design
    found = {product.name: product for product in design.products}
    if isinstance(design, Dataflow):
        cells = [node for node in design.nodes if isinstance(node, CellNode)]
        found = {f"{node.name} {product.name}": product for node in cells for product in node.design.products}
        found |= {node.name: node.product for node in design.nodes if isinstance(node, DenseNode)}
    whole = listing(f"{name} with pe={product.rows}, simd={product.columns}" for name, product in found.items())
    raise ConfigError(
        f"--constant-products {maker} is about products that take one cycle, and none does; with --folding one can: "
        f"{whole}"
    )
