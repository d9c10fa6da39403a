"""Values that were pickled one by one, to travel with others and be opened one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.unpicklable import go_on_after
from scoop_hpc.protocol.messages import Buffer

NUMBERS = frozenset({int, float, complex, bool, type(None)})
ATOMS = NUMBERS | {str, bytes}  # nobody changes them after the fact


class Packed:
    """A result, pickled when it was returned: a function may return the same object for every item, and change it."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self.frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (pickles.out_of_band(self.frames),)

    def unpack(self, last: bool = False) -> Any:
        """Return the result; raises whatever unpickling raises. If this is for the *last* time, it need not copy."""
        return pickles.load(self.frames, last)

    def result(self, last: bool = False) -> Any:
        """Do the same for a task's result; raise TaskError for whatever unpickling raises, but for Ctrl-C."""
        try:
            return pickles.load(self.frames, last)
        except BaseException as error:  # the user's code
            go_on_after(error)
            raise pickles.refusal("cannot unpickle the task's result", error) from error
