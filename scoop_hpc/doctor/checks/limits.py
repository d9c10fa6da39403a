"""Checks of ulimit(1) and control groups: whether a node's workers may open their files and start their threads."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, names, size
from scoop_hpc.doctor.facts import NodeFacts
from scoop_hpc.doctor.finding import Finding, change, note, ok
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.transport.limits import files_of_agent, processes_of_agent

_TOPIC = "limits"
_MUCH_LOCKED = 1 << 30  # bytes
_FEWER = "or ask for fewer workers by --workers-per-node"


def check(nodes: Sequence[NodeFacts], spec: JobSpec) -> list[Finding]:
    """Return which limits would keep the workers that *spec* asks for from running on *nodes*."""
    found = alike([(node, _check(node, spec)) for node in nodes])
    return [
        Finding(each.topic, each.verdict, f"{names(same)}: {each.text}", each.advice)
        for group, same in found
        for each in group
    ]


def _check(node: NodeFacts, spec: JobSpec) -> list[Finding]:
    workers = spec.workers_per_node or max(1, node.cpus // spec.cpus_per_worker)
    nodes = spec.nodes or 1
    files, processes = files_of_agent(workers + 1, nodes), processes_of_agent(workers + 1)  # and the origin
    what = f"{_count(workers, 'worker')} on {'one node' if nodes == 1 else f'each of {nodes} nodes'}"
    findings = [*_check_files(node, files, what), *_check_processes(node, processes, what)]
    if not findings:
        findings = [ok(_TOPIC, f"enough for {what}: {_said(node)}")]
    return [*findings, *_check_locked(node)]


def _check_files(node: NodeFacts, needed: int, what: str) -> list[Finding]:
    most = node.limits.files.hard
    if most is None or most >= needed:
        return []
    text = f"{what}: {needed} open files are needed, ulimit -Hn is {most}"
    return [change(_TOPIC, text, f"ask the site's staff for nofile {needed} in limits.conf, {_FEWER}")]


def _check_processes(node: NodeFacts, needed: int, what: str) -> list[Finding]:
    limits, findings = node.limits, []
    most = None if limits.is_root else limits.processes.soft
    if most is not None and most < needed + limits.threads:
        taken = f"ulimit -u is {most}, of which {limits.threads} are taken"
        text = f"{what}: {needed} processes and threads are needed, {taken}"
        findings.append(change(_TOPIC, text, f"raise ulimit -u to {needed + limits.threads}, {_FEWER}"))
    if limits.pids is not None and limits.pids < needed:
        text = f"{what}: {needed} processes and threads are needed, pids.max of the control group is {limits.pids}"
        findings.append(change(_TOPIC, text, f"ask the site's staff for a larger one, {_FEWER}"))
    return findings


def _check_locked(node: NodeFacts) -> list[Finding]:
    """InfiniBand's libraries lock the memory that they send from; scoop_hpc itself sends by TCP."""
    most = node.limits.locked.soft
    if not node.tools.has_infiniband or most is None or most >= _MUCH_LOCKED:
        return []
    return [note(_TOPIC, f"ulimit -l is {size(most)}: MPI over InfiniBand wants it unlimited, scoop_hpc does not care")]


def _said(node: NodeFacts) -> str:
    limits = node.limits
    locked = "unlimited" if limits.locked.soft is None else size(limits.locked.soft)
    return (
        f"open files {_or_unlimited(limits.files.hard)}, processes {_or_unlimited(limits.processes.soft)}, "
        f"locked memory {locked}"
    )


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _or_unlimited(value: int | None) -> str:
    return "unlimited" if value is None else str(value)
