"""`scoop-hpc hosts`: the hosts of the allocation that this process is in, or of a list, as other programs read them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import click

from scoop_hpc.cli.allocated import CHOICES, HELP, find_allocation
from scoop_hpc.cli.hostfile import Host, read_hostfile, read_hosts
from scoop_hpc.cpus import cpu_numbers
from scoop_hpc.errors import AllocationError, InputError
from scoop_hpc.files.kernel import read_text as read_kernel_file
from scoop_hpc.files.reading import read_text
from scoop_hpc.hostlist import first_label, fold
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.shares.share import BINDINGS, NO_BINDING, Wanted, deal_shares, read_granted

FORMATS: Mapping[str, Callable[[Allocation], Iterable[str]]] = MappingProxyType(
    {
        "hostfile": lambda allocation: (f"{node.name} {node.slots}" for node in allocation.nodes),
        "slots": lambda allocation: (node.name for node in allocation.nodes for _ in range(node.slots)),
        "mpich": lambda allocation: (f"{node.name}:{node.slots}" for node in allocation.nodes),
        "openmpi": lambda allocation: (f"{node.name} slots={node.slots}" for node in allocation.nodes),
        "nodelist": lambda allocation: (fold(node.name for node in allocation.nodes),),
    }
)
_JSON = "json"


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice((*FORMATS, _JSON)),
    help="hostfile: `host slots`, the default; slots: a host for each slot; mpich: `host:slots`; "
    "openmpi: `host slots=N`; nodelist: `n[1-4],m`; json: with CPUs, job id and scheduler.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--hosts", "listed", metavar="LIST", help="These instead, such as `a:4,n[1-3]:2,b`; without number: 1.")
@click.option("--hostfile", metavar="FILE", help="Those of a file instead, in any of these formats but json.")
@click.option("--allocation", type=click.Choice(CHOICES), help=HELP)
@click.option("--bind", type=click.Choice(BINDINGS), help="As of run: what json says that workers here would get.")
def hosts(
    form: str | None,
    as_json: bool,
    listed: str | None,
    hostfile: str | None,
    allocation: str | None,
    bind: str | None,
) -> None:
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
    as_json = as_json or form == _JSON
    if bind is not None and (not as_json or listed is not None or hostfile is not None):
        raise InputError(f"--bind {bind}: only --format json tells of workers, in a job; leave it out")
    if as_json:
        binding = bind or NO_BINDING
        print(json.dumps(_described(found, "" if listed or hostfile else socket.gethostname(), binding)))
        return
    for line in FORMATS[form or "hostfile"](found):
        print(line)


def _described(allocation: Allocation, host: str, binding: str) -> dict[str, Any]:
    """Return what is known of *allocation*; of the node that is this *host* also what each worker would get there.

    Of other nodes nobody here knows that.
    """
    described = asdict(allocation)
    for node in described["nodes"]:
        if host and first_label(node["name"]) == first_label(host):
            node["workers"] = _workers_here(node["slots"], Wanted(binding))
    return described


def _workers_here(count: int, wanted: Wanted) -> list[dict[str, Any]]:
    cpus = cpu_numbers()
    granted = read_granted(wanted, os.environ, cpus, read_kernel_file, os.listdir)
    return [
        {
            "local_rank": rank,
            "cpus": cpus if share.cpus is None else share.cpus.cpus,
            "gpus": () if share.gpus is None else share.gpus.devices,
        }
        for rank, share in enumerate(deal_shares(granted, wanted, count))
    ]


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
