"""Reducers for objects that neither pickle nor cloudpickle takes, though they can be made again elsewhere.

Locks are made anew in each process, as those of a module are by ``import``: only as part of what a program defines
(its globals, its classes), for a lock that is passed to a task is meant to keep others out, which none of its copies
could do.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

_Reduced = tuple[Any, ...]

_DISPATCHER: Any = functools.singledispatch(repr)
_STREAMS = ("stdin", "stdout", "stderr")
_LOCKS = {type(threading.Lock()): threading.Lock, type(threading.RLock()): threading.RLock}

_variables: dict[str, contextvars.ContextVar[Any]] = {}  # that have arrived or left, by keys that mean them everywhere
_keys: dict[contextvars.ContextVar[Any], tuple[str, str]] = {}  # their modules and names there, or "" and their keys


def reduced(value: Any, main_names: tuple[str, ...]) -> _Reduced | None:
    """Return how *value* is made again, None if that is nothing special."""
    reducer = _REDUCERS.get(type(value))
    if reducer is None:
        return None
    return reducer(value, main_names)


def reduced_in_definition(value: Any) -> _Reduced | None:
    """Return how a part of a definition is made again that is each process's own, None if *value* is something else."""
    for name in _STREAMS:
        if getattr(sys, name, None) is value:
            return getattr, (sys, name)
    make = _LOCKS.get(type(value))
    return None if make is None else (make, ())


def is_dispatcher(value: FunctionType) -> bool:
    """Return whether *value* was made by `functools.singledispatch`."""
    return value.__code__ is _DISPATCHER.__code__


def reduced_dispatcher(value: Any) -> _Reduced:
    """Return how a function of `functools.singledispatch` is made again: its cache, of weak references, is not sent."""
    registry = dict(value.registry)
    attributes = {name: part for name, part in value.__dict__.items() if name not in _DISPATCHERS_OWN}
    return _dispatcher, (registry.pop(object),), (registry, attributes), None, None, _register


_DISPATCHERS_OWN = frozenset(_DISPATCHER.__dict__)


def _dispatcher(function: Callable[..., Any]) -> Any:
    return functools.singledispatch(function)


def _register(dispatcher: Any, state: tuple[dict[type, Callable[..., Any]], dict[str, Any]]) -> None:
    registry, attributes = state
    for kind, function in registry.items():
        dispatcher.register(kind, function)
    dispatcher.__dict__.update(attributes)


def _reduced_cache(value: Any, main_names: tuple[str, ...]) -> _Reduced | None:
    if value.__module__ not in main_names and _found(value):
        return None  # it goes by name
    return cached, (value.__wrapped__, value.cache_parameters())


def _found(value: Any) -> bool:
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Return *function* with a cache."""
    return functools.lru_cache(**parameters)(function)


def _reduced_property(value: Any, _: tuple[str, ...]) -> _Reduced | None:
    return _cached_property, (value.func, value.attrname)


def _cached_property(function: Callable[..., Any], name: str | None) -> Any:
    made = functools.cached_property(function)  # with a lock of its own, before Python 3.12
    made.attrname = name
    return made


def _reduced_variable(value: contextvars.ContextVar[Any], main_names: tuple[str, ...]) -> _Reduced | None:
    if value not in _keys:
        _keys[value] = _home(value, main_names) or ("", uuid.uuid4().hex)
    module, key = _keys[value]
    if module:
        return _imported, (module, key)
    _variables[key] = value
    return _variable, (key, value.name, tuple(_default(value)))


def _default(value: contextvars.ContextVar[Any]) -> Iterator[Any]:
    with contextlib.suppress(LookupError):
        yield contextvars.Context().run(value.get)


def _home(value: contextvars.ContextVar[Any], main_names: tuple[str, ...]) -> tuple[str, str] | None:
    """Return a module that has *value*, and its name there."""
    for module_name, module in list(sys.modules.items()):
        if module_name not in main_names:
            for name, found in list(getattr(module, "__dict__", {}).items()):
                if found is value:
                    return module_name, name
    return None


def _imported(module: str, name: str) -> Any:
    __import__(module)
    return getattr(sys.modules[module], name)


def _variable(key: str, name: str, default: tuple[Any, ...]) -> contextvars.ContextVar[Any]:
    if key not in _variables:
        variable = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
        _variables[key] = variable
        _keys[variable] = ("", key)
    return _variables[key]


_REDUCERS: dict[type, Callable[[Any, tuple[str, ...]], _Reduced | None]] = {
    functools._lru_cache_wrapper: _reduced_cache,
    functools.cached_property: _reduced_property,
    contextvars.ContextVar: _reduced_variable,
}
