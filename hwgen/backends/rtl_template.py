# SPDX-License-Identifier: Apache-2.0
"""The templates of the RTL, and the memories of products that they name."""

from __future__ import annotations

import math
import textwrap

import jinja2

from hwgen import resources
from hwgen.backends.sv import LINE, hex_file
from hwgen.mapping import stored_weights, weight_bits
from hwgen.quantizer import IntArray
from hwgen.schedule import FoldedProduct


def _wrapped_comment(text: str, indent: int = 0) -> str:
    prefix = " " * indent + "// "
    return textwrap.fill(text, LINE, initial_indent=prefix, subsequent_indent=prefix)


def environment() -> jinja2.Environment:
    """Templates that only print; ``bus`` and ``bits`` multiply, ``comment`` wraps lines."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.templates() / "rtl")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["comment"] = _wrapped_comment
    environment.filters["bits"] = math.prod
    environment.filters["bus"] = lambda factors: f"[{math.prod(factors) - 1}:0]"
    return environment


def _pack(lanes: IntArray, bits: int) -> int:
    """Lanes of two's complement numbers side by side, lane 0 in the low bits."""
    mask, word = (1 << bits) - 1, 0
    for lane in lanes[::-1]:
        word = word << bits | (int(lane) & mask)
    return word


def weight_file(product: FoldedProduct) -> str:
    """Weights: a word for each tile."""
    bits, tiles = weight_bits(product), stored_weights(product)
    what = f"{product.name} weights: {product.tiles} tiles of {product.pe} PE x {product.simd} SIMD x {bits} bits"
    return hex_file(what, (_pack(tile, bits) for tile in tiles), tiles.shape[1] * bits)


def bias_file(bias: IntArray, product: FoldedProduct, bits: int) -> str:
    """Biases of ``bits`` bits: a word for each fold."""
    folds = bias.reshape(-1, product.pe)
    what = f"bias: {len(folds)} groups of {product.pe} rows x {bits} bits"
    return hex_file(what, (_pack(fold, bits) for fold in folds), product.pe * bits)
