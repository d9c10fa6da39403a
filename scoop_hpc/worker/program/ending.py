"""The end of a run, as its program hears of it: by an exception, and by signals that it does not handle itself.

::

    agent --notice, SIGURG--> the program waits for futures: RunEndedError is raised there, now
          |                   it does something else: at its next wait, or by the signal
          '--SIGTERM--------> the program's own handler, or else RunEndedError, wherever it is, unless it has had one

Only once: who has had the exception may be saving what there is. Futures that are not done fail with the same error, so
that other threads and event loops which wait for them end as well.
"""

from __future__ import annotations

import signal

from scoop_hpc.errors import RunEndedError
from scoop_hpc.transport.notice import REMINDER, Notice
from scoop_hpc.worker import asyncio_bridge
from scoop_hpc.worker.controller import Controller

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ending:
    """What the origin does when its run ends."""

    def __init__(self, controller: Controller, notice: Notice) -> None:
        self.reason = ""  # once there is one
        self.over = False  # so is the program
        self._number: int | None = None  # of the signal that was the reason
        self._controller = controller
        self._notice = notice

    def listen(self) -> None:
        """Take signals from now on."""
        signal.signal(REMINDER, self._on_reminder)
        for number in _ENDING:
            signal.signal(number, self._on_signal)
        self._on_reminder(REMINDER, None)  # it may have come before

    def number(self) -> int | None:
        """Return the signal that has cut the program short, None if it was none."""
        return None if self.over else self._number

    def status(self, status: int) -> int:
        """Return how the process is to end: by the signal that has cut the program short, whatever *status* it has."""
        return status if self._number is None else -self._number

    def _on_reminder(self, number: int, frame: object) -> None:
        reason = "" if self.reason or self.over else self._notice.read()
        if not reason:
            return
        self._begin(reason, 1)
        loop = self._controller.loop
        computes = loop.runs_program() and not self._runs_task()
        if not (computes or loop.is_joining()):
            self._raise(1)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.over:
            return
        status = 128 + number
        if not self.reason:
            self._number = number
            self._begin(signal.Signals(number).name, status)
        if self._runs_task() or not self._controller.loop.told:
            self._raise(status)

    def _runs_task(self) -> bool:
        """Return whether this thread runs a task, or a function that stands for one, as in a reduction."""
        runner = self._controller.runner
        return runner.running is not None or (runner.state is not None and not runner.state.of_program)

    def _begin(self, reason: str, status: int) -> None:
        self.reason = reason
        asyncio_bridge.expect_the_end()
        self._controller.give_up(reason, status)

    def _raise(self, status: int) -> None:
        self._controller.loop.interrupt(RunEndedError(self.reason, status))
