"""Calls and outcomes to and from pickles; the only module that opens one.

A call or an outcome is a list of frames: a pickle of protocol 5, then the large buffers that it refers to (PEP 574),
or references to what is in `Segments`. A value in frames is a snapshot, for which a buffer is copied once; whoever is
the last to load it has the arrays where the frames are.
What plain pickle refuses (lambdas, closures, functions made at run time) goes through cloudpickle; functions and
classes that every worker finds in the program's ``__main__`` go by name in both.
"""

from __future__ import annotations

import copyreg
import functools
import io
import mmap
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import cloudpickle
from msgspec import Struct

from scoop_hpc.errors import TaskError, UnpicklableError
from scoop_hpc.pickling import reducers, task_exits
from scoop_hpc.pickling.unpicklable import attribute, go_on_after, path_of, reason_of
from scoop_hpc.protocol.messages import Buffer, Reference
from scoop_hpc.task import TaskFunction
from scoop_hpc.tracebacks import class_name, formatted
from scoop_hpc.transport import maps
from scoop_hpc.transport.segments import LEAST, Segments

MAIN_NAMES = ("__main__", "__mp_main__")  # the program's module in the origin and in other workers
_task_pickler: Callable[..., Any] | None = None  # set once, in the client and the workers of a pool
_OUT_OF_BAND = LEAST  # bytes: smaller buffers cost less inside the pickle than as frames of their own
# whose frames are above the user's
_ROOMS = ("scoop_hpc.worker.", "scoop_hpc.bulk.", "scoop_hpc.pickling.", "scoop_hpc.pool.", "scoop_hpc.task")
_set_cause = BaseException.__dict__["__cause__"].__set__  # the user's class may be frozen, or have a property there
_OURS = (mmap.mmap, bytearray)  # what frames are that belong to nobody else


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process: its text shows where."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but what is found by name in the program's ``__main__`` goes by name, unless it is *here_only*."""

    def __init__(
        self,
        file: io.BytesIO,
        protocol: int = 5,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        here_only: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(file, protocol, buffer_callback)
        self._here_only = here_only

    def prefix(self) -> bytes:
        """Return what goes before the pickle: nothing, since workers have the program."""
        return b""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, CodeType):
            return reduce_code(self, value)
        if type(value) is TaskFunction:
            return value.reduced_by_value() if self._is_here_only(value) else NotImplemented
        defined = isinstance(value, (FunctionType, type, functools._lru_cache_wrapper))
        if defined and value.__module__ in MAIN_NAMES and _found_by_name(value):
            if not self._is_here_only(value):
                return NotImplemented
        elif isinstance(value, type) and type(value) in copyreg.dispatch_table:  # its metaclass says how
            return NotImplemented
        if isinstance(value, FunctionType) and reducers.is_dispatcher(value):
            return reducers.reduced_dispatcher(value)
        special = reducers.reduced(value, MAIN_NAMES)
        return super().reducer_override(value) if special is None else special

    def _is_here_only(self, value: Any) -> bool:
        """Return whether *value* is defined in this process's ``__main__``, if in any."""
        return value.__module__ in MAIN_NAMES and _head(value) in self._here_only


def _head(value: Any) -> str:
    """Return the first name on the way to *value* in its module."""
    return str(getattr(value, "__qualname__", "")).partition(".")[0]


def reduce_code(pickler: cloudpickle.Pickler, code: CodeType) -> tuple[Any, ...]:
    """Return how *pickler* makes *code* anew, with the file that it is from: cloudpickle 3.1 leaves that out.

    Tracebacks and warnings show it.
    """
    _, parts = pickler.dispatch_table[CodeType](code)
    return _code_from, (code.co_filename, parts)


def _code_from(filename: str, parts: tuple[Any, ...]) -> CodeType:
    return CodeType(*parts).replace(co_filename=filename)


def _found_by_name(value: Any) -> bool:
    found: Any = sys.modules.get("__main__")
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def dump(value: Any, segments: Segments | None = None, pickler: Callable[..., Any] | None = None) -> list[Buffer]:
    """Return the frames of *value*, a snapshot; raise UnpicklableError, with the reason as its cause.

    What is large goes into *segments*; every reference must then be sent. With a *pickler*, only that is tried: see
    `carry_main`.
    """
    buffers: list[Buffer] = []
    made: list[Buffer] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if type(raw.obj) is Reference:
            buffers.append(raw.obj)
            return False
        if raw.nbytes < _OUT_OF_BAND:
            return True
        reference = None if segments is None else segments.put(raw)
        if reference is not None:
            made.append(reference)
            buffers.append(reference)
        else:  # a copy, unless nobody can change it: the task may go on to use its array
            buffers.append(raw if type(raw.obj) is bytes else bytes(raw))
        return False

    if pickler is None:
        try:
            head = pickle.dumps(value, 5, buffer_callback=keep_in_band)
            return [head if segments is None or len(head) < LEAST else _stream(head, segments), *buffers]
        except BaseException as error:  # the user's __reduce__ may raise anything; the second attempt tells
            go_on_after(error)
            if segments is not None:
                segments.discard(made)
            made.clear()
            buffers.clear()
    stream = io.BytesIO()
    try:
        writer = (pickler or _Pickler)(stream, 5, buffer_callback=keep_in_band)
        writer.dump(value)
        head = writer.prefix() + stream.getvalue()
    except BaseException as error:  # as above
        if segments is not None:
            segments.discard(made)
        go_on_after(error)
        if isinstance(error, UnpicklableError):
            raise
        raise UnpicklableError(f"cannot pickle {_named_part(value, pickler)}: {reason_of(error)}") from error
    return [_stream(head, segments), *buffers]


def _named_part(value: Any, pickler: Callable[..., Any] | None) -> str:
    """Return the name of the part of *value* that cannot be pickled: of a call, of a result."""

    def pickles(part: Any) -> bool:
        try:
            (pickler or _Pickler)(io.BytesIO(), 5, buffer_callback=lambda buffer: False).dump(part)
        except BaseException as error:  # as above
            go_on_after(error)
            return False
        return True

    parts = [part for part in _parts_of_call(value) if not pickles(part[1])]
    label, part = parts[0] if parts else ("", value)
    path = path_of(part, label, pickles)
    if path.startswith("argument") and callable(value[0]):
        path += f" of {attribute(value[0], '__name__') or _shown(value[0])}"
    return f"{path} ({_shown(part)})" if path else _shown(value)


def _parts_of_call(value: Any) -> list[tuple[str, Any]]:
    """Return the parts of what may be a call, with how to name them."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is tuple and type(value[1]) is dict:
        return [
            *((f"argument {number}", part) for number, part in enumerate(value[0], 1)),
            *((f"argument {name!r}", part) for name, part in value[1].items()),
        ]
    if type(value) is tuple and len(value) == 2 and callable(value[0]):
        return [("the function", value[0]), *_parts_of_call(value[1])]
    return []


def _stream(stream: bytes, segments: Segments | None) -> Buffer:
    """Return the frame of a pickle itself, which is large if there are large strings or bytes in it."""
    if segments is None or len(stream) < LEAST:
        return stream
    return segments.put(memoryview(stream)) or stream


def dump_whole(value: Any) -> bytes:
    """Return the pickle of *value* with all its buffers inside; raise UnpicklableError."""
    frames = dump_task(value)
    return frames[0] if len(frames) == 1 and isinstance(frames[0], bytes) else pickle.dumps(_Whole(frames), 5)


class _Whole:
    """Frames as one pickle."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self._frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (list(self._frames),)


def out_of_band(frames: Sequence[Buffer]) -> list[pickle.PickleBuffer]:
    """Return *frames* such that they are not copied into the pickle of what holds them, if they are large."""
    return [pickle.PickleBuffer(frame) for frame in frames]


def load(frames: Sequence[Buffer], last: bool = False) -> Any:
    """Return the value in *frames*, whose arrays are writable; raises whatever unpickling raises.

    If it is loaded for the *last* time, its arrays are where the frames are, so far as another `load` made those.
    """
    head = frames[0]
    if type(head) is Reference:
        head = maps.opened(head)
    if len(frames) == 1:
        return pickle.loads(head)
    return pickle.loads(head, buffers=[_writable(frame, last) for frame in frames[1:]])


def _writable(frame: Buffer, last: bool) -> Buffer:
    if type(frame) is Reference:
        return maps.opened(frame)
    own = frame.obj if type(frame) is memoryview else frame  # of frames in frames: pickle made those read-only
    if last and isinstance(own, _OURS):
        return own
    return bytearray(frame)


def dump_task(
    value: Any, segments: Segments | None = None, environment: Mapping[str, Any] | None = None
) -> list[Buffer]:
    """Return the frames of *value*, which any worker may get; raise UnpicklableError.

    With an *environment*, as a task came with that: see `main_by_value`.
    """
    if environment is None or _task_pickler is None:
        return dump(value, segments, _task_pickler)
    return dump(value, segments, functools.partial(_task_pickler, environment=environment))


def carry_main(pickler: Callable[..., Any]) -> None:
    """Pickle tasks by *pickler* from now on: other workers do not have the ``__main__`` of this process."""
    global _task_pickler
    _task_pickler = pickler


def carry(names: frozenset[str]) -> None:
    """Pickle the functions and classes called *names* in ``__main__`` by value: only this process has them."""
    carry_main(functools.partial(_Pickler, here_only=names))


class Outcome(Struct, frozen=True):
    """The end of a task: with ``value``, or with ``error`` if that is not None."""

    value: Any = None
    error: BaseException | None = None
    unpolled: float = 0.0  # seconds: the longest time that it kept its worker from polling


def dump_outcome(outcome: Outcome) -> list[Buffer]:
    """Return the frames of *outcome*; raise UnpicklableError if its value cannot be pickled.

    An exception that does not survive the trip arrives as a TaskError that shows it.
    """
    if outcome.error is None:
        return dump((True, outcome.value, outcome.unpolled))
    error, text = outcome.error, traceback_text(outcome.error)
    for form in (error, _Rebuilt(error)):
        try:
            frames = dump((False, (form, text), outcome.unpolled))
            raised = load(frames)[1][0]  # an exception with an odd constructor can be pickled, but not unpickled
            if type(_exception_in(raised)) is type(error):  # its __reduce__ may lie
                return frames
        except BaseException:  # the user's class: it may raise anything; the next form is more robust
            continue
    return dump((False, (TaskError(reason_of(error)), text), outcome.unpolled))


def load_outcome(frames: Sequence[Buffer]) -> Outcome:
    """Return the outcome in *frames*; one that cannot be unpickled here is the outcome TaskError."""
    try:
        good, value, unpolled = load(frames)
        if good:
            return Outcome(value, None, unpolled)
        raised, text = value
        error = _exception_in(raised)
        if not isinstance(error, BaseException):
            raise TypeError(f"an exception came back as {_shown(error)}")
    except BaseException as failure:  # unpickling runs the user's code
        return Outcome(error=refusal("cannot unpickle the task's result", failure))
    if isinstance(error, SystemExit):
        task_exits.mark(error)
    _set_cause(error, RemoteTraceback(text))
    return Outcome(None, error, unpolled)


def refusal(what: str, error: BaseException) -> TaskError:
    """Return the error of a future that *error* is the reason for."""
    refused = TaskError(f"{what}: {reason_of(error)}")
    refused.__cause__ = error
    return refused


def _exception_in(raised: Any) -> Any:
    return raised.exception if type(raised) is _Rebuilt else raised


class _Rebuilt:
    """An exception taken apart: its class, ``args`` and attributes, put together without calling ``__init__``."""

    def __init__(self, error: BaseException) -> None:
        self.exception = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self.exception
        slots = {name: getattr(error, name) for name in _slots(type(error)) if hasattr(error, name)}
        return _rebuild, (type(error), tuple(map(_taken_apart, error.args)), {**slots, **error.__dict__})


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


class _Members(list):  # type: ignore[type-arg]
    """The exceptions of a group [PEP 654], each taken apart."""


def _taken_apart(arg: Any) -> Any:
    if type(arg) in (list, tuple) and arg and all(isinstance(value, BaseException) for value in arg):
        return _Members(map(_Rebuilt, arg))
    return arg


def _put_together(arg: Any) -> Any:
    return [member.exception for member in arg] if type(arg) is _Members else arg


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> _Rebuilt:
    args = tuple(map(_put_together, args))
    error = kind.__new__(kind, *args)
    for name, value in {"args": args, **attributes}.items():
        BaseException.__setattr__(error, name, value)  # its class may be frozen
    return _Rebuilt(error)


def traceback_text(error: BaseException) -> str:
    """Return the traceback from the user's function on, without the frames of this package above it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_ROOMS):
        trace = trace.tb_next
    return formatted(error, trace)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except BaseException as error:  # a user's __repr__
        go_on_after(error)
        return f"a {class_name(value)}"
    return text if len(text) <= 200 else text[:200] + "..."
