"""Hosts as users name them: `a:4,b`, or a file with a line `host workers` for each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from scoop_hpc.errors import InputError
from scoop_hpc.hostlist import expand


@dataclass(frozen=True)
class Host:
    """A host, and how many workers it shall have; None: as many as it has CPUs."""

    name: str
    workers: Optional[int]


def read_hostfile(text: str) -> list[Host]:
    """Return the hosts of a hostfile; raise InputError for a line that is none.

    >>> read_hostfile("n[1-2] slots=4\\nlocalhost\\n# the end\\n")
    [Host(name='n1', workers=4), Host(name='n2', workers=4), Host(name='localhost', workers=None)]
    """
    hosts = []
    for line in text.splitlines():
        words = line.partition("#")[0].replace("=", " ").split(None, 1)
        if not words:
            continue
        number = re.search(r"\d+", words[1]) if words[1:] else None
        if (words[1:] and number is None) or (number is not None and int(number[0]) == 0):
            raise InputError(
                f"cannot read the line {line!r} of the hostfile: write `host workers`, such as `localhost 4`"
            )
        hosts += [Host(name, None if number is None else int(number[0])) for name in expand(words[0])]
    if not hosts:
        raise InputError("the hostfile names no host: write a line `host workers` for each")
    return hosts


def read_hosts(text: str) -> list[Host]:
    """Return the hosts of a list on the command line; raise InputError for one that is none.

    >>> read_hosts("n[1,3]:4,localhost")
    [Host(name='n1', workers=4), Host(name='n3', workers=4), Host(name='localhost', workers=None)]
    """
    hosts = []
    for word in filter(None, re.split(r",(?![^\[]*\])", text)):
        found = re.fullmatch(r"([^:\s]+)(?::0*([1-9][0-9]{0,8}))?", word)
        if found is None:
            raise InputError(f"cannot read {word!r} in the hosts {text!r}: write `host:workers`, such as `n1:4,n2:4`")
        hosts += [Host(name, None if found[2] is None else int(found[2])) for name in expand(found[1])]
    if not hosts:
        raise InputError(f"the hosts {text!r} name no host: write `host:workers`, such as `n1:4,n2:4`")
    return hosts
