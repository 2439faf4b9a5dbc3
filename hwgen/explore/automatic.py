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
from hwgen.folding import PACKING, Folding, legal_packings
from hwgen.network import Network
from hwgen.packing import AUTO, Asked, check_asked, choices
from hwgen.schedule import Schedule


def schedule(
    network: Network,
    target: str = "xc7z020",
    clock_mhz: float = 100.0,
    folding: Folding | Mapping[str, Any] | None = None,
    steps_per_second: float | None = None,
    latency_us: float | None = None,
    length: int = 1,
    fit: str | None = None,
    products_per_dsp: Asked = 1,
    **options: Any,
) -> Design:
    """Fold a network for a device.

    ``folding`` fixes PE and SIMD, as ``folding.json`` of a project has them.  With a target the least resources that
    keep to it are taken: ``steps_per_second``; ``latency_us`` from the first input beat to the last output beat of a
    sequence of ``length`` steps; ``fit`` smallest, or fastest, the highest rate that fits the device.  Both times are
    those of the RTL.  With neither, a small balanced design is taken.  ``products_per_dsp`` rows of a product share a
    DSP at most, or products are sums in LUTs with 0; ``auto`` takes for each product what suits the target, without
    one as many rows as fit.  ``options`` are those of
    ``hwgen.planning.schedule``: streaming, max_length, outputs, interleave, memory, look_ahead, share_engine,
    constant_products, split_dense.

    Raises ConfigError where the options cannot be met, and says what limits them; UnsupportedError for what has no
    hardware.
    """
    wanted = {"--steps-per-second": steps_per_second, "--latency-us": latency_us, "--fit": fit}
    asked = [option for option, value in wanted.items() if value is not None]
    shared = check_asked(products_per_dsp)
    base = planning.schedule(network, target, clock_mhz, folding, final=not asked, **options)
    if not asked:
        if shared != 1:
            base = planning.schedule(network, target, clock_mhz, packed(base, shared), **options)
        return _checked(base)
    if folding is not None:
        raise ConfigError(f"--folding and {asked[0]} exclude each other: the target is what a folding follows from")
    part = device(target)
    goal = Target.of(part, base.options.clock_mhz, steps_per_second, latency_us, length, fit or "smallest")
    chosen = choose(space(base, part.flow, shared), goal).folding
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


def packed(design: Design, asked: Asked) -> dict[str, Any]:
    """The folding of a design with up to so many products a DSP, where it does not say how many itself."""
    if isinstance(design, Dataflow):
        return {
            node.name: _packed(node.folding, _legal(node), asked)
            for node in design.nodes
            if isinstance(node, CellNode | DenseNode)
        }
    return _packed(design.folding.to_dict(), _legal(design), asked)


def _legal(node: CellNode | DenseNode | Schedule) -> dict[str, tuple[int, ...]]:
    """What is possible of each product of a layer by its place in the folding; that of a dense layer has no name."""
    if isinstance(node, DenseNode):
        return {"": node.design.legal_packings}
    design = node if isinstance(node, Schedule) else node.design
    return {name: legal_packings(design.cell, design.folding, name) for name in ("input", "hidden")}


def _packed(folding: Mapping[str, Any], legal: Mapping[str, tuple[int, ...]], asked: Asked) -> dict[str, Any]:
    found = dict(folding)
    for name, possible in legal.items():
        own = dict(folding[name]) if name else found
        own.setdefault(PACKING, possible[-1] if asked == AUTO else choices(asked, possible)[0])
        if name:
            found[name] = own
    return found
