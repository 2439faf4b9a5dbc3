# SPDX-License-Identifier: Apache-2.0
"""Projects on disk: deterministic, whole or absent, never over somebody else's folder; wheels carry all they need."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLE, MODELS

import hwgen
from hwgen import project as project_module
from hwgen.backends.naming import identifier
from hwgen.errors import ConfigError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_model_and_options_give_the_same_bytes(tmp_path: Path) -> None:
    code = "import sys, hwgen; hwgen.build(hwgen.schedule(hwgen.load(sys.argv[1])), sys.argv[2])"
    for out, seed in (("one", "1"), ("two", "2")):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(MODELS / "per_channel.onnx"), str(tmp_path / out)]
        subprocess.run(command, check=True, env=environment)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_project_is_read_back_as_it_was_built(tmp_path: Path) -> None:
    design = hwgen.schedule(
        hwgen.load(MODELS / "reversed.onnx"), "xczu3eg", 250, hwgen.Folding(8, 5, 16, 10), max_length=30,
        outputs=("sequence", "last_cell"),
    )  # fmt: skip
    built = hwgen.build(design, tmp_path / "project")
    again = hwgen.open_project(tmp_path / "project").design
    assert again.to_dict() == built.design.to_dict()
    assert project_module.render(again, ("hls",)) == project_module.render(design, ("hls",))


def test_certificate_proves_every_step_function(tmp_path: Path) -> None:
    hwgen.build(hwgen.schedule(hwgen.load(EXAMPLE / "japanese_vowels.onnx")), tmp_path / "project")
    certificate = json.loads((tmp_path / "project" / "certificate.json").read_text())
    assert certificate["all_proven"] is True
    assert len(certificate["steps"]) == 13
    assert all(step["thresholds_checked"] > 0 and step["mismatches"] == 0 for step in certificate["steps"])


def test_a_rebuild_replaces_a_project_and_nothing_else(default_model: Path, tmp_path: Path) -> None:
    design = hwgen.schedule(hwgen.load(default_model))
    hwgen.build(design, tmp_path / "project")
    (tmp_path / "project" / "hls" / "stale.txt").write_text("from before")
    hwgen.build(design, tmp_path / "project")
    assert not (tmp_path / "project" / "hls" / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["project"]

    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter1.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis: exists and is not an hwgen project; choose another folder"):
        hwgen.build(design, theirs)
    assert contents(theirs) == {"chapter1.tex": b"years of work"}
    with pytest.raises(ConfigError, match=r"chapter1.tex: exists and is not a folder"):
        hwgen.build(design, theirs / "chapter1.tex")


def test_a_build_that_fails_half_way_leaves_nothing(
    default_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = hwgen.schedule(hwgen.load(default_model))
    hwgen.build(design, tmp_path / "project")
    before = contents(tmp_path / "project")
    written: list[Path] = []
    original = Path.write_bytes

    def fail_late(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 8:
            raise OSError(28, "No space left on device")
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_late)
    for out in ("project", "another"):
        written.clear()
        with pytest.raises(ConfigError, match=r"cannot be written \(No space left on device\)"):
            hwgen.build(design, tmp_path / out)
    assert contents(tmp_path / "project") == before
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


HOSTILE = [
    'a"; system("touch pwned"); //',
    "line\nbreak */ #error",
    "../../escape",
    "[exec touch pwned]",
    "$(touch pwned)",
    "int",
    "9lives",
    "überquant ‮ evil",
    "backslashed\\",
    "",
]


def without_comments(files: dict[str, bytes], top: str) -> dict[str, list[str]]:
    """The sources of a project, comment lines dropped, the name of the top level replaced."""
    texts = {path.replace(top, "TOP"): data.decode("ascii") for path, data in files.items() if path.startswith("hls/")}
    return {
        path: [
            re.sub(r" +", " ", re.sub(r"//.*", "", line).replace(top.upper(), "TOP").replace(top, "TOP"))
            for line in text.splitlines()
            if not line.startswith(("//", "#!", "# "))
        ]
        for path, text in texts.items()
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_reach_no_source_file_unescaped(name: str, tmp_path: Path) -> None:
    """Apart from comments and the identifier made of it, a name changes nothing."""
    hwgen.build(hwgen.schedule(hwgen.load(MODELS / "default.onnx", name="benign")), tmp_path / "benign")
    network = hwgen.load(MODELS / "default.onnx", name=name or None)
    hwgen.build(hwgen.schedule(network), tmp_path / "hostile")
    top = identifier(network.name)
    assert top.isidentifier()
    assert top.isascii()
    hostile = without_comments(contents(tmp_path / "hostile"), top)
    assert hostile == without_comments(contents(tmp_path / "benign"), "benign")


def test_hostile_names_still_compile_and_verify(tmp_path: Path) -> None:
    network = hwgen.load(MODELS / "two_bits.onnx", name='x"; */ #error\\\nint main(')
    assert hwgen.build(hwgen.schedule(network), tmp_path / "project").verify(sequences=5)["passed"]


def test_a_wheel_installed_elsewhere_builds_a_project(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels), str(root)], check=True, capture_output=True
    )
    (wheel,) = wheels.glob("hwgen-*.whl")
    # The dependencies are those of this environment; hwgen itself must come from the wheel.
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python*/site-packages"))
    shutil.unpack_archive(wheel, site, format="zip")
    packages = Path(np.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{packages}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(MODELS / "default.onnx", elsewhere)
    python = environment / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import hwgen; print(hwgen.__file__)"], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(site)), where.stdout
    for arguments in (["build", "default.onnx", "-o", "out"], ["verify", "out", "--sequences", "8"]):
        command = [str(python), "-c", "from hwgen.cli import main; main()", *arguments]
        result = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "every code equal" in result.stdout
