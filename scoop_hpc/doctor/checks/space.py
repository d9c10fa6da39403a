"""Checks of the room for temporary files and for shared memory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, names, size
from scoop_hpc.doctor.facts import NodeFacts, Space
from scoop_hpc.doctor.finding import Finding, Verdict, change, note, ok
from scoop_hpc.transport.directory import ROOM

_SHM = "/dev/shm"
_LITTLE_SHM = 65 << 20  # bytes: docker's default is 64 MiB
_LITTLE = 10 << 20  # bytes, of TMPDIR: sockets need next to nothing, programs do


def check(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Return what the nodes' /dev/shm and TMPDIR are worth, and whether arrays can be shared."""
    findings = []
    for position in range(max((len(node.spaces) for node in nodes), default=0)):
        for (verdict, text, advice), same in alike([(node, _judge(node.spaces[position])) for node in nodes]):
            smallest = min(same, key=lambda node: node.spaces[position].free).spaces[position]
            room = f": {size(smallest.free)} of {size(smallest.total)} are free" if smallest.total else ""
            findings.append(Finding("space", verdict, f"{names(same)}: {text}{room}", advice))
    for shares, same in alike([(node, node.shares_memory) for node in nodes]):
        if shares:
            findings.append(ok("memory", f"{names(same)}: large arrays go from worker to worker without a copy"))
        else:
            findings.append(note("memory", f"{names(same)}: large arrays are copied from worker to worker"))
    return findings


def _judge(space: Space) -> tuple[Verdict, str, str]:
    """Return how a directory is to be taken, and why: the same for all nodes where it is alike."""
    if space.path == _SHM:
        return _judge_shm(space)
    if not space.total or not space.is_writable:
        what = "cannot be written to" if space.total else "is not there"
        return _of(change("", f"TMPDIR {space.path!r} {what}", "let TMPDIR name a directory on the node's own disk"))
    if space.free < _LITTLE:
        return _of(change("", f"TMPDIR {space.path!r} is full", "make room in it, or let TMPDIR name another"))
    if len(os.fsencode(space.path)) > ROOM:
        return _of(note("", f"TMPDIR {space.path!r} is too long for sockets, which go to /tmp"))
    return _of(ok("", f"TMPDIR {space.path!r}"))


def _judge_shm(space: Space) -> tuple[Verdict, str, str]:
    what = "scoop_hpc needs none, but MPI and multiprocessing do"
    if not space.total:
        return _of(note("", f"there is no {_SHM}: {what}"))
    if space.total < _LITTLE_SHM:
        return _of(note("", f"{_SHM} is small: {what}"))
    return _of(ok("", _SHM))


def _of(finding: Finding) -> tuple[Verdict, str, str]:
    return finding.verdict, finding.text, finding.advice
