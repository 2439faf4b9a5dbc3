# SPDX-License-Identifier: Apache-2.0
"""Tasks on Dask: on processes of this machine, or on the workers of any scheduler.  A worker's death loses nothing."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from hwgen.errors import ConfigError, ToolError, printable

# Arguments of a task -> its result: plain data.
Work = Callable[..., dict[str, Any]]
# Dask gives a task up after it was on four workers that died.  It may have been near, not guilty: it gets a second try.
_SUBMISSIONS = 2
_CONNECT_SECONDS = 30


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
        if scheduler is None:
            address = stack.enter_context(_processes(dask, workers, len(tasks)))
        else:
            address = scheduler
        client = stack.enter_context(_client(dask, address, scheduler))
        if not client.nthreads():
            notice(f"{scheduler} has no workers yet: waiting for the first")
        # Arguments, the model's bytes among them, travel with each task: data that lies on one worker dies with it.
        futures = {
            client.submit(_in_scratch, work, arguments, key=f"hwgen-measure-{name}", pure=False, retries=0): name
            for name, arguments in tasks.items()
        }
        submitted = dict.fromkeys(tasks, 1)
        running = dask.as_completed(list(futures))
        for future in running:
            name = futures.pop(future)
            if future.status == "finished":
                yield name, future.result()
                continue
            if future.status != "error":
                raise ToolError(f"Dask's scheduler at {address} was lost; start it and run again: what is done is kept")
            error = future.exception()
            if isinstance(error, dask.KilledWorker) and submitted[name] < _SUBMISSIONS:
                submitted[name] += 1
                again = client.submit(
                    _in_scratch, work, tasks[name], key=f"hwgen-measure-{name}-{submitted[name]}", pure=False
                )
                futures[again] = name
                running.add(again)
            else:
                yield name, {"error": _explained(dask, error)}


def _in_scratch(work: Work, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Run on a worker: temporary files go where Dask clears up after workers that died."""
    from distributed import get_worker

    return work(*arguments, get_worker().local_directory)


def _explained(dask: ModuleType, error: BaseException) -> str:
    if isinstance(error, dask.KilledWorker):
        return "every worker that had this point died, perhaps for want of memory; see the logs of the workers"
    if isinstance(error, ImportError):
        return f"the worker lacks a package ({error}); install on the workers: pip install 'hwgen[sim,synth,explore]'"
    return f"{type(error).__name__}: {error}"


def _dask() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise ToolError("Dask was not found; install it with: pip install 'hwgen[explore]'") from error
    return distributed


@contextlib.contextmanager
def _processes(dask: ModuleType, workers: int, tasks: int) -> Iterator[str]:
    """A scheduler in this process with workers of one thread in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="hwgen-dask-", ignore_cleanup_errors=True) as folder:
        try:
            cluster = dask.LocalCluster(
                n_workers=min(workers, tasks),
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                local_directory=folder,
                # Synthesis is another process, whose memory Dask does not see.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            raise ToolError(
                f"Dask could not start {workers} worker processes ({error}); a script that calls measure must do so "
                'below: if __name__ == "__main__"'
            ) from error
        with cluster:
            yield cluster.scheduler_address


@contextlib.contextmanager
def _client(dask: ModuleType, address: str, scheduler: str | None) -> Iterator[Any]:
    try:
        client = dask.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {printable(str(scheduler))}: no Dask scheduler answers there; the form is tcp://HOST:8786"
        ) from error
    with client:
        yield client
