"""The ``__main__`` of a pool's client, carried by value to workers that have none of their own.

A function of the client's ``__main__`` travels as its code with the globals that it uses. In a worker, all of them live
in one module ``__main__``, so that an initializer may set a global that a task reads. There, a global is what the
client has last given, or what the worker has made of it since: a value is replaced only when the client gives another.

::

    client                                                  worker
    f.__code__, {helper: function, data: Given(pickle)} --> __main__.helper, and .data unless it was given before
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Callable, Optional

import cloudpickle

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.worker import arrived, calls
from scoop_hpc.worker.arrived import ATOMS, MISSING, Body, Given, Pickled

_MOST = 1_000  # functions kept


def become_worker() -> None:
    """Give this process an empty ``__main__`` that fills with what a client gives, and pass calls on by value, too."""
    module = ModuleType("__main__")
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    arrived.names.given = {}
    send_by_value()


def send_by_value() -> None:
    """Send tasks from this process to workers that do not have its ``__main__``."""
    calls.carry_main(_Pickler)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but functions of ``__main__`` share their globals in the worker."""

    def __init__(
        self,
        file: io.BytesIO,
        protocol: int = 5,
        buffer_callback: Optional[Callable[[pickle.PickleBuffer], Any]] = None,
        outer: Optional[_Pickler] = None,
    ) -> None:
        super().__init__(file, protocol, buffer_callback)
        self.within: set[str] = set() if outer is None else outer.within  # globals that are being pickled now
        self._given: dict[str, Given] = {} if outer is None else outer._given
        self._top: Optional[FunctionType] = None
        self.globals_ref[id(arrived.main())] = _Namespace(
            __name__="__main__"
        )  # what cloudpickle takes for their globals

    def pickle_of(self, function: FunctionType, file: io.BytesIO) -> bytes:
        """Return the pickle of *function* itself."""
        self._top = function
        self.dump(function)
        return file.getvalue()

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, functools._lru_cache_wrapper):  # it would go by name
            return arrived.cached, (value.__wrapped__, value.cache_parameters())
        if isinstance(value, CodeType):
            return calls.reduce_code(self, value)
        if not _from_main(value):
            return super().reducer_override(value)
        text = None if self._top is not None else _settled_pickle(value)
        if text is not None:
            return arrived.load_function, (text,)
        make, arguments, (plain, slots), _, _, set_state = super().reducer_override(value)
        used, slots["__globals__"] = slots["__globals__"], {}
        return make, arguments, (set_state, (plain, slots), self._definitions(used)), None, None, arrived.set_state

    def _definitions(self, used: dict[str, Any]) -> dict[str, Any]:
        """Return, for each global that a function uses, the value or what the client has given for it."""
        found: dict[str, Any] = {}
        for name, value in used.items():
            if _defined(value):
                found[name] = value
            elif arrived.names.given is not None:
                if (
                    name in arrived.names.given
                ):  # else the worker has it of its own, as a task's or the initializer's doing
                    found[name] = arrived.names.given[name]
            elif name not in self.within:
                found[name] = self._give(name, value)
        return found

    def _give(self, name: str, value: Any) -> Given:
        if name not in self._given:
            stream = io.BytesIO()
            self.within.add(name)
            try:
                _Pickler(stream, outer=self).dump(value)
            except UnpicklableError:
                raise
            except Exception as error:  # the user's __reduce__ may raise anything
                raise UnpicklableError(f"the global {name!r}: {type(error).__name__}: {error}") from error
            finally:
                self.within.discard(name)
            self._given[name] = Given(stream.getvalue())
        return self._given[name]


class _Namespace(dict):  # type: ignore[type-arg]
    """The globals of ``__main__``: in a worker, those there."""

    def __reduce__(self) -> tuple[Any, ...]:
        main = arrived.main()
        return arrived.namespace, ({name: main[name] for name in ("__package__", "__file__") if name in main},)


# in the process that sends


def _from_main(value: Any) -> bool:
    """Whether *value* is a function whose globals are those of ``__main__``."""
    return type(value) is FunctionType and value.__globals__ is arrived.main()


def _defined(value: Any) -> bool:
    """Whether *value* is of a kind that a worker always has as the client has it, by its definition."""
    if isinstance(value, ModuleType):
        return sys.modules.get(value.__name__) is value
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    return isinstance(value, (FunctionType, type))


def _by_reference(value: Any) -> bool:
    """Whether a function or class is found by its name in a module that is no ``__main__``."""
    if value.__module__ in calls.MAIN_NAMES or cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _settled_pickle(function: FunctionType) -> Optional[bytes]:
    """Return the pickle of a function that depends on nothing that may change unseen; None for any other."""
    known = arrived.names.pickles.get(function)
    if known is not None and known.holds():
        return known.text
    globals_used: dict[str, Any] = {}
    functions: dict[FunctionType, Body] = {}
    if not _settled(function, globals_used, functions):
        return None
    stream = io.BytesIO()
    text = _Pickler(stream).pickle_of(function, stream)
    if len(arrived.names.pickles) >= _MOST:
        arrived.names.pickles.clear()
    arrived.names.pickles[function] = Pickled(text, globals_used, functions)
    return text


def _settled(function: FunctionType, globals_used: dict[str, Any], functions: dict[FunctionType, Body]) -> bool:
    """Whether *function* and all that it uses can be seen to be what they were; note what that is."""
    functions[function] = Body.of(function)
    if function.__closure__ or function.__kwdefaults__ or function.__dict__:
        return False
    if not all(type(value) in ATOMS for value in function.__defaults__ or ()):
        return False
    for name in _names_in(function.__code__):
        if name in globals_used:
            continue
        value = globals_used[name] = function.__globals__.get(name, MISSING)
        if _from_main(value):
            if value not in functions and not _settled(value, globals_used, functions):
                return False
        elif isinstance(value, (FunctionType, type)):
            if not _by_reference(value):
                return False
        elif value is not MISSING and type(value) not in ATOMS and not _defined(value):
            return False
    return True


def _names_in(code: CodeType) -> Iterator[str]:
    """Yield the names that *code* and the functions defined in it use; attributes are among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
