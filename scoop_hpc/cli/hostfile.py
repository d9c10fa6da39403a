"""Hosts as SCOOP's users name them: one word each, or a file with a line `host workers` for each."""

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
