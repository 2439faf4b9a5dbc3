# SPDX-License-Identifier: Apache-2.0
"""Tasks on Dask: on processes of this machine, or on the workers of any scheduler.  A worker's death loses nothing."""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hwgen.errors import ConfigError, ToolError, printable

# Arguments of a task -> its result: plain data.
Work = Callable[..., dict[str, Any]]
_CONNECT_SECONDS = 30
# Tasks take seconds to hours.
_POLL_SECONDS = 0.1
_REPAIR_SECONDS = 5.0


def run(
    work: Work,
    tasks: Mapping[str, tuple[Any, ...]],
    scheduler: str | None,
    workers: int,
    notice: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run ``work(*arguments, scratch)`` for each task by its key; gives keys with results as they finish.

    ``scheduler`` is the address of a Dask scheduler; without one, ``workers`` processes of this machine do the work.
    What ``work`` raises, and a task that no worker survives, is ``{"error": text}``.  Raises ToolError if Dask is not
    installed, or is lost on the way; ConfigError if no scheduler answers.
    """
    dask = _dask()
    with contextlib.ExitStack() as stack:
        # Deaths and lost connections are dealt with, or told as an error, here.
        stack.enter_context(dask.utils.silence_logging_cmgr(logging.CRITICAL))
        cluster: Any = None
        address = scheduler
        if address is None:
            cluster = stack.enter_context(_processes(dask, min(workers, len(tasks))))
            address = str(cluster.scheduler_address)
        client = stack.enter_context(_client(dask, address))
        if not client.nthreads():
            notice(f"{address} has no workers yet: waiting for the first")

        def submit(name: str, number: int) -> Any:
            # Arguments, the model's bytes among them, travel with each task: data that lies on a worker dies with it.
            key = f"hwgen-measure-{number}-{name}"
            return client.submit(_in_scratch, work, tasks[name], key=key, pure=False)

        futures = {name: submit(name, 1) for name in tasks}
        # Dask gives up all tasks that were on a worker when it died for the last time, also those that only waited
        # there.  Each of them is tried once more when nothing else runs: then a death is its own.
        suspects: list[str] = []
        alone = False
        repaired = time.monotonic()
        while futures:
            for name in [name for name, future in futures.items() if future.status != "pending"]:
                future = futures.pop(name)
                result = _result(dask, future, address)
                # What nobody waits for is not computed again when the worker that has it dies.
                future.release()
                if result is None and not alone:
                    suspects.append(name)
                else:
                    yield name, result or {"error": _DEATHS}
            if not futures and suspects:
                alone = True
                name = suspects.pop(0)
                futures[name] = submit(name, 2)
            if cluster is not None and time.monotonic() > repaired + _REPAIR_SECONDS:
                # Starts what is missing of this many workers.
                cluster.scale(min(workers, len(tasks)))
                repaired = time.monotonic()
            time.sleep(_POLL_SECONDS)


_DEATHS = "every worker that had this point died, perhaps for want of memory; see the logs of the workers"


def _in_scratch(work: Work, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Run on a worker: temporary files go where Dask clears up after workers that died."""
    from distributed import get_worker

    return work(*arguments, get_worker().local_directory)


def _result(dask: ModuleType, future: Any, address: str) -> dict[str, Any] | None:
    """What a task gave that is over; None if the workers that had it died."""
    try:
        result: dict[str, Any] = future.result()
        return result
    except dask.KilledWorker:
        return None
    except (dask.CancelledError, OSError) as error:
        raise ToolError(
            f"Dask's scheduler at {address} was lost; start it and run again: what is measured is kept"
        ) from error
    except ImportError as error:
        text = f"a worker lacks a package ({error}); install there: pip install 'hwgen[sim,synth,explore]'"
        return {"error": text}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _dask() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise ToolError("Dask was not found; install it with: pip install 'hwgen[explore]'") from error
    return distributed


def _configuration() -> ModuleType:
    import dask.config

    return dask.config


@contextlib.contextmanager
def _processes(dask: ModuleType, workers: int) -> Iterator[Any]:
    """A Dask cluster: a scheduler in this process, workers of one thread in processes of their own."""
    # By default a worker that takes longer than 15 s to come back is not waited for.
    patience = _configuration().set({"distributed.deploy.lost-worker-timeout": "1h"})
    with patience, tempfile.TemporaryDirectory(prefix="hwgen-dask-", ignore_cleanup_errors=True) as folder:
        try:
            cluster = dask.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                # Dask's page for browsers is off; what is left of its server must not take the usual port.
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                local_directory=folder,
                preload=["hwgen.explore.worker"],
                # Synthesis is another process, whose memory Dask does not see.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            raise ToolError(
                f"Dask could not start {workers} worker processes ({error}); a script that measures must do so "
                'below: if __name__ == "__main__"'
            ) from error
        with cluster:
            yield cluster


@contextlib.contextmanager
def _client(dask: ModuleType, address: str) -> Iterator[Any]:
    try:
        # A client that found nobody would wait another minute before it goes, and say so in a trace.
        place = urlsplit(address)
        socket.create_connection((place.hostname or "", place.port or 0), timeout=_CONNECT_SECONDS).close()
        client = dask.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {printable(address)}: no Dask scheduler answers there; the form is tcp://HOST:8786"
        ) from error
    with client:
        yield client
