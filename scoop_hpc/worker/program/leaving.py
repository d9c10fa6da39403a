"""Ways for a program to end before its last line, and which of them are its own doing.

``os._exit`` and ``os.exec*`` tell the agent first that the program means to end. Whoever calls them while a task runs
in the origin ends the run without its results: a death, whatever the exit status. So is the ``exit()`` of a C library,
which nobody hears of. A program that a signal has cut short ends by that signal. For a task's own ``sys.exit()``, see
`scoop_hpc.pickling.task_exits`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from scoop_hpc.transport.last_word import LastWord

_WAYS = ("_exit", "execv", "execve")  # the other members of the family call the last two


def announce(
    last_word: LastWord, runs_task: Callable[[], bool], cut_short_by: Callable[[], int | None] = lambda: None
) -> None:
    """Let the program's own calls say the *last_word* first, not those that are made while *runs_task*.

    *cut_short_by* returns the signal that has ended it before, if one has.
    """
    for name in _WAYS:
        setattr(os, name, _announcing(getattr(os, name), last_word, runs_task))
    os.supports_fd.add(os.execve)  # as what it calls
    os._exit = _ending_as_cut_short(os._exit, last_word, cut_short_by)


def _announcing(leave: Callable[..., Any], last_word: LastWord, runs_task: Callable[[], bool]) -> Callable[..., Any]:
    @functools.wraps(leave)
    def announced(*args: Any, **kwargs: Any) -> Any:
        if not runs_task():
            last_word.say()
        try:
            return leave(*args, **kwargs)
        finally:
            last_word.withdraw()  # it has failed

    announced.__module__ = os.__name__  # where it is found, by pickle for one
    return announced


def _ending_as_cut_short(
    leave: Callable[[int], Any], last_word: LastWord, cut_short_by: Callable[[], int | None]
) -> Callable[..., Any]:
    @functools.wraps(leave)
    def ended(status: int) -> Any:
        number = cut_short_by() if last_word.is_own() else None
        if number is None:
            return leave(status)
        with contextlib.suppress(ValueError):  # in another thread than the main one
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        return leave(128 + number)

    return ended
