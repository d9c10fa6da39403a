"""The failure of the program where every worker may fail as well, since all import what it imports: shown once.

Who fails first claims the traceback at broker 0, as a shared value, which is set once. That of a worker is shown by the
driver, in one piece, with the reason of the end; of several it shows the same one once. That of the origin is shown
there, and ends the run as well: the others tell why they cannot go on only if it does not, for threads of the program.

::

    worker --SetShared claim--> broker 0 <--SetShared claim-- origin
    worker --Fault, with its traceback, unless the origin shows the same--> driver
"""

from __future__ import annotations

import os
import re
import sys
from time import monotonic

from scoop_hpc import tracebacks
from scoop_hpc.errors import RunEndedError
from scoop_hpc.pickling.unpicklable import reason_of
from scoop_hpc.protocol.messages import GetShared, SetShared, Shared, SharedSet, Stop
from scoop_hpc.protocol.names import ORIGIN, WorkerName
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import Link

_CLAIM = "(failure of the program)"  # no name that `set_const` takes by itself
_SHOWN = "(failure of the program, shown)"  # by the origin
_MOST = 65_536  # characters of a traceback that are sent
_NO_PACKAGE = "no known parent package"  # Python's words where a script imports from `.`
_REPEATED = re.compile(r"\[Previous line repeated \d+ more times?\]")
_GRACE = 2.0  # seconds in which a program that has failed ends


def import_error(path: str, error: BaseException) -> str:
    """Return why a worker that gets *error* from the program *path* cannot go on."""
    text = f"cannot import {path!r}: {reason_of(error)}"
    if isinstance(error, ImportError) and _NO_PACKAGE in text:
        text += ": a module of a package is started by -m and its name, from the directory that the package is in"
    return text


def claim_in_worker(link: Link, name: WorkerName, error: BaseException) -> str | None:
    """Return the traceback of *error* that the driver is to show, empty if the origin has; None: the worker is to stop.

    It is the traceback of the program's own frames.
    """
    text = _text_of(error)
    link.send(SetShared(name, None, {_CLAIM: _claim(name, text)}))
    first = _asked(link, GetShared(_CLAIM, 1, wait=True))
    if first == _claim(ORIGIN, text):
        is_shown = _asked(link, GetShared(_SHOWN, 2, wait=True)) is not None
        return "" if is_shown and not _is_stopped(link, monotonic() + _GRACE) else None
    return None if first is None else text


class OriginFailure:
    """What the origin makes of an exception that its program *path* has not caught."""

    def __init__(self, controller: Controller, path: str) -> None:
        self.is_shared = True  # another worker may fail by the same: none is known to have imported the program
        self._controller = controller
        self._path = path
        self._pid = os.getpid()

    def show(self, error: BaseException, ended_by: str) -> bool:
        """Show *error* as Python does, from the program's frames on; return False if another worker's stands for it.

        *ended_by* is the reason why the run ends, if it does.
        """
        tracebacks.without_ours(error)
        claims = self._is_common(error)
        if claims and (self._is_reason(error, ended_by) or not self._claimed(error)):
            return False
        sys.excepthook(type(error), error, error.__traceback__)
        if claims and not ended_by:
            self._controller.exchange.question(lambda number: SetShared(ORIGIN, number, {_SHOWN: b""}), _forget)
        return True

    def _is_common(self, error: BaseException) -> bool:
        """Return whether others may fail by *error*, and nobody but Python's own hook is to see it here."""
        is_alone = self._controller.size == 1 or os.getpid() != self._pid  # or a child that the program has forked
        return self.is_shared and not is_alone and isinstance(error, Exception) and sys.excepthook is sys.__excepthook__

    def _is_reason(self, error: BaseException, ended_by: str) -> bool:
        return ended_by.endswith(import_error(self._path, error))

    def _claimed(self, error: BaseException) -> bool:
        """Return whether *error* is to be shown here: nobody else has claimed the same traceback before."""
        controller, text = self._controller, _text_of(error)
        try:
            controller.unbar()  # no task is asked for
            answer = controller.ask(lambda number: SetShared(ORIGIN, number, {_CLAIM: _claim(ORIGIN, text)}))
            if isinstance(answer, SharedSet) and not answer.clashes:
                return True
            first = controller.ask(lambda number: GetShared(_CLAIM, number, wait=False)).value
        except RunEndedError as end:
            return not self._is_reason(error, str(end))
        except KeyboardInterrupt:
            return True
        return bytes(first or b"").partition(b"\n")[2] != _claim(ORIGIN, text).partition(b"\n")[2]


def _text_of(error: BaseException) -> str:
    """Return the traceback of *error*, in characters that a message can have."""
    return tracebacks.encodable(tracebacks.text_of(error)[-_MOST:])


def _claim(name: WorkerName, text: str) -> bytes:
    """Return the claim of *name* to the traceback *text*, but for how deep the stack was, where that was too deep."""
    return f"{name}\n{_REPEATED.sub('', text)}".encode()


def _asked(link: Link, question: GetShared) -> bytes | None:
    """Return the value that *question* waits for; None where the worker is to stop."""
    link.send(question)
    while True:
        messages = link.receive()
        if any(isinstance(message, Stop) for message in messages):
            return None
        for message in messages:
            if isinstance(message, Shared) and message.name == question.name:
                return message.value or b""
        link.wait(None)


def _is_stopped(link: Link, deadline: float) -> bool:
    """Return whether the worker is told to stop before the *deadline*."""
    while (left := deadline - monotonic()) > 0:
        if any(isinstance(message, Stop) for message in link.receive()):
            return True
        link.wait(left)
    return False


def _forget(answer: object) -> None:
    """Do nothing with an answer: the question was only a message."""
