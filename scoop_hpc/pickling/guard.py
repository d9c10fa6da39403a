"""The guard of a program: what is defined under it, which goes to other workers by value, and what runs under it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from scoop_hpc.pickling.imported import IMPORTED

_BRANCHES = ("body", "orelse", "finalbody", "handlers", "cases")


def guarded_names(tree: ast.Module) -> frozenset[str]:
    """Return the functions and classes that a module defines where it has looked at its name.

    >>> sorted(guarded_names(ast.parse("def f(): 0\\nif __name__ == '__main__':\\n    def g(): 0\\n    class C: 0")))
    ['C', 'g']
    """
    return frozenset(
        name
        for statement in tree.body
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


def under_guard(tree: ast.Module, line: int) -> bool:
    """Return whether what a module does in a *line* is plainly not done where it is imported by another worker.

    >>> under_guard(ast.parse("main()\\nif __name__ == '__main__':\\n    main()"), 3)
    True
    """
    return _kept_back(tree.body, line)


def _kept_back(block: Iterable[ast.stmt], line: int) -> bool:
    for statement in block:
        if statement.lineno <= line <= (statement.end_lineno or line) and _keeps_back(statement, line):
            return True
    return False


def _keeps_back(statement: ast.stmt, line: int) -> bool:
    blocks = {branch: getattr(statement, branch) for branch in _BRANCHES if hasattr(statement, branch)}
    if not blocks:
        return any(_skips(node) for node in ast.walk(statement))
    if isinstance(statement, ast.If):
        value = _value_elsewhere(statement.test)
        skipped = {False: statement.body, True: statement.orelse}.get(bool(value), []) if value is not None else []
        if any(each.lineno <= line <= (each.end_lineno or line) for each in skipped):
            return True
    return any(_kept_back(_statements(inner), line) for inner in blocks.values())


def _statements(block: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Yield the statements of a block, which may be those of several handlers or cases."""
    for node in block:
        if isinstance(node, ast.stmt):
            yield node
        else:
            yield from getattr(node, "body", ())


def _skips(node: ast.AST) -> bool:
    """Return whether an expression leaves out a part of it where the module is imported."""
    if isinstance(node, ast.IfExp):
        return _value_elsewhere(node.test) is not None
    if isinstance(node, ast.BoolOp):
        return _value_elsewhere(node) is not None
    return False


def _value_elsewhere(test: ast.expr) -> bool | None:
    """Return what a *test* is in a worker that imports the module, None if it does not look at that."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        value = _value_elsewhere(test.operand)
        return None if value is None else not value
    if isinstance(test, ast.BoolOp):
        values, decisive = [_value_elsewhere(part) for part in test.values], isinstance(test.op, ast.Or)
        return decisive if decisive in values else None if None in values else not decisive
    if "IS_ORIGIN" in (getattr(test, "id", ""), getattr(test, "attr", "")):  # SCOOP's
        return False
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    if names != {"__name__"}:
        return None
    try:
        code = compile(ast.Expression(test), "", "eval")
        return bool(eval(code, {"__builtins__": {}, "__name__": IMPORTED}))
    except Exception:  # of an odd test, which tells nothing
        return None
