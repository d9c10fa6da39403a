"""The program as workers other than the origin have it: imported, and their ``__main__`` all the same.

What looks at the module's name while it is imported has to find another one than ``__main__``, or every worker would
run the program; but classes and functions keep the name that they were made under, and what a worker pickles into a
file, or registers, logs and caches by that name, is for other programs to read. So the module is ``__main__``, and only
the tests of its name in the program's text look at another variable instead: ``__mp_main__`` as in multiprocessing, as
long as the module is being imported.

A program whose text does not test its name leaves that to somebody else: to another file that it executes, or to a
decorator that runs a main function [sacred, begins]. It is ``__mp_main__`` for as long as it is imported; then what it
has defined is renamed.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

from scoop_hpc.task import TaskFunction

IMPORTED = "__mp_main__"
_VARIABLE = "__guard_name__"  # of the program, beside its __name__
_TESTS = (ast.BoolOp, ast.Compare)
_TESTING = (ast.If, ast.IfExp, ast.While, ast.Assert)  # whose `test` it is


def compile_imported(source: bytes, file_name: str) -> tuple[CodeType, bool]:
    """Compile a program for import; return whether it tests its name, too. Raises what `compile` raises."""
    if b"__name__" not in source:
        return compile(source, file_name, "exec", dont_inherit=True), False
    tree = ast.parse(source, file_name)
    lines = [number for number, line in enumerate(source.splitlines(), 1) if b"__name__" in line]
    tested = _names_tested(tree, lines)
    for name in tested:
        name.id = _VARIABLE
    return compile(tree, file_name, "exec", dont_inherit=True), bool(tested)


def load(code: CodeType, module: ModuleType, tests_name: bool) -> None:
    """Import the program into *module*; raises what it raises."""
    module.__name__ = "__main__" if tests_name else IMPORTED
    if tests_name:
        module.__dict__[_VARIABLE] = IMPORTED
    exec(code, module.__dict__)
    if tests_name:
        module.__dict__[_VARIABLE] = "__main__"
    else:
        _rename(module)


def _names_tested(tree: ast.Module, lines: list[int]) -> list[ast.Name]:
    """Return where the module's name is looked at in a test; nowhere if ``__name__`` may be another variable."""
    tested: dict[ast.Name, None] = {}
    for node in _nodes(tree, lines):
        if isinstance(node, ast.arg) and node.arg == "__name__":
            return []
        if isinstance(node, ast.Name) and node.id == "__name__" and not isinstance(node.ctx, ast.Load):
            return []
        test = node if isinstance(node, _TESTS) else node.test if isinstance(node, _TESTING) else None
        if test is None and type(node).__name__ == "Match":  # of Python 3.10
            test = node.subject  # type: ignore[attr-defined]
        if test is not None:
            names = (inner for inner in ast.walk(test) if isinstance(inner, ast.Name) and inner.id == "__name__")
            tested.update(dict.fromkeys(names))
    return list(tested)


def _nodes(node: ast.AST, lines: list[int]) -> Iterator[ast.AST]:
    """Yield the nodes below *node*, without the statements that have none of *lines*."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            first = min([child.lineno, *(each.lineno for each in getattr(child, "decorator_list", ()))])
            if not any(first <= line <= (child.end_lineno or line) for line in lines):
                continue
        yield child
        yield from _nodes(child, lines)


def _rename(module: ModuleType) -> None:
    """Let classes and functions that were made in *module* be ``__main__``'s."""
    module.__name__ = "__main__"
    for value in gc.get_objects():  # without what was there before the worker was forked: see `launch.children`
        if type(value) is FunctionType or type(value) is TaskFunction:
            if value.__module__ == IMPORTED:
                value.__module__ = "__main__"
        elif issubclass(type(value), type) and type.__getattribute__(value, "__dict__").get("__module__") == IMPORTED:
            type.__setattr__(value, "__module__", "__main__")  # a metaclass may have ideas of its own
