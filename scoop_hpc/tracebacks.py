"""Tracebacks of the user's code without the frames of ours that lead to it, as Python leaves out those of `runpy`.

What is below the user's frames stays, and so does the traceback of an error that is in this package alone.
"""

from __future__ import annotations

import atexit
import sys
import traceback
from types import TracebackType
from typing import Any

_OURS = __name__.partition(".")[0]
# These pass by what the user's class, or metaclass, has in their places.
_name_of_class = type.__dict__["__name__"].__get__
_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__


def without_ours(error: BaseException) -> BaseException:
    """Cut our frames off from before the user's, in the tracebacks of *error* and of what it came from; return it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        BaseException.with_traceback(each, _of_user(each.__traceback__))  # an attribute may not be set: frozen classes
        left += [_cause_of(each), _context_of(each), *_members(each)]
    return error


def text_of(error: BaseException) -> str:
    """Return the traceback of *error*, as Python shows it, without the frames of ours that lead to the user's."""
    without_ours(error)
    return formatted(error, error.__traceback__)


def formatted(error: BaseException, trace: TracebackType | None) -> str:
    """Return *error* and *trace* as Python shows them; what the user's code does not let it show is left out."""
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # a class of the user's, or a source file's name that no file can have
        pass
    frames = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'
        for frame, line in traceback.walk_tb(trace)
    ]
    try:
        last = "".join(traceback.format_exception_only(type(error), error))
    except BaseException:  # the user's class
        last = f"{class_name(error)}\n"
    return "".join(["Traceback (most recent call last):\n" if frames else "", *frames, last])


def class_name(value: object) -> str:
    """Return the name of the class of *value*, whatever its metaclass does."""
    name: str = _name_of_class(type(value))
    return name


def encodable(text: str) -> str:
    r"""Return *text* as UTF-8 can have it: file names, and what users make of them, may contain lone surrogates.

    >>> encodable("caf\udce9")
    'caf\\udce9'
    """
    return text.encode(errors="backslashreplace").decode()


def run_exit_functions() -> None:
    """Call what was given to `atexit`, as the interpreter does at its end: with no frame of ours in what goes wrong."""
    hook = sys.unraisablehook

    def show(failure: sys.UnraisableHookArgs) -> None:
        trace = failure.exc_traceback
        if trace is not None and trace.tb_frame.f_code is run_exit_functions.__code__:  # of a function in C
            trace = trace.tb_next
        parts: tuple[Any, ...] = failure.exc_type, failure.exc_value, _of_user(trace), failure.err_msg, failure.object
        hook(type(failure)(parts))  # type: ignore[call-arg]

    sys.unraisablehook = show
    try:
        atexit._run_exitfuncs()
    finally:
        if sys.unraisablehook is show:  # none of the functions has put another in its place
            sys.unraisablehook = hook


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group, one of Python's or of a package that has them for 3.10; none of any other."""
    if not any(_name_of_class(kind) == "BaseExceptionGroup" for kind in type(error).__mro__):
        return ()
    members: tuple[BaseException, ...] = error.exceptions  # type: ignore[attr-defined]
    return members


def _of_user(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of *trace* from its first frame on that is not ours; all of it, if each is."""
    theirs = trace
    while theirs is not None and _is_ours(theirs):
        theirs = theirs.tb_next
    return trace if theirs is None else theirs


def _is_ours(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] == _OURS
