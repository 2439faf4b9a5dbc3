# SPDX-License-Identifier: Apache-2.0
"""Builds a design with Verilator and runs the patterns on it, through cocotb's runner: run.py build|test JOB.json.

The job holds the arguments of the runner's build() and test(); cocotb names the simulator's environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cocotb_tools.runner import get_runner


def main() -> int:
    """Exit status 0 once the tool has run, whatever the tests say: results.xml says it."""
    action, path = sys.argv[1:]
    job = json.loads(Path(path).read_text())
    runner = get_runner("verilator")
    try:
        if action == "build":
            runner.build(**job["build"])
        else:
            runner.test(test_module="axi_stream_patterns", **job["test"])
    except RuntimeError as error:
        # The tool has said why.
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
