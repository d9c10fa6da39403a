"""Nodes that leave a simulated run, and nodes of other allocations that join it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from scoop_hpc.broker.actions import Send
from scoop_hpc.protocol.messages import VERSION, Drained, Join, Joined, JoiningNode, Leave, Message
from scoop_hpc.protocol.names import AGENT, AgentName
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.faults import Drain, Newcomer
from scoop_hpc.sim.nodes import Broker, Node, Nodes

_WORD = 10.0  # seconds until all have heard that a node has left, as of a loss
_USER = AgentName("login/user/0")


class Surroundings(Protocol):
    """The run, as the moves use it."""

    agenda: Agenda
    driver: DriverState
    nodes: Nodes
    troubled_until: float

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""

    def has_begun(self) -> bool:
        """Return whether the program runs; nobody joins it before, or leaves."""

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""

    def carry_out(self, actions: Sequence[driver_actions.Action]) -> None:
        """Carry out what the driver has decided."""

    def report(self, node: Node) -> None:
        """Let an agent report to the driver."""

    def send(self, broker: Broker, sends: Sequence[Send]) -> None:
        """Send what a broker has decided to."""

    def has_delivered(self, broker: Broker) -> bool:
        """Return whether all has arrived, and was heard, that a broker has sent to its peers."""


class Moves:
    """The moves of nodes into a *run* and out of it."""

    def __init__(self, run: Surroundings) -> None:
        self.left = 0  # nodes
        self.joined = 0
        self._run = run

    def plan(self, move: Drain | Newcomer) -> None:
        """Plan what is to happen."""
        self._run.agenda.at(self._run.agenda.now + move.time, partial(self._begin, move))

    def _begin(self, move: Drain | Newcomer) -> None:
        run = self._run
        if run.is_over():
            return
        if not run.has_begun():
            run.later(0.005, partial(self._begin, move))
            return
        match move:
            case Drain(host, _, within):
                leave = Leave(within, f"n{host}", "drained")
                run.carry_out(run.driver.handle(leave, _USER, run.agenda.now))
            case Newcomer(workers):
                self._join(workers)

    def _join(self, workers: int) -> None:
        """Let a node of another allocation report, after its joiner was let in."""
        run = self._run
        node = run.nodes.add_host(workers)
        joiner = AgentName(f"login/{node.host}/0")
        join = Join(VERSION, "", "h", 8, (JoiningNode(f"n{node.host}", workers),))
        for action in (actions := run.driver.handle(join, joiner, run.agenda.now)):
            if isinstance(action, driver_actions.Send) and isinstance(action.message, Joined):
                node.party = action.message.party
                self.joined += 1
                run.report(node)
        run.carry_out(actions)

    def look(self, node: Node) -> None:
        """Let the broker of a node say that it has nothing to do any more, as its server would."""
        broker = node.broker
        if broker is None or broker.has_drained or not broker.state.is_drained or not self._run.has_delivered(broker):
            return
        broker.has_drained = True
        drained: Message = Drained()
        self._run.send(broker, [Send(AGENT, drained)])

    def have_left(self, node: Node) -> None:
        """Note that the driver goes on without a node, and that nothing was lost with it."""
        if node.lost_at is None:
            self.left += 1
            node.lost_at = now = self._run.agenda.now
            node.known_until = max(now, self._run.troubled_until) + _WORD
