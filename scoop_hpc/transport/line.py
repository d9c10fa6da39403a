"""The two ends of what agent and driver have for each other, whatever ways it takes: no socket, no clock.

An agent begins with a connection of its own to the driver. It may be told to go by a relay, another agent: then the
driver needs no connection for it. It leaves the one only when the other works, and comes back when that ends::

              UseRelay          the relay is reached       a word of the driver comes that way
    STRAIGHT ----------> TRIED ----------------------> MOVING ------------------------------> RELAYED
       ^ <-- not in time --'  <-- lost, or silent ------'                                        |
       '------- lost, or silent: the driver is dialled again -----------------------------------'

All messages are numbered from end to end (see `numbered`), so a relay may lose what it likes: at each change of its way
the agent says by Resume what has arrived, and both send the rest again. Of two such words, which may come by different
ways, the driver heeds the later one. A relay only passes frames on: it reads none, and keeps none.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec import Struct

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Addressee,
    Arrived,
    Beat,
    Buffer,
    Bye,
    Forward,
    Hello,
    Message,
    Parted,
    Relayed,
    Resume,
    UseRelay,
    Welcome,
)
from scoop_hpc.transport.numbered import Incoming, Outgoing, is_numbered, with_number
from scoop_hpc.transport.search import Search, search_again

_SILENT_LOOKS = 8  # in a row without a word of a relay, until the agent leaves it; about a second each


class Hop(enum.Enum):
    """The other end of an agent's connection."""

    DRIVER = 1
    RELAY = 2


class Dial(Struct, frozen=True):
    """Make a connection to a hop, at *address*."""

    hop: Hop
    address: str


class HangUp(Struct, frozen=True):
    """Close the connection to a hop, without waiting for what is under way."""

    hop: Hop


class Write(Struct, frozen=True):
    """Send *frames* by the connection to a hop."""

    hop: Hop
    frames: Sequence[Buffer]


Act = Dial | HangUp | Write


class _Step(enum.Enum):
    STRAIGHT = 1
    TRIED = 2
    MOVING = 3
    RELAYED = 4


class AgentEnd:
    """An agent's end: it says *hello* to the driver at *address*.

    After a loss it gives that address some *seconds*, and then others as well, see `may_dial`.
    """

    def __init__(self, address: str, hello: Hello, seconds: float = 3.0) -> None:
        self.address = address  # where the driver was found last
        self._dialled = address
        self._addresses: Sequence[str] = ()  # of the driver
        self._seconds = seconds
        self._search: Search | None = None  # since a loss
        self._hello = hello
        self._incoming = Incoming()
        self._outgoing = Outgoing()
        self._step = _Step.STRAIGHT
        self._by = Hop.DRIVER  # what is sent goes
        self._made: set[Hop] = set()
        self._attempt = 0
        self._silent_looks = 0

    @property
    def is_connected(self) -> bool:
        """True while the hop that messages go by is reached."""
        return self._by in self._made

    @property
    def all_has_arrived(self) -> bool:
        """True once the driver has said that it has all that was sent."""
        return not self._outgoing

    @property
    def has_relay(self) -> bool:
        """True while messages go by a relay."""
        return self._by is Hop.RELAY

    def begin(self) -> list[Act]:
        """Return what finds the driver."""
        return [Dial(Hop.DRIVER, self.address), self._write(self._hello)]

    def send(self, message: Message) -> list[Act]:
        """Return what sends *message*."""
        return [Write(self._by, self._outgoing.add(codec.encode(message)))]

    def take(self, hop: Hop, frames: list[bytes]) -> tuple[Message | None, list[Act]]:
        """Return the message in *frames*, if it says something to the agent; raise ProtocolError if it is invalid."""
        acts: list[Act] = []
        taken = self._incoming.take(frames)
        message = None if taken is None else codec.decode(taken)
        if hop is Hop.RELAY:
            self._silent_looks = 0 if self._step is _Step.RELAYED else self._silent_looks
            if isinstance(message, Beat):
                return None, acts
            if self._step is _Step.MOVING:
                self._step = _Step.RELAYED
                self._silent_looks = 0
                self._made.discard(Hop.DRIVER)
                acts.append(HangUp(Hop.DRIVER))
        if self._incoming.is_due():
            acts.append(self._write(Arrived(self._incoming.tell())))
        match message:
            case Arrived(count):
                self._outgoing.have_arrived(count)
            case UseRelay(address):
                acts += self._use(address)
            case _:
                return message, acts
        return None, acts

    def _use(self, address: str) -> list[Act]:
        """Try the relay at *address*, unless the agent has one."""
        if self._step is _Step.RELAYED:
            return []
        before = [] if self._step is _Step.STRAIGHT else self._leave_relay()
        self._step, self._silent_looks = _Step.TRIED, 0
        return [*before, Dial(Hop.RELAY, address)]

    def made(self, hop: Hop) -> list[Act]:
        """Take it that a hop is reached."""
        self._made.add(hop)
        if hop is Hop.DRIVER:
            self.address, self._search = self._dialled, None
        if hop is Hop.DRIVER or self._step is not _Step.TRIED:
            return []
        self._step, self._by, self._silent_looks = _Step.MOVING, Hop.RELAY, 0
        return self._resume()

    def lost(self, hop: Hop) -> list[Act]:
        """Take it that a connection is lost; libzmq makes that to the driver again."""
        self._made.discard(hop)
        if hop is Hop.RELAY:
            return self._leave_relay()
        return self._resume() if self._by is Hop.DRIVER else []

    @property
    def rests(self) -> bool:
        """True while there is a connection to the driver itself, and no other is tried."""
        return self._step is _Step.STRAIGHT and self.is_connected

    def look(self) -> list[Act]:
        """Leave a relay that says nothing; to be called about once a second.

        What is counted is looks: where all processes were stopped for a while, nobody is taken for silent.
        """
        if self._step is _Step.STRAIGHT:
            return []
        self._silent_looks += 1
        return self._leave_relay() if self._silent_looks > _SILENT_LOOKS else []

    def _leave_relay(self) -> list[Act]:
        step, self._step = self._step, _Step.STRAIGHT
        self._made.discard(Hop.RELAY)
        if step is _Step.STRAIGHT:
            return []
        if step is _Step.TRIED:
            return [HangUp(Hop.RELAY)]
        self._by = Hop.DRIVER
        return [HangUp(Hop.RELAY), *(self._dial_driver() if step is _Step.RELAYED else []), *self._resume()]

    def _dial_driver(self) -> list[Act]:
        self._dialled = self.address if self._search is None else self._search.address()
        return [Dial(Hop.DRIVER, self._dialled)]

    def may_dial(self, addresses: Sequence[str]) -> None:
        """Take the driver to be at any of these *addresses*, should the connection be lost."""
        self._addresses = addresses

    def keep_trying(self, now: float) -> list[Act]:
        """Go on to the next address of the driver if it was not reached in time: libzmq dials the last one alone."""
        if self._by is not Hop.DRIVER or Hop.DRIVER in self._made or not self._addresses:
            return []
        if self._search is None:
            self._search = search_again(self._addresses, self.address, self._seconds, now)
        if not self._search.goes_on(now) or self._search.address() == self._dialled:
            return []
        return [HangUp(Hop.DRIVER), *self._dial_driver(), *self._resume()]

    def _resume(self) -> list[Act]:
        """Say what has arrived, and send again what may have been lost."""
        self._attempt += 1
        arrived = self._incoming.tell()
        word = Resume(arrived, self._attempt) if arrived else self._hello
        return [self._write(word), *(Write(self._by, frames) for frames in self._outgoing.kept())]

    def tell(self) -> list[Act]:
        """Tell the driver what has arrived, unless it knows; to be called now and then."""
        return [self._write(Arrived(self._incoming.tell()))] if self._incoming.is_owed() else []

    def _write(self, message: Message) -> Write:
        return Write(self._by, codec.encode(message))


class _Agent(Struct):
    """What the driver knows of an agent's end."""

    incoming: Incoming
    outgoing: Outgoing
    attempt: int = 0
    relay: str = ""  # by which it was heard last; empty: by a connection of its own


class Envelope(NamedTuple):
    """Frames for the connection of an agent."""

    to: str
    frames: Sequence[Buffer]


class Heard(NamedTuple):
    """What has come from an agent, by whatever way."""

    sender: str
    message: Message | ProtocolError | None = None  # None: nothing new; an error: what it says is invalid
    is_connected: bool | None = None  # True: it has a new way to here; False: it has none any more


class DriverEnd:
    """The driver's end, for all agents."""

    def __init__(self) -> None:
        self._agents: dict[str, _Agent] = {}  # that were welcomed
        self._behind: dict[str, dict[str, None]] = {}  # by relays: the agents that were heard by each last

    def relay_of(self, name: str) -> str:
        """Return the relay that an agent was heard by last; empty if it has a connection of its own."""
        agent = self._agents.get(name)
        return "" if agent is None else agent.relay

    def behind(self, relay: str) -> list[str]:
        """Return the agents that were heard by *relay* last."""
        return list(self._behind.get(relay, ()))

    def send(self, names: Collection[str], message: Message) -> list[Envelope]:
        """Return what sends *message* to agents: to those behind one relay, it goes there once."""
        frames = codec.encode(message)
        envelopes: list[Envelope] = []
        behind: dict[str, list[Addressee]] = {}
        for name in names:
            if isinstance(message, Welcome):
                self._agents.setdefault(name, _Agent(Incoming(), Outgoing()))
            agent = self._agents.get(name)
            if agent is None:
                envelopes.append(Envelope(name, frames))
                continue
            number = agent.outgoing.keep(frames)
            if agent.relay:
                behind.setdefault(agent.relay, []).append(Addressee(name, number))
            else:
                envelopes.append(Envelope(name, with_number(number, frames)))
        for relay, to in behind.items():
            envelopes += self._forward(relay, to, frames)
        return envelopes

    def _forward(self, relay: str, to: Sequence[Addressee], frames: Sequence[Buffer]) -> list[Envelope]:
        """Return nothing if the relay is none any more and has one itself: those behind it are about to say Resume."""
        if self._agents[relay].relay:
            return []
        (frame,) = frames
        forward = codec.encode(Forward(tuple(to), bytes(frame)))
        return [Envelope(relay, self._agents[relay].outgoing.add(forward))]

    def _envelopes(self, name: str, frames: Sequence[Buffer]) -> list[Envelope]:
        relay = self.relay_of(name)
        return self._forward(relay, [Addressee(name, 0)], frames) if relay else [Envelope(name, frames)]

    def take(self, name: str, frames: list[bytes]) -> tuple[Heard, list[Envelope]]:
        """Return what *frames* say that have come by the connection of *name*; raise ProtocolError if it is invalid.

        Nothing where *name* is libzmq's, for a connection in whose place there is a newer one: see `Inbox`.
        """
        if name in self._agents:
            return self._take(name, "", frames)
        message = None if is_numbered(frames) else codec.decode(frames)
        return Heard(name, None if name.startswith("\0") else message), []

    def _take(self, name: str, relay: str, frames: list[bytes]) -> tuple[Heard, list[Envelope]]:
        agent = self._agents[name]
        taken = agent.incoming.take(frames)
        if taken is None:
            return Heard(name), []
        message = codec.decode(taken)
        is_due = isinstance(message, Bye) or agent.incoming.is_due()  # who leaves waits for that
        envelopes = self._arrived(name, agent) if is_due else []
        match message:
            case Arrived(count):
                agent.outgoing.have_arrived(count)
            case Hello() if not relay:
                return Heard(name), [*envelopes, *self._resume(name, agent, 0)]
            case Resume(arrived, attempt):
                if attempt >= agent.attempt:
                    self._behind.get(agent.relay, {}).pop(name, None)
                    agent.attempt, agent.relay = attempt, relay
                    if relay:
                        self._behind.setdefault(relay, {})[name] = None
                    answer = self._arrived(name, agent) if relay else []
                    return Heard(name, None, True), [*envelopes, *answer, *self._resume(name, agent, arrived)]
            case Relayed(sender, frame) if not relay:
                heard, more = self._take_relayed(name, sender, frame)
                return heard, [*envelopes, *more]
            case Parted(other):
                return (Heard(other, None, False) if self.relay_of(other) == name else Heard(name)), envelopes
            case Relayed():  # from when it was a relay: the sender has left it since, and sends that again
                pass
            case Hello():
                raise ProtocolError(f"the agent {name!r}, which has a relay, sent the driver {message!r}")
            case _:
                return Heard(name, message), envelopes
        return Heard(name), envelopes

    def _take_relayed(self, relay: str, sender: str, frame: bytes) -> tuple[Heard, list[Envelope]]:
        if sender not in self._agents or sender == relay:
            raise ProtocolError(f"the agent {relay!r} relays for {sender!r}, which is no other agent of this run")
        try:
            return self._take(sender, relay, [frame])
        except ProtocolError as error:  # the sender's fault
            return Heard(sender, error), []

    def _resume(self, name: str, agent: _Agent, arrived: int) -> list[Envelope]:
        """Return what sends again what has not arrived."""
        agent.outgoing.have_arrived(arrived)
        return [envelope for frames in agent.outgoing.kept() for envelope in self._envelopes(name, frames)]

    def _arrived(self, name: str, agent: _Agent) -> list[Envelope]:
        return self._envelopes(name, codec.encode(Arrived(agent.incoming.tell())))

    def tell(self) -> list[Envelope]:
        """Return what tells each agent what has arrived from it, unless it knows; to be called now and then."""
        owed = [(name, agent) for name, agent in self._agents.items() if agent.incoming.is_owed()]
        return [envelope for name, agent in owed for envelope in self._arrived(name, agent)]
