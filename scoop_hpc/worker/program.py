"""The user's program as the module ``__main__``: run by the origin, imported by all other workers.

As in multiprocessing, the module is called ``__main__`` in the origin and ``__mp_main__`` elsewhere, so that its guard
keeps the program from running everywhere; both names lead to it in every process, so that pickles find its functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from scoop_hpc.errors import ProgramError


def prepare(path: str, arguments: Sequence[str], name: str) -> tuple[CodeType, ModuleType]:
    """Compile the file *path*, and put an empty module for it in place; return both.

    Raises ProgramError if the file cannot be read or is not Python.
    """
    file_name = os.path.abspath(path)  # as in Python since 3.9
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), file_name, "exec", dont_inherit=True)
    except OSError as error:
        raise ProgramError(f"cannot read the program {path!r}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error
    module = ModuleType(name)
    module.__file__ = file_name
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    sys.argv = [path, *arguments]
    sys.path[:] = [os.path.dirname(os.path.realpath(path)), *(entry for entry in sys.path if entry)]
    return code, module


def run(code: CodeType, module: ModuleType) -> int:
    """Run the program as Python runs a script; return its exit status."""
    try:
        exec(code, module.__dict__)
    except SystemExit as end:
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


def load(code: CodeType, module: ModuleType) -> None:
    """Import the program, for its functions; raises what it raises."""
    exec(code, module.__dict__)
