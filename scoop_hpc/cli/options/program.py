"""Check a program before it is run or submitted."""

from __future__ import annotations

import errno
import os
import warnings

from scoop_hpc.errors import InputError, ProgramError
from scoop_hpc.files.reading import read_file

MOST_OF_A_PROGRAM = 1 << 28  # bytes: what is larger is no program


def check_program(path: str) -> None:
    """Refuse a program that cannot be read, or is not Python."""
    try:
        content = read_file(path, "the program", most=MOST_OF_A_PROGRAM)  # a pipe could not be read by every worker
    except InputError as error:
        raise ProgramError(str(error)) from error
    if content is None:
        raise ProgramError(f"cannot read the program {path!r}: {os.strerror(errno.ENOENT)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown when the program runs
            compile(content, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error
