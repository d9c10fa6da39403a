"""The schedulers that are known, and which of them is meant."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.schedulers.base import LOCAL_RUNS, OR_LOCAL, Ask, Scheduler
from scoop_hpc.schedulers.local.adapter import LocalScheduler
from scoop_hpc.schedulers.pbs.adapter import PbsScheduler
from scoop_hpc.schedulers.sge.adapter import SgeScheduler
from scoop_hpc.schedulers.slurm.adapter import SlurmScheduler


def user_name() -> str:
    """Return this user's name, the number where there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


_LOCAL = LocalScheduler(sys.executable)

# in the order in which they are looked for
SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType(
    {"slurm": SlurmScheduler(), "pbs": PbsScheduler(), "sge": SgeScheduler(user_name), "local": _LOCAL}
)


def find(which: Callable[[str], str | None], ask: Ask) -> Scheduler:
    """Return the scheduler whose commands *which* (such as `shutil.which`) finds, the local one if none.

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
    return first or _LOCAL


def found(which: Callable[[str], str | None], ask: Ask) -> list[Scheduler]:
    """Return the schedulers whose commands are here, but for the local one.

    PBS and Grid Engine have commands of the same names: *ask* runs one of them.
    """
    return [scheduler for scheduler in _on_path(which) if _is_recognised(scheduler, ask)]


def _on_path(which: Callable[[str], str | None]) -> list[Scheduler]:
    return [each for each in SCHEDULERS.values() if each.commands and all(which(command) for command in each.commands)]


def naming_others(message: str, chosen: str, which: Callable[[str], str | None], ask: Ask) -> str:
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
