"""The shared values as one worker knows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from scoop_hpc.errors import ConstantError
from scoop_hpc.pickling import pickles as calls
from scoop_hpc.pickling.unpicklable import go_on_after
from scoop_hpc.protocol.messages import GetShared, Message, SetShared
from scoop_hpc.protocol.names import WorkerName


class Asks(Protocol):
    """The worker, as its shared values use it."""

    name: WorkerName
    serial: bool

    def ask(self, message_of: Callable[[int], Message], deadline: float | None = None, soon: bool = True) -> Any:
        """Ask the broker; return the message that answers, None if the *deadline* is over."""


class KnownValues:
    """Shared values that were set or got here; for all others the broker is asked."""

    def __init__(self, worker: Asks, values: dict[str, Any] | None = None) -> None:
        self._worker = worker
        self._values = {} if values is None else values

    def set(self, constants: dict[str, Any]) -> None:
        """Set all *constants*, or none of them and raise ConstantError; raise UnpicklableError."""
        for name in constants:
            _check_name(name)
        clashes = [name for name in constants if name in self._values]
        if not clashes and not self._worker.serial:
            pickles = {name: calls.dump_whole(value) for name, value in constants.items()}
            worker = self._worker
            clashes = worker.ask(lambda number: SetShared(worker.name, number, pickles)).clashes
        if clashes:
            raise ConstantError(f"the constant {clashes[0]!r} is set already, and cannot be set again")
        self._values.update(constants)

    def get(self, name: str, timeout: float | None) -> Any:
        """Return a constant, having waited up to *timeout* seconds, None for ever; raise ConstantError."""
        _check_name(name)
        if name not in self._values:
            answer = None if self._worker.serial else self._ask(name, timeout)
            if answer is None or answer.value is None:
                raise ConstantError(f"there is no constant {name!r}: set it with shared.set_const({name}=...)")
            try:
                self._values[name] = calls.load([answer.value])
            except BaseException as error:  # the user's code
                go_on_after(error)
                raise calls.refusal(f"cannot unpickle the constant {name!r}", error) from error
        return self._values[name]

    def _ask(self, name: str, timeout: float | None) -> Any:
        answer = self._worker.ask(lambda number: GetShared(name, number, wait=False))
        if answer.value is not None or timeout == 0:
            return answer
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._worker.ask(lambda number: GetShared(name, number, wait=True), deadline, soon=False)


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a constant is {name!r}: it must be a string")
    try:
        name.encode()
    except UnicodeEncodeError:  # of a file, say, whose name is not in this encoding
        raise ConstantError(f"the name of a constant is {name!r}: it must be text, without lone surrogates") from None
