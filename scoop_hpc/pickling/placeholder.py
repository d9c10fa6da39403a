"""Placeholders in a worker for parts of the program that could not be sent there: whoever uses one is told why."""

from __future__ import annotations

from typing import Any

from scoop_hpc.errors import UnpicklableError

_USES = (
    "call get enter exit aenter aexit iter next aiter anext await",
    "len bool contains getitem setitem delitem index int float complex str bytes format array fspath",
    "add radd iadd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow",
    "and rand or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert eq ne lt le gt ge",
)


class Unsent:
    """A value of the program that is not here, because of *reason*."""

    __slots__ = ("_reason",)

    def __init__(self, reason: str) -> None:
        object.__setattr__(self, "_reason", reason)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what pickle, copy and inspect look for
            raise AttributeError(name)
        raise _refusal(self)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _refusal(self)

    def __repr__(self) -> str:
        return f"<not sent: {self._reason}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Unsent, (self._reason,)

    __hash__ = object.__hash__


def _refusal(unsent: Unsent) -> UnpicklableError:
    return UnpicklableError(f"{unsent._reason}; make it in the task, or in an initializer")


def _refuse(self: Unsent, *_: Any) -> Any:
    raise _refusal(self)


for _use in " ".join(_USES).split():
    setattr(Unsent, f"__{_use}__", _refuse)
