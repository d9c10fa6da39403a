"""`python -m scoop_hpc` in SCOOP's style: see to what its flags ask for, then be `run`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from scoop_hpc.cli.allocated import read_file
from scoop_hpc.cli.run import run
from scoop_hpc.cli.scoop_flags import USAGE, Asked, Surroundings, read_flags
from scoop_hpc.cli.start import is_here
from scoop_hpc.cpus import count_cpus
from scoop_hpc.errors import InputError
from scoop_hpc.files.reading import TRUST, read_text
from scoop_hpc.schedulers.readers import read_allocation

_SOURCE = '. "$1" || { echo "scoop-hpc: error: the prolog $1 failed" >&2; exit 2; }; shift; exec "$@"'


def main(words: Sequence[str]) -> None:
    """Run what *words* ask for; return only if that is help."""
    allocation = read_allocation(os.environ, read_file)  # `run` says it where there is a choice
    around = Surroundings(
        cpus=count_cpus(),
        in_job=allocation is not None,
        is_here=is_here,
        is_file=os.path.isfile,
        read=_read_hostfile,
    )
    asked = read_flags(words, around)
    if not asked.run:
        print(USAGE, end="")
        return
    # SCOOP's flags are about what programs say by scoop.logger
    asked = dataclasses.replace(asked, run=("--only-logger", *asked.run))
    command = _command(asked)
    if asked.pythonpath:
        entries = [*asked.pythonpath.split(os.pathsep), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    if asked.directory:
        try:
            os.chdir(asked.directory)
        except OSError as error:
            raise InputError(f"cannot enter --path {asked.directory!r}: {error.strerror}") from error
    _check_program(asked)
    if command:
        os.execv(command[0], command)
    run.main(list(asked.run), prog_name="python -m scoop_hpc", standalone_mode=False)


def _read_hostfile(path: str, ssh: bool) -> str:
    """Return the text of a hostfile; nobody else may say where *ssh* goes."""
    return read_text(path, "the hostfile", os.environ.get(TRUST, "") if ssh else None)


def _command(asked: Asked) -> list[str]:
    """Return the command that takes the place of this process; empty if it may go on."""
    interpreter = _interpreter(asked.interpreter) if asked.interpreter else sys.executable
    command = [interpreter, "-m", "scoop_hpc", "run", *asked.run]
    if asked.prolog:
        prolog = os.path.abspath(asked.prolog)
        if not os.path.isfile(prolog) or not os.access(prolog, os.R_OK):
            raise InputError(f"cannot read the prolog {asked.prolog!r}: name a shell script")
        shell = shutil.which("bash") or "/bin/sh"  # bash for its `source`: SCOOP's prologs are written for it
        return [shell, "-c", _SOURCE, "prolog", prolog, *command]
    # what is searched for modules is read from the environment when an interpreter starts
    return command if asked.interpreter or asked.pythonpath else []


def _interpreter(name: str) -> str:
    """Return the path of a Python that can do this."""
    path = shutil.which(name)
    if path is None:
        raise InputError(f"there is no program {name!r} for --python-interpreter: name a Python")
    path = os.path.abspath(path)  # of a link, not of what it leads to: that makes a virtual environment
    test = subprocess.run([path, "-m", "scoop_hpc", "--version"], capture_output=True, cwd="/")
    if test.returncode or not test.stdout.startswith(b"scoop-hpc"):
        raise InputError(f"{name!r} is no Python with scoop_hpc: install it there, with `{name} -m pip install`")
    return path


def _check_program(asked: Asked) -> None:
    program = asked.run[asked.run.index("--") + 1]
    if not os.path.exists(program) and not os.path.splitext(program)[1]:
        raise InputError(f"{program!r} is neither a program nor a command: see python -m scoop_hpc --help")
