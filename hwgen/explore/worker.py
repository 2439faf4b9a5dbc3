# SPDX-License-Identifier: Apache-2.0
"""What Dask runs in each worker process of this machine when that starts."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the process that asked: it ends the workers.

    A handler rather than SIG_IGN, which Verilator and Yosys would inherit: they are to end at once.
    """
    signal.signal(signal.SIGINT, lambda number, frame: None)
