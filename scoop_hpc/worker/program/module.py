"""The user's program as the module ``__main__``: run by the origin, imported by all other workers.

The names ``__main__`` and ``__mp_main__`` lead to it in every process, so that pickles find its functions. How it is
kept from running everywhere: see `imported`.

What is named as a module is run as by `python -m` [runpy]: its package is imported first, so that relative imports find
it, and its own name leads to another module, as in Python.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

from msgspec import Struct

from scoop_hpc.errors import ProgramError
from scoop_hpc.files.modules import find_source
from scoop_hpc.pickling import imported, task_exits


class Prepared(Struct, frozen=True):
    """A program that is compiled, and the empty module that is in place for it."""

    source: bytes
    code: CodeType
    module: ModuleType
    tests_name: bool = False  # as far as is known: of a program that is to be imported
    package: str = ""  # to be imported before


def prepare(path: str, arguments: Sequence[str], origin: bool) -> Prepared:
    """Compile the file *path*, to be run by the *origin* or imported by another worker, and put its module in place.

    Raises ProgramError if the file cannot be read or is not Python.
    """
    file_name = os.path.abspath(path)  # as in Python since 3.9
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise ProgramError(f"cannot read the program {path!r}: {error.strerror}") from error
    code, tests_name = _compiled(source, file_name, path, origin)
    _set_up([path, *arguments], os.path.dirname(os.path.realpath(path)))
    return Prepared(source, code, _put_in_place(file_name), tests_name)


def prepare_module(name: str, arguments: Sequence[str], directory: str, origin: bool) -> Prepared:
    """Do as `prepare` for the module *name*, looked for from *directory*, in which the run was begun.

    Raises ProgramError if there is no source of it.
    """
    _set_up(["-m", *arguments], directory)  # as Python has it until the file is known
    found = find_source(name, sys.path)
    code, tests_name = _compiled(found.content, found.file, name, origin)
    sys.argv[0] = found.file
    module = _put_in_place(found.file)
    spec = found.spec
    module.__spec__, module.__loader__, module.__package__ = spec, spec.loader, spec.parent
    module.__cached__ = spec.cached  # type: ignore[attr-defined]
    return Prepared(found.content, code, module, tests_name, spec.parent or "")


def _compiled(source: bytes, file_name: str, path: str, origin: bool) -> tuple[CodeType, bool]:
    """Return the code, and whether the program that is to be imported tests its name."""
    try:
        if origin:
            return compile(source, file_name, "exec", dont_inherit=True), False
        return imported.compile_imported(source, file_name)
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error


def _set_up(argv: Sequence[str], directory: str) -> None:
    """Let the program have its arguments, and find modules in *directory* first."""
    sys.argv = [*argv]
    sys.path[:] = [directory, *(entry for entry in sys.path if entry)]


def _put_in_place(file_name: str) -> ModuleType:
    module = ModuleType("__main__")
    module.__file__ = file_name
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    return module


def _import_package(program: Prepared) -> None:
    """Import the package that the program is in: unlike `importlib`, this leaves no frame of its own in tracebacks."""
    if program.package:
        __import__(program.package)


def _warn_of_two(spec: ModuleSpec | None) -> None:
    """Warn, as `runpy` does, of a module that its package has imported: the program is another one beside it."""
    if spec is not None and spec.name in sys.modules:
        text = (
            f"{spec.name!r} found in sys.modules after import of package {spec.parent!r}, but prior to execution of "
            f"{spec.name!r}; this may result in unpredictable behaviour"
        )
        warnings.warn_explicit(text, RuntimeWarning, spec.origin or spec.name, 1)


def run(program: Prepared, show: Callable[[BaseException], object]) -> int:
    """Run the program as Python runs a script, and *show* what it does not catch; return its exit status."""
    try:
        _import_package(program)
        _warn_of_two(program.module.__spec__)
        exec(program.code, program.module.__dict__)
    except SystemExit as end:
        if not end.code and task_exits.is_marked(end):
            print(
                "scoop-hpc: error: a task called sys.exit(), and its future's result() ended the program",
                file=sys.stderr,
            )
            return 1
        if end.code is None:
            return 0
        if isinstance(end.code, int):
            return end.code & 0xFF
        print(end.code, file=getattr(sys, "stderr", None) or sys.__stderr__)
        return 1
    except BaseException as error:  # shown as Python shows it, then turned into a status
        show(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def load(program: Prepared) -> None:
    """Import the program, for its functions; raises what it raises."""
    _import_package(program)
    imported.load(program.code, program.module, program.tests_name)
