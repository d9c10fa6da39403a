"""`scoop-hpc run`: be the driver of a run."""

from __future__ import annotations

import math
import os
import re
import socket
import sys

import click
from msgspec import structs

from scoop_hpc.cli import worker_options
from scoop_hpc.cli.allocated import CHOICES, HELP, exit_status
from scoop_hpc.cli.displays import MODES, make_display
from scoop_hpc.cli.hostfile import Host, read_hostfile, read_hosts
from scoop_hpc.cli.mpi import ranks as joined
from scoop_hpc.cli.options.filled import FilledCommand
from scoop_hpc.cli.options.interface import interface_option
from scoop_hpc.cli.options.numbers import Number, Whole
from scoop_hpc.cli.options.program import check_module, check_program, module_option
from scoop_hpc.cli.reporting import collect, say_what_it_was_worth, with_metrics
from scoop_hpc.cli.start import ARRAY_INDEX, SIGNALS, leave, look_file, open_missing_streams, run_request
from scoop_hpc.cli.threads import counted_variables
from scoop_hpc.cli.worker_options import WorkerOptions
from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError
from scoop_hpc.fields.checks import (
    GRACE,
    LOG_LEVELS,
    LONGEST_GRACE,
    ON_NODE_LOSS,
    RUNTIMES,
    check_gpus_per_worker,
)
from scoop_hpc.files import kernel
from scoop_hpc.files.reading import TRUST, read_text
from scoop_hpc.files.writing import usable
from scoop_hpc.launchers.container import Container, gpu_option
from scoop_hpc.launchers.registry import LAUNCHERS
from scoop_hpc.run.driver import Driver
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.watching.once import Once
from scoop_hpc.run.watching.trace import TraceFile
from scoop_hpc.shares.gpus import are_asked_for, find_gpus
from scoop_hpc.shares.share import BINDINGS, NO_BINDING

_NODES = Whole(min=1)
_GRACE = Whole(1, LONGEST_GRACE)


@click.command(cls=FilledCommand, context_settings={"allow_interspersed_args": False})
@click.option("-n", "--workers", type=Whole(min=1), help="Workers in all; default: all slots, or CPUs.")
@click.option("--workers-per-node", type=Whole(min=1), help="Workers on each node.")
@click.option("--label", is_flag=True, help="Put node and worker before each line that a worker prints.")
@interface_option
@click.option("--patience", type=Number(min=0, min_open=True), help="Seconds for all nodes to report.")
@click.option("--min-nodes", type=_NODES, metavar="N", help="Begin with N nodes, end with fewer; default: all, half.")
@click.option("--on-node-loss", type=click.Choice(ON_NODE_LOSS), default=ON_NODE_LOSS[0], help="Default: continue.")
@click.option(
    "--grace", type=_GRACE, default=GRACE, help="Seconds that two nodes may be without connection; default: 60."
)
@click.option("--launcher", type=click.Choice(sorted(LAUNCHERS)), help="How agents are started; default: as fits.")
@click.option("--mpiexec", default="", metavar="CMD", help="What --launcher mpi uses; default: that of mpi4py's MPI.")
@click.option("--hosts", default="", metavar="HOST:N,...", help="Nodes of this job, or hosts for --launcher ssh.")
@click.option("--hostfile", default="", metavar="FILE", help="The same, from a file of lines `host workers`.")
@click.option("--container", default="", metavar="IMAGE", help="Container image that the workers run in.")
@click.option("--container-runtime", type=click.Choice(RUNTIMES), default="apptainer", help="What runs the image.")
@click.option("--container-option", multiple=True, metavar="TEXT", help="More for what runs the image; repeatable.")
@click.option("--bind", type=click.Choice(BINDINGS), default=NO_BINDING, help="Bind workers to CPUs; default: none.")
@click.option("--gpus-per-worker", default="", metavar="N|all", help="GPUs that each worker sees; default: its share.")
@click.option("--allocation", type=click.Choice(CHOICES), help=HELP)
@click.option("--nice", type=Whole(-20, 19), default=0, help="Niceness of the workers, as of nice(1).")
@click.option(
    "--profile",
    "--profile-workers",
    is_flag=True,
    help="Let each worker write what cProfile finds to the directory profile.",
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="Log what happens in the run, from this level on.")
@click.option("--log-file", default="", metavar="FILE", help="File for that log; default: standard error.")
@click.option("--trace", default="", metavar="FILE", help="File for a trace of all tasks, for Perfetto or Chrome.")
@click.option(
    "--progress", type=click.Choice(MODES), default="auto", help="Show what is done: by a bar, lines, or not."
)
@click.option("--report", default="", metavar="FILE", help="File for what the run was worth, for scoop-hpc report.")
@click.option("--worker-logs", default="", metavar="DIR", help="Directory for a file of what each worker prints.")
@click.option("--metrics", default="", metavar="FILE|[HOST:]PORT", help="Where Prometheus gets metrics of the run.")
@click.option("--only-logger", is_flag=True, hidden=True, help="Log what scoop.logger is told, nothing else.")
@click.option("--record", default="", hidden=True, help="File for the driver's record of the run.")
@module_option
@click.argument("program", nargs=1)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    workers: int | None,
    workers_per_node: int | None,
    label: bool,
    interface: str,
    patience: float | None,
    min_nodes: int | None,
    on_node_loss: str,
    grace: int,
    launcher: str | None,
    mpiexec: str,
    hosts: str,
    hostfile: str,
    container: str,
    container_runtime: str,
    container_option: tuple[str, ...],
    bind: str,
    gpus_per_worker: str,
    allocation: str | None,
    nice: int,
    profile: bool,
    log_level: str | None,
    log_file: str,
    trace: str,
    progress: str,
    report: str,
    worker_logs: str,
    metrics: str,
    only_logger: bool,
    record: str,
    is_module: bool,
    program: str,
    arguments: tuple[str, ...],
) -> None:
    """Run PROGRAM with its ARGUMENTS: here, or, inside a job, on the job's whole allocation.

    Inside a job, `--hosts n1:4,n2` or a hostfile restricts the run to these of its nodes, with that many workers; where
    there is no scheduler, `--launcher ssh --hosts n1:4,n2:4` runs it on these hosts.

    PROGRAM is a Python file that keeps what it does under `if __name__ == "__main__":`, or with -m the name of a
    module that does. Its standard output, error and exit status are those of this command, and its standard input,
    where all workers are started on this machine. In a job, an interactive one (salloc, qsub -I, qrsh) as well, and by
    ssh, its standard input is empty.
    """
    open_missing_streams()
    ranks = joined.enter(patience or joined.PATIENCE)
    if ranks is not None:
        click.get_current_context().with_resource(ranks)
    signals = SignalFd(SIGNALS)
    if is_module:
        check_module(program, is_elsewhere=bool(container))
    else:
        check_program(program)
    _check_nice(nice)
    _check_shares(bind, gpus_per_worker)
    if patience is not None and not math.isfinite(patience):
        raise InputError(f"--patience {patience}: give a number of seconds")
    once = Once()
    request = run_request(
        os.fsencode(program),
        [*map(os.fsencode, arguments)],
        workers,
        launcher,
        interface,
        patience,
        min_nodes=min_nodes,
        ends_on_loss=on_node_loss == "fail",
        grace=grace,
        hosts=_named(hosts, hostfile, launcher == "ssh"),
        container=_container(container, container_runtime, container_option, bool(gpus_per_worker)),
        reader=allocation,
        record=record,
        ranks=ranks,
        mpiexec=mpiexec,
        workers_per_node=workers_per_node,
        once=once,
        is_module=is_module,
    )
    tracing = _opened(_filled(trace, request))
    options = WorkerOptions(
        nice=nice,
        log_level=log_level or "info",
        log_file=usable(log_file, "log"),
        log_events=bool(log_level or log_file) and not only_logger,
        profile=_made("profile") if profile else "",
        trace=0.0 if tracing is None else tracing.began,
        bind=bind,
        gpus_per_worker=gpus_per_worker,
        counted=counted_variables(os.environb),
    )
    os.environ[worker_options.VARIABLE] = worker_options.encode(options)
    observers = worker_options.run_observers(options, socket.gethostname(), "driver", once)
    display = make_display(progress, os.environ, request.job_id is not None, options.log_events and not log_file)
    collector = collect(request, [usable(_filled(report, request), "report")], observers)
    if metrics:
        request = with_metrics(request, _filled(metrics, request), collector, observers)
    logs = _filled(worker_logs, request)
    request = structs.replace(
        request,
        label=label,
        look=look_file(request, observers),
        worker_logs=_made(logs) if logs else "",
        options_variable=worker_options.VARIABLE,
    )
    driver = Driver(request, signals, observers=observers, display=display, trace=tracing)
    ending = driver.run()
    if tracing is not None:
        tracing.close()
    more_was_said = say_what_it_was_worth(collector) or (options.log_events and not options.log_file)
    if ending.reason and (more_was_said or driver.shown_last != ending.reason):  # the last line says why
        say(f"error: {ending.reason}")
    status, remark = exit_status(ending.status, os.environ)
    if remark:
        say(f"warning: {remark}")
    if ranks is None:
        leave(status)
    sys.exit(status)


def _named(hosts: str, hostfile: str, ssh: bool) -> list[Host]:
    """Return the hosts that are named, in one way or the other; nobody else may say where *ssh* goes."""
    if hosts and hostfile:
        raise InputError("--hosts and --hostfile exclude each other: give one")
    if not hostfile:
        return read_hosts(hosts) if hosts else []
    return read_hostfile(read_text(hostfile, "the hostfile", os.environ.get(TRUST, "") if ssh else None))


def _container(image: str, runtime: str, options: tuple[str, ...], wants_gpus: bool) -> Container | None:
    """Return the container of the workers; its GPUs are in it where some were asked for."""
    if options and not image:
        raise InputError(f"--container-option {options[0]!r}: of which image? give --container as well")
    if not image:
        return None
    wants_gpus = wants_gpus or are_asked_for(os.environ)
    gpus = find_gpus(os.environ, os.listdir, kernel.read_text) if wants_gpus else None
    return Container(image, runtime, (*gpu_option(runtime, "" if gpus is None else gpus.variable), *options))


def _check_nice(nice: int) -> None:
    """Refuse here what would fail in every worker."""
    if nice < 0 and os.geteuid() != 0:
        raise InputError(f"--nice {nice}: only root may go below 0; give 0 to 19")


def _check_shares(bind: str, gpus_per_worker: str) -> None:
    """Refuse here what no worker could have."""
    if bind != NO_BINDING and not hasattr(os, "sched_setaffinity"):
        raise InputError(f"--bind {bind}: processes have no CPU affinity on {sys.platform}; leave it out")
    if gpus_per_worker:
        check_gpus_per_worker("--gpus-per-worker", gpus_per_worker)


def _filled(path: str, request: RunRequest) -> str:
    """Return a *path*, the placeholders of a job's files filled in."""
    number = re.match(r"\d+", request.job_id or "")
    index = request.program.environ.get(os.fsencode(ARRAY_INDEX), b"").decode()
    return path.replace("{job_id}", number[0] if number else "").replace("{array_index}", index)


def _opened(trace: str) -> TraceFile | None:
    """Return the file for a trace, None if none is wanted."""
    try:
        return TraceFile(trace) if trace else None
    except OSError as error:
        raise InputError(f"cannot write the trace {trace!r}: {error.strerror}") from error


def _made(directory: str) -> str:
    """Return the whole path of a directory that is there now."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the directory {directory!r} here: {error.strerror}") from error
    return os.path.abspath(directory)
