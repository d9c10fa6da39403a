"""Hosts as users name them: in a list, or in a file in SCOOP's format or one of its kin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from scoop_hpc.errors import HostlistError, InputError
from scoop_hpc.hostlist import expand

MAX_WORKERS = 1 << 16  # of one host: more than any has, less than what takes all memory

_COUNTED = re.compile(r"([^:]+):([0-9]+)")  # an address of IPv6 has more colons


@dataclass(frozen=True)
class Host:
    """A host, and how many workers it shall have; None: nobody said."""

    name: str
    workers: Optional[int]


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
    """Return the hosts of a hostfile, line by line; raise InputError for a line that is none.

    A line is a host or a nodelist, and perhaps a number: ``host 4``, ``host:4``, ``host slots=4``.

    >>> read_hostfile("n[1-2] slots=4\\nlocalhost:2\\nlocalhost\\n# the end\\n")  # doctest: +NORMALIZE_WHITESPACE
    [Host(name='n1', workers=4), Host(name='n2', workers=4), Host(name='localhost', workers=2),
     Host(name='localhost', workers=None)]
    """
    hosts = []
    for position, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace("=", " ").split(None, 1)
        if not words:
            continue
        where = f"the line {line!r}, number {position} of the hostfile"
        try:
            found = [_read_host(name, where) for name in expand(words[0])]
        except HostlistError as error:
            raise HostlistError(f"line {position} of the hostfile: {error}") from error
        if words[1:]:
            number = re.search(r"[0-9]+", words[1])
            if number is None:
                raise _unreadable(where)
            workers = _read_workers(number[0], where)
            found = [Host(host.name, workers) for host in found]
        hosts += found
    if not hosts:
        raise InputError("the hostfile names no host: write a line `host workers` for each")
    return hosts


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
