"""Hosts as users name them: in a list, or in a file in SCOOP's format or one of its kin."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from scoop_hpc.errors import HostlistError, InputError
from scoop_hpc.hostlist import expand

MAX_WORKERS = 1 << 16  # of one host: more than any has, less than what takes all memory

_COUNTED = re.compile(r"([^:]+):([0-9]+)")  # an address of IPv6 has more colons


class Host(Struct, frozen=True):
    """A host, and how many workers it shall have; None: nobody said."""

    name: str
    workers: int | None


def read_hosts(text: str) -> list[Host]:
    """Return the hosts of a nodelist whose elements may end in ``:workers``; raise InputError for another text.

    >>> read_hosts("a:4,n[1-2]:3,b")
    [Host(name='a', workers=4), Host(name='n1', workers=3), Host(name='n2', workers=3), Host(name='b', workers=None)]
    """
    hosts = [_read_host(name, f"the list of hosts {text!r}") for name in expand(text)]
    if not hosts:
        raise InputError(f"the list of hosts {text!r} names none: write such as 'a:4,b'")
    return hosts


def read_hostfile(text: str) -> list[Host]:
    """Return the hosts of a hostfile, line by line; raise InputError for a line that is wrong.

    A line is a host or a nodelist, and perhaps a number, in the words of SCOOP and Grid Engine (``host 4``), MPICH and
    Intel MPI (``host:4``), or Open MPI (``host slots=4 max_slots=8``). What else they may say is passed over.

    >>> read_hostfile("n[1-2] slots=4\\nlocalhost:2\\nlocalhost\\n# the end\\n")  # doctest: +NORMALIZE_WHITESPACE
    [Host(name='n1', workers=4), Host(name='n2', workers=4), Host(name='localhost', workers=2),
     Host(name='localhost', workers=None)]
    """
    hosts = []
    for position, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        words = re.sub(r"\s*=\s*", "=", line.partition("#")[0]).split()
        if not words:
            continue
        words[:1] = words[0].split("=", 1)  # host=4
        where = f"the line {line!r}, number {position} of the hostfile"
        try:
            found = [_read_host(name, where) for name in expand(words[0])]
        except HostlistError as error:
            raise HostlistError(f"line {position} of the hostfile: {error}") from error
        workers = _workers_among(words[1:], where)
        hosts += found if workers is None else [Host(host.name, workers) for host in found]
    if not hosts:
        raise InputError("the hostfile names no host: write a line `host workers` for each")
    return hosts


# what may stand behind a host [prrte src/util/hostfile/hostfile_lex.l; mpich, Hydra's and Intel MPI's host files]
_SLOTS = ("slots", "slot", "cpu", "cpus", "count", "np", "ppn", "workers")
_MOST = re.compile(r"(?:max[-_](?:slots?|cpus?|count)|(?:slots?|cpus?|count)[-_]max)")
_OTHERS = frozenset(
    [
        "username",
        "user-name",
        "user_name",
        "user",
        "port",
        "rank",
        "boards",
        "sockets",
        "sockets_per_board",
        "sockets-per-board",
        "cores",
        "cores_per_socket",
        "cores-per-socket",
        "ifname",
        "binding",
        "bindto",
    ]
)


def _workers_among(words: Sequence[str], where: str) -> int | None:
    """Return the number of workers that the *words* behind a host say, None if they say none.

    >>> _workers_among(["max_slots=8", "slots=2"], ""), _workers_among(["max-slots=8"], "")
    (2, None)
    >>> _workers_among(["4", "all.q@n1", "UNDEFINED"], "")  # a line of Grid Engine's
    4
    """
    if words and words[0].isascii() and words[0].isdigit():
        return _read_workers(words[0], where)
    found: dict[str, int] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.lower()
        if name in _SLOTS and equals:
            if not (value.isascii() and value.isdigit()):
                raise _unreadable(where)
            found[name] = _read_workers(value, where)
        elif not equals or not (_MOST.fullmatch(name) or name in _OTHERS):
            raise _unreadable(where)
    if len(set(found.values())) > 1:
        said = " and ".join(f"{name}={number}" for name, number in found.items())
        raise InputError(f"{said} contradict each other in {where}: leave one of them")
    return next(iter(found.values()), None)


def _read_host(text: str, where: str) -> Host:
    match = _COUNTED.fullmatch(text)
    if match is not None:
        return Host(match[1], _read_workers(match[2], where))
    if text.count(":") == 1:
        raise _unreadable(where)
    return Host(text, None)


def _read_workers(text: str, where: str) -> int:
    if len(text) > len(str(MAX_WORKERS)) or not 0 < int(text) <= MAX_WORKERS:
        raise InputError(f"{text!r} workers cannot be, in {where}: write 1 to {MAX_WORKERS}")
    return int(text)


def _unreadable(where: str) -> InputError:
    return InputError(f"cannot read {where}: write a host and its workers, such as `localhost 4` or `localhost:4`")
