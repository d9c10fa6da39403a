"""`scoop-hpc hosts`: the hostfile of the allocation that this process is in."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.registry import SCHEDULERS, read_allocation


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with CPUs, job id and scheduler.")
def hosts(as_json: bool) -> None:
    """Print a line `host slots` for each node of the job that this is in."""
    allocation = read_allocation(os.environ, _read_file)
    if allocation is None:
        raise AllocationError(f"not in a job: no variables of {' or '.join(SCHEDULERS)} in the environment")
    if as_json:
        print(json.dumps(asdict(allocation)))
        return
    for node in allocation.nodes:
        print(node.name, node.slots)


def _read_file(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
