"""Check that other workers can import the program: known before it uses futures, or at its end, however quick it is.

A program without its guard would do its work in every worker. That is seen when another worker imports it; but the
origin may have run all tasks by then, or be the only worker. So a program that has begun to use futures without a guard
in sight waits for a witness: another worker, which says how the import went. All of the first two nodes do, for one may
die before. A single worker imports the program itself, in a forked child. With a guard in sight nobody waits before the
program's end, where all that is left to be feared is that the import fails for another reason.

::

    witness --SetShared--> broker 0 <--GetShared-- origin, and others whose import has ended oddly
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable
from types import CodeType, FrameType

from scoop_hpc.pickling.guard import under_guard
from scoop_hpc.protocol.messages import GetShared, SetShared, Shared
from scoop_hpc.protocol.names import WorkerName, broker_name, broker_of, worker_name
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import Link

_WITNESS = worker_name(0, 1)
_WITNESS_NODES = (broker_name(0), broker_name(1))  # enough of their workers, and of those in place of dead ones
ENDS = "the program ends while it is imported: put what it does under `if __name__ == '__main__':`"
_CONSTANT = "(import of the program)"  # no name that `set_const` takes by itself


def testify(link: Link, name: WorkerName, reason: str) -> None:
    """Say why the import of the program shows that it has no guard, or, if that is empty, that it went well.

    The first is believed: a constant is set once.
    """
    if broker_of(name) in _WITNESS_NODES:
        link.send(SetShared(name, None, {_CONSTANT: reason.encode()}))


def question(number: int) -> GetShared:
    """Return the question what the witness says."""
    return GetShared(_CONSTANT, number, wait=True)


class ImportCheck:
    """The origin's knowledge of its program, which is *code*, and was made of *tree*.

    *load* imports the program as another worker does; *refuse* ends the run for a reason.
    """

    def __init__(
        self,
        controller: Controller,
        code: CodeType,
        tree: ast.Module,
        load: Callable[[], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._controller = controller
        self._code = code
        self._tree = tree
        self._load = load
        self._refuse = refuse
        self._open = False  # the program uses futures, and it is not yet known whether others can import it
        self.is_passed = False  # another worker has imported the program

    def on_first_use(self) -> None:
        """Let the program use futures, once it is known that it may."""
        self._open = True
        line = self._line()
        if line is not None and under_guard(self._tree, line):
            self._open = self._controller.size > 1
            if self._open:  # nobody waits; but if no other worker can import the program, nobody runs its tasks
                self._controller.exchange.question(question, self._hear)
        elif threading.current_thread() is threading.main_thread():
            self._decide()

    def at_end(self) -> None:
        """See to it that a program which is not as it must be does not end well."""
        if self._open:
            self._decide()

    def _decide(self) -> None:
        self._open = True
        self._judge(self._rehearse() if self._controller.size == 1 else self._controller.ask(question).value.decode())

    def _hear(self, answer: Shared) -> None:
        """Take what the witness says, in whichever thread; the event loop decides."""
        self._controller.call_in_loop(functools.partial(self._judge, (answer.value or b"").decode()))

    def _judge(self, reason: str) -> None:
        if reason and self._open:
            self._refuse(reason)
        self.is_passed = self.is_passed or not reason
        self._open = False

    def _line(self) -> int | None:
        """Return the line of the program's own code that this thread, or the main one, has come to."""
        threads = sys._current_frames()
        frames = (sys._getframe(), threads.get(threading.main_thread().ident or 0))
        return next((line for line in map(self._line_in, frames) if line is not None), None)

    def _line_in(self, frame: FrameType | None) -> int | None:
        while frame is not None and frame.f_code is not self._code:
            frame = frame.f_back
        return None if frame is None else frame.f_lineno

    def _rehearse(self) -> str:
        """Import the program in a child of this process; return why it may not be imported, if so."""
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in `launch.children`
            pid = os.fork()
        if not pid:
            try:
                self._be_another(write)
            finally:
                os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        return told[1:].decode() if told else ENDS

    def _be_another(self, write: int) -> None:
        """Be a worker that is not the origin and has no output; write how the import of the program goes."""
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        self._controller.name = _WITNESS
        self._controller.bar()
        ends = False
        with contextlib.suppress(Exception, KeyboardInterrupt):  # what it raises elsewhere is no concern of this run
            try:
                self._load()
            except SystemExit:
                ends = True
        reason = self._controller.refused or (ENDS if ends else "")
        os.write(write, b":" + reason.encode())
