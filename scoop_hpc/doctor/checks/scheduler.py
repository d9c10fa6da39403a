"""Checks of the scheduler: which one, whether it answers, and the queues that a job could go to."""

from __future__ import annotations

from dataclasses import dataclass

from scoop_hpc.doctor.finding import Finding, change, note, ok
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.fields.units import format_walltime
from scoop_hpc.schedulers.queues import Queue

_SHOWN = 8  # queues in one line


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """What is known of the scheduler that jobs go to."""

    name: str
    missing: tuple[str, ...] = ()  # its commands that are not on PATH
    others: tuple[str, ...] = ()  # schedulers that are here as well
    version: str = ""
    trouble: str = ""  # why there is no version
    queues: tuple[Queue, ...] | None = None  # None: it has none, or did not tell
    queue_trouble: str = ""  # why it did not


def check(facts: SchedulerFacts, spec: JobSpec) -> list[Finding]:
    """Return what there is to say of the scheduler, and of the queue that *spec* would go to."""
    findings = [_check_presence(facts)]
    if facts.others:
        others = " and ".join(facts.others)
        findings.append(note("scheduler", f"{others} is here as well: --scheduler chooses"))
    if facts.queue_trouble and not facts.trouble:  # else it has the same cause
        findings.append(
            change("queues", facts.queue_trouble, "see whether the scheduler is well, or ask the site's staff")
        )
    if facts.queues is not None:
        findings += _check_queues(facts.queues, spec)
    return findings


def _check_presence(facts: SchedulerFacts) -> Finding:
    if facts.missing:
        missing = ", ".join(facts.missing)
        return change(
            "scheduler",
            f"{facts.name}: {missing} not found on PATH",
            "load the site's module for it, or name another by --scheduler",
        )
    if facts.name == "local":
        why = "" if facts.others else "no other is found here: "
        return note("scheduler", f"{why}jobs run on this machine, by the built-in scheduler 'local'")
    if facts.trouble:
        return change(
            "scheduler", f"{facts.name}: {facts.trouble}", "see whether the scheduler is well, or ask the site's staff"
        )
    return ok("scheduler", facts.version or facts.name)


def _check_queues(queues: tuple[Queue, ...], spec: JobSpec) -> list[Finding]:
    opened = [queue for queue in queues if queue.is_open and queue.nodes != 0]
    if not opened:
        return [
            change(
                "queues",
                f"none of {len(queues)} queues that you may use takes jobs now" if queues else "you may use no queue",
                "ask the site's staff for access",
            )
        ]
    shown = "; ".join(map(_said, opened[:_SHOWN]))
    more = f"; and {len(opened) - _SHOWN} more" if len(opened) > _SHOWN else ""
    findings = [ok("queues", f"you may use {shown}{more}")]
    closed = [queue.name for queue in queues if queue not in opened]
    if closed:
        findings.append(note("queues", f"closed, or without a node that is up: {', '.join(closed)}"))
    if spec.queue is not None:
        findings += _check_queue(spec.queue, opened, spec)
    elif not any(_fits(queue, spec) for queue in opened):
        findings.append(_too_much("no queue", max(opened, key=_generosity), spec))
    return findings


def _check_queue(name: str, opened: list[Queue], spec: JobSpec) -> list[Finding]:
    """Return what keeps *spec* from one of the queues that it names; nothing if one of them fits."""
    meant = [queue for queue in opened if queue.name in name.split(",")]
    if not meant:
        known = ", ".join(queue.name for queue in opened)
        return [change("queues", f"there is no queue {name!r} for you", f"choose by --queue one of {known}")]
    return [] if any(_fits(queue, spec) for queue in meant) else [_too_much("the queue", meant[0], spec)]


def _generosity(queue: Queue) -> tuple[float, float]:
    nodes = queue.most_nodes or queue.nodes
    return (float("inf") if nodes is None else nodes, queue.walltime or float("inf"))


def _fits(queue: Queue, spec: JobSpec) -> bool:
    return not _excess(queue, spec)


def _excess(queue: Queue, spec: JobSpec) -> list[tuple[str, str, str]]:
    """Return what *spec* asks for that *queue* has not: the limit, the option, and what to give instead."""
    found = []
    nodes = spec.nodes or 1
    most = min((each for each in (queue.nodes, queue.most_nodes) if each is not None), default=None)
    if most is not None and nodes > most:
        found.append((f"{most} nodes", f"--nodes {nodes}", f"--nodes {most}"))
    if queue.walltime is not None and spec.walltime is not None and spec.walltime > queue.walltime:
        limit = format_walltime(queue.walltime)
        found.append((f"a walltime of {limit}", f"--walltime {format_walltime(spec.walltime)}", f"--walltime {limit}"))
    return found


def _too_much(what: str, queue: Queue, spec: JobSpec) -> Finding:
    excess = _excess(queue, spec)
    limits = " and ".join(limit for limit, _, _ in excess)
    asked = " and ".join(option for _, option, _ in excess)
    instead = " and ".join(option for _, _, option in excess)
    name = f"{what} allows {asked}: {queue.name!r} has {limits}"
    text = name if what == "no queue" else f"the queue {queue.name!r} allows {limits}, and {asked} is more"
    return change("queues", text, f"give {instead}, or another --queue")


def _said(queue: Queue) -> str:
    """Return a queue in a few words.

    >>> _said(Queue("normal", is_default=True, nodes=4, walltime=86400))
    'normal (default, 4 nodes, 24:00:00)'
    """
    words = ["default"] if queue.is_default else []
    if queue.nodes is not None:
        words.append(f"{queue.nodes} {'node' if queue.nodes == 1 else 'nodes'}")
    if queue.most_nodes is not None:
        words.append(f"at most {queue.most_nodes} a job")
    if queue.walltime is not None:
        words.append(format_walltime(queue.walltime))
    return f"{queue.name} ({', '.join(words)})" if words else queue.name
