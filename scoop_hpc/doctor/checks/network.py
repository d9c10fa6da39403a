"""Checks of the network: the address that a run would take, and what the way between two nodes is worth."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, duration, names, size
from scoop_hpc.doctor.facts import Interface, JobFacts, NodeFacts, Way
from scoop_hpc.doctor.finding import Finding, change, note, ok

_TOPIC = "network"
_SLOW = 20e6  # bytes per second: less than a tenth of what 2 Gbit/s carry
_OF_CONTAINERS = ("docker", "podman", "cni", "virbr", "veth", "br-")  # bridges of one host: no other reaches them
_FAR = 0.005  # seconds there and back: within one site it is less than a tenth


def check_here(here: NodeFacts) -> Finding:
    """Return which address this machine would take for a run over several nodes."""
    if not here.address:
        return note(
            _TOPIC, "this host has no address that others could reach: runs on this machine alone need none, others do"
        )
    return ok(_TOPIC, f"a run from here would take {_taken(here)}")


def check_all_there(job: JobFacts) -> Finding:
    """Return whether every node of the job took part."""
    if len(job.nodes) < job.expected:
        return change(
            "nodes",
            f"{len(job.nodes)} of {job.expected} nodes were given a task within the time",
            "look for a node that is overloaded, and try again",
        )
    return ok("nodes", f"{names(job.nodes)}: all {job.expected} took part in one run")


def check_nodes(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Return which interface each node would take."""
    findings = []
    for interface, same in alike([(node, _interface_of(node)) for node in nodes]):
        if interface is None:
            text = f"{names(same)}: no address that others could reach"
            alone = len(nodes) == 1
            advice = "ask the site's staff for the nodes' network"
            findings.append(note(_TOPIC, text) if alone else change(_TOPIC, text, advice))
        else:
            findings.append(ok(_TOPIC, f"{names(same)}: a run takes {interface}{_alternatives(same[0])}"))
    return findings


def check_ways(ways: Sequence[Way]) -> list[Finding]:
    """Return what was measured between nodes, a line for each pair."""
    return [_check_way(way) for way in ways]


def _check_way(way: Way) -> Finding:
    pair = f"{way.source} to {way.target}"
    if way.trouble:
        return change(
            _TOPIC,
            f"{pair}: {way.trouble}",
            "ask the site's staff to allow TCP between the nodes on ports above 1023; "
            "scoop-hpc run --interface chooses another network",
        )
    measured = f"{pair} by {way.address}: {duration(way.latency)} there and back, {size(way.rate)}/s in one stream"
    if way.rate < _SLOW or way.latency > _FAR:
        return change(_TOPIC, f"{measured}, which is slow", "scoop-hpc run --interface may name a faster network")
    return ok(_TOPIC, measured)


def _interface_of(node: NodeFacts) -> str | None:
    """Return the name of the interface that *node* would take, None if it has none."""
    if not node.address:
        return None
    found = _with_address(node)
    return node.address if found is None else found.name


def _with_address(node: NodeFacts) -> Interface | None:
    return next((each for each in node.interfaces if node.address in each.addresses), None)


def _taken(node: NodeFacts) -> str:
    found = _with_address(node)
    name = f" of {found.name}{_speed(found)}" if found is not None else ""
    return f"{node.address}{name}{_alternatives(node)}"


def _alternatives(node: NodeFacts) -> str:
    others = [
        f"{each.name}{_speed(each)}"
        for each in node.interfaces
        if node.address not in each.addresses and not each.name.startswith(_OF_CONTAINERS)
    ]
    return f"; --interface may be {' or '.join(others)}" if others else ""


def _speed(interface: Interface) -> str:
    """Return what an interface says of its speed.

    >>> _speed(Interface("ib0", (), 100_000)), _speed(Interface("lo", (), 0))
    (' (100 Gbit/s)', '')
    """
    return f" ({interface.speed / 1000:g} Gbit/s)" if interface.speed else ""
