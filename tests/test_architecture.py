# SPDX-License-Identifier: Apache-2.0
"""Imports point one way, the core needs no torch, and templates hold no arithmetic."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hwgen"

# A module imports only from lines above its own, or from its own folder.
LAYERS = (
    ("errors",),
    ("resources", "toolchain", "naming", "arrays"),
    ("quantizer",),
    ("gates",),
    ("layers",),
    ("bounds",),
    ("network",),
    ("frontend",),
    ("step",),
    ("forms",),
    ("integer",),
    ("integer_cells",),
    ("directions",),
    ("kernel",),
    ("integer_network",),
    ("engine",),
    ("lowering",),
    ("host",),
    ("agreement",),
    ("export",),
    ("calibration",),
    ("devices",),
    ("interleaving",),
    ("adders",),
    ("packing",),
    ("folding",),
    ("storage",),
    ("schedule",),
    ("registers",),
    ("rtl_timing",),
    ("mapping",),
    ("head_design",),
    ("dataflow",),
    ("sharing",),
    ("choices",),
    ("events",),
    ("cell_cycles",),
    ("stream_cycles",),
    ("rtl_cycles",),
    ("split_dense",),
    ("meanwhile",),
    ("shared_engine",),
    ("wiring",),
    ("reconvergence",),
    ("progress",),
    ("planning",),
    ("vectors",),
    ("backends",),
    ("counting",),
    ("structure_steps",),
    ("structure",),
    ("structure_network",),
    ("cost",),
    ("console",),
    ("inspection",),
    ("report",),
    ("project",),
    ("verify", "synth"),
    ("explore",),
    ("api",),
    ("__init__",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The hwgen modules that a file imports, by their first name below hwgen."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hwgen.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "hwgen":
            found |= {alias.name for alias in node.names if alias.name in RANK}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hwgen."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in RANK, f"{own} has no place among the layers"
    upward = {name for name in imported(path) if name != own and RANK[name] >= RANK[own]}
    assert not upward, f"{path.name} imports {upward} from above"


def test_the_core_imports_neither_torch_nor_brevitas() -> None:
    code = (
        "import sys, hwgen, hwgen.cli; print(sorted({'torch', 'brevitas', 'qonnx', 'onnxruntime'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_torch_and_brevitas_are_imported_by_the_export_alone() -> None:
    for path in modules():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        if path.parent.name != "export":
            assert not {name.split(".")[0] for name in names} & {"torch", "brevitas", "qonnx", "onnxoptimizer"}, path


def test_templates_only_print() -> None:
    """Arithmetic in a template would be a width or a cycle count that the scheduler does not know of."""
    for template in (ROOT / "templates").rglob("*.jinja"):
        for expression in re.findall(r"\{\{.*?\}\}|\{%.*?%\}", template.read_text(), flags=re.DOTALL):
            bare = re.sub(r'"[^"]*"', "", expression.strip("{}%- \n"))
            assert not re.search(r"(?<![\w)])[\w.)\]]+ [*/+] |//|\*\*", bare), f"{template.name}: {expression}"


def test_no_file_is_longer_than_one_sitting() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "templates").rglob("*.*pp"), *(ROOT / "templates").rglob("*.sv")]:
        assert len(path.read_text().splitlines()) <= 480, f"{path.relative_to(ROOT)} should be two files"
