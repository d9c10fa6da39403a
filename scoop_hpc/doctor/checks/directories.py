"""Checks of the directories that all nodes have to share: the program's, and the one for state."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, names
from scoop_hpc.doctor.facts import Marked, NodeFacts
from scoop_hpc.doctor.finding import Finding, change, ok

_TOPIC = "directories"
_MOVE = "work in one that all nodes see and give it by --chdir, or let SCOOP_HPC_STATE name one for the state"


def check_here(here: NodeFacts) -> list[Finding]:
    """Return which directories are to be shared, and whether they can be written to here."""
    findings = []
    for each in here.marked:
        if not each.is_there:
            findings.append(change(_TOPIC, f"there is no {each.path!r}", "make it, or name another"))
        elif not each.is_writable:
            findings.append(change(_TOPIC, f"{each.path!r} is not yours to write to", _MOVE))
        else:
            findings.append(ok(_TOPIC, f"{each.path!r} is there and writable"))
    return findings


def check_nodes(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Return which nodes see the same directories as the login node, and which do not."""
    findings = []
    for position in range(max((len(node.marked) for node in nodes), default=0)):
        for marked, same in alike([(node, node.marked[position]) for node in nodes]):
            findings.append(_check(marked, names(same)))
    return findings


def _check(marked: Marked, where: str) -> Finding:
    if not marked.is_there:
        return change(_TOPIC, f"{where}: there is no {marked.path!r}", _MOVE)
    if not marked.has_mark:
        text = f"{where}: {marked.path!r} is another directory than here: what is written here is not seen there"
        return change(_TOPIC, text, _MOVE)
    if not marked.is_writable:
        return change(_TOPIC, f"{where}: {marked.path!r} cannot be written to", _MOVE)
    return ok(_TOPIC, f"{where}: {marked.path!r} is the same as here, and writable")
