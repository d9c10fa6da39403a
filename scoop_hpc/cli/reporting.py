"""What `run` keeps of a run for its report, and says of it at the end."""

from __future__ import annotations

import os
import secrets
import textwrap
import time
from collections.abc import Iterable

from scoop_hpc.complaints import show
from scoop_hpc.events import Observers
from scoop_hpc.jobs.record import sibling
from scoop_hpc.report import record as reports
from scoop_hpc.report.text import paragraph
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.watching.collector import Collector
from scoop_hpc.run.watching.report_file import ReportFile

_LONG = 60.0  # seconds: of a shorter run nothing is said
_WIDTH = 100  # columns


def collect(request: RunRequest, files: Iterable[str], observers: Observers) -> Collector:
    """Have the driver's *observers* collect what the run does; for *files*, and for the job's directory."""
    program = os.fsdecode(request.program.path)
    collector = Collector(secrets.token_hex(8), request.job_id, program, time.monotonic, time.time)
    observers.add(collector)
    beside = [sibling(request.record, reports.FILE)] if request.record else []
    for path in [*files, *beside]:
        if path:
            observers.add(ReportFile(path, collector))
    return collector


def say_what_it_was_worth(collector: Collector) -> None:
    """Say in a paragraph on stderr what a run was worth, if it was long."""
    if collector.elapsed >= _LONG:
        show(textwrap.fill(f"scoop-hpc: {paragraph(collector.record())}", _WIDTH, break_on_hyphens=False))
