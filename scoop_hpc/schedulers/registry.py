"""The schedulers that are known, and which of them is meant."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Callable, Optional

from scoop_hpc.errors import JobSpecError
from scoop_hpc.schedulers.base import Ask, Scheduler
from scoop_hpc.schedulers.local import LocalScheduler
from scoop_hpc.schedulers.pbs import PbsScheduler
from scoop_hpc.schedulers.sge import SgeScheduler
from scoop_hpc.schedulers.slurm import SlurmScheduler


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


def find(which: Callable[[str], Optional[str]], ask: Ask) -> Scheduler:
    """Return the first scheduler whose commands *which* (such as `shutil.which`) finds, the local one if none.

    PBS and Grid Engine have commands of the same names: *ask* runs one of them.
    """
    for scheduler in SCHEDULERS.values():
        if all(which(command) for command in scheduler.commands):
            probe = scheduler.probe_argv()
            if probe is None or scheduler.recognises(ask(probe)):
                return scheduler
    return _LOCAL


def named(name: str) -> Scheduler:
    """Return the scheduler of that name; raise JobSpecError."""
    if name not in SCHEDULERS:
        raise JobSpecError(f"there is no scheduler {name!r}: choose one of {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name]
