"""An agent's decisions while it looks for the driver: whether to wait on, and when to give up; no socket, no clock.

A node may have an address that leads elsewhere (every Docker host is 172.17.0.1), so an address counts only when the
driver, known by its key, has answered there.
"""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.errors import LaunchError, ProtocolError
from scoop_hpc.protocol.messages import Message, Shutdown, Welcome
from scoop_hpc.run.policy import AgentPolicy


class Ended(LaunchError):
    """The run ended before this agent was welcome: there is nothing for it to do."""


class Gone(LaunchError):
    """The driver is gone: it has died, or nobody listens at its addresses."""


class SearchState:
    """The state machine of a search for the driver at *addresses*, from *now* on for *patience* seconds."""

    def __init__(self, addresses: Sequence[str], patience: float, now: float, policy: AgentPolicy) -> None:
        self._addresses = tuple(addresses)
        self._remote = tuple(address for address in addresses if address.startswith("tcp://"))
        self._patience = patience
        self._policy = policy
        self._until = now + patience
        self._probe_at = now + policy.probe
        self._connected: set[str] = set()  # addresses
        self._connected_at: float | None = None  # last

    def hear(self, message: Message) -> Welcome:
        """Return the driver's welcome; raise Ended if it has none for this agent, ProtocolError for anything else."""
        match message:
            case Welcome():
                return message
            case Shutdown():
                raise Ended("the run ended before this agent was welcome")
            case _:
                raise ProtocolError(f"the driver greeted an agent by {message!r}")

    def connected(self, address: str, made: bool) -> None:
        """Note that a connection to *address* was *made*, or lost."""
        (self._connected.add if made else self._connected.discard)(address)

    def pass_time(self, now: float, has_parent: bool) -> tuple[str, ...]:
        """Return the addresses to probe now, if any; raise LaunchError when it is no use to wait on.

        *has_parent*: the process that started this one lives.
        """
        if self._connected:
            self._connected_at = now
        lost = self._connected_at is not None and now > self._connected_at + self._policy.driver_lost_after
        if lost or not has_parent:
            raise Gone("the driver was gone before this agent was welcome")
        if now >= self._until:
            where = ", ".join(self._addresses)
            raise LaunchError(f"no welcome from the driver at {where} within {self._patience:g} s")
        if self._connected_at is not None or now < self._probe_at:
            return ()
        self._probe_at = now + self._policy.probe
        return self._remote

    def refused(self) -> None:
        """Take it that nobody listens at the addresses that were probed: raise Gone."""
        where = ", ".join(self._remote)
        raise Gone(f"nothing listens at {where}: the driver is gone, or --interface must name another")
