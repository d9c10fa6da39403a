"""`Executor`: the standard library's, on the workers of a run or, anywhere else, on a pool of its own.

>>> from scoop_hpc import Executor
>>> def main():
...     with Executor(max_workers=4) as executor:
...         return list(executor.map(abs, range(-3, 3)))
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar  # noqa: TID251  no ring is hidden: see below

from scoop_hpc.bulk.checks import checked_count, deadline_in
from scoop_hpc.bulk.results import sized
from scoop_hpc.errors import BrokenPoolError, NotRunningError
from scoop_hpc.pool.own_process import own_process
from scoop_hpc.pool.spawned import Spawned, spawn

if TYPE_CHECKING:  # the rest is imported with the first call, while the pool's driver starts: see `pool/spawned`
    from scoop_hpc.pool.calls import Calls
    from scoop_hpc.pool.status import ExecutorStatus
    from scoop_hpc.protocol.messages import Buffer

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ON_LOSS = ("replace", "break")
_PROGRESS = ("auto", "none")
_MOST_WORKERS = 1_000_000
_END = object()  # of the items


class Executor(concurrent.futures.Executor):
    """Executes calls asynchronously, as `concurrent.futures.Executor`.

    In a program that was started by ``scoop-hpc run`` or ``submit``, and in every task, it uses the workers of that
    run. Anywhere else (a script, a notebook, pytest, any thread) it starts workers of its own with the first call, as
    many as this process may use CPUs, or on all nodes of the job that this process is in; `shutdown` ends them. One
    idle process stays for the next Executor, until the program ends.
    Functions and classes of ``__main__`` are sent by value: no guard is needed there, and nothing is imported twice.

    *max_workers* is how many there are, or, in a run, how many of its calls are under way at once at the most (those
    that its own tasks submit are not counted: they could wait for each other).
    *initializer* is called with *initargs* in each worker before its first call of this Executor.

    Arguments are pickled when a call is sent, perhaps after `submit` has returned: do not change them before its future
    is running.

    A task may submit more: by an Executor that it makes, by this one, which it may be given as an argument, or by
    `scoop_hpc.futures`.

    A worker of its own that dies costs the tasks that it had begun one attempt, and another takes its place; a task
    that has cost three workers fails with `WorkerLostError`. With *on_worker_loss* ``"break"`` the first such death
    breaks the Executor, as that of `concurrent.futures.ProcessPoolExecutor`: all its futures fail. In a run it is the
    run that decides.

    In a notebook a `map` that lasts shows its progress below its cell, unless *progress* is ``"none"``. Workers of its
    own are seen by ``scoop-hpc top`` and ``web``, as those of a run are; what they were worth is kept in the file
    *report* (``*.json``), if one is named, for ``scoop-hpc report``. `status` tells how its calls stand.

    Raises ValueError if *max_workers* is not positive, TypeError if *initializer* is not callable.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        on_worker_loss: str = "replace",
        progress: str = "auto",
        report: str | os.PathLike[str] | None = None,
    ) -> None:
        if max_workers is not None:
            max_workers = _count(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer is {initializer!r}: it must be a callable")
        if not isinstance(initargs, Iterable):
            raise TypeError(f"initargs is {initargs!r}: it must be a tuple, of the initializer's arguments")
        if on_worker_loss not in _ON_LOSS:
            raise ValueError(f"on_worker_loss is {on_worker_loss!r}: it must be 'replace' or 'break'")
        if progress not in _PROGRESS:
            raise ValueError(f"progress is {progress!r}: it must be 'auto' or 'none'")
        self._shows_progress = progress == "auto"
        self._report = "" if report is None else os.path.abspath(os.fspath(report))
        self._breaks = on_worker_loss == "break"
        self._limit = max_workers
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._key = os.urandom(16).hex()
        self._frames: Sequence[Buffer] | None = None  # of the initializer's call, once it is pickled
        self._attached = False  # this is a task's copy of an Executor, and belongs to the run that the task is in
        self._lock = threading.RLock()  # a future's callback may submit while its submitter does
        self._process = own_process.pid
        self._shut_down = False
        self._calls: Calls | None = None

    @property
    def num_workers(self) -> int:
        """The number of workers that execute its calls, known before the first call: libraries ask a pool for it.

        In a run it changes when nodes join or leave.

        Raises AllocationError in a job whose nodes are unknown.
        """
        if not self._is_in_run():
            return self._limit or _count_places()
        from scoop_hpc.worker.current import current  # noqa: PLC0415

        size = current().workers
        return size if self._limit is None else min(self._limit, size)

    # by the names that libraries look for
    _max_workers = num_workers  # dask, as of concurrent.futures.ProcessPoolExecutor
    _processes = num_workers  # dynesty and pyswarms, as of multiprocessing.Pool
    size = num_workers  # schwimmbad's pools, as of an MPI communicator

    def status(self) -> ExecutorStatus:
        """Return how its calls stand, as far as is known here; no worker is asked. Calls of its tasks do not count."""
        from scoop_hpc.pool.status import ExecutorStatus  # noqa: PLC0415

        if self._calls is None:
            return ExecutorStatus("shut down" if self._shut_down else "idle", 0)
        known = self._calls.status()
        return known.shut_down() if self._shut_down and known.state == "open" else known

    def __repr__(self) -> str:
        return f"<scoop_hpc.Executor: {self.status()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # notebooks only
        from dataclasses import asdict  # noqa: PLC0415

        from scoop_hpc.worker.watched.shown import table_html  # noqa: PLC0415

        named = {name.replace("_", " "): value for name, value in asdict(self.status()).items()}
        return table_html("scoop_hpc.Executor", named)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> concurrent.futures.Future[_T]:
        """Schedule ``fn(*args, **kwargs)``; return its future.

        Raises TypeError if an argument is a generator, which cannot travel; RuntimeError after `shutdown`;
        BrokenPoolError if the pool has failed; UnpicklableError if the initializer cannot be pickled. A call that
        cannot be is an error of its future.
        """
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        self._check_process()
        with self._lock:
            future: concurrent.futures.Future[_T] = self._open().submit(fn, args, kwargs)
            return future

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: str = "",
    ) -> Iterator[_T]:
        """Return an iterator over the results of *fn* for the items of *iterables*, in their order.

        All items are taken now, and *chunksize* of them make a task. Without it, tasks are as large as is good for the
        time that an item takes; with a *buffersize*, an item is a task. With *buffersize*, only so many (chunks of)
        items are submitted ahead of the results that were taken. Raises `concurrent.futures.TimeoutError` where a
        result is not there *timeout* seconds after the call.

        *progress* is what the map is called where a notebook shows how far it is. Where all *iterables* have a length,
        so have the results, for bars of others.
        """
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        chunksize = checked_count("chunksize", chunksize)
        buffersize = checked_count("buffersize", buffersize)
        deadline = deadline_in(timeout)
        read: Iterator[Any] = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables)
        first = next(read, _END)
        if first is _END:
            return sized(iter(()), 0)
        self._check_process()
        with self._lock:
            calls = self._open()
        from scoop_hpc.pool.executor_map import Wish, map_calls  # noqa: PLC0415

        length = _length(iterables)
        items: Iterator[Any] = itertools.chain((first,), read)
        values: Any = None
        if len(iterables) == 1:
            values = iterables[0] if isinstance(iterables[0], range) and length is not None else items
            items = zip(values)
        wish = Wish(chunksize, buffersize, deadline, progress if self._shows_progress else None, length, values)
        return map_calls(self, calls, fn, items, wish)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse more calls; once all futures are done, end the workers if they are this Executor's own.

        Waits for that, unless *wait* is false. With *cancel_futures*, calls that have not begun are cancelled.
        """
        if own_process.pid != self._process:
            return
        with self._lock:
            self._shut_down = True
            calls = self._calls
        if calls is None:
            return
        calls.finish(cancel=cancel_futures)
        if wait:
            calls.join()

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        """Shut down, and wait; after Ctrl-C, end all that runs, and leave at once."""
        if kind is KeyboardInterrupt and self._calls is not None:
            self._calls.interrupt()
        self.shutdown(cancel_futures=kind is KeyboardInterrupt)

    def __reduce__(self) -> tuple[Any, ...]:
        """A task gets an Executor that uses the workers of the run that it is in."""
        initializes = self._calls is None or not self._calls.are_initialized
        return _attached, (self._key, self._initializing() if initializes else None)

    def _check_process(self) -> None:
        """Raise NotRunningError in a forked child: other threads of its parent may have held the lock."""
        if own_process.pid != self._process:
            raise NotRunningError("this Executor belongs to the process that this one was forked from: make one here")

    def _open(self) -> Calls:
        """Return what executes calls, for one more; raise RuntimeError after `shutdown`. Called with the lock."""
        calls = self._calls
        if self._shut_down and not (calls is not None and calls.called_inside()):
            raise RuntimeError("cannot schedule new futures after shutdown")  # which waits for who submits inside
        if calls is None:
            calls = self._calls = self._attach() if self._is_in_run() else self._start()
        return calls

    def _is_in_run(self) -> bool:
        """Return whether this process is a worker: then it has imported what it is."""
        current = sys.modules.get("scoop_hpc.worker.current")
        running = getattr(current, "running", None)  # None as well while another thread is about to import it
        return self._attached or (running is not None and running() is not None)

    def _attach(self) -> Calls:
        """Have the workers of the run execute the calls."""
        from scoop_hpc.pool.calls import CallsOfRun  # noqa: PLC0415

        return CallsOfRun(self._limit, self._key, self._initializing())

    def _start(self) -> Calls:
        """Start workers, to execute the calls."""
        spawned = self._spawn_early()
        try:
            from scoop_hpc.pool.calls import own_calls  # noqa: PLC0415

            calls = own_calls(self._limit, self._initializing(), self._breaks, self._report, spawned)
        except BaseException:
            if spawned is not None:
                spawned.let_go()
            raise
        weakref.finalize(self, calls.pool.abandon).atexit = False
        return calls

    def _spawn_early(self) -> Spawned | None:
        """Start the pool's driver if there is something to import meanwhile."""
        if "scoop_hpc.pool.calls" in sys.modules:  # then a driver of the Executor before may be there, too
            return None
        with contextlib.suppress(BrokenPoolError):  # the pool tries again, and tells its futures
            return spawn(self._report)
        return None

    def _initializing(self) -> Sequence[Buffer] | None:
        """Return the frames of the initializer's call, if there is one; raise UnpicklableError."""
        if self._initializer is not None and self._frames is None:
            from scoop_hpc.pool.calls import initializing  # noqa: PLC0415

            self._frames = initializing(self._initializer, self._initargs)
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


def _length(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return how many items there are, None if that is not known before they are read."""
    if not iterables or not all(isinstance(iterable, Sized) for iterable in iterables):
        return None
    with contextlib.suppress(OverflowError):  # of a range that nobody comes to the end of
        return min(len(iterable) for iterable in iterables if isinstance(iterable, Sized))
    return None
