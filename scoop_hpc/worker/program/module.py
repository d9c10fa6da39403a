"""The user's program as the module ``__main__``: run by the origin, imported by all other workers.

The names ``__main__`` and ``__mp_main__`` lead to it in every process, so that pickles find its functions. How it is
kept from running everywhere: see `imported`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from msgspec import Struct

from scoop_hpc.errors import ProgramError
from scoop_hpc.pickling import imported, task_exits


class Prepared(Struct, frozen=True):
    """A program that is compiled, and the empty module that is in place for it."""

    source: bytes
    code: CodeType
    module: ModuleType
    tests_name: bool = False  # as far as is known: of a program that is to be imported


def prepare(path: str, arguments: Sequence[str], origin: bool) -> Prepared:
    """Compile the file *path*, to be run by the *origin* or imported by another worker, and put its module in place.

    Raises ProgramError if the file cannot be read or is not Python.
    """
    file_name = os.path.abspath(path)  # as in Python since 3.9
    tests_name = False
    try:
        with open(path, "rb") as file:
            source = file.read()
        if origin:
            code = compile(source, file_name, "exec", dont_inherit=True)
        else:
            code, tests_name = imported.compile_imported(source, file_name)
    except OSError as error:
        raise ProgramError(f"cannot read the program {path!r}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error
    module = ModuleType("__main__")
    module.__file__ = file_name
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    sys.argv = [path, *arguments]
    sys.path[:] = [os.path.dirname(os.path.realpath(path)), *(entry for entry in sys.path if entry)]
    return Prepared(source, code, module, tests_name)


def run(program: Prepared) -> int:
    """Run the program as Python runs a script; return its exit status."""
    try:
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
        trace = error.__traceback__
        assert trace is not None
        sys.excepthook(type(error), error, trace.tb_next)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def load(program: Prepared) -> None:
    """Import the program, for its functions; raises what it raises."""
    imported.load(program.code, program.module, program.tests_name)
