"""What shells propose where a command takes a job."""

from __future__ import annotations

import itertools
import os

import click
from click.shell_completion import CompletionItem

from scoop_hpc.errors import ScoopError
from scoop_hpc.files import private
from scoop_hpc.jobs import directories
from scoop_hpc.jobs.report import unasked

_MOST = 50  # proposed


def known_jobs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the jobs submitted last whose ids begin with what is there, the newest first, each with its name.

    Schedulers are not asked: that takes longer than to type an id. What is wrong is for the command itself to say.
    """
    try:
        jobs = directories.newest_first(private.root(os.environ), warn=_say_nothing)
        labels = ((unasked(job.scheduler, job.job_id or "", job).label, job.spec.name) for job in jobs)
        begun = ((label, name) for label, name in labels if label.startswith(incomplete))
        return [CompletionItem(label, help=name) for label, name in itertools.islice(begun, _MOST)]
    except ScoopError:
        return []


def _say_nothing(text: str) -> None:
    """Leave the line alone that is being typed."""
