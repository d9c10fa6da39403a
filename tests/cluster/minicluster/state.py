"""What is known of a cluster: how it was asked for, its hosts, and the file that holds both between commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAD = "head"
FILE = "state.json"


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message is meant for the user."""


@dataclass(frozen=True)
class Settings:
    """How a cluster is made. ``shared`` are directories below /tmp that all hosts see though /tmp is their own."""

    scheduler: str = "slurm"
    nodes: int = 4
    cpus: int = 4
    slots: tuple[int, ...] = ()  # Grid Engine's, of the first nodes; the others have as many as CPUs
    memory: int = 2048  # MiB
    prefix: str = "node"
    private_tmp: bool = True
    own_name_is_loopback: bool = True
    docker_interface: bool = True
    shared: tuple[str, ...] = ()
    slurm_conf: tuple[str, ...] = ()  # KEY=VALUE lines that replace ours
    node_timeout: int = 20  # seconds until a silent node counts as down


@dataclass(frozen=True)
class Host:
    """One simulated host. ``pid`` is its PID 1 as this machine counts, with its kernel start time."""

    name: str
    address: str
    link: str  # its port on the bridge
    pid: int | None = None
    started: int | None = None
    cut: bool = False


@dataclass
class State:
    """The cluster's settings and hosts; the latter change as nodes die and come back."""

    settings: Settings
    bridge: str
    subnet: str
    boot_id: str
    hosts: dict[str, Host] = field(default_factory=dict)
    iptables: tuple[str, ...] = ()

    def save(self, directory: Path) -> None:
        """Write the state file, in one step."""
        new = directory / (FILE + ".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        os.replace(new, directory / FILE)


def load(directory: Path) -> State:
    """Read what `State.save` wrote; raise ClusterError where there is none."""
    try:
        fields = json.loads((directory / FILE).read_text())
    except FileNotFoundError:
        raise ClusterError(f"no cluster in {str(directory)!r}; start one with 'up'") from None
    return _state(fields)


def _state(fields: Mapping[str, Any]) -> State:
    hosts = {name: Host(**host) for name, host in fields["hosts"].items()}
    settings = make_settings(fields["settings"])
    return State(settings, fields["bridge"], fields["subnet"], fields["boot_id"], hosts, tuple(fields["iptables"]))


def make_settings(fields: Mapping[str, Any]) -> Settings:
    """Return Settings of values that came as JSON or from a command line: their tuples are lists."""
    values = [(name, tuple(value) if isinstance(value, list) else value) for name, value in fields.items()]
    return Settings(**dict[str, Any](values))
