"""Signals that are held back while a thread does what must not be broken off half-way.

The handler of a signal runs in the main thread, between any two steps of it, and may raise: KeyboardInterrupt is what
the usual one of SIGINT does. A message that is half read then would be lost. So handlers wait until the thread has
done, or has come to a place where it may be interrupted. To change a handler takes a microsecond.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

_THAT_MAY_RAISE = tuple(
    int(number)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGALRM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGVTALRM,
    )
)
# those of `signal` make enumerations of what these return, which takes as long as all else here
_get_handler = signal._signal.getsignal  # type: ignore[attr-defined]
_set_handler = signal._signal.signal  # type: ignore[attr-defined]


class HeldSignals:
    """A context in which no handler runs, except where `may_interrupt` is true; those that were held run at its end."""

    def __init__(self) -> None:
        self.may_interrupt = False
        self._held: list[tuple[int, Any]] = []  # signals and their handlers
        self._pending: list[tuple[int, Any]] = []  # signals that have come, and where
        self._handlers: dict[int, Callable[[int, Any], object]] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            try:
                self._hold()
            except BaseException:  # of a handler that was not held yet
                self._give_back()
                raise
        return self

    def _hold(self) -> None:
        note = self._note
        for number in _THAT_MAY_RAISE:
            handler = _get_handler(number)
            if callable(handler):
                self._handlers[number] = handler
                self._held.append((number, handler))
                _set_handler(number, note)

    def __exit__(self, *_: object) -> None:
        self.may_interrupt = False
        try:
            self._give_back()
        finally:
            self._catch_up()

    def interruptible(self, call: Callable[[Any], Any], argument: Any) -> Any:
        """Return ``call(argument)``, which handlers may interrupt, and those before it that have waited."""
        if not self._held:
            return call(argument)
        try:
            self.may_interrupt = True
            self._catch_up()
            return call(argument)
        finally:
            self.may_interrupt = False

    def _note(self, number: int, frame: Any) -> None:
        if self.may_interrupt:
            self._handlers[number](number, frame)
        else:
            self._pending.append((number, frame))

    def _catch_up(self) -> None:
        while self._pending:
            number, frame = self._pending.pop(0)
            self._handlers[number](number, frame)

    def _give_back(self) -> None:
        """Give all signals back to their handlers, also if one of those raises meanwhile."""
        if self._held:
            number, handler = self._held.pop()
            try:
                self._give_back()
            finally:
                if _get_handler(number) == self._note:  # else a handler that ran here has set another one
                    _set_handler(number, handler)
