"""The small jobs that commands submit for themselves: with options of submit, followed to their end, read, removed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.jobs import why
from scoop_hpc.cli.options.job import JobRequest, command_line, read_options
from scoop_hpc.cli.options.job_command import JobCommand
from scoop_hpc.cli.options.settings import plain_options
from scoop_hpc.cli.submit import submit
from scoop_hpc.cli.templates import template_directories
from scoop_hpc.errors import JobSpecError, ScoopError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.files import private
from scoop_hpc.files.reading import TRUST
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.report import Report
from scoop_hpc.jobs.script import render
from scoop_hpc.schedulers.job_state import JobState

_Told = TypeVar("_Told")

# the options of submit that say what a job may have and where it goes; all others are left at their defaults
ASKED = (
    "nodes",
    "workers_per_node",
    "cpus_per_worker",
    "gpus_per_node",
    "memory",
    "memory_per_cpu",
    "walltime",
    "queue",
    "account",
    "qos",
    "reservation",
    "constraint",
    "exclusive",
    "pe",
    "license",
    "chdir",
    "setup",
    "module",
    "conda",
    "venv",
    "container",
    "container_runtime",
    "env",
    "prologue",
    "directive",
    "template",
    "scheduler",
)
OPTIONS = [each for each in submit.params if each.name in ASKED]
_LEFT_OUT = frozenset(word for each in submit.params if each.name not in ASKED for word in each.opts)
_LATE = 15.0  # seconds until what a node wrote is seen here: caches of NFS are as old
_PAUSE = 0.2  # seconds
_TOLD = 10.0  # seconds after which one who waits for the job to begin is told why it does not


class SmallJobCommand(JobCommand):
    """A command with some of the options of submit: of the others, it says so."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            unknown = error if isinstance(error, click.NoSuchOption) else error.__cause__
            if isinstance(unknown, click.NoSuchOption) and unknown.option_name in _LEFT_OUT:
                text = f"{unknown.option_name} is an option of submit, and not of {ctx.info_name}: leave it out"
                raise click.UsageError(text, ctx) from error
            raise


def request_of(options: Mapping[str, Any], program: str, name: str) -> JobRequest:
    """Return the request for a job called *name* that runs *program*, with these *options* of the command line.

    What else the settings say would not suit it.
    """
    given = {option: value for option, value in options.items() if option in ASKED}
    return read_options({**plain_options(program), **given, "name": name}, os.environ)


@dataclass(frozen=True, slots=True)
class SmallJob:
    """A job that was submitted, whose output lies in a *directory* of its own."""

    client: Client
    job: Job
    begun: Report
    directory: str

    @property
    def output(self) -> str:
        """The file that gets what it prints."""
        return str(self.job.output())

    def wait(self, timeout: float | None) -> Report:
        """Wait for the end, or for *timeout* seconds; after Ctrl-C, cancel the job."""
        follow.say(f"submitted job {self.job.job_id} to {self.job.scheduler}; waiting for it")
        told_at: float | None = time.monotonic() + _TOLD

        def tell(reports: Sequence[Report]) -> None:
            nonlocal told_at
            if told_at is not None and time.monotonic() >= told_at:
                told_at = None
                self._say_why_it_waits(reports[0])

        try:
            (ended,) = self.client.wait([self.begun], tell, follow.warn, timeout)
        except KeyboardInterrupt:
            follow.say(f"interrupted: job {self.job.job_id} is cancelled")
            self.cancel()
            raise
        return ended

    def _say_why_it_waits(self, report: Report) -> None:
        """Say why the job has not begun, and what can be changed; nothing if it has, or if nobody knows."""
        if report.status.state is not JobState.PENDING or report.record is not None:
            return
        with contextlib.suppress(ScoopError):
            lines = why(self.client, report)
            follow.say("; ".join([f"job {report.label} is {follow.describe(report)}", *lines]))

    def cancel(self) -> None:
        """End it, if that can be. Whether it had begun is asked first, and kept: no scheduler may tell of it."""
        report = self.begun
        with contextlib.suppress(ScoopError):
            (report,) = self.client.status([report], pauses=())
        try:
            if not report.status.state.ended:
                self.client.cancel([report])
        except ScoopError as error:
            follow.say(f"warning: cannot cancel job {self.begun.label}: {error}")
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)  # unless it has printed something

    def read(self, ended: Report, told_in: Callable[[str], _Told | None]) -> _Told | None:
        """Return what is *told in* the output once the job has *ended*; of one that is complete it may come late.

        If there is something, the output is removed.
        """
        deadline = time.monotonic() + _LATE
        while True:
            with contextlib.suppress(OSError):
                os.listdir(os.path.dirname(self.output))  # NFS looks again at what other hosts have put there
                with open(self.output, encoding="utf-8", errors="replace") as file:
                    told = told_in(file.read())
                    if told is not None:
                        shutil.rmtree(self.directory, ignore_errors=True)
                        return told
            if ended.status.state is not JobState.COMPLETED or time.monotonic() > deadline:
                return None
            time.sleep(_PAUSE)


def submit_small(client: Client, request: JobRequest, state: str, name: str, words: list[str]) -> SmallJob:
    """Submit a job whose program is given *words*; its output goes below *state*, into ``name/``. Raises ScoopError."""
    directory = os.path.join(state, name, secrets.token_hex(8))
    with _removed_after_an_error(directory):
        private.make_private(os.path.dirname(directory))
        private.make_private(directory)
        spec = replace(
            request.spec,
            program=(request.spec.program[0], *words),
            output=os.path.join(directory, "output"),
            error=None,
        )
        job = _submit(client, request, _prepared(client, request, spec))
        (begun,) = client.reports([job])
    return SmallJob(client, job, begun, directory)


@contextlib.contextmanager
def _removed_after_an_error(directory: str) -> Iterator[None]:
    try:
        yield
    except ScoopError:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _prepared(client: Client, request: JobRequest, spec: JobSpec) -> JobSpec:
    """Return the job with one worker on each node if that can be asked for here, else with those asked for."""
    if spec.workers_per_node is None and spec.workers is None:
        with contextlib.suppress(JobSpecError):  # Grid Engine's environments have fixed numbers
            return client.prepare(replace(spec, workers_per_node=1), request.scheduler)
    return client.prepare(spec, request.scheduler)


def _submit(client: Client, request: JobRequest, spec: JobSpec) -> Job:
    directories, trust = template_directories(os.environ), os.environ.get(TRUST, "")

    def write_script(job: Job) -> str:
        argv = command_line(spec, request.scheduler, job.record)
        return render(spec, request.scheduler, argv, directories, request.template, trust)

    return client.submit(spec, request.scheduler, write_script, time.time())
