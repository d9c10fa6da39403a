"""`scoop-hpc run`: be the driver of a run."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Optional

import click

from scoop_hpc.allocation import Allocation, Node
from scoop_hpc.cli.programs import check_program
from scoop_hpc.errors import AllocationError, InputError
from scoop_hpc.launch.driver import Driver, Wishes
from scoop_hpc.launch.wakeup import Wakeup
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.launchers.local import LocalLauncher
from scoop_hpc.launchers.srun import SrunLauncher
from scoop_hpc.placement import place
from scoop_hpc.protocol.messages import Program
from scoop_hpc.schedulers.registry import read_allocation

_LAUNCHERS: dict[str, type[Launcher]] = {"local": LocalLauncher, "srun": SrunLauncher}
_OF_SCHEDULER = {"slurm": "srun"}  # the launcher that goes with a scheduler; local for others


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-n", "--workers", type=click.IntRange(min=1), help="Workers in all; default: all slots, or CPUs.")
@click.option("--label", is_flag=True, help="Put node and worker before each line that a worker prints.")
@click.option("--interface", default="", help="The network interface that other nodes reach this one by.")
@click.option("--patience", type=click.FloatRange(min=0, min_open=True), help="Seconds for all nodes to report.")
@click.option("--launcher", type=click.Choice(sorted(_LAUNCHERS)), help="How agents are started; default: as fits.")
@click.option("--record", default="", hidden=True, help="File for the driver's record of the run.")
@click.argument("program", nargs=1)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    workers: Optional[int],
    label: bool,
    interface: str,
    patience: Optional[float],
    launcher: Optional[str],
    record: str,
    program: str,
    arguments: tuple[str, ...],
) -> None:
    """Run PROGRAM with its ARGUMENTS: here, or, inside a job, on the job's whole allocation.

    PROGRAM is a Python file that keeps what it does under `if __name__ == "__main__":`. Its standard input, output,
    error and exit status are those of this command.
    """
    _open_missing_streams()
    signals = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    wakeup = Wakeup(signals)
    check_program(program)
    try:
        directory = os.getcwdb()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    allocation = read_allocation(os.environ, _read_file) or _this_machine(workers)
    nodes = place(allocation, workers)
    kind = _LAUNCHERS[launcher or _OF_SCHEDULER.get(allocation.scheduler, "local")]()
    if kind.one_machine and allocation.scheduler not in ("local", ""):
        _check_single(allocation)
    wishes = Wishes(
        nodes=nodes,
        program=Program(os.fsencode(program), tuple(map(os.fsencode, arguments)), directory, dict(os.environb)),
        launcher=kind,
        own_addresses=lambda: _own_addresses(interface),
        record=record,
        job_id=allocation.job_id,
        interface=interface,
        label=label,
        warn=workers is None,
        patience=patience or 60 + 0.1 * len(nodes),
    )
    ending = Driver(wishes, wakeup).run()
    if ending.reason:
        print(f"scoop-hpc: error: {ending.reason}", file=sys.stderr)
    sys.exit(ending.status)


def _open_missing_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) empty ones: no other file may take their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free


def _this_machine(workers: Optional[int]) -> Allocation:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Allocation("", (Node(socket.gethostname(), workers or cpus, cpus),))


def _check_single(allocation: Allocation) -> None:
    if len(allocation.nodes) > 1:
        raise AllocationError(
            f"the launcher 'local' cannot reach the {len(allocation.nodes)} nodes of this {allocation.scheduler} job: "
            "leave --launcher out"
        )


def _own_addresses(interface: str) -> Sequence[str]:
    interfaces = importlib.import_module("scoop_hpc.transport.interfaces")  # psutil, where it is needed only
    addresses: Sequence[str] = interfaces.own_addresses(interface)
    return addresses


def _read_file(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
