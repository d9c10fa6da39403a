"""Ask a scheduler for what a doctor wants to know; a thin shell around its adapter."""

from __future__ import annotations

from scoop_hpc.doctor.checks.scheduler import SchedulerFacts
from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.base import Ask, Scheduler, Which
from scoop_hpc.schedulers.queues import Queue


def ask_scheduler(scheduler: Scheduler, ask: Ask, which: Which, user: str, others: tuple[str, ...]) -> SchedulerFacts:
    """Return what *scheduler*, whose commands *ask* runs, tells *user*; *others* are here as well."""
    missing = tuple(command for command in scheduler.commands if which(command) is None)
    if missing:
        return SchedulerFacts(scheduler.name, missing, others)
    version, trouble = _version(scheduler, ask)
    queues, queue_trouble = _queues(scheduler, ask, user)
    return SchedulerFacts(scheduler.name, (), others, version, trouble, queues, queue_trouble)


def _version(scheduler: Scheduler, ask: Ask) -> tuple[str, str]:
    """Return the version, or why there is none; neither where the scheduler cannot be asked."""
    argv = scheduler.version_argv()
    try:
        return ("" if argv is None else scheduler.parse_version(ask(argv))), ""
    except SchedulerError as error:
        return "", str(error)


def _queues(scheduler: Scheduler, ask: Ask, user: str) -> tuple[tuple[Queue, ...] | None, str]:
    argv = scheduler.queues_argv(user)
    try:
        return (None if argv is None else tuple(scheduler.parse_queues(ask(argv)))), ""
    except SchedulerError as error:
        return None, str(error)
