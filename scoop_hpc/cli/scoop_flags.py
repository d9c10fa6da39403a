"""SCOOP's flags: each becomes an option of `run`, or is refused with the reason."""

from __future__ import annotations

import getopt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scoop_hpc.cli.hostfile import Host, read_hostfile
from scoop_hpc.errors import InputError

USAGE = """\
Usage: python -m scoop_hpc [FLAGS] PROGRAM [ARGUMENTS]

Run a program that was written for SCOOP, with SCOOP's flags. For all other commands: python -m scoop_hpc --help

  -n NUMBER                  workers in all
  --host, --hosts HOST...    this machine, once for each worker; in a job, some of its nodes
  --hostfile FILE            the same, with a line `host workers` for each
  --launcher ssh             start workers on other hosts, too, by ssh: for grids without a scheduler
  -p, --path DIRECTORY       where to run
  --nice LEVEL               niceness of the workers
  -v, --verbose              scoop.logger shows debug messages as well
  -q, --quiet                scoop.logger shows warnings and errors only
  --log FILE                 scoop.logger writes to FILE
  --pythonpath PATH          put before PYTHONPATH
  --prolog FILE              a shell script to source first
  --python-interpreter FILE  the Python to run with
  --profile                  each worker writes what cProfile finds to the directory profile
  -b 1, --backend ZMQ        as it always is
"""

_SHORT = {"-b": "-b", "-n": "-n", "-p": "--path", "-q": "--quiet", "-v": "--verbose", "-h": "--help"}
_SYNONYMS = {"--hosts": "--host", **_SHORT}
_WITH_VALUE = (
    *("host=", "hosts=", "hostfile=", "path=", "nice=", "log=", "pythonpath=", "prolog=", "python-interpreter="),
    *("backend=", "launcher=", "ssh-executable=", "external-hostname=", "broker-hostname="),
)
_WITHOUT = ("verbose", "quiet", "profile", "help", "tunnel", "rsh", "debug")
_OPTIONS = {"--nice": "--nice", "--log": "--log-file"}  # that `run` has as well
_NODES_MEET = "nodes find each other by themselves; `scoop-hpc run --interface NAME` chooses the network"
_REFUSED = {
    "--tunnel": "no ssh is used, and what travels between nodes is encrypted anyway",
    "--rsh": "no rsh is used: on other nodes, the scheduler starts the workers, or --launcher ssh",
    "--ssh-executable": "on other nodes, the scheduler starts the workers, or the ssh on PATH with --launcher ssh",
    "--external-hostname": _NODES_MEET,
    "--broker-hostname": _NODES_MEET,
    "--debug": "there is no debug directory: -v shows more of the log, --profile where the time goes",
}
_ONLY = {  # flags with the one value that they may have
    "-b": ("1", "every node has one broker, always"),
    "--backend": ("ZMQ", "there is no other"),
    "--launcher": ("ssh", "all others are chosen as fits; `scoop-hpc run --launcher` forces one"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The meaning of a command line: words for `run`, and what to do before; or help, if there are no words."""

    run: tuple[str, ...] = ()
    directory: str = ""
    pythonpath: str = ""
    prolog: str = ""
    interpreter: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts that the meaning of a command line depends on."""

    cpus: int
    in_job: bool
    is_here: Callable[[str], bool]  # whether a host is this machine
    is_file: Callable[[str], bool]
    read: Callable[[str, bool], str]  # a hostfile, perhaps one for ssh


def read_flags(words: Sequence[str], around: Surroundings) -> Asked:
    """Return what *words* ask for; raise InputError for what is wrong, or cannot be had here."""
    flags, program = _split(words, around.is_file)
    for name, value in flags:
        _check(name, value)
    given = dict(flags)
    if "--help" in given:
        return Asked()
    if not program:
        raise InputError("which PROGRAM? A pool without one, SCOOP's headless mode, does not exist here")
    if "--host" in given and "--hostfile" in given:
        raise InputError("--host and --hostfile exclude each other: give one")
    ssh = "--launcher" in given
    hosts = [Host(value, 1) for name, value in flags if name == "--host"]
    if "--hostfile" in given:
        hosts = read_hostfile(around.read(given["--hostfile"], ssh))
    if not ssh and not around.in_job:
        _check_hosts(hosts, around)
    options = ["--launcher=ssh"] if ssh else []
    workers: str | int = given.get("-n", 0)
    if ssh or around.in_job:  # `run` knows which of the job's nodes they are
        options += [f"--hosts={','.join(map(_with_workers, hosts))}"] if hosts else []
    else:
        workers = workers or sum(around.cpus if host.workers is None else host.workers for host in hosts)
    options += [f"--workers={workers}"] if workers else []
    options += [f"{option}={given[name]}" for name, option in _OPTIONS.items() if name in given]
    if "--profile" in given:
        options.append("--profile")
    if "--quiet" in given or "--verbose" in given:
        options.append("--log-level=" + ("warning" if "--quiet" in given else "debug"))
    return Asked(
        run=(*options, "--", *program),
        directory=given.get("--path", ""),
        pythonpath=given.get("--pythonpath", ""),
        prolog=given.get("--prolog", ""),
        interpreter=given.get("--python-interpreter", ""),
    )


def _split(words: Sequence[str], is_file: Callable[[str], bool]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the flags, by their long names, and the program with its arguments.

    A list of hosts goes on to the next flag, or to the program: SCOOP's own parser took the program for a host.
    """
    flags: list[tuple[str, str]] = []
    rest = list(words)
    while True:
        before = len(rest)
        try:
            found, left = getopt.getopt(rest, "b:n:p:qvh", [*_WITH_VALUE, *_WITHOUT])
        except getopt.GetoptError as error:
            raise InputError(f"{error}: see python -m scoop_hpc -n 1 --help") from None
        flags += [(_SYNONYMS.get(name, name), value) for name, value in found]
        dashes = before > len(left) and rest[before - len(left) - 1 : before - len(left)] == ["--"]
        rest = left
        if dashes or not found or flags[-1][0] != "--host":
            return flags, rest
        while rest and not rest[0].startswith("-") and not (rest[0].endswith(".py") or is_file(rest[0])):
            flags.append(("--host", rest.pop(0)))
        if not rest or not rest[0].startswith("-"):
            return flags, rest


def _check(name: str, value: str) -> None:
    if name in _REFUSED:
        raise InputError(f"{name} is not for here: {_REFUSED[name]}; leave it out")
    only, reason = _ONLY.get(name, (value, ""))
    if value != only:
        raise InputError(f"{name} {value} is not for here: {reason}; leave it out")


def _with_workers(host: Host) -> str:
    return host.name if host.workers is None else f"{host.name}:{host.workers}"


def _check_hosts(hosts: Sequence[Host], around: Surroundings) -> None:
    """Refuse hosts that the run would not be on: ssh starts nothing there unless it is asked for."""
    strangers = sorted({host.name for host in hosts if not around.is_here(host.name)})
    if strangers:
        raise InputError(
            f"cannot start workers on {', '.join(strangers)}: add --launcher ssh for hosts without a scheduler; "
            "`scoop-hpc submit --nodes N` gets nodes from one, and inside a job all are used without --host"
        )
