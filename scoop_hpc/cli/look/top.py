"""`scoop-hpc top`: look at a run while it goes on, or at how one was at its end."""

from __future__ import annotations

import os
import sys
import time

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.find import find, look_once
from scoop_hpc.jobs import snapshot as snapshots


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON; times are in seconds since 1970.")
@click.argument("job", required=False)
def top(as_json: bool, job: str | None) -> None:
    """Watch what the run of JOB does; without JOB, the newest run of yours."""
    client = follow.open_client(os.environ)
    found = find(client, job, os.environ)
    seen, is_new = look_once(found)
    if not is_new:
        age = max(0.0, time.time() - seen.time)
        follow.say(
            f"warning: the driver (pid {seen.pid}) on {seen.host} does not answer: this is {age:.0f} s old, "
            "or this host sees files of that one late"
        )
    print(snapshots.to_json(seen).decode())
    sys.exit(0 if is_new else 1)
