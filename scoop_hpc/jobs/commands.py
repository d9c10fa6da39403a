"""Run the commands that an adapter names, and ask how jobs stand."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scoop_hpc.errors import JobSpecError, SchedulerError, UnansweredError
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus, short, without_colour
from scoop_hpc.schedulers.base import LOCAL_RUNS, OR_LOCAL, Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.site import Site, at_site

PATIENCE = 60.0  # seconds for one command: those of a busy Slurm take tens of them
PAUSES = (0.5, 2.0)  # seconds before a question that was answered by an error is asked again

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


@dataclass(frozen=True, slots=True)
class Answer:
    """A cluster's answer about jobs; after a *trouble*, some of those that it was asked for may be missing."""

    said: Mapping[JobKey, JobStatus]
    trouble: SchedulerError | None = None


class Commands:
    """The commands of *schedulers*, each run for the cluster that has a job, whichever *environ* would choose."""

    def __init__(
        self,
        schedulers: Mapping[str, Scheduler],
        environ: Mapping[str, str],
        run: Run = run_command,
        warn: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._schedulers = schedulers
        self._environ = environ
        self._run = run
        self._warn = warn  # of lines of an answer that are about no job
        self._sleep = sleep
        self._passed_over: set[str] = set()

    def scheduler(self, name: str) -> Scheduler:
        """Return the scheduler of that name; raise JobSpecError."""
        if name not in self._schedulers:
            raise JobSpecError(
                f"the job's scheduler {name!r} is unknown here: it came with another package, or a later scoop-hpc"
            )
        return self._schedulers[name]

    def ask(self, scheduler: Scheduler, argv: Sequence[str], site: Site | None) -> Completed:
        """Run one of *scheduler*'s commands for a cluster."""
        environ = at_site(scheduler.query_environ(self._environ), site)
        return self._run(_directed(scheduler, argv, site), environ)

    def submit(
        self, scheduler: Scheduler, argv: Sequence[str], environ: Mapping[str, str], site: Site | None
    ) -> Completed:
        """Run a command that submits to a cluster, in *environ*."""
        return self._run(_directed(scheduler, argv, site), at_site(environ, site))

    def statuses(
        self,
        scheduler: Scheduler,
        job_ids: Sequence[str],
        wanted: Sequence[JobKey],
        site: Site | None,
        pauses: Sequence[float] = PAUSES,
    ) -> Answer:
        """Ask how jobs of one cluster stand; *wanted* are these, and each job of an array.

        A later command is asked only for jobs that are missing from the earlier. An answer that is an error is asked
        for again after each of *pauses*, in seconds.
        """
        known: dict[JobKey, JobStatus] = {}
        troubles: list[SchedulerError] = []
        for number, argv in enumerate(scheduler.status_argv(job_ids)):
            if all(_is_told(known.get(key)) for key in wanted):
                break
            try:
                answer = self._query(scheduler, argv, site, pauses)
                known.update({key: status for key, status in answer.items() if not _is_told(known.get(key))})
            except SchedulerError as error:
                if number == 0 or not isinstance(error.__cause__, FileNotFoundError):  # else a site without sacct
                    troubles.append(error)
        return Answer(known, troubles[0] if troubles and not all(key in known for key in wanted) else None)

    def _query(
        self, scheduler: Scheduler, argv: Sequence[str], site: Site | None, pauses: Sequence[float]
    ) -> dict[JobKey, JobStatus]:
        """Ask, and ask again while the answer is an error; one that does not come at all is not waited for again."""
        for pause in (*pauses, None):
            done = self.ask(scheduler, argv, site)
            odd: list[str] = []
            try:
                jobs = scheduler.parse_status(done, odd.append)
                self._say_passed_over(os.path.basename(argv[0]), odd)
                return {scheduler.key(status.job_id): status for status in jobs}
            except SchedulerError as error:
                if pause is None:
                    raise type(error)(_without_others(str(error))) from error.__cause__
                self._sleep(pause)
        raise AssertionError("the last question is answered or raises")

    def _say_passed_over(self, command: str, lines: Sequence[str]) -> None:
        """Warn of *lines* of an answer that are about no job, once of each."""
        new = [line for line in lines if line not in self._passed_over]
        self._passed_over.update(new)
        if new:
            more = f", and {len(new) - 1} more such lines" if len(new) > 1 else ""
            self._warn(f"passed over what {command} printed about no job: {short(new[0].strip())}{more}")


def _directed(scheduler: Scheduler, argv: Sequence[str], site: Site | None) -> Sequence[str]:
    return argv if site is None or not site.cluster else scheduler.directed(argv, site.cluster)


def _without_others(message: str) -> str:
    """Return *message* without the advice to use another scheduler: that does not know the job."""
    return message.replace(OR_LOCAL, "").replace(LOCAL_RUNS, "")


def _is_told(status: JobStatus | None) -> bool:
    """Return whether there is no more to hear of a job: what cannot be read, or who cancelled it, accounts may know."""
    if status is None or status.unread:
        return False
    return status.state is not JobState.CANCELLED or bool(status.reason)
