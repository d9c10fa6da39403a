"""Dependencies of a global: which others, and whether it can be seen to be what it was."""

from __future__ import annotations

import dis
import sys
import weakref
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from scoop_hpc.pickling.main_received import Body, main
from scoop_hpc.pickling.packed import ATOMS
from scoop_hpc.pickling.pickles import MAIN_NAMES
from scoop_hpc.task import TaskFunction

_GLOBAL_OPS = frozenset(
    {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}  # in classes: by names
)
_NOT_GIVEN = frozenset({"__builtins__", "__loader__", "__name__", "__spec__"})  # a worker's module has its own

_names_by_code: weakref.WeakKeyDictionary[CodeType, tuple[str, ...]] = weakref.WeakKeyDictionary()


def names_in(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals that *code*, and the functions and classes defined in it, may use."""
    known = _names_by_code.get(code)
    if known is None:
        known = _names_by_code[code] = tuple(sorted(set(_walk(code)) - _NOT_GIVEN))
    return known


def _walk(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_OPS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk(constant)


def settled_by(value: Any) -> tuple[bool, Body | None]:
    """Return whether a value that is the same object is the same value, while a function is made of the same body."""
    if type(value) in ATOMS:
        return True, None
    if isinstance(value, ModuleType):
        return sys.modules.get(value.__name__) is value, None
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType), None
    if type(value) is FunctionType and value.__globals__ is main():
        body = Body.of(value)
        return not body.more and all(type(each) in ATOMS for each in body.defaults or ()), body
    if isinstance(value, (FunctionType, type)):
        return _by_reference(value), None
    if type(value) is TaskFunction:  # whose options never change
        if _by_reference(value):
            return True, None
        settled, of_function = settled_by(value.__wrapped__)
        return settled and not value.attributes(), of_function
    return False, None


def _by_reference(value: Any) -> bool:
    """Return whether a function or class is found by its name in a module that is no ``__main__``."""
    if value.__module__ in MAIN_NAMES or cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(value.__module__)
    for name in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is value
