"""Futures in a thread where an event loop of asyncio runs, as `asyncio.wrap_future` makes them wait.

The loop waits for its own files and knows nothing of the worker's socket. So while it has futures to wait for, it looks
at the worker every millisecond. And a task finds no loop that runs, whether the worker goes on with it meanwhile or a
coroutine waits for it by ``result()``: it may have one of its own.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from scoop_hpc.errors import RunEndedError
from scoop_hpc.worker.future import Future

_LOOK = 0.001  # seconds between looks


def suspend() -> Any:
    """Forget the loop that runs in this thread; return it, for `resume`."""
    events = sys.modules.get("asyncio.events")
    if events is None:
        return None
    loop = events._get_running_loop()
    if loop is not None:
        events._set_running_loop(None)
    return loop


def resume(loop: Any) -> None:
    """Let *loop* run again."""
    if loop is not None:
        sys.modules["asyncio.events"]._set_running_loop(loop)


class Aside:
    """A *context* in which no loop runs in this thread."""

    def __init__(self, context: AbstractContextManager[None]) -> None:
        self._context = context
        self._loop: Any = None

    def __enter__(self) -> None:
        self._context.__enter__()
        self._loop = suspend()

    def __exit__(self, *raised: Any) -> None:
        resume(self._loop)
        self._context.__exit__(*raised)


def expect_the_end() -> None:
    """Let asyncio not log, of each of its futures that nobody asks any more, that the run has ended."""
    log = sys.modules.get("asyncio.log")
    if log is not None:
        log.logger.addFilter(_tells_more)


def _tells_more(record: Any) -> bool:
    """Be a filter [logging.Logger.addFilter]; the module is imported only by programs that use it."""
    return not (record.exc_info and isinstance(record.exc_info[1], RunEndedError))


class AsyncioBridge:
    """The event loops of a worker's thread that wait for futures, each with what it waits for."""

    def __init__(self, glance: Callable[[Future], None]) -> None:
        self._glance = glance
        self._futures: dict[Any, deque[Future]] = {}

    def attend(self, future: Future) -> bool:
        """Let the loop that runs in this thread look after *future* until it is done; return whether there is one."""
        events = sys.modules.get("asyncio.events")
        loop = None if events is None else events._get_running_loop()
        if loop is None:
            return False
        if loop in self._futures:
            self._futures[loop].append(future)
        else:
            self._futures[loop] = deque([future])
            loop.call_soon(self._look, loop)
        return True

    def _look(self, loop: Any) -> None:
        futures = self._futures[loop]
        while futures and futures[0].settled:
            futures.popleft()
        if not futures:
            del self._futures[loop]
            return
        running = suspend()
        try:
            self._glance(futures[0])
        finally:  # after what a signal's handler raises there, the loop may go on
            resume(running)
            loop.call_later(_LOOK, self._look, loop)
