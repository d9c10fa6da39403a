"""Find the mpiexec that starts agents: the user's own, or that of the MPI which mpi4py has loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from scoop_hpc.errors import InputError
from scoop_hpc.interpreter import python_argv
from scoop_hpc.launchers.mpi import DIALECTS, Mpiexec, dialect_of, is_whole, split
from scoop_hpc.mpi.report import Report
from scoop_hpc.mpi.world import clean_environ

_PATIENCE = 30.0  # seconds for what answers in 0.2
_ABOVE = 4  # folders that a bin may be above the library's: /usr/lib/x86_64-linux-gnu/openmpi/lib

Ask = Callable[[Sequence[str]], str]  # runs a command; returns what it prints, "" where it fails
IsProgram = Callable[[str], bool]


def find_mpiexec(command: str, environ: Mapping[str, str]) -> Mpiexec:
    """Return what the *command* of the user is, or which one there is if it is empty; raise InputError."""

    def ask(argv: Sequence[str]) -> str:
        return _output(argv, clean_environ(environ))

    if command:
        return read_command(command, ask)
    return of_library(_loaded(ask), ask, lambda path: os.access(path, os.X_OK), os.get_exec_path(dict(environ)))


def read_command(command: str, ask: Ask) -> Mpiexec:
    """Return what the user's *command* is: a whole one, or one to which we add what its kind needs."""
    words = split(command)
    if is_whole(command):
        return Mpiexec(words)
    if shutil.which(words[0]) is None:
        raise InputError(f"--mpiexec {command!r}: there is no {words[0]!r} here", "--mpiexec")
    dialect = dialect_of(ask([words[0], "--version"]))
    if dialect is None:
        raise InputError(
            f"--mpiexec {command!r} is none of {', '.join(known.name for known in DIALECTS)}: write the whole command, "
            "with {nodes} for their number, that starts one process on each, as in 'aprun -n {nodes} -N 1 -cc none'",
            "--mpiexec",
        )
    return Mpiexec(words, dialect)


def of_library(report: Report, ask: Ask, is_program: IsProgram, path: Sequence[str]) -> Mpiexec:
    """Return the mpiexec of the MPI in *report*: above its library, or else in the directories *path*."""
    dialect = next((known for known in DIALECTS if known.name in _plain(report.library.name)), None)
    programs = ("mpiexec.hydra", "mpiexec") if dialect is None else dialect.programs
    for folder in (*_bins(report.path), *path):
        for program in programs:
            found = os.path.join(folder, program)
            if not is_program(found):
                continue
            spoken = dialect_of(ask([found, "--version"]))
            if spoken is not None and (dialect is None or spoken is dialect):
                return Mpiexec((found,), spoken)
    raise InputError(
        f"mpi4py has loaded {report.library.name} ({report.path}), of which there is no mpiexec beside it or on PATH: "
        "name it by --mpiexec"
    )


def _bins(library: str) -> Iterator[str]:
    """Return where the programs of a *library* may be: in a bin beside it, or above."""
    for path in dict.fromkeys((library, os.path.realpath(library))):
        folder = os.path.dirname(path)
        for _ in range(_ABOVE):
            folder = os.path.dirname(folder)
            yield os.path.join(folder, "bin")


def _plain(name: str) -> str:
    return name.replace("Intel(R) MPI", "Intel MPI")


def _loaded(ask: Ask) -> Report:
    text = ask(python_argv("scoop_hpc.mpi.report"))
    try:
        report = msgspec.json.decode(text, type=Report)
    except msgspec.DecodeError as error:
        raise InputError(f"cannot tell which MPI mpi4py loads: it printed {text!r}; name one by --mpiexec") from error
    if report.is_missing:
        raise InputError(
            f"launcher 'mpi' needs mpi4py: pip install scoop_hpc[mpi], or --mpiexec names a command ({report.error})"
        )
    if report.error:
        raise InputError(
            f"mpi4py finds no MPI library ({report.error}): load the module of one, let MPI4PY_LIBMPI name its "
            "libmpi.so, pip install mpich, or name a command by --mpiexec"
        )
    return report


def _output(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
