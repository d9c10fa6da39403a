"""The schedulers that are known, and which of them is meant."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.schedulers import plugins
from scoop_hpc.schedulers.base import LOCAL_RUNS, OR_LOCAL, Ask, Scheduler, Which
from scoop_hpc.schedulers.known import Known
from scoop_hpc.schedulers.local.adapter import LocalScheduler
from scoop_hpc.schedulers.output_patterns import OutputOption
from scoop_hpc.schedulers.pbs.adapter import PbsScheduler
from scoop_hpc.schedulers.sge.adapter import SgeScheduler
from scoop_hpc.schedulers.slurm.adapter import SlurmScheduler


def user_name() -> str:
    """Return this user's name, the number where there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


LOCAL = LocalScheduler(sys.executable)

# in the order in which they are looked for; the local one is never found, but taken where no other is
SCHEDULERS: Mapping[str, Scheduler] = Known(
    {each.name: each for each in (SlurmScheduler(), PbsScheduler(), SgeScheduler(user_name), LOCAL)},
    plugins.schedulers,
)


def find(which: Which, ask: Ask) -> Scheduler:
    """Return the scheduler whose commands *which* finds, the local one where there is none.

    Of several, it is the first that is set up: a machine may have Slurm's commands in its packages, and another's
    server. *ask* runs their commands.
    """
    on_path = _on_path(which)
    first = None
    for scheduler in on_path:
        if _is_recognised(scheduler, ask):
            if len(on_path) == 1 or _is_set_up(scheduler, ask):
                return scheduler
            first = first or scheduler
    return first or LOCAL


def found(which: Which, ask: Ask) -> list[Scheduler]:
    """Return the schedulers whose commands are here. Several may have commands of the same names: *ask* runs one."""
    return [scheduler for scheduler in _on_path(which) if _is_recognised(scheduler, ask)]


def _on_path(which: Which) -> list[Scheduler]:
    others = [each for each in SCHEDULERS.values() if each is not LOCAL]
    return [each for each in others if each.commands and all(which(command) for command in each.commands)]


def naming_others(message: str, chosen: str, which: Which, ask: Ask) -> str:
    """Return *message*, why no job goes to *chosen*, with the schedulers that are here as well for the local one."""
    others = [each for each in found(which, ask) if each.name != chosen and _is_set_up(each, ask)]
    if not others:
        return message
    names = " or ".join(f"--scheduler {each.name}" for each in others)
    are = "is" if len(others) == 1 else "are"
    return message.replace(OR_LOCAL, f", or use {names}, which {are} here as well").replace(
        LOCAL_RUNS, f"; {names} {are} here"
    )


def _is_recognised(scheduler: Scheduler, ask: Ask) -> bool:
    """Return whether commands of this scheduler's names are its own; those that hang or cannot be run are not."""
    argv = scheduler.probe_argv()
    try:
        return argv is None or scheduler.recognises(ask(argv))
    except SchedulerError:
        return False


def _is_set_up(scheduler: Scheduler, ask: Ask) -> bool:
    """Return whether this scheduler is set up here, as far as it can be told: one that is down is not left for that."""
    argv = scheduler.setup_argv()
    try:
        return argv is None or scheduler.is_set_up(ask(argv))
    except SchedulerError:
        return True


def named(name: str) -> Scheduler:
    """Return the scheduler of that name; raise JobSpecError."""
    if name not in SCHEDULERS:
        raise JobSpecError(f"there is no scheduler {name!r}: choose one of {', '.join(SCHEDULERS)}", "--scheduler")
    return SCHEDULERS[name]


def in_our_words(scheduler: Scheduler, option: OutputOption) -> str:
    """Return the file of *option* with our placeholders for the patterns of *scheduler*.

    Raise JobSpecError for a pattern that only the running job knows, and for one of another scheduler's.

    >>> in_our_words(SCHEDULERS["slurm"], OutputOption("--output", "logs/%x-%j.out", False, "me", "/home/me"))
    'logs/{name}-{job_id}.out'
    """
    others = [each.output_patterns for each in SCHEDULERS.values() if each is not scheduler]
    relatives = [patterns for each in SCHEDULERS.values() for patterns in each.foreign_patterns]
    foreign = [*filter(None, others), *relatives]
    return option.in_our_words(scheduler.name, scheduler.output_patterns, foreign)
