"""`scoop-hpc hosts`: the hosts of the allocation that this process is in, or of a list, as other programs read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from types import MappingProxyType

import click

from scoop_hpc.cli.allocated import CHOICES, HELP, find_allocation
from scoop_hpc.cli.hostfile import Host, read_hostfile, read_hosts
from scoop_hpc.errors import AllocationError, InputError
from scoop_hpc.files.reading import read_text
from scoop_hpc.hostlist import fold
from scoop_hpc.schedulers.allocation import Allocation, Node, merge

FORMATS: Mapping[str, Callable[[Allocation], Iterable[str]]] = MappingProxyType(
    {
        "hostfile": lambda allocation: (f"{node.name} {node.slots}" for node in allocation.nodes),
        "slots": lambda allocation: (node.name for node in allocation.nodes for _ in range(node.slots)),
        "json": lambda allocation: (json.dumps(asdict(allocation)),),
        "mpich": lambda allocation: (f"{node.name}:{node.slots}" for node in allocation.nodes),
        "openmpi": lambda allocation: (f"{node.name} slots={node.slots}" for node in allocation.nodes),
        "nodelist": lambda allocation: (fold(node.name for node in allocation.nodes),),
    }
)


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(FORMATS)),
    help="hostfile: `host slots`, the default; slots: a host for each slot; mpich: `host:slots`; "
    "openmpi: `host slots=N`; nodelist: `n[1-4],m`; json: with CPUs, job id and scheduler.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--hosts", "listed", metavar="LIST", help="These instead, such as `a:4,n[1-3]:2,b`; without number: 1.")
@click.option("--hostfile", metavar="FILE", help="Those of a file instead, in any of these formats but json.")
@click.option("--allocation", type=click.Choice(CHOICES), help=HELP)
def hosts(form: str | None, as_json: bool, listed: str | None, hostfile: str | None, allocation: str | None) -> None:
    """Print a line `host slots` for each node of the job that this is in, or in another format."""
    if as_json and form not in (None, "json"):
        raise InputError(f"--json and --format {form} exclude each other: give one")
    given = [value for value in (listed, hostfile, allocation) if value is not None]
    if len(given) > 1:
        raise InputError("--hosts, --hostfile and --allocation exclude each other: give one")
    if listed is not None:
        found = _allocation_of(read_hosts(listed))
    elif hostfile is not None:
        found = _allocation_of(read_hostfile(read_text(hostfile, "the hostfile")))
    else:
        found = _own(allocation)
    for line in FORMATS["json" if as_json else form or "hostfile"](found):
        print(line)


def _own(reader: str | None) -> Allocation:
    allocation = find_allocation(reader)
    if allocation is None:
        raise AllocationError(
            f"not in a job: no variables of {', '.join(CHOICES[:-1])} or {CHOICES[-1]} in the environment; "
            "--hosts LIST or --hostfile FILE takes others"
        )
    return allocation


def _allocation_of(hosts: list[Host]) -> Allocation:
    """Return *hosts* as nodes: one without a number has one slot, as in Open MPI, MPICH and PBS."""
    return Allocation("", merge(Node(host.name, host.workers or 1, host.workers or 1) for host in hosts))
