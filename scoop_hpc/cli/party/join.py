"""`scoop-hpc join`: add the nodes of this allocation to a run that goes on."""

from __future__ import annotations

import os
import sys
import time

import click
from msgspec import structs

from scoop_hpc.cli import follow, worker_options
from scoop_hpc.cli.allocated import CHOICES, HELP
from scoop_hpc.cli.look.find import find
from scoop_hpc.cli.options.filled import FilledCommand
from scoop_hpc.cli.options.interface import interface_option
from scoop_hpc.cli.options.numbers import Number, Whole
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.cli.start import SIGNALS, open_missing_streams, run_request
from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError
from scoop_hpc.hostlist import fold
from scoop_hpc.jobs.door import Door, door_beside, read_door
from scoop_hpc.launchers.registry import LAUNCHERS
from scoop_hpc.run.party.dial import TOLD
from scoop_hpc.run.party.joiner import Joiner
from scoop_hpc.run.signal_fd import SignalFd

_PAUSE = 0.5  # seconds
_ASK_AGAIN = 5.0  # seconds from one question to the scheduler to the next


@click.command(cls=FilledCommand)
@click.option("-n", "--workers", type=Whole(min=1), help="Workers in all; default: all slots, or CPUs.")
@click.option("--workers-per-node", type=Whole(min=1), help="Workers on each node.")
@interface_option
@click.option("--patience", type=Number(min=0, min_open=True), help="Seconds for the run to begin, or answer.")
@click.option("--launcher", type=click.Choice(sorted(LAUNCHERS)), help="How agents are started; default: as fits.")
@click.option("--allocation", type=click.Choice(CHOICES), help=HELP)
@click.argument("job", required=False, shell_complete=known_jobs)
def join(
    workers: int | None,
    workers_per_node: int | None,
    interface: str,
    patience: float | None,
    launcher: str | None,
    allocation: str | None,
    job: str | None,
) -> None:
    """Let the nodes of this job, or this machine, take part in the run of JOB, or in your newest.

    This ends when the run does. Where this job ends before, its nodes leave the run first: they hand back the tasks
    that wait there; what still runs at the end is executed again elsewhere.
    """
    open_missing_streams()
    request = run_request(
        b"", (), workers, launcher, interface, patience, reader=allocation, workers_per_node=workers_per_node
    )
    door = _wait_for_door(job, request.patience)
    request = structs.replace(
        request,
        grace=door.grace,
        container=door.container,
        agent_main=request.agent_main if door.container is None else None,
        options_variable=worker_options.VARIABLE,
        program=structs.replace(request.program, directory=os.fsencode(door.directory)),
    )
    say(f"{fold([node.name for node in request.nodes])} to join the run on {door.host}")
    sys.exit(Joiner(request, door, SignalFd(SIGNALS)).run())


def _wait_for_door(job: str | None, patience: float) -> Door:
    """Return the way into the run of *job*, without one the newest run, once there is one; raise InputError."""
    client = follow.open_client(os.environ)
    began = time.monotonic()
    has_told = False
    found = find(client, job, os.environ)
    asked = began
    while True:
        if job is None or time.monotonic() >= asked + _ASK_AGAIN:  # without a job no scheduler is asked
            found = find(client, job, os.environ)
            asked = time.monotonic()
        end = found.how_it_ended()
        if end and not found.may_begin_again:
            raise InputError(f"cannot join {found.whole_label}: {end}")
        door = None if end else read_door(door_beside(found.path))
        if door is not None:
            return door
        waited = time.monotonic() - began
        if waited >= patience:
            raise InputError(
                f"cannot join {found.whole_label}: it has not begun within {patience:g} s, or has ended; "
                "--patience gives it more time"
            )
        if waited >= TOLD and not has_told:
            has_told = True
            say(f"warning: waiting for {found.whole_label} to begin, {patience - waited:.0f} s more (--patience)")
        time.sleep(_PAUSE)
