"""What agents and driver have for each other in a run with relays: connections that break, and what is lost with them.

Without relays the simulator loses nothing there, for each message is numbered. Here numbers, changes of the way and
relays are those of production (`transport.line`), and a connection that breaks loses what is under way in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import VERSION, Beat, Buffer, Forward, Hello, Message, Parted, Relayed, RelayUp
from scoop_hpc.protocol.names import AgentName
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.ledger import Violation
from scoop_hpc.sim.network import Network
from scoop_hpc.sim.nodes import Node
from scoop_hpc.transport.line import Act, AgentEnd, Dial, DriverEnd, Envelope, HangUp, Heard, Hop, Write
from scoop_hpc.transport.numbered import with_number

_DRIVER = "driver"
_LOOK = 1.0  # seconds, from one look of an agent at its way to the next
_RETRY = 0.1  # the same, from one attempt to connect to the next
_MADE = 0.002  # that it takes to connect
_TELL = 0.5  # from one word about what has arrived to the next
_NOTICED = 1.0  # the one end of a broken connection later than the other, at the most
_FAREWELL = 4.0  # that others have to leave before their relay


class Surroundings(Protocol):
    """The run, as the lines use it."""

    agenda: Agenda
    driver: DriverState
    network: Network

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""

    def note(self, what: str, message: object = "") -> None:
        """Put an event into the trace."""

    def draw(self, most: float) -> float:
        """Return a number of seconds by chance."""

    def carry_out(self, actions: Sequence[driver_actions.Action]) -> None:
        """Carry out what the driver has decided."""

    def hear(self, node: Node, message: Message) -> None:
        """Let an agent hear the driver."""

    def way_of_agent(self, node: Node, made: bool) -> None:
        """Let an agent know that it has no way to the driver, or has one again."""

    def leave(self, node: Node) -> None:
        """Let the process of an agent end."""


@dataclass(slots=True, eq=False)
class _Pipe:
    """A connection of an agent, or its attempt to have one."""

    agent: str
    hop: Hop
    to: str  # the driver or a relay
    life: int = 0  # one more after each loss
    is_made: bool = False
    is_closed: bool = False
    has_spoken: bool = False  # since it was made
    waiting: list[Sequence[Buffer]] = field(default_factory=list)  # until it is made


class Lines:
    """The lines between the driver of a *run* and its agents, the driver being *process*."""

    def __init__(self, run: Surroundings, process: Process) -> None:
        self._run = run
        self._process = process
        self._end = DriverEnd()
        self._nodes: dict[str, Node] = {}  # by agents
        self._ends: dict[str, AgentEnd] = {}
        self._pipes: dict[tuple[str, Hop], _Pipe] = {}
        self._open: set[str] = set()  # agents that relay
        self.moves = 0  # of agents to relays
        self.relays: list[int] = []  # hosts, as they began to relay
        run.later(_TELL, self._tell, process)

    # what the run asks for

    def report(self, node: Node) -> None:
        """Let an agent find the driver."""
        name = node.agent_name
        self._nodes[name] = node
        end = self._ends[name] = AgentEnd(_DRIVER, Hello(VERSION, "3.11", f"n{node.host}", "h", 8, 64, node.party))
        self._act(name, end.begin())
        self._run.later(_LOOK, partial(self._look, name), node.process)

    def tell_driver(self, node: Node, message: Message) -> None:
        """Send what an agent has for the driver."""
        self._act(node.agent_name, self._ends[node.agent_name].send(message))

    def tell_agents(self, names: Sequence[AgentName], message: Message) -> None:
        """Send what the driver has for agents."""
        self._write(self._end.send(names, message))

    def open_relay(self, node: Node) -> None:
        """Let an agent be a relay."""
        self._open.add(node.agent_name)
        self.relays.append(node.host)
        self.tell_driver(node, RelayUp(node.agent_name))

    def close_relay(self, node: Node) -> None:
        """Let an agent be a relay no more: those behind it see that."""
        self._open.discard(node.agent_name)
        self._cut(self._behind(node.agent_name))

    def is_used(self, node: Node) -> bool:
        """Return whether a node is a relay that others go by."""
        return node.agent_name in self._open and bool(self._behind(node.agent_name))

    def linger(self, node: Node, since: float | None = None) -> None:
        """Let an agent end when those that it relays for have left, or had time for that."""
        now = self._run.agenda.now
        since = now if since is None else since
        if self.is_used(node) and now < since + _FAREWELL:
            self._run.later(_RETRY, partial(self.linger, node, since), node.process)
        else:
            self._run.leave(node)

    def left(self, node: Node) -> None:
        """Close the connections of an agent that ends: what it has sent arrives before that is seen."""
        self._cut(self._behind(node.agent_name))
        for pipe in [pipe for pipe in self._pipes.values() if pipe.agent == node.agent_name and pipe.is_made]:
            to = self._process if pipe.to == _DRIVER else self._nodes[pipe.to].process
            self._carry(pipe, node.process, to, [], self._come_to_its_end)

    def _come_to_its_end(self, pipe: _Pipe, frames: list[bytes]) -> None:
        self._pipes.pop((pipe.agent, pipe.hop), None)
        self._end_of(pipe)

    def lose(self, node: Node) -> None:
        """Break all connections of a node, which is dead, or hears nothing."""
        name = node.agent_name
        self._cut([*self._behind(name), *(pipe for pipe in self._pipes.values() if pipe.agent == name)])

    # connections

    def _behind(self, relay: str) -> list[_Pipe]:
        return [pipe for pipe in self._pipes.values() if pipe.to == relay]

    def _act(self, name: str, acts: Iterable[Act]) -> None:
        for act in acts:
            match act:
                case Dial(hop, address):
                    pipe = self._pipes[name, hop] = _Pipe(name, hop, address)
                    self._run.later(_MADE, partial(self._connect, pipe, pipe.life), self._nodes[name].process)
                case HangUp(hop):
                    self._end_of(self._pipes.pop((name, hop)))
                case Write(hop, frames):
                    pipe = self._pipes[name, hop]
                    if pipe.is_made:
                        self._send_up(pipe, frames)
                    else:
                        pipe.waiting.append(frames)

    def _connect(self, pipe: _Pipe, life: int) -> None:
        """Make a connection, if its other end is there to be reached; else try again."""
        if pipe.is_closed or pipe.life != life:
            return
        node, run = self._nodes[pipe.agent], self._run
        other = self._process.name if pipe.to == _DRIVER else self._nodes[pipe.to].process.name
        is_there = pipe.to == _DRIVER or (pipe.to in self._open and not self._nodes[pipe.to].process.is_gone)
        if not is_there or run.network.is_hushed(node.process.name, other, run.agenda.now):
            run.later(_RETRY, partial(self._connect, pipe, life), node.process)
            return
        run.note(f"{pipe.agent} is connected to {pipe.to}")
        pipe.is_made, pipe.has_spoken = True, False
        waiting, pipe.waiting = pipe.waiting, []
        for frames in waiting:
            self._send_up(pipe, frames)
        self._change(pipe.agent, lambda end: end.made(pipe.hop))

    def _change(self, name: str, change: Callable[[AgentEnd], Iterable[Act]]) -> None:
        """Let something change an agent's way, and the agent know if it has one no more, or again."""
        end, node = self._ends[name], self._nodes[name]
        before, had_relay = end.is_connected, end.has_relay
        self._act(name, change(end))
        self.moves += end.has_relay and not had_relay
        if end.is_connected != before:
            self._run.way_of_agent(node, end.is_connected)

    def _cut(self, pipes: Iterable[_Pipe]) -> None:
        """Break connections: what is under way is lost, and each end sees that in a while."""
        for pipe in list(pipes):
            if not pipe.is_made or pipe.is_closed:
                continue
            self._end_of(pipe)
            pipe.is_closed = False
            seen = partial(self._see_loss, pipe, pipe.life)
            self._run.later(self._run.draw(_NOTICED), seen, self._nodes[pipe.agent].process)

    def _see_loss(self, pipe: _Pipe, life: int) -> None:
        if pipe.is_closed or pipe.life != life:
            return
        if pipe.hop is Hop.DRIVER:
            self._run.later(_RETRY, partial(self._connect, pipe, life), self._nodes[pipe.agent].process)
        self._change(pipe.agent, lambda end: end.lost(pipe.hop))

    def _end_of(self, pipe: _Pipe) -> None:
        """Let a connection end, which its other end sees in a while."""
        was_made, pipe.is_made, pipe.is_closed = pipe.is_made, False, True
        pipe.life += 1
        if not was_made:
            return
        seconds = self._run.draw(_NOTICED)
        if pipe.to == _DRIVER:
            self._run.later(seconds, partial(self._lose_connection, pipe.agent), self._process)
        elif pipe.to in self._open:
            relay = self._nodes[pipe.to]
            self._run.later(seconds, partial(self.tell_driver, relay, Parted(pipe.agent)), relay.process)

    def _lose_connection(self, name: str) -> None:
        """Let the driver see that a connection is lost, as its shell does."""
        pipe = self._pipes.get((name, Hop.DRIVER))
        if pipe is not None and pipe.is_made:  # it has come by another one since
            return
        now = self._run.agenda.now
        if not self._end.relay_of(name):
            self._run.carry_out(self._run.driver.disconnected(AgentName(name), now))
        for other in self._end.behind(name):
            self._run.carry_out(self._run.driver.disconnected(AgentName(other), now))

    # messages

    def _send_up(self, pipe: _Pipe, frames: Sequence[Buffer]) -> None:
        sender = self._nodes[pipe.agent].process
        to = self._process if pipe.to == _DRIVER else self._nodes[pipe.to].process
        self._carry(pipe, sender, to, [bytes(frame) for frame in frames], self._come_up)

    def _send_down(self, pipe: _Pipe, frames: Sequence[Buffer]) -> None:
        to = self._nodes[pipe.agent].process
        sender = self._process if pipe.to == _DRIVER else self._nodes[pipe.to].process
        self._carry(pipe, sender, to, [bytes(frame) for frame in frames], self._come_down)

    def _carry(
        self,
        pipe: _Pipe,
        sender: Process,
        to: Process,
        frames: list[bytes],
        come: Callable[[_Pipe, list[bytes]], None],
    ) -> None:
        life, now = pipe.life, self._run.agenda.now

        def arrive() -> None:
            if pipe.life == life:
                come(pipe, frames)

        time = self._run.network.arrival(sender.name, to.name, sum(map(len, frames)), now)
        self._run.later(time - now, arrive, to)

    def _come_up(self, pipe: _Pipe, frames: list[bytes]) -> None:
        if pipe.to != _DRIVER:
            if pipe.to in self._open:
                self.tell_driver(self._nodes[pipe.to], Relayed(pipe.agent, frames[0]))
            return
        if not pipe.has_spoken:
            pipe.has_spoken = True
            self._run.driver.connected(AgentName(pipe.agent))
        heard, envelopes = self._end.take(pipe.agent, frames)
        self._write(envelopes)
        self._hear(heard)

    def _hear(self, heard: Heard) -> None:
        """Let the driver hear, as its shell does."""
        run, name, message, now = self._run, AgentName(heard.sender), heard.message, self._run.agenda.now
        if isinstance(message, ProtocolError):
            raise Violation(f"a message of {name} was refused: {message}") from message
        if heard.is_connected:
            run.carry_out(run.driver.has_way(name, bool(self._end.relay_of(name))))
        elif heard.is_connected is not None:
            run.carry_out(run.driver.disconnected(name, now))
        if message is not None:
            run.note(f"driver <- {name}", message)
            run.carry_out(run.driver.handle(message, name, now))

    def _write(self, envelopes: Iterable[Envelope]) -> None:
        for to, frames in envelopes:
            pipe = self._pipes.get((to, Hop.DRIVER))
            if pipe is not None and pipe.is_made:  # a ROUTER drops what is for others
                self._send_down(pipe, frames)

    def _come_down(self, pipe: _Pipe, frames: list[bytes]) -> None:
        node, found = self._nodes[pipe.agent], list[Message]()

        def take(end: AgentEnd) -> Iterable[Act]:
            message, acts = end.take(pipe.hop, frames)
            found.extend([] if message is None else [message])
            return acts

        self._change(pipe.agent, take)
        for message in found:
            if isinstance(message, Forward):
                self._forward(pipe.agent, message)
            else:
                self._run.note(f"{node.process.name} <- driver", message)
                self._run.hear(node, message)

    def _forward(self, relay: str, message: Forward) -> None:
        for to in message.to:
            pipe = self._pipes.get((to.agent, Hop.RELAY))
            if relay in self._open and pipe is not None and pipe.is_made and pipe.to == relay:
                self._send_down(pipe, with_number(to.number, [message.frame]) if to.number else [message.frame])

    # what is done now and then

    def _look(self, name: str) -> None:
        node = self._nodes[name]
        self._run.later(_LOOK, partial(self._look, name), node.process)
        self._act(name, self._ends[name].tell())
        self._change(name, lambda end: end.look())
        if name in self._open:
            for pipe in self._behind(name):
                if pipe.is_made:
                    self._send_down(pipe, codec.encode(Beat()))

    def _tell(self) -> None:
        self._run.later(_TELL, self._tell, self._process)
        self._write(self._end.tell())
