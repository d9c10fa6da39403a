"""Spool's adapter: spool submit, list, cancel."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.fields.option import Refused
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.schedulers.answers import Completed, Heard, JobKey, JobStatus, SubmitCommand, one_line, unheard, unread
from scoop_hpc.schedulers.base import Ask, Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_spool.allocation import SpoolReader

SLOTS = 2  # of every node

_ID = re.compile(r"s[0-9]+")
_SUBMIT = SubmitCommand("spool", re.compile(r"(s[0-9]+)"), (re.compile(r"\bjob (s[0-9]+)\b"),), look="spool list")
_LINE = re.compile(r"(s[0-9]+) (\w+) (\S*) (.*)")  # id, word, nodes, the exit status or a reason
_STATES = {
    "waiting": JobState.PENDING,
    "running": JobState.RUNNING,
    "killed": JobState.CANCELLED,
    "failed": JobState.FAILED,
    "done": JobState.COMPLETED,
}


class SpoolScheduler(Scheduler):
    """Spool's adapter."""

    name = "spool"
    reader = SpoolReader()
    commands = ("spool",)
    words = MappingProxyType(
        {
            "name": "``--name``",
            "nodes": "``--nodes``",
            "workers_per_node": "``--slots``",
            "output": "``--output``",
            "directives": "verbatim",
            "workers": Refused("give --nodes and --workers-per-node"),
        }
    )
    passes_environment = True

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with workers for whole nodes where no number is given."""
        spec = super().prepare(spec, ask)
        return spec if spec.workers_per_node is not None else replace(spec, workers_per_node=SLOTS)

    def template(self) -> str:
        return os.path.join(os.path.dirname(__file__), "spool.sh.j2")

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        """Return a file with spool's only pattern, ``@`` for the job's id."""
        path = os.path.join(spec.directory, file.replace("{name}", spec.name))
        if "@" in path:
            raise JobSpecError(f"spool means the job's id by @ in the output file {path!r}: change it")
        return path.replace("{job_id}", "@")

    def submit_argv(self, script: str) -> list[str]:
        return ["spool", "submit", script]

    def parse_job_id(self, done: Completed) -> str:
        return _SUBMIT.job_id(done)

    def key(self, job_id: str) -> JobKey:
        if not _ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of spool: write one such as 's7'")
        return JobKey(job_id)

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        return [["spool", "list", *self.checked(job_ids)]]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        if done.status:
            raise SchedulerError(f"spool failed: {one_line(done)}")
        jobs = []
        for line in done.stdout.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                pass_over(line)
                continue
            job_id, word, nodes, rest = match.groups()
            state = _STATES.get(word)
            ended = state in (JobState.COMPLETED, JobState.FAILED)
            if state is None or ended and not rest.isdecimal():
                jobs.append(unread(job_id, "spool", line))
                continue
            hosts = tuple(filter(None, nodes.split(",")))
            jobs.append(JobStatus(job_id, state, "" if ended else rest, hosts, int(rest) if ended else None))
        return jobs

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["spool", "cancel", *self.checked(job_ids)]
