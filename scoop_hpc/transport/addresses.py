"""The numeric addresses of this machine, those first that others are likely to reach.

Only imported where TCP is chosen. Names are no help here: Debian puts ``127.0.1.1 hostname`` into /etc/hosts.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterable, Sequence

import psutil

from scoop_hpc.errors import InputError


def usable(addresses: Iterable[str]) -> list[str]:
    """Return those of *addresses* that may be told to another node, once each: no loopback, no link-local.

    >>> usable(["127.0.1.1", "10.0.0.7", "fe80::1%eth0", "10.0.0.7", "::1"])
    ['10.0.0.7']
    """
    kept = []
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not (address.is_loopback or address.is_link_local or address.is_unspecified or text in kept):
            kept.append(text)
    return kept


def own_addresses(interface: str = "") -> list[str]:
    """Return the addresses of all interfaces that are up, or those of *interface* alone.

    Raises InputError if no other node could reach any of them.
    """
    states = psutil.net_if_stats()
    found: dict[str, list[str]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        if name in states and states[name].isup:
            found[name] = usable(a.address for a in addresses if a.family in (socket.AF_INET, socket.AF_INET6))
    chosen = found.get(interface, []) if interface else usable(itertools.chain.from_iterable(found.values()))
    if not chosen:
        what = f"the interface {interface!r} has" if interface else "this host has"
        candidates = ", ".join(name for name, addresses in found.items() if addresses) or "none"
        raise InputError(f"{what} no address that other nodes could reach; --interface may be: {candidates}")
    return chosen


def route_to(address: str) -> str | None:
    """Return the own address from which this machine would send to *address*, None if there is no route.

    Nothing is sent: a connected UDP socket knows its local address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def preferred(addresses: Sequence[str], first: str | None) -> list[str]:
    """Return *addresses* with *first* moved to the front, if it is among them.

    >>> preferred(["10.0.0.1", "192.168.0.1"], "192.168.0.1")
    ['192.168.0.1', '10.0.0.1']
    """
    return sorted(addresses, key=lambda address: address != first)
