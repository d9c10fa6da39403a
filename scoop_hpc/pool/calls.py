"""What executes the calls of an Executor: the workers of the run that it is in, or a pool of its own."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scoop_hpc.files.writing import usable
from scoop_hpc.pickling import batching, main_by_value
from scoop_hpc.pickling.arguments import refuse_unsendable
from scoop_hpc.pool.future import UNKNOWN_COST, PoolFuture
from scoop_hpc.pool.map_on_run import RunAsPool
from scoop_hpc.pool.on_run import OnRun
from scoop_hpc.pool.pool import WorkerPool
from scoop_hpc.pool.pool_map import Pool
from scoop_hpc.pool.shutdown import hooks
from scoop_hpc.pool.spawned import Spawned
from scoop_hpc.pool.status import ExecutorStatus
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import Buffer, Order
from scoop_hpc.worker.current import current, running

AnyFuture = Any  # concurrent.futures.Future[Any]: one of a run, or of a pool


class Calls(ABC):
    """The calls of one Executor."""

    are_initialized: bool  # the workers have called the initializer before their first task, whichever that is

    @property
    @abstractmethod
    def pool(self) -> Pool:
        """The workers as a map's."""

    @abstractmethod
    def submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyFuture:
        """Return the future of a call.

        Raises TypeError if an argument cannot travel; RuntimeError after the end; BrokenPoolError if the pool or an
        initializer has failed.
        """

    @abstractmethod
    def called_inside(self) -> bool:
        """Return whether the caller is a task of this Executor."""

    @abstractmethod
    def status(self) -> ExecutorStatus:
        """Return how the calls stand, as far as known here."""

    @abstractmethod
    def cancel(self, futures: Iterable[AnyFuture]) -> None:
        """Cancel those of *futures* that have not begun, wherever they wait."""

    @abstractmethod
    def finish(self, cancel: bool) -> None:
        """Take no more calls; with *cancel*, cancel those that have not begun. This does not wait."""

    @abstractmethod
    def join(self) -> None:
        """Wait until all is done."""

    @abstractmethod
    def interrupt(self) -> None:
        """End at once, after Ctrl-C, what would go on though nobody waits for it."""


class CallsOfRun(Calls):
    """Calls that the workers of a run execute."""

    are_initialized = False

    def __init__(self, limit: int | None, key: str, initializer: Sequence[Buffer] | None) -> None:
        self._on_run = OnRun(current(), limit, key, initializer)

    @property
    def pool(self) -> Pool:
        return RunAsPool(self._on_run, self._on_run.controller)

    def submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyFuture:
        refuse_unsendable(args, kwargs)
        return self._on_run.submit(function, args, kwargs)

    def called_inside(self) -> bool:
        return self._on_run.called_inside()

    def status(self) -> ExecutorStatus:
        return self._on_run.status()

    def cancel(self, futures: Iterable[AnyFuture]) -> None:
        self._on_run.cancel(futures)

    def finish(self, cancel: bool) -> None:
        self._on_run.finish(cancel)

    def join(self) -> None:
        self._on_run.join()

    def interrupt(self) -> None:
        """Do nothing: the run goes on."""


class OwnCalls(Calls):
    """Calls that workers of the Executor's own execute, which *pool* is."""

    are_initialized = True

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._submit = pool.submit

    @property
    def pool(self) -> WorkerPool:
        return self._pool

    def submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyFuture:
        refuse_unsendable(args, kwargs)
        future = PoolFuture(self._pool, function, args, kwargs, UNKNOWN_COST)
        self._submit(future)
        return future

    def called_inside(self) -> bool:
        """Return False: its workers have no Executor that is this one."""
        return False

    def status(self) -> ExecutorStatus:
        return self._pool.status()

    def cancel(self, futures: Iterable[AnyFuture]) -> None:
        self._pool.cancel(futures)

    def finish(self, cancel: bool) -> None:
        self._pool.finish(cancel=cancel)

    def join(self) -> None:
        self._pool.join()

    def interrupt(self) -> None:
        self._pool.interrupt()


def own_calls(
    limit: int | None, initializer: Sequence[Buffer] | None, breaks: bool, report: str, spawned: Spawned | None
) -> OwnCalls:
    """Return the calls of a pool that is started for them, whose driver may have been *spawned* already."""
    call = None if initializer is None else tuple(map(bytes, initializer))
    order = Order(limit, _argv(), messages.Pool(_modules(), call, breaks))
    pool = WorkerPool(order, report=usable(report, "report"), spawned=spawned)
    hooks.watch(pool)
    pool.start()
    return OwnCalls(pool)


def initializing(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> Sequence[Buffer]:
    """Return the frames of the initializer's call; raise UnpicklableError."""
    if running() is None:
        main_by_value.send_by_value()
    return batching.dump_call(initializer, initargs, {})


def _modules() -> tuple[bytes, ...]:
    """Return this process's module path; the current directory by its name."""
    return tuple(os.fsencode(os.path.abspath(entry)) for entry in sys.path if isinstance(entry, str))


def _argv() -> tuple[bytes, ...]:
    """Return this process's arguments, among which a program may have put what is no string."""
    words = getattr(sys, "argv", [""])
    return tuple(os.fsencode(word if isinstance(word, (str, bytes, os.PathLike)) else str(word)) for word in words)
