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
    alias alignas alignof always always_comb always_ff always_latch and asm assign auto before begin bind bins
    bit bool break buf bufif0 bufif1 byte case casex casez catch cell chandle char checker class clocking cmos
    config const constexpr constraint context continue cover covergroup coverpoint cross deassign default
    defparam delete design disable dist do double edge else end endcase endmodule enum event expect explicit
    export extends extern false final first_match float for force foreach forever fork forkjoin friend function
    generate genvar global goto highz0 highz1 hls hwgen if iff ifnone ignore_bins implements implies import
    incdir include initial inline inout input inside instance int integer interconnect interface intersect join
    large let liblist library local localparam logic long longint macromodule main matches medium modport module
    mutable namespace nand negedge nettype new nmos nor noshowcancelled not notif0 notif1 null operator or
    output packed parameter pmos posedge primitive priority private program property protected public pull0
    pull1 pulldown pullup pure rand randc randcase randsequence rcmos real realtime ref reg register release
    repeat restrict return rnmos rpmos rtran scalared sequence short shortint shortreal showcancelled signed
    sizeof small soft solve specify specparam static std string strong strong0 strong1 struct super supply0
    supply1 switch table tagged task template this throw time timeprecision timeunit tran tranif0 tranif1 tri
    tri0 tri1 triand trior trireg true try type typedef typename union unique unique0 unsigned using uwire var
    vectored virtual void volatile wait wait_order wand weak weak0 weak1 while wildcard wire within wor xnor xor
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
    return f"{text}_top" if text in _RESERVED or text.startswith("hwgen_") else text


def camel(name: str) -> str:
    """The name of a struct: ``input_accumulator`` becomes ``InputAccumulator``."""
    return "".join(part.capitalize() for part in identifier(name).split("_"))


def comment(text: str) -> str:
    """Text of a model as it may stand in a comment of any language: one line, ASCII, no way out."""
    return printable(text).replace("*/", "* /").replace("\\", "/")
