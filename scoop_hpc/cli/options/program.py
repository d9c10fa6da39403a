"""Check a program before it is run or submitted."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import click

from scoop_hpc.errors import InputError, ProgramError
from scoop_hpc.files.modules import ModuleSource, find_source
from scoop_hpc.files.reading import read_file

MOST_OF_A_PROGRAM = 1 << 28  # bytes: what is larger is no program

# what comes after PROGRAM is the program's: as of python, -m ends the options, but for those between it and the name
module_option = click.option(
    "-m", "is_module", is_flag=True, help="PROGRAM is the name of a module, or of a package, to run as python -m does."
)


def check_program(path: str) -> None:
    """Refuse a program that cannot be read, or is not Python."""
    try:
        content = read_file(path, "the program", most=MOST_OF_A_PROGRAM)  # a pipe could not be read by every worker
    except InputError as error:
        raise ProgramError(str(error)) from error
    if content is None:
        raise ProgramError(f"cannot read the program {path!r}: {os.strerror(errno.ENOENT)}")
    _check_python(content, path)


def check_module(name: str, is_elsewhere: bool = False, directory: str = "") -> None:
    """Refuse a module that Python would not find from here, or from *directory*, or whose source is not Python.

    Where the job's Python, or its modules, may be others (*is_elsewhere*), one that is not found is left to the run.
    """
    try:
        found = find_module(name, directory)
    except ProgramError:
        if is_elsewhere:
            return
        raise
    _check_python(found.content, found.file)


def check_named(program: str | None, is_module: bool, options: Mapping[str, Any]) -> None:
    """Refuse a *program*, or a module, that is named for its settings alone, as submit would with these *options*."""
    if is_module and program is None:
        raise click.UsageError("-m is for a PROGRAM that is a module: name it")
    if program is not None and is_module:
        check_module(program, is_elsewhere(options), options.get("chdir") or "")
    elif program is not None:
        check_program(program)


def is_elsewhere(options: Mapping[str, Any]) -> bool:
    """Return whether the Python of a job with these *options* may be another one, with modules of its own."""
    return any(options.get(name) is not None for name in ("venv", "conda", "container"))


def file_of(program: str | None, is_module: bool, directory: str = "") -> str | None:
    """Return the file whose ``#SCOOP`` lines count, None if there is none: what is wrong with it is said later."""
    if program is None or not is_module:
        return program
    try:
        return find_module(program, directory).file
    except ProgramError:
        return None


def find_module(name: str, directory: str = "") -> ModuleSource:
    """Return the source of the module *name*, as Python finds it from *directory*; raise ProgramError."""
    try:
        here = os.path.abspath(directory)
    except OSError as error:
        raise ProgramError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    return find_source(name, [here, *(entry for entry in sys.path if entry)])


def _check_python(content: bytes, path: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown when the program runs
            compile(content, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error
