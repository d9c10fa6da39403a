"""What a program defines under its guard: other workers do not have it, so it goes to them by value."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_BRANCHES = ("body", "orelse", "finalbody", "handlers")


def guarded_names(source: bytes) -> frozenset[str]:
    """Return the functions and classes that a module defines where it has looked at its name.

    >>> sorted(guarded_names(b"def f(): pass\\nif __name__ == '__main__':\\n    def g(): pass\\n    class C: pass"))
    ['C', 'g']
    """
    return frozenset(
        name
        for statement in ast.parse(source).body
        if isinstance(statement, ast.If) and _looks_at_name(statement.test)
        for name in _defined(statement)
    )


def _looks_at_name(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _defined(statement: ast.AST) -> Iterator[str]:
    """Yield the names of what is defined in the blocks of *statement*, but not what is inside of that."""
    for branch in _BRANCHES:
        for inner in getattr(statement, branch, ()):
            if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield inner.name
            else:
                yield from _defined(inner)
