"""What a scheduler has to bring along to run on the simulated hosts, and those that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from minicluster.sge import GridEngine
from minicluster.slurm import Slurm
from minicluster.state import State


class Scheduler(Protocol):
    """A scheduler's programs and files. Its half of a host's boot is the shell file beside boot.sh of its name."""

    @property
    def title(self) -> str:
        """How messages call it."""

    @property
    def packages(self) -> Mapping[str, str]:
        """The Debian package that each program comes from."""

    @property
    def commands(self) -> tuple[str, ...]:
        """What its users call, and other schedulers' hosts do not have."""

    @property
    def bears_loopback_names(self) -> bool:
        """Whether it works where a host's own name is a loopback address."""

    @property
    def daemons(self) -> tuple[str, ...]:
        """The titles of its processes that are no job's."""

    @property
    def killed_to_forget(self) -> tuple[str, ...]:
        """The titles of the login node's daemons that have to end before `forget_jobs`."""

    @property
    def forget_jobs(self) -> tuple[str, ...]:
        """The command that makes it know no job that ever was."""

    @property
    def usable(self) -> tuple[str, ...]:
        """The states of nodes that jobs are started on."""

    @property
    def node_states(self) -> tuple[str, ...]:
        """The command that tells all nodes' states."""

    @property
    def list_jobs(self) -> tuple[str, ...]:
        """The command that prints nothing when there is no job."""

    @property
    def delete_jobs(self) -> tuple[str, ...]:
        """The command that ends all jobs."""

    def write(self, directory: Path, state: State) -> None:
        """Write the configuration, which all hosts share."""

    def define(self, directory: Path, state: State, ask: Callable[[Sequence[str]], str]) -> None:
        """Tell the controller what it cannot read in the configuration; *ask* runs a command on the login node."""

    def parse_node_states(self, text: str) -> dict[str, str]:
        """Read the answer to `node_states`."""

    def logs(self, directory: Path, name: str) -> list[Path]:
        """Return what tells of the host *name*, besides its own logs."""


def foreign_commands(scheduler: str) -> list[str]:
    """Return the commands of all schedulers but *scheduler*.

    >>> foreign_commands("slurm")
    ['qsub']
    """
    return [command for name, other in SCHEDULERS.items() if name != scheduler for command in other.commands]


SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType({"slurm": Slurm(), "sge": GridEngine()})
