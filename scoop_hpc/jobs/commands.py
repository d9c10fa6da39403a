"""Running the commands that a scheduler's phrase book has the words for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence

from scoop_hpc.errors import SchedulerError, UnansweredError
from scoop_hpc.schedulers.answers import Completed, without_colour
from scoop_hpc.schedulers.base import LOCAL_RUNS, Scheduler

PATIENCE = 60.0  # seconds for one command: those of a busy Slurm take tens of them

Run = Callable[[Sequence[str], Mapping[str, str]], Completed]


def run_command(argv: Sequence[str], environ: Mapping[str, str], patience: float = PATIENCE) -> Completed:
    """Run a scheduler's command, without input; what it prints loses its colours, which wrappers of sites add."""
    try:
        done = subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnansweredError(f"no answer from {argv[0]!r} within {patience:g} s: is the scheduler well?") from error
    except OSError as error:
        raise SchedulerError(f"cannot run {argv[0]!r}: {error.strerror}{LOCAL_RUNS}") from error
    return Completed(tuple(argv), done.returncode, without_colour(done.stdout), without_colour(done.stderr))


def check_present(scheduler: Scheduler, which: Callable[[str], str | None]) -> None:
    """Raise SchedulerError for a scheduler whose commands are not here."""
    missing = [command for command in scheduler.commands if which(command) is None]
    if missing:
        raise SchedulerError(
            f"the scheduler {scheduler.name!r} is not here: {', '.join(missing)} not found on PATH{LOCAL_RUNS}"
        )
