"""Choose the parallel environment of a Grid Engine job: there is no other way to ask for nodes [sge_pe(5)].

Its ``allocation_rule`` decides what a number of slots becomes: so many on each host (an integer), all on one
(``$pe_slots``), or as it comes (``$round_robin``, ``$fill_up``). Only what a rule promises is asked of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.fields.spec import JobSpec

ONE_HOST = "$pe_slots"
SPREAD = "$round_robin"
FILL = "$fill_up"

_LINE = re.compile(r"(\w+)[ \t]+(.*)")


@dataclass(frozen=True, slots=True)
class ParallelEnvironment:
    """A parallel environment. *starts_tasks*: whether a job may start something on its other hosts."""

    name: str
    rule: str
    starts_tasks: bool

    @property
    def per_host(self) -> int:
        """The slots that each host gives, 0 where that is not fixed."""
        return int(self.rule) if self.rule.isdigit() else 0


def parse_environment(text: str) -> ParallelEnvironment:
    """Return what ``qconf -sp NAME`` tells.

    >>> parse_environment("pe_name mpi\\nslots 99\\nallocation_rule $fill_up\\ncontrol_slaves TRUE\\n")
    ParallelEnvironment(name='mpi', rule='$fill_up', starts_tasks=True)
    """
    fields = {match[1]: match[2].strip() for match in _LINE.finditer(text)}
    try:
        return ParallelEnvironment(
            fields["pe_name"], fields["allocation_rule"], fields["control_slaves"].upper() == "TRUE"
        )
    except KeyError as error:
        raise SchedulerError(f"cannot read the parallel environment {text!r}: there is no {error}") from error


def slots(spec: JobSpec) -> int:
    """Return how many slots the job is of: a slot is a CPU."""
    workers = spec.workers or (spec.nodes or 1) * (spec.workers_per_node or 1)
    return workers * spec.cpus_per_worker


def named(wanted: str | None, names: Sequence[str]) -> list[str]:
    """Return those of the site's parallel environments *names* that --pe means, all without it; raise JobSpecError."""
    meant = [name for name in names if wanted is None or fnmatchcase(name, wanted)]
    if not meant:
        known = ", ".join(map(repr, names)) or "none"
        what = "no parallel environment at all" if wanted is None else f"no parallel environment {wanted!r} (--pe)"
        raise JobSpecError(f"there is {what}: the site has {known}; a job of one slot needs none", "--pe")
    return meant


def usable(spec: JobSpec, known: Sequence[ParallelEnvironment]) -> list[ParallelEnvironment]:
    """Return those of *known* that promise what *spec* asks for, the best first; raise JobSpecError if there is none.

    Where neither --workers nor --workers-per-node is given, those of a fixed number of slots per host are meant.
    """
    if spec.workers is None and spec.workers_per_node is None:
        return _whole_hosts(spec, known)
    refusals = {each.name: _refusal(spec, each) for each in known}
    fitting = [each for each in known if refusals[each.name] is None]
    if not fitting and spec.parallel_environment is not None:
        raise JobSpecError(f"--pe {spec.parallel_environment}: {refusals[known[0].name]}", "--pe")
    if not fitting:
        raise JobSpecError(
            f"no parallel environment of the site promises {_said(spec)} ("
            + "; ".join(f"{each.name!r}: {each.rule}{'' if each.starts_tasks else ', no tasks'}" for each in known)
            + f"): {_advice(spec)}",
            "--nodes",
            "--workers",
            "--workers-per-node",
            "--cpus-per-worker",
        )
    return sorted(fitting, key=lambda each: _preference(spec, each))


def _preference(spec: JobSpec, each: ParallelEnvironment) -> int:
    """Return the lower the better: what is fixed, and then what spreads the load."""
    order = (SPREAD, FILL, ONE_HOST) if spec.nodes is None else (ONE_HOST,)
    if each.rule in order:
        return order.index(each.rule) + (spec.cpus_per_worker == 1)
    return 0 if spec.cpus_per_worker > 1 else len(order) + 1


def _refusal(spec: JobSpec, each: ParallelEnvironment) -> str | None:
    """Return why *each* cannot promise what *spec* asks for, None if it can."""
    total, cpus = slots(spec), spec.cpus_per_worker
    one_host = each.rule == ONE_HOST or each.per_host == total
    if not each.starts_tasks and not one_host:
        return f"{each.name!r} lets a job start nothing on its other hosts (control_slaves FALSE): choose another"
    rule = f"the parallel environment {each.name!r} gives slots by the rule {each.rule!r}"
    if spec.nodes is not None:
        if total % spec.nodes == 0 and each.per_host == total // spec.nodes:
            return None
        if spec.nodes == 1 and each.rule == ONE_HOST:
            return None
        return f"{rule}, which does not promise {_said(spec)}: {_advice(spec)}"
    if each.per_host:
        fits = total % each.per_host == 0 and each.per_host % cpus == 0
        multiple = f"{each.per_host // cpus} or a multiple of it" if each.per_host % cpus == 0 else "another number"
        return None if fits else f"{rule}, which does not promise {_said(spec)}: give --workers {multiple}"
    if cpus > 1 and each.rule != ONE_HOST:
        return (
            f"{rule}, which may give one worker's {cpus} CPUs on two hosts: give --nodes and --workers-per-node, or a "
            f"--pe of a rule that is a multiple of {cpus}"
        )
    return None


def _said(spec: JobSpec) -> str:
    if spec.nodes is None:
        each = f" of {spec.cpus_per_worker} CPUs each" if spec.cpus_per_worker > 1 else ""
        return f"{spec.workers} workers{each}"
    total = slots(spec)
    if total % spec.nodes:
        return f"{spec.workers} workers on {spec.nodes} nodes"
    count = total // spec.nodes
    where = "one node" if spec.nodes == 1 else f"each of {spec.nodes} nodes"
    return f"{count} {'slot' if count == 1 else 'slots'} on {where}"


def _advice(spec: JobSpec) -> str:
    workers = spec.workers or (spec.nodes or 1) * (spec.workers_per_node or 1)
    if spec.nodes is None:
        return "ask the site for one with control_slaves TRUE, or give --nodes 1"
    if spec.cpus_per_worker > 1:
        return "change --workers-per-node or --cpus-per-worker to fit a rule"
    return f"give --workers {workers} without --nodes, or change --workers-per-node to fit a rule"


def _whole_hosts(spec: JobSpec, known: Sequence[ParallelEnvironment]) -> list[ParallelEnvironment]:
    """Return the one that gives several slots on each host, if only one does: it stands for whole nodes."""
    fixed = [
        each
        for each in known
        if each.per_host > 1 and each.per_host % spec.cpus_per_worker == 0 and (each.starts_tasks or spec.nodes == 1)
    ]
    if len(fixed) != 1:
        rules = ", ".join(f"{each.name!r} {each.rule}" for each in fixed)
        which = f"several parallel environments of a fixed number do ({rules})" if fixed else "no fixed number is known"
        raise JobSpecError(
            f"Grid Engine gives slots, not nodes, and how many a node has is not clear: {which}: give "
            "--workers-per-node, or --workers without --nodes",
            "--nodes",
        )
    return fixed
