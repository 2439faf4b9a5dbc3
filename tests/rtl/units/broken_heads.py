# SPDX-License-Identifier: Apache-2.0
"""Generated layers with an error each: what the benches of layers must notice."""

from __future__ import annotations

from units.heads import StreamedLayer
from units.heads import benches as whole

# Layer, the end of the file's name, what to look for in its text, and what to put there.
ERRORS = (
    ("multiply_folded", "", ".move_i(sums_valid)", ".move_i(codes_valid)"),
    ("multiply_folded", "_lane", ".index_i(code_multiplier_group)", ".index_i('0)"),
    ("search_folded", "_lane", ".data_i(group_i)", ".data_i('0)"),
    ("search_folded", "", "valid_o & ready_i & done", "valid_o & done"),
    ("table_folded", "", "{sums_done, sums_done & sums_last}", "{sums_done, sums_last}"),
    ("table_folded", "", ".Steps(5)", ".Steps(4)"),
    ("table_folded", "_lane", "Lane % 10", "(Lane ^ 1) % 10"),
    ("shift_folded", "", ".Stages(1)) u_valid", ".Stages(0)) u_valid"),
    ("sums_folded", "", "21'($signed(", "21'($unsigned("),
    ("map_shift_channels", "", ".move_i(enter)", ".move_i(leave)"),
    ("map_multiply_channels", "", ".Depth(4)) u_credit", ".Depth(3)) u_credit"),
    ("map_shift", "", ".leave_i(leave)", ".leave_i(enter)"),
    ("map_offset_channels", "_lane", ".index_i(code_offset_group)", ".index_i('0)"),
    ("map_search_channels", "", ".Signed(0)", ".Signed(1)"),
)


class BrokenLayer(StreamedLayer):
    """A layer whose modules, under names of their own, have an error."""

    def __init__(self, layer: StreamedLayer, number: int) -> None:
        super().__init__(layer.design)
        self.number = number
        self.module = f"broken_{layer.design.name}_{number}"

    def sources(self) -> dict[str, str]:
        name, end, old, new = ERRORS[self.number]
        found = {}
        for path, text in super().sources().items():
            if path == f"src/{name}{end}.sv":
                assert text.count(old) == 1, f"{name}: {old} stands there {text.count(old)} times"
                text = text.replace(old, new)
            renamed = text.replace(f" {name} ", f" {self.module} ").replace(f" {name}_lane ", f" {self.module}_lane ")
            found[path.replace(name, self.module)] = renamed
        return found


def benches() -> list[StreamedLayer]:
    """One layer for each error."""
    layers = {layer.design.name: layer for layer in whole()}
    return [BrokenLayer(layers[error[0]], number) for number, error in enumerate(ERRORS)]
