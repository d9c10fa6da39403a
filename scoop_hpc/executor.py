"""`Executor`: the standard library's, on the workers of a run or, anywhere else, on a pool of its own.

>>> from scoop_hpc import Executor
>>> def main():
...     with Executor(max_workers=4) as executor:
...         return list(executor.map(abs, range(-3, 3)))
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import operator
import os
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, replace
from typing import Any

from scoop_hpc.bulk.checks import check_count, deadline_in
from scoop_hpc.bulk.chunks import Chunk, run_chunk
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.bulk.results import sized
from scoop_hpc.errors import NotRunningError, WorkerLostError
from scoop_hpc.files.writing import usable
from scoop_hpc.pickling import batching, main_by_value
from scoop_hpc.pickling.arguments import all_sendable, refuse_unsendable, sendable
from scoop_hpc.pool.future import UNKNOWN_COST, PoolFuture
from scoop_hpc.pool.map_on_run import RunAsPool
from scoop_hpc.pool.on_run import OnRun
from scoop_hpc.pool.own_process import own_process
from scoop_hpc.pool.pool import WorkerPool
from scoop_hpc.pool.pool_map import PIECES, PoolMap
from scoop_hpc.pool.shutdown import hooks
from scoop_hpc.pool.status import Counted, ExecutorStatus
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import Buffer, Order
from scoop_hpc.task import options_of
from scoop_hpc.worker.current import current, running

_ON_LOSS = ("replace", "break")
_PROGRESS = ("auto", "none")
_MOST_WORKERS = 1_000_000
_AnyFuture = Any  # concurrent.futures.Future[Any]: one of a run, or of a pool


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
        self._key = uuid.uuid4().hex
        self._frames: Sequence[Buffer] | None = None  # of the initializer's call, once it is pickled
        self._attached = False  # this is a task's copy of an Executor, and belongs to the run that the task is in
        self._lock = threading.RLock()  # a future's callback may submit while its submitter does
        self._process = own_process.pid
        self._shut_down = False
        self._workers: WorkerPool | OnRun | None = None

    @property
    def num_workers(self) -> int:
        """The number of workers that execute its calls, known before the first call: libraries ask a pool for it.

        In a run it changes when nodes join or leave.

        Raises AllocationError in a job whose nodes are unknown.
        """
        worker = running()
        if self._attached or worker is not None:
            size = current().workers
            return size if self._limit is None else min(self._limit, size)
        return self._limit or _count_places()

    # by the names that libraries look for
    _max_workers = num_workers  # dask, as of concurrent.futures.ProcessPoolExecutor
    _processes = num_workers  # dynesty and pyswarms, as of multiprocessing.Pool
    size = num_workers  # schwimmbad's pools, as of an MPI communicator

    def status(self) -> ExecutorStatus:
        """Return how its calls stand, as far as is known here; no worker is asked. Calls of its tasks do not count."""
        workers = self._workers
        if workers is None:
            return ExecutorStatus("shut down" if self._shut_down else "idle", 0)
        known = workers.status()
        return replace(known, state="shut down") if self._shut_down and known.state == "open" else known

    def __repr__(self) -> str:
        return f"<scoop_hpc.Executor: {self.status()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # notebooks only
        from scoop_hpc.worker.watched.shown import table_html  # noqa: PLC0415

        named = {name.replace("_", " "): value for name, value in asdict(self.status()).items()}
        return table_html("scoop_hpc.Executor", named)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _AnyFuture:
        """Schedule ``fn(*args, **kwargs)``; return its future.

        Raises TypeError if an argument is a generator, which cannot travel; RuntimeError after `shutdown`;
        BrokenPoolError if the pool has failed; UnpicklableError if the initializer cannot be pickled. A call that
        cannot be is an error of its future.
        """
        if not callable(fn):
            raise TypeError(f"{fn!r} is not callable")
        refuse_unsendable(args, kwargs)
        self._check_process()
        with self._lock:
            workers = self._open_workers()
            if isinstance(workers, OnRun):
                return workers.submit(fn, args, kwargs)
            future = PoolFuture(workers, fn, args, kwargs, UNKNOWN_COST)
            workers.submit(future)
            return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: str = "",
    ) -> Iterator[Any]:
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
        check_count("chunksize", chunksize)
        check_count("buffersize", buffersize)
        options = options_of(fn)
        if options is not None and options.time_limit is not None:
            chunksize = 1  # the limit is that of one call
        deadline = deadline_in(timeout)
        items = zip(*iterables)
        length = _length(iterables)
        if chunksize is None and buffersize is None:
            return self._map_in_chunks(fn, list(items), deadline, progress)
        chunksize = chunksize or 1
        tasks: Iterator[tuple[Any, ...]]
        if chunksize == 1:
            tasks = ((fn, *item) for item in items)
        else:
            run = bulk_task(run_chunk, fn)
            tasks = ((run, fn, chunk) for chunk in _chunks(items, chunksize))
        shows = self._shows_progress and _in_notebook()
        mapped = _Mapped(weakref.ref(self), tasks, chunksize > 1, deadline, _Counter(length) if shows else None)
        mapped.submit(buffersize)
        results = mapped.results(buffersize is not None, self._workers)
        if mapped.counter is not None:
            results = _shown(progress, mapped.counter.counted, results)
        return sized(results, length)

    def _map_in_chunks(
        self, fn: Callable[..., Any], items: list[tuple[Any, ...]], deadline: float | None, label: str
    ) -> Iterator[Any]:
        """Map in chunks that follow from how long the items take."""
        if not all_sendable(items):
            refuse_unsendable(items[sendable(items)], {})
        if not items:
            return sized(iter(()), 0)
        self._check_process()
        with self._lock:
            workers = self._open_workers()
            pool = RunAsPool(workers, workers.controller) if isinstance(workers, OnRun) else workers
            mapped = PoolMap(pool, fn, items)
            mapped.start()
        results = mapped.results(deadline)
        if self._shows_progress and _in_notebook():
            results = _shown(label, mapped.counted, results)
        return sized(results, len(items))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse more calls; once all futures are done, end the workers if they are this Executor's own.

        Waits for that, unless *wait* is false. With *cancel_futures*, calls that have not begun are cancelled.
        """
        if own_process.pid != self._process:
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

    def _check_process(self) -> None:
        """Raise NotRunningError in a forked child: other threads of its parent may have held the lock."""
        if own_process.pid != self._process:
            raise NotRunningError("this Executor belongs to the process that this one was forked from: make one here")

    def _open_workers(self) -> WorkerPool | OnRun:
        """Return the workers, for one more call; raise RuntimeError after `shutdown`. Called with the lock."""
        workers = self._workers
        if self._shut_down and not (isinstance(workers, OnRun) and workers.called_inside()):
            raise RuntimeError("cannot schedule new futures after shutdown")  # which waits for who submits inside
        if workers is None:
            workers = self._workers = self._find_workers()
        return workers

    def _is_in_run(self) -> bool:
        return self._attached or running() is not None

    def _find_workers(self) -> WorkerPool | OnRun:
        if self._is_in_run():
            return OnRun(current(), self._limit, self._key, self._call_frames())
        frames = self._call_frames()
        initializer = None if frames is None else tuple(map(bytes, frames))
        order = Order(self._limit, _argv(), messages.Pool(_modules(), initializer, self._breaks))
        pool = WorkerPool(order, report=usable(self._report, "report"))
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


def _length(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return how many items there are, None if that is not known before they are read."""
    if not iterables or not all(isinstance(iterable, Sized) for iterable in iterables):
        return None
    return min(len(iterable) for iterable in iterables if isinstance(iterable, Sized))


def _in_notebook() -> bool:
    """Return whether a notebook may show progress; few programs have imported what could."""
    if "IPython" not in sys.modules:
        return False
    from scoop_hpc.pool.notebook import in_notebook  # noqa: PLC0415  notebooks only

    return in_notebook()


def _shown(label: str, counted: Callable[[], Counted], results: Iterator[Any]) -> Iterator[Any]:
    from scoop_hpc.pool.notebook import shown  # noqa: PLC0415  notebooks only

    return shown(label, counted, results)


class _Counter:
    """Counts the items of a map whose tasks are futures, for a notebook; *total* is None if that is not known."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = self._failed = 0
        self._is_closed = False
        self._lock = threading.Lock()  # any thread may settle a future

    def watch(self, future: _AnyFuture, items: int) -> None:
        """Count the *items* of a future's task once it is done."""
        future.add_done_callback(functools.partial(self._add, items))

    def _add(self, items: int, future: _AnyFuture) -> None:
        if future.cancelled():
            return
        error = future.exception()
        with self._lock:
            self._done += items
            self._failed += 0 if error is None else items

    def close(self) -> None:
        """Wait for no more of them."""
        self._is_closed = True

    def counted(self) -> Counted:
        """Return how far the map is."""
        return Counted(self._total, self._done, self._failed, self._is_closed or self._done == self._total)


class _Mapped:
    """The futures of one `Executor.map`, in the order of their *tasks*, which are chunks if *chunked*.

    It does not keep the Executor: who drops that, and not the results, ends it when all is done.
    """

    def __init__(
        self,
        executor: weakref.ref[Executor],
        tasks: Iterator[tuple[Any, ...]],
        chunked: bool,
        deadline: float | None,
        counter: _Counter | None = None,
    ) -> None:
        self.counter = counter
        self._executor = executor
        self._tasks = tasks
        self._chunked = chunked
        self._deadline = deadline
        self._futures: deque[_AnyFuture] = deque()
        self._chunks: dict[_AnyFuture, tuple[Any, ...]] = {}  # the tasks that are chunks, until they are done

    def submit(self, count: int | None) -> None:
        """Submit the next *count* tasks, all if that is None, unless the Executor is gone."""
        executor = self._executor()
        if executor is not None:
            self._futures.extend(self._submit(executor, task) for task in itertools.islice(self._tasks, count))

    def _submit(self, executor: Executor, task: tuple[Any, ...]) -> _AnyFuture:
        future = executor.submit(*task)
        if self.counter is not None:
            self.counter.watch(future, len(task[2]) if self._chunked else 1)
        if self._chunked:
            self._chunks[future] = task
        return future

    def results(self, submits_more: bool, workers: WorkerPool | OnRun | None) -> Iterator[Any]:
        """Yield the results in order; cancel the futures that are left, after an error or by choice."""
        try:
            while self._futures:
                if submits_more:
                    self.submit(1)
                if self._chunked:
                    yield from self._take_chunk()
                else:
                    yield self._take()  # it gets no name here: the caller may want to free it
        finally:
            if self.counter is not None:
                self.counter.close()
            if workers is not None:
                workers.cancel(self._futures)

    def _take(self) -> Any:
        """Return the result of the first future, and remove that; it stays if it is not done in time."""
        futures = self._futures
        futures[0].result(None if self._deadline is None else self._deadline - time.monotonic())
        return futures.popleft().result()

    def _take_chunk(self) -> Iterable[Any]:
        """Return the results of the first chunk; if that has cost its workers, cut it, and return none of them yet."""
        future = self._futures[0]
        try:
            chunk: Chunk = self._take()
        except WorkerLostError:
            function, fn, items = self._chunks.pop(future)
            executor = self._executor()
            if len(items) == 1 or executor is None:
                raise
            self._futures.popleft()
            size = -(-len(items) // PIECES)
            pieces = [(function, fn, items[start : start + size]) for start in range(0, len(items), size)]
            self._futures.extendleft([self._submit(executor, piece) for piece in pieces][::-1])
            return ()
        del self._chunks[future]
        return chunk.unpacked()
