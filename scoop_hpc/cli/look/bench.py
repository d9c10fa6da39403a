"""`scoop-hpc bench`: measure this site by rows of the benchmarks, here or, by a job, on its nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import click
import msgspec
from click.core import ParameterSource

import scoop_hpc.bench
from scoop_hpc.bench import found
from scoop_hpc.bench.found import SiteFigures
from scoop_hpc.bench.rows import table
from scoop_hpc.cli import follow
from scoop_hpc.cli.look.small_job import OPTIONS, SmallJobCommand, request_of, submit_small
from scoop_hpc.cli.options.job import JobRequest
from scoop_hpc.cli.options.numbers import Number, Whole
from scoop_hpc.cli.options.program import check_named, module_option
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.files import private
from scoop_hpc.interpreter import python_argv
from scoop_hpc.jobs.report import goes_on

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(scoop_hpc.bench.__file__)), "programs", "site_program.py")
_WALLTIME = 600  # seconds that the job asks for, unless the command line says another


@click.command(cls=SmallJobCommand, params=list(OPTIONS))
@click.option("--repeat", type=Whole(1, 100), default=3, help="Runs of each row; default: 3.")
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that all works, measures nothing.")
@click.option("--timeout", type=Number(min=0), metavar="SECONDS", help="Cancel the job if it has not ended by then.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@module_option
@click.argument("program", required=False)
def bench(
    repeat: int,
    quick: bool,
    timeout: float | None,
    as_json: bool,
    is_module: bool,
    program: str | None,
    **options: Any,
) -> None:
    """Measure this site: start-up, tasks per second, latency and MB/s, within a node and between nodes.

    With --nodes by a job of so many nodes, which is submitted as any other; without it, here: on this machine, or on
    the allocation that this is in. The rows are those of the project's benchmarks. The options are those of submit, and
    the settings are those that hold for PROGRAM, if one is named.
    """
    words = [str(repeat), "quick" if quick else "full"]
    by_job = options["nodes"] is not None
    if timeout is not None and not by_job:
        raise click.UsageError("--timeout is for the job of --nodes: give both, or none")
    check_named(program, is_module, options)
    if by_job:
        request = request_of(options, _PROGRAM, "scoop-bench")
        source = click.get_current_context().get_parameter_source("walltime")
        if source is not ParameterSource.COMMANDLINE:
            request = replace(request, spec=replace(request.spec, walltime=_WALLTIME))
        figures, start = _by_a_job(request, words, timeout)
    else:
        figures, start = _here(words, options["workers_per_node"])
    if as_json:
        print(json.dumps({"start": start, **msgspec.to_builtins(figures)}))
    else:
        print("\n".join([*table(figures, start), *(["quick sizes: no measurement"] if quick else [])]))
    sys.exit(1 if any(row.failure for row in figures.rows) else 0)


def _here(words: list[str], workers: int | None) -> tuple[SiteFigures, float | None]:
    """Measure a run of this machine, or of the allocation that this is in; return also the seconds until its result."""
    many = [] if workers is None else ["--workers-per-node", str(workers)]
    launched = time.time()
    done = subprocess.run(
        [*python_argv("scoop_hpc.__main__"), "run", "--progress", "none", *many, _PROGRAM, *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    figures = found.read(done.stdout)
    if figures is None:
        raise ScoopError(f"the run that was to be measured ended with status {done.returncode}, and told nothing")
    return figures, figures.first - launched


def _by_a_job(request: JobRequest, words: list[str], timeout: float | None) -> tuple[SiteFigures, float | None]:
    """Measure a job; return also the seconds from the start of its driver to the first result, if they are known."""
    job = submit_small(follow.open_client(os.environ), request, private.root(os.environ), "bench", words)
    ended = job.wait(timeout)
    if goes_on(ended):
        job.cancel()
        raise InputError(
            f"job {ended.label} has not ended within {timeout:g} s, and is cancelled: {follow.describe(ended)}; "
            f"give a longer --timeout, or another --queue"
        )
    figures = job.read(ended, found.read)
    if figures is None:
        raise ScoopError(f"job {ended.label} ended {follow.describe(ended)}; see what it printed, in {job.output!r}")
    return figures, None if ended.record is None else figures.first - ended.record.started
