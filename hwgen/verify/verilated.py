# SPDX-License-Identifier: Apache-2.0
"""Verilator's own library, compiled once for all models that are built alike: most of the time of a small build."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

from hwgen import toolchain

_OBJECTS = "verilated*.o"


def put(folder: Path, how: str) -> None:
    """Lay the objects that a build compiles as ``how`` says into its folder, if there are any."""
    # make takes them for current if they are newer than the makefile that Verilator is about to write.
    later = time.time() + 60
    for path in _kept(how).glob(_OBJECTS):
        os.utime(shutil.copy(path, folder), (later, later))


def keep(folder: Path, how: str) -> None:
    """Keep the objects of a build that ended well; where the cache cannot be written, the next one compiles again."""
    kept = _kept(how)
    if kept.is_dir():
        return
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{kept.name}.", dir=kept.parent) as partial:
            objects = Path(partial) / "objects"
            objects.mkdir()
            for path in folder.glob(_OBJECTS):
                shutil.copy(path, objects)
            objects.rename(kept)
    except OSError:
        return


@functools.cache
def _kept(how: str) -> Path:
    """A folder of the user's cache; its name tells library, compiler, machine and flags."""
    verilator = toolchain.verilator().resolve()
    version = toolchain.run([toolchain.cxx_compiler(), "--version"], "asking the compiler for its version")
    digest = hashlib.sha256(repr((str(verilator), version, platform.machine(), how)).encode())
    for root in (verilator.parents[1] / "include", verilator.parents[1] / "share" / "verilator" / "include"):
        for path in sorted(root.glob("verilated*")):
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "hwgen" / f"verilated-{digest.hexdigest()[:16]}"
