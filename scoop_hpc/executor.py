"""`Executor`: the standard library's, on the workers of a run or, anywhere else, on a pool of its own.

>>> from scoop_hpc import Executor
>>> def main():
...     with Executor(max_workers=4) as executor:
...         return list(executor.map(abs, range(-3, 3)))
"""

from __future__ import annotations

import concurrent.futures
import itertools
import operator
import os
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.errors import NotRunningError
from scoop_hpc.pickling import batching, main_by_value
from scoop_hpc.pickling.arguments import refuse_unsendable
from scoop_hpc.pool.future import PoolFuture
from scoop_hpc.pool.on_run import OnRun
from scoop_hpc.pool.pool import WorkerPool
from scoop_hpc.pool.shutdown import hooks
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import Buffer, Order
from scoop_hpc.worker.current import current, running

_MOST_WORKERS = 1_000_000
_AnyFuture = Any  # concurrent.futures.Future[Any]: one of a run, or of a pool


class Executor(concurrent.futures.Executor):
    """Executes calls asynchronously, as `concurrent.futures.Executor`.

    In a program that was started by ``scoop-hpc run`` or ``submit``, and in every task, it uses the workers of that
    run. Anywhere else (a script, a notebook, pytest, any thread) it starts workers of its own with the first call, as
    many as this process may use CPUs, or on all nodes of the job that this process is in; `shutdown` ends them.
    Functions and classes of ``__main__`` are sent by value: no guard is needed there, and nothing is imported twice.

    *max_workers* is how many there are, or, in a run, how many of its calls are under way at once at the most (those
    that its own tasks submit are not counted: they could wait for each other).
    *initializer* is called with *initargs* in each worker before its first call of this Executor.

    Arguments are pickled when a call is sent, perhaps after `submit` has returned: do not change them before its future
    is running.

    A task may submit more: by an Executor that it makes, by this one, which it may be given as an argument, or by
    `scoop_hpc.futures`.

    Raises ValueError if *max_workers* is not positive, TypeError if *initializer* is not callable.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is not None:
            max_workers = _count(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer is {initializer!r}: it must be a callable")
        self._limit = max_workers
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._key = uuid.uuid4().hex
        self._frames: Sequence[Buffer] | None = None  # of the initializer's call, once it is pickled
        self._attached = False  # this is a task's copy of an Executor, and belongs to the run that the task is in
        self._lock = threading.RLock()  # a future's callback may submit while its submitter does
        self._process = os.getpid()
        self._shut_down = False
        self._workers: WorkerPool | OnRun | None = None

    @property
    def num_workers(self) -> int:
        """The number of workers that execute its calls, known before the first call: libraries ask a pool for it.

        Raises AllocationError in a job whose nodes are unknown.
        """
        worker = running()
        if self._attached or worker is not None:
            size = current().size
            return size if self._limit is None else min(self._limit, size)
        return self._limit or _count_places()

    # by the names that libraries look for
    _max_workers = num_workers  # dask, as of concurrent.futures.ProcessPoolExecutor
    _processes = num_workers  # dynesty and pyswarms, as of multiprocessing.Pool
    size = num_workers  # schwimmbad's pools, as of an MPI communicator

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _AnyFuture:
        """Schedule ``fn(*args, **kwargs)``; return its future.

        Raises TypeError if an argument is a generator, which cannot travel; RuntimeError after `shutdown`;
        BrokenPoolError if the pool has failed; UnpicklableError if the initializer cannot be pickled. A call that
        cannot be is an error of its future.
        """
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        refuse_unsendable(args, kwargs)
        if os.getpid() != self._process:  # other threads of which may have held the lock
            raise NotRunningError("this Executor belongs to the process that this one was forked from: make one here")
        with self._lock:
            workers = self._workers
            nested = isinstance(workers, OnRun) and workers.called_inside()  # shutdown waits for its submitter
            if self._shut_down and not nested:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if workers is None:
                workers = self._workers = self._find_workers()
            if isinstance(workers, OnRun):
                return workers.submit(fn, args, kwargs)
            future = PoolFuture(workers, fn, args, kwargs)
            workers.submit(future)
            return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Return an iterator over the results of *fn* for the items of *iterables*, in their order.

        All items are submitted now, *chunksize* of them together, or only *buffersize* (chunks of) items ahead of the
        results that were taken. Raises `concurrent.futures.TimeoutError` where a result is not there *timeout* seconds
        after the call.
        """
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize!r}: it must be at least 1")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError(f"buffersize is {buffersize!r}: it must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize is {buffersize!r}: it must be None or at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables)
        tasks: Iterator[tuple[Any, ...]]
        if chunksize == 1:
            tasks = ((fn, *item) for item in items)
        else:
            run = bulk_task(run_chunk, fn)
            tasks = ((run, fn, chunk) for chunk in _chunks(items, chunksize))
        futures = deque(self.submit(*task) for task in itertools.islice(tasks, buffersize))
        more = None if buffersize is None else _submit_next(weakref.ref(self), tasks)
        return _results(futures, more, deadline, chunksize > 1, self._workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse more calls; once all futures are done, end the workers if they are this Executor's own.

        Waits for that, unless *wait* is false. With *cancel_futures*, calls that have not begun are cancelled.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            self._shut_down = True
            workers = self._workers
        if workers is None:
            return
        workers.finish(cancel=cancel_futures)
        if wait:
            workers.join()

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        """Shut down, and wait; after Ctrl-C, end all that runs, and leave at once."""
        if kind is KeyboardInterrupt and isinstance(self._workers, WorkerPool):
            self._workers.interrupt()
        self.shutdown(cancel_futures=kind is KeyboardInterrupt)

    def __reduce__(self) -> tuple[Any, ...]:
        """A task gets an Executor that uses the workers of the run that it is in."""
        return _attached, (self._key, None if isinstance(self._workers, WorkerPool) else self._call_frames())

    def _find_workers(self) -> WorkerPool | OnRun:
        if self._attached or running() is not None:
            return OnRun(current(), self._limit, self._key, self._call_frames())
        frames = self._call_frames()
        initializer = None if frames is None else tuple(map(bytes, frames))
        pool = WorkerPool(Order(self._limit, _argv(), messages.Pool(_modules(), initializer)))
        hooks.watch(pool)
        pool.start()
        weakref.finalize(self, pool.abandon).atexit = False
        return pool

    def _call_frames(self) -> Sequence[Buffer] | None:
        """Return the frames of the initializer's call, if there is one; raise UnpicklableError."""
        if self._initializer is not None and self._frames is None:
            if running() is None:
                main_by_value.send_by_value()
            self._frames = batching.dump_call(self._initializer, self._initargs, {})
        return self._frames


def _count(max_workers: Any) -> int:
    try:
        count = int(operator.index(max_workers))
    except TypeError:
        raise TypeError(f"max_workers is {max_workers!r}: it must be an integer or None") from None
    if not 0 < count <= _MOST_WORKERS:
        raise ValueError(f"max_workers must be greater than 0, and at most {_MOST_WORKERS:,}, not {max_workers!r}")
    return count


def _count_places() -> int:
    """Return how many workers a pool starts here: one for each CPU, or as many as the job of this process has."""
    # 45 ms to import, which a program that never asks need not spend
    from scoop_hpc.cpus import count_cpus  # noqa: PLC0415
    from scoop_hpc.run.placement import place  # noqa: PLC0415
    from scoop_hpc.schedulers.readers import read_allocation  # noqa: PLC0415

    allocation = read_allocation(os.environ, _read)
    return count_cpus() if allocation is None else sum(node.workers or 0 for node in place(allocation))


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _attached(key: str, frames: Sequence[Buffer] | None) -> Executor:
    executor = Executor()
    executor._key = key
    executor._frames = frames
    executor._attached = True
    return executor


def _modules() -> tuple[bytes, ...]:
    """Return this process's module path; the current directory by its name."""
    return tuple(os.fsencode(os.path.abspath(entry)) for entry in sys.path if isinstance(entry, str))


def _argv() -> tuple[bytes, ...]:
    return tuple(os.fsencode(word) for word in getattr(sys, "argv", [""]))


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    chunk = list(itertools.islice(items, size))
    while chunk:
        yield chunk
        chunk = list(itertools.islice(items, size))


def _take(futures: deque[_AnyFuture], deadline: float | None) -> Any:
    """Return the result of the first of *futures*, and remove that; it stays if it is not done in time."""
    futures[0].result(None if deadline is None else deadline - time.monotonic())
    return futures.popleft().result()


def _submit_next(
    reference: weakref.ref[Executor], tasks: Iterator[tuple[Any, ...]]
) -> Callable[[], Iterable[_AnyFuture]]:
    """Return a function that submits the next of *tasks*, if there is one, and the Executor is still there."""

    def more() -> Iterable[_AnyFuture]:
        executor = reference()
        return () if executor is None else [executor.submit(*task) for task in itertools.islice(tasks, 1)]

    return more


def _results(
    futures: deque[_AnyFuture],
    more: Callable[[], Iterable[_AnyFuture]] | None,
    deadline: float | None,
    chunked: bool,
    workers: WorkerPool | OnRun | None,
) -> Iterator[Any]:
    """Yield the results of *futures* in order; cancel the futures that are left, after an error or by choice."""
    try:
        while futures:
            if more is not None:
                futures.extend(more())
            if chunked:
                yield from _take(futures, deadline).unpacked()
            else:
                yield _take(futures, deadline)  # it gets no name here: the caller may want to free it
    finally:
        if workers is not None:
            workers.cancel(futures)
