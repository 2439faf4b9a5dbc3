# SPDX-License-Identifier: Apache-2.0
"""Names from models as identifiers, and text from models as comments.  Nothing else of a model reaches a source file
or a script unescaped.
"""

from __future__ import annotations

import re

from hwgen.errors import printable

# Keywords of C++ and SystemVerilog, and names that the generated code uses itself.
_RESERVED = frozenset(
    """
    alignas alignof and asm auto bool break case catch char class const constexpr continue default delete do
    double else enum explicit export extern false float for friend goto if inline int long main mutable
    namespace new not operator or private protected public register return short signed sizeof static std struct
    switch template this throw true try typedef typename union unsigned using virtual void volatile while xor
    hls hwgen always assign begin case end endmodule event initial input interface logic module output parameter
    reg wire
    """.split()  # noqa: SIM905
)
_MAX_LENGTH = 48


def identifier(name: str) -> str:
    """A legal C++, SystemVerilog and Tcl identifier near to ``name``.

    >>> identifier("../Vowels 8-bit; rm -rf")
    'vowels_8_bit_rm_rf'
    """
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_MAX_LENGTH].rstrip("_")
    if not text or text[0].isdigit():
        text = f"m_{text}".rstrip("_")
    return f"{text}_top" if text in _RESERVED else text


def camel(name: str) -> str:
    """The name of a struct: ``input_accumulator`` becomes ``InputAccumulator``."""
    return "".join(part.capitalize() for part in identifier(name).split("_"))


def comment(text: str) -> str:
    """Text of a model as it may stand in a comment of any language: one line, ASCII, no way out."""
    return printable(text).replace("*/", "* /").replace("\\", "/")
