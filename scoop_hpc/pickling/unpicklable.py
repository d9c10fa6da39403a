"""Find the part of a value that cannot be pickled, and why."""

from __future__ import annotations

import concurrent.futures
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from scoop_hpc.tracebacks import class_name, encodable

_PROBES = 1_000  # parts that are tried
_PATH = 200  # characters of a path that are told
_OF_CLASSES = frozenset({"__dict__", "__weakref__"})
_HOLDERS = ("__self__", "func", "args", "keywords", "__wrapped__", "__defaults__", "__kwdefaults__", "__cause__")


def go_on_after(error: BaseException) -> None:
    """Raise *error* again if it is a Ctrl-C: nothing else that the user's code raises concerns more than one value.

    Workers ignore the signal, and other threads than the main one do not get it: there, the code itself has raised it.
    """
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        raise error


def reason_of(error: BaseException) -> str:
    """Return the type and the text of *error*, whose own ``__str__`` may fail, as UTF-8 can have them.

    >>> reason_of(TypeError("cannot pickle 'socket' object"))
    "TypeError: cannot pickle 'socket' object"
    """
    try:
        text = plain_text(error)
    except BaseException as failure:  # the user's __str__
        go_on_after(failure)
        text = ""
    return encodable(f"{class_name(error)}: {text}" if text else class_name(error))


def plain_text(value: Any) -> str:
    """Return ``str(value)``, which may be of a subclass of the user's, as an ordinary string."""
    return str.__str__(str(value))


def path_of(value: Any, label: str, pickles: Callable[[Any], bool]) -> str:
    """Return the path, from *label* on, of a part of *value* that cannot be pickled, though its own parts can.

    >>> path_of({"a": [1, print]}, "table", lambda part: part is not print and not isinstance(part, (dict, list)))
    "table['a'][1]"

    A path that is as long as a list of lists is deep is cut in the middle. Futures are not looked into: they refuse.
    """
    probes = _PROBES
    known = {id(value)}
    bad = [("", value)]
    while bad:
        suffix, value = bad.pop()
        label += suffix
        for suffix, part in _parts(value):
            probes -= 1
            if probes < 0:
                break
            if id(part) not in known and not pickles(part):
                known.add(id(part))
                bad.append((suffix, part))
                break
    return label if len(label) <= _PATH else f"{label[: _PATH // 2]}...{label[-(_PATH // 2) :]}"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value, each with what leads there."""
    if isinstance(value, concurrent.futures.Future):
        return
    if isinstance(value, dict):
        yield from ((f"[{key!r}]" if type(key) in (str, int) else "[...]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from (("{...}", part) for part in value)
    closure = attribute(value, "__closure__")
    names = [name for kind in type(value).__mro__ for name in _names(kind.__dict__.get("__slots__", ()))]
    attributes = attribute(value, "__dict__") or {}
    if closure:
        for name, cell in zip(value.__code__.co_freevars, closure):
            yield f".{name}", attribute(cell, "cell_contents")
    yield from ((f".{name}", part) for name, part in dict(attributes).items() if name not in _OF_CLASSES)
    yield from ((f".{name}", attribute(value, name)) for name in (*_HOLDERS, *names))


def _names(slots: Any) -> Iterator[str]:
    return iter((slots,) if isinstance(slots, str) else slots)


def attribute(value: Any, name: str) -> Any:
    """Return an attribute of *value*; None if there is none, or the user's code raises something."""
    try:
        return getattr(value, name, None)
    except BaseException as error:  # the user's __getattr__, or an empty cell
        go_on_after(error)
        return None
