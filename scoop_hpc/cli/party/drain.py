"""`scoop-hpc drain`: let a node leave a run that goes on."""

from __future__ import annotations

import os

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.find import PATIENCE, find
from scoop_hpc.cli.options.numbers import Number
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.errors import InputError
from scoop_hpc.jobs.door import door_beside, read_door
from scoop_hpc.protocol.messages import Accepted, Leave, Refused
from scoop_hpc.run.party.dial import ask_once, unexpected


@click.command()
@click.option(
    "--within", type=Number(min=0, min_open=True), metavar="SECONDS",
    help="For what it executes; what is left is executed again elsewhere. Default: as long as it takes.",
)  # fmt: skip
@click.argument("words", nargs=-1, required=True, metavar="[JOB] NODE", shell_complete=known_jobs)
def drain(within: float | None, words: tuple[str, ...]) -> None:
    """Let NODE leave the run of JOB: it takes no more tasks, hands back those that wait, and ends what it executes.

    Without JOB it is your newest run, which says when the node has left. `scoop-hpc top` shows the names of its nodes.
    """
    if len(words) > 2:
        raise click.UsageError(f"{' '.join(words)!r} names more than a job and a node: drain one node at a time")
    job, node = words if len(words) == 2 else (None, words[0])
    found = find(follow.open_client(os.environ), job, os.environ)
    end = found.how_it_ended()
    door = None if end else read_door(door_beside(found.path))
    if door is None:
        raise InputError(f"{found.whole_label} does not go on: {end or 'it has not begun, or has ended'}")
    answer = ask_once(door, Leave(within, node, "drained"), PATIENCE)
    match answer:
        case Accepted(nodes, workers):
            each = f"{workers} worker{'' if workers == 1 else 's'}"
            print(f"{', '.join(nodes)} leaves {found.whole_label}, when what its {each} execute has ended")
        case Refused(reason):
            raise InputError(f"{node} cannot leave {found.whole_label}: {reason}")
        case _:
            raise unexpected(answer)
