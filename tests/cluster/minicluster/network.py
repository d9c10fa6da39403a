"""The cluster's network: a bridge on this machine, and a pair of linked interfaces for each host."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from minicluster import shell
from minicluster.state import ClusterError, Host

_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def free_subnet(first: int) -> ipaddress.IPv4Network:
    """Return a /24 that this machine does not use, from 10.214.FIRST.0 on, so that two clusters rarely try the same."""
    used = _used_networks()
    for i in range(256):
        network = ipaddress.IPv4Network(f"10.214.{(first + i) % 256}.0/24")
        if not any(network.overlaps(other) for other in used):
            return network
    raise ClusterError("no free subnet in 10.214.0.0/16; is another cluster's route in the way?")


def _used_networks() -> list[ipaddress.IPv4Network]:
    addresses = re.findall(r"inet (\S+)", shell.run(["ip", "-4", "-o", "addr", "show"]).stdout)
    routes = re.findall(r"^(\d\S+)", shell.run(["ip", "-4", "route", "show"]).stdout, re.MULTILINE)
    return [ipaddress.IPv4Network(text, strict=False) for text in addresses + routes]


def make_bridge(bridge: str, gateway: str) -> None:
    """Make the bridge, with this machine at *gateway* on it."""
    _ip(
        f"link add {bridge} type bridge stp_state 0 forward_delay 0",
        f"addr add {gateway}/24 dev {bridge}",
        f"link set {bridge} up",
    )


def let_bridged_packets_pass(bridge: str) -> tuple[str, ...]:
    """Open iptables for the bridge where Docker has closed it; return the rule that was added, empty for none."""
    if not _BRIDGED.exists() or _BRIDGED.read_text().strip() != "1" or not shutil.which("iptables", path=shell.PATH):
        return ()
    rules = shell.run(["iptables", "-S", "FORWARD"], check=False).stdout
    if "-P FORWARD DROP" not in rules:
        return ()
    rule = ("FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
    shell.run(["iptables", "-I", *rule])
    return rule


def forget_rule(rule: tuple[str, ...]) -> None:
    """Take back what `let_bridged_packets_pass` added."""
    if rule:
        shell.run(["iptables", "-D", *rule], check=False)


def wire(bridge: str, hosts: Iterable[Host]) -> None:
    """Give each host its eth0, the other end a port of the bridge.

    As a real card's, its address stays the same when the host boots again: others remember it for some ten seconds.
    """
    for host in hosts:
        station = ":".join(f"{byte:02x}" for byte in (2, 0, *ipaddress.IPv4Address(host.address).packed))
        _ip(
            f"link add {host.link} type veth peer name eth0 address {station} netns {host.pid}",
            f"link set {host.link} master {bridge}",
            f"link set {host.link} up",
        )


def set_forwarding(host: Host, forwarding: bool) -> None:
    """Let the host's packets pass, or drop them all without a word."""
    # bridge(8), "state": 3 is forwarding, 0 is disabled
    shell.run(["bridge", "link", "set", "dev", host.link, "state", "3" if forwarding else "0"])


def misroute_argv(to: Host, misroutes: bool) -> list[str]:
    """Return the command by which a host sends what is for *to* to nobody, without a word; or as it should again."""
    # a station that is not there: frames for it are lost on the bridge [ip-neighbour(8)]
    entry = ["to", to.address, "dev", "eth0"]
    if misroutes:
        return ["ip", "neigh", "replace", *entry, "lladdr", "02:00:00:00:00:00", "nud", "permanent"]
    return ["ip", "neigh", "del", *entry]


def remove_links(prefix: str) -> None:
    """Remove every link of this machine whose name begins with *prefix*."""
    for name in re.findall(rf"^\d+: ({prefix}\w+)", shell.run(["ip", "-o", "link", "show"]).stdout, re.MULTILINE):
        remove_link(name)


def remove_link(name: str) -> None:
    """Remove a link of this machine; one that went with its host is none."""
    shell.run(["ip", "link", "del", name], check=False)


def _ip(*commands: str) -> None:
    shell.run(["ip", "-batch", "-"], text="".join(f"{command}\n" for command in commands))
