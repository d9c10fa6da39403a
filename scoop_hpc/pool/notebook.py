"""The progress of a map in a notebook: HTML that is shown once the map has lasted, and replaced until it is over.

That takes Jupyter's display protocol (``display_data``, then ``update_display_data`` of the same ``display_id``)
[jupyter_client, "Messaging in Jupyter"], and no widget. A thread does it, as the program waits for results meanwhile.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, Protocol

from scoop_hpc.pool.status import Counted
from scoop_hpc.run.watching.progress import Part, words
from scoop_hpc.worker.watched.shown import bar_html

_SHOWN_AFTER = 0.5  # seconds: what is over by then needs no bar
_AGAIN = 0.5  # seconds from one look to the next: each is a message, which the notebook keeps the last of
_PATIENCE = 1.0  # seconds that the last look may take
_BLINK = 0.002  # seconds in which a future that has given its result is counted


class Handle(Protocol):
    """What replaces that which is shown, as `IPython.display.DisplayHandle`."""

    def update(self, shown: object) -> None:
        """Show *shown* instead."""


class Shown:
    """One look at a map."""

    def __init__(self, text: str, markup: str) -> None:
        self._text = text
        self._markup = markup

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._markup


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook: nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def shown(label: str, counted: Callable[[], Counted], results: Iterator[Any]) -> Iterator[Any]:
    """Return *results* of a map; this notebook's current output shows meanwhile how far it is, as *counted* tells."""
    if counted().is_over:
        return results
    finished, all_are_taken = threading.Event(), threading.Event()
    context = contextvars.copy_context()  # it has the cell whose output it is [ipykernel]
    thread = threading.Thread(
        target=context.run,
        args=(_watch, label, functools.partial(_settled, counted, all_are_taken), finished),
        name="scoop-hpc-notebook",
        daemon=True,
    )
    thread.start()
    taken = _taken(results, all_are_taken, finished, thread)
    weakref.finalize(taken, finished.set).atexit = False  # should nobody ever take one
    return taken


def _settled(counted: Callable[[], Counted], all_are_taken: threading.Event) -> Counted:
    """Return how far a map is; the last of its futures may have given a result and not been counted yet."""
    limit = monotonic() + _PATIENCE / 2
    now = counted()
    while all_are_taken.is_set() and not now.is_over and monotonic() < limit:
        sleep(_BLINK)
        now = counted()
    return now


def shown_as_taken(label: str, results: Iterator[Any], total: int | None) -> Iterator[Any]:
    """Return *results* of a map that goes on while they are taken, shown in the same way; *total*: if it is known."""
    takes = _Takes(results, total)
    return shown(label, takes.counted, iter(takes))


class _Takes:
    """The results of a map, counted as they are taken."""

    def __init__(self, results: Iterator[Any], total: int | None) -> None:
        self._results = results
        self._total = total
        self._done = self._failed = 0
        self._is_over = False

    def __iter__(self) -> Iterator[Any]:
        try:
            for result in self._results:
                self._done += 1
                yield result
        except Exception:
            self._failed = 1
            raise
        finally:
            self._is_over = True

    def counted(self) -> Counted:
        """Return how far the map is."""
        return Counted(self._total, self._done + self._failed, self._failed, self._is_over)


def _taken(
    results: Iterator[Any], all_are_taken: threading.Event, finished: threading.Event, thread: threading.Thread
) -> Iterator[Any]:
    try:
        yield from results
        all_are_taken.set()
    finally:  # what is shown at the end belongs to the cell that has taken them
        finished.set()
        thread.join(_PATIENCE)


def _watch(label: str, counted: Callable[[], Counted], finished: threading.Event) -> None:
    from IPython import display  # noqa: PLC0415  a notebook has it, others need it not

    publish: Any = display.display  # without types
    watch(label, counted, lambda shown: publish(shown, display_id=True), finished.wait, monotonic)


def watch(
    label: str,
    counted: Callable[[], Counted],
    show: Callable[[Shown], Handle],
    wait: Callable[[float], bool],
    clock: Callable[[], float],
) -> None:
    """Show a map with *show* if it lasts, and replace that until it is over, or *wait* is told that nobody takes more.

    *wait* is given seconds, and returns whether it was told.
    """
    part = Part(label or "map", clock())
    is_left = wait(_SHOWN_AFTER)
    now = counted()
    if now.is_over or is_left:
        return
    handle = show(_shown(part, now, clock()))
    while not now.is_over and not is_left:
        is_left = wait(_AGAIN)
        now = counted()
        handle.update(_shown(part, now, clock(), is_left))


def _shown(part: Part, counted: Counted, now: float, is_left: bool = False) -> Shown:
    part.count(counted.total, counted.done, counted.failed, now)
    if (
        is_left or counted.is_over
    ) and part.ended is None:  # what is shown stays: no time is left for what nobody wants
        part.ended = now
    text = words(part, now)
    return Shown(text, bar_html(text, part.done, part.total))
