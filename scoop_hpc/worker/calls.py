"""Calls and outcomes to and from pickles; the only module that opens one.

A call or an outcome is a list of frames: a pickle of protocol 5, then the large buffers that it refers to (PEP 574).
What plain pickle refuses (lambdas, closures, functions made at run time) goes through cloudpickle; functions and
classes that every worker finds in the program's ``__main__`` go by name in both.
"""

from __future__ import annotations

import io
import pickle
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Callable, Optional

import cloudpickle

from scoop_hpc.errors import TaskError, UnpicklableError
from scoop_hpc.protocol.messages import Buffer

MAIN_NAMES = ("__main__", "__mp_main__")  # the program's module in the origin and in other workers
_OUT_OF_BAND = 64 * 1024  # bytes: smaller buffers cost less inside the pickle than as frames of their own


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process: its text shows where."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but what is found by name in the program's ``__main__`` goes by name."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (FunctionType, type)) and value.__module__ in MAIN_NAMES and _found_by_name(value):
            return NotImplemented
        return super().reducer_override(value)


def _found_by_name(value: Any) -> bool:
    found: Any = sys.modules.get("__main__")
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def dump(value: Any) -> list[Buffer]:
    """Return the frames of *value*, a snapshot; raise UnpicklableError, with the reason as its cause."""
    buffers: list[Buffer] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(bytes(raw))  # a copy: the task may go on to use its array
        return False

    try:
        return [pickle.dumps(value, 5, buffer_callback=keep_in_band), *buffers]
    except Exception:  # pickle runs the user's __reduce__, which may raise anything; the second attempt tells
        buffers.clear()
    stream = io.BytesIO()
    try:
        _Pickler(stream, 5, buffer_callback=keep_in_band).dump(value)
    except Exception as error:  # as above
        raise UnpicklableError(f"cannot pickle {_shown(value)}: {type(error).__name__}: {error}") from error
    return [stream.getvalue(), *buffers]


def out_of_band(frames: Sequence[Buffer]) -> list[pickle.PickleBuffer]:
    """Return *frames* such that they are not copied into the pickle of what holds them, if they are large."""
    return [pickle.PickleBuffer(frame) for frame in frames]


def load(frames: Sequence[Buffer]) -> Any:
    """Return the value in *frames*; raises whatever unpickling raises."""
    return pickle.loads(frames[0], buffers=[bytearray(frame) for frame in frames[1:]])  # arrays stay writable


def dump_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Buffer]:
    """Return the frames of a call; raise UnpicklableError."""
    return dump((function, args, kwargs))


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with ``value``, or with ``error`` if that is not None."""

    value: Any = None
    error: Optional[BaseException] = None
    seconds: float = 0.0  # from start to end
    deaf: float = 0.0  # the longest time that it kept its worker from looking at its link


def dump_outcome(outcome: Outcome) -> list[Buffer]:
    """Return the frames of *outcome*; raise UnpicklableError if its value cannot be pickled.

    An exception that does not survive the trip arrives as a TaskError that shows it.
    """
    times = outcome.seconds, outcome.deaf
    if outcome.error is None:
        return dump((True, outcome.value, *times))
    error, text = outcome.error, _traceback_text(outcome.error)
    for form in (error, _Rebuilt(error)):
        try:
            frames = dump((False, (form, text), *times))
            load(frames)  # an exception with an odd constructor can be pickled, but not unpickled
            return frames
        except Exception:  # the user's class: it may raise anything; the next form is more robust
            continue
    shown = TaskError(f"{type(error).__name__}: {error}" if _printable(error) else type(error).__name__)
    return dump((False, (shown, text), *times))


def load_outcome(frames: Sequence[Buffer]) -> Outcome:
    """Return the outcome in *frames*; one that cannot be unpickled here is the outcome TaskError."""
    try:
        good, value, seconds, deaf = load(frames)
    except Exception as error:  # unpickling runs the user's code
        refusal = TaskError(f"cannot unpickle the task's result: {type(error).__name__}: {error}")
        refusal.__cause__ = error
        return Outcome(error=refusal)
    if good:
        return Outcome(value, None, seconds, deaf)
    raised, text = value
    if isinstance(raised, _Rebuilt):
        raised = raised.exception
    raised.__cause__ = RemoteTraceback(text)
    return Outcome(None, raised, seconds, deaf)


class _Rebuilt:
    """An exception taken apart: its class, ``args`` and attributes, put together without calling ``__init__``."""

    def __init__(self, error: BaseException) -> None:
        self.exception = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self.exception
        return _rebuild, (type(error), error.args, error.__dict__)


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> _Rebuilt:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return _Rebuilt(error)


def _traceback_text(error: BaseException) -> str:
    """Return the traceback from the user's function on, without the frames of this package above it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("scoop_hpc.worker."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a user's __repr__
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."


def _printable(error: BaseException) -> bool:
    try:
        return bool(str(error) or True)
    except Exception:  # a user's __str__
        return False
