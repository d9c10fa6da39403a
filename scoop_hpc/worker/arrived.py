"""Functions of a client's ``__main__`` as they arrive in a worker, whose own takes their globals; see `namespace`."""

from __future__ import annotations

import functools
import pickle
import sys
from types import CodeType, FunctionType
from typing import Any, Callable, NamedTuple, Optional

ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})  # nobody changes them
MISSING = object()
_MOST = 1_000  # functions kept


class Given(NamedTuple):
    """The value of a global, as the client gave it."""

    text: bytes


class Body(NamedTuple):
    """What a function is made of, besides its globals."""

    code: CodeType
    defaults: Optional[tuple[Any, ...]]
    more: bool

    @classmethod
    def of(cls, function: FunctionType) -> Body:
        """Return what *function* is made of now."""
        more = bool(function.__closure__ or function.__kwdefaults__ or function.__dict__)
        return cls(function.__code__, function.__defaults__, more)


class Pickled(NamedTuple):
    """The pickle of a function, and all that it depends on."""

    text: bytes
    globals_used: dict[str, Any]  # and their values
    functions: dict[FunctionType, Body]

    def holds(self) -> bool:
        """Whether the function would be pickled the same now."""
        variables = main()
        return all(variables.get(name, MISSING) is value for name, value in self.globals_used.items()) and all(
            body == Body.of(function) for function, body in self.functions.items()
        )


class Names:
    """What this process knows of the names in ``__main__``. There is one of it."""

    def __init__(self) -> None:
        self.given: Optional[dict[str, Given]] = None  # by the client; None in the client itself
        self.functions: dict[bytes, Any] = {}  # that have arrived, by their pickles
        self.pickles: dict[FunctionType, Pickled] = {}  # of functions that have left, see `namespace`


names = Names()


def main() -> dict[str, Any]:
    """Return the globals of ``__main__``."""
    return sys.modules["__main__"].__dict__


def namespace(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of ``__main__`` here; in the client itself, a copy, which a result may not change."""
    if names.given is None:
        return dict(main())
    main().update(attributes)
    return main()


def set_state(function: FunctionType, state: tuple[Any, Any, dict[str, Any]]) -> None:
    """Complete *function*: as cloudpickle would, then with the globals that it uses."""
    plain_set_state, plain, definitions = state
    plain_set_state(function, plain)
    variables = function.__globals__
    given = {} if names.given is None else names.given
    for name, value in definitions.items():
        if type(value) is not Given:
            if not _same(variables.get(name, MISSING), value):
                variables[name] = value
                names.functions.clear()  # they may have been given another one of this name
        elif given.get(name) != value:
            given[name] = value
            variables[name] = pickle.loads(value.text)


def _same(old: Any, new: Any) -> bool:
    if not (type(old) is type(new) is FunctionType):
        return old is new
    return bool(
        old.__code__ == new.__code__
        and old.__globals__ is new.__globals__
        and old.__module__ == new.__module__
        and not (old.__closure__ or new.__closure__)
        and (old.__dict__, old.__kwdefaults__) == (new.__dict__, new.__kwdefaults__) == ({}, None)
        and all(type(value) in ATOMS for value in (old.__defaults__ or ()) + (new.__defaults__ or ()))
        and old.__defaults__ == new.__defaults__
    )


def load_function(text: bytes) -> Any:
    """Return the function in a pickle: the same whenever that comes."""
    function = names.functions.get(text)
    if function is None:
        function = pickle.loads(text)
        if len(names.functions) >= _MOST:
            names.functions.clear()
        names.functions[text] = function
    return function


def cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Return *function* with a cache."""
    return functools.lru_cache(**parameters)(function)
