"""Grid Engine's version, and its cluster queues as ``qstat -F h_rt`` tells of their instances [qstat(1)]."""

from __future__ import annotations

import re
from dataclasses import replace

from scoop_hpc.schedulers.answers import Completed, find_version
from scoop_hpc.schedulers.queues import Queue

_INSTANCE = re.compile(r"([^\s@]+)@\S+\s+[A-Z]*\s+[0-9]+/[0-9]+/[0-9]+\s+\S+\s+\S+\s*(\S*)")
_H_RT = re.compile(r"\s+\w+:h_rt=(\S+)")
# states: unknown, error, disabled, configuration ambiguous, orphaned; an alarm is what a host has that is busy
_CLOSED = frozenset("uEdDco")
_VERSION = re.compile(r"^\s*((?:(?:OGS/|[SUAO])?GE|[OG]CS)\s+\S+)", re.MULTILINE)


def read_version(done: Completed) -> str:
    """Return what ``qstat -help`` began with; raise SchedulerError.

    >>> read_version(Completed(("qstat",), 0, "SGE 8.1.9\\nusage: qstat [options]", ""))
    'Grid Engine (SGE 8.1.9)'
    """
    return f"Grid Engine ({find_version(done, _VERSION)})"


def read(text: str) -> list[Queue]:
    """Return the queues in qstat's answer: a line for each instance, followed by its limit on the walltime.

    A queue's limit is the largest of its instances'. Lines of jobs may follow; they are none of these.

    >>> read('''queuename                      qtype resv/used/tot. load_avg arch          states
    ... ---------------------------------------------------------------------------------
    ... all.q@node001                  BIP   0/0/4          0.41     lx-amd64
    ...     qf:h_rt=24:00:00
    ... ---------------------------------------------------------------------------------
    ... all.q@node002                  BIP   0/0/4          -NA-     -NA-          au
    ...     qf:h_rt=24:00:00
    ... ''')
    [Queue(name='all.q', is_open=True, is_default=False, nodes=1, most_nodes=None, walltime=86400)]
    """
    limits: dict[str, list[int | None]] = {}
    usable: dict[str, int] = {}
    name = ""
    for line in text.splitlines():
        if (instance := _INSTANCE.fullmatch(line.rstrip())) is not None:
            name = instance[1]
            usable[name] = usable.get(name, 0) + (not _CLOSED.intersection(instance[2]))
        elif name and (limit := _H_RT.fullmatch(line.rstrip())) is not None:
            limits.setdefault(name, []).append(_seconds(limit[1]))
    queues = [Queue(each, is_open=count > 0, nodes=count) for each, count in usable.items()]
    return [replace(queue, walltime=_largest(limits.get(queue.name, []))) for queue in queues]


def _largest(limits: list[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _seconds(text: str) -> int | None:
    """Return the seconds in ``H:M:S`` or a plain number, None for what has no end [sge_types(5), time_specifier].

    >>> _seconds("24:00:00"), _seconds("86400.000000"), _seconds("infinity")
    (86400, 86400, None)
    """
    parts = text.split(":")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        hours, minutes, seconds = map(int, parts)
        return 3600 * hours + 60 * minutes + seconds
    whole = text.partition(".")[0]
    return int(whole) if whole.isdigit() else None
