"""What `run` keeps of a run for its report, and says of it at the end."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterable

from msgspec import structs

from scoop_hpc.complaints import show
from scoop_hpc.errors import InputError
from scoop_hpc.events import Observers
from scoop_hpc.fields.checks import check_port, is_port
from scoop_hpc.jobs.record import sibling
from scoop_hpc.report import record as reports
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.watching.collector import Collector
from scoop_hpc.run.watching.report_file import ReportFile

_LONG = 60.0  # seconds: of a shorter run nothing is said
_WIDTH = 100  # columns
_LOOPBACK = "127.0.0.1"  # nobody else gets in, unless that is asked for


def collect(request: RunRequest, files: Iterable[str], observers: Observers) -> Collector:
    """Have the driver's *observers* collect what the run does; for *files*, and for the job's directory."""
    collector = Collector(os.urandom(8).hex(), request.job_id, request.title, time.monotonic, time.time)
    observers.add(collector)
    beside = [sibling(request.record, reports.FILE)] if request.record else []
    for path in [*files, *beside]:
        if path:
            observers.add(ReportFile(path, collector))
    return collector


def with_metrics(request: RunRequest, where: str, collector: Collector, observers: Observers) -> RunRequest:
    """Have the *observers* make metrics of what the *collector* knows, in a file or at a port; return the request.

    Raises InputError.
    """
    try:
        # 40 ms to import, for those only who want it
        from scoop_hpc.run.watching import metrics  # noqa: PLC0415
    except ImportError as error:
        raise InputError("--metrics needs prometheus-client: pip install scoop_hpc[metrics]") from error
    check_port(where)
    if is_port(where):
        host, _, port = where.rpartition(":")
        observers.add(metrics.MetricsServer(host.strip("[]") or _LOOPBACK, int(port), collector, time.monotonic))
    else:
        folder = os.path.dirname(os.path.abspath(where))
        if not os.access(folder, os.W_OK):
            raise InputError(f"--metrics {where!r}: cannot write into {folder!r}; name a directory that is there")
        observers.add(metrics.MetricsFile(os.path.abspath(where), collector, time.monotonic))
    return structs.replace(request, accounts=metrics.INTERVAL)


def say_what_it_was_worth(collector: Collector) -> bool:
    """Say in a paragraph on stderr what a run was worth, if it was long and has begun; return whether so."""
    is_long = collector.elapsed >= _LONG and collector.has_begun
    if is_long:
        from scoop_hpc.report.text import paragraph  # noqa: PLC0415  most runs are short, or are said nothing of

        show(textwrap.fill(f"scoop-hpc: {paragraph(collector.record())}", _WIDTH, break_on_hyphens=False))
    return is_long
