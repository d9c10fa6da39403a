"""The connections of a broker to its peers: a line for each that it has anything for, to the peer's ROUTER.

What is for some goes by way of others, in envelopes: see `envelopes`. The connection to the next one is like any other.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from scoop_hpc.broker.envelopes import Envelope
from scoop_hpc.broker.policy import Policy
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import BrokerUp, Buffer, Message
from scoop_hpc.protocol.names import BrokerName, broker_name
from scoop_hpc.transport.dialer import Dialer
from scoop_hpc.transport.lines import Heard, SharedLine, Trunk
from scoop_hpc.transport.maps import spelled_out


class Ways(Protocol):
    """Who is next on the way to a peer."""

    def way_to(self, peer: BrokerName) -> BrokerName:
        """Return by whom to send what is for a *peer*: itself, or another one."""

    def leads_over(self, peer: BrokerName, others: Collection[BrokerName]) -> bool:
        """Return whether one of *others* may be, or have been, on the way to a *peer*."""


class _Letter(NamedTuple):
    """The frames of a message; if not to be copied, the large ones stay as they are."""

    frames: Sequence[Buffer]
    copy: bool = True


class _PeerLine:
    """A line of a *trunk* to the broker *name*, or one by way of the broker that is *next* when it is connected."""

    def __init__(
        self,
        trunk: Trunk,
        name: BrokerName,
        next_one: Callable[[BrokerName], BrokerName],
        post: Callable[[BrokerName, BrokerName, Sequence[Buffer], bool], None],
    ) -> None:
        self.next = name  # to this peer
        self._shared = SharedLine(trunk, name)
        self._next_one = next_one
        self._post = post

    @property
    def is_direct(self) -> bool:
        """True unless it leads by way of others."""
        return self.next == self._shared.name

    def connect(self, address: str) -> None:
        """See `Line`."""
        self._shared.hang_up()
        self.next = self._next_one(self._shared.name)
        if self.is_direct:
            self._shared.connect(address)

    def hang_up(self) -> None:
        """See `Line`."""
        self._shared.hang_up()

    def send(self, frames: Sequence[Buffer], copy: bool = True) -> None:
        """See `Line`."""
        if self.is_direct:
            self._shared.send(frames, copy)
        else:
            self._post(self.next, self._shared.name, frames, copy)


class _Link:
    """What there is between this broker and a peer: a *line*, and the *dialer* that speaks on it."""

    def __init__(self, line: _PeerLine, dialer: Dialer, patience: float) -> None:
        self.line = line
        self.dialer = dialer
        self.used = 0.0  # when it was, or was begun
        self._patience = self._wait = patience
        self._arrived = 0  # messages, at the last progress
        self._since = float("inf")  # when that was, or the last attempt; inf: nothing is under way

    def is_stuck(self, now: float) -> bool:
        """Return whether nothing has arrived for so long that all is to be sent again: twice as long each time."""
        arrived = self.dialer.arrived
        if self.dialer.has_delivered:
            self._since = float("inf")
        elif arrived != self._arrived or self._since > now:
            self._since, self._wait = now, self._patience
        elif now >= self._since + self._wait:
            self._since, self._wait = now, 2 * self._wait
            return True
        self._arrived = arrived
        return False


class PeerLinks:
    """The connections from the broker *name* to its peers, each made when there is something to send.

    Beyond the most that the *policy* allows at once, the one that was unused for longest rests, as do those that were
    unused for long. While all of them have messages under way, what is for others waits. What is for a peer is held
    back until it is known where that is: a worker may be quicker than the driver. What is for one that is gone is
    dropped. *ways* tells what is for whom goes by whom; peers *are_far* if they may be on other machines.
    """

    def __init__(self, trunk: Trunk, name: BrokerName, policy: Policy, ways: Ways, *, are_far: bool) -> None:
        self._trunk = trunk
        self._name = name
        self._policy = policy
        self._ways = ways
        self._are_far = are_far
        self._now = 0.0
        self._known: dict[BrokerName, BrokerUp] = {}  # that there was no connection to so far
        self._links: OrderedDict[BrokerName, _Link] = OrderedDict()  # the last used is the last
        self._resting: dict[BrokerName, _Link] = {}
        self._early: dict[BrokerName, list[_Letter]] = {}  # for peers whose addresses are not known yet
        self._waiting: dict[BrokerName, list[_Letter]] = {}  # for those for which there is no room yet
        self._dialled: list[BrokerName] = []  # since the last look
        self._gone: set[BrokerName] = set()

    def meet(self, brokers: Iterable[BrokerUp], now: float) -> list[BrokerName]:
        """Note where those of *brokers* are that are new, but for the broker itself; return their names."""
        self._now = now
        met = []
        for broker in brokers:
            name = broker_name(broker.node)
            if name == self._name or name in self._gone or self._is_known(name):
                continue
            self._known[name] = broker
            met.append(name)
        for name in met:
            for letter in self._early.pop(name, ()):
                self._send(name, letter)
        return met

    def _is_known(self, name: BrokerName) -> bool:
        return name in self._known or name in self._links or name in self._resting

    def part(self, name: BrokerName) -> None:
        """Drop the connection to a broker that is gone, and what is for it."""
        self._gone.add(name)
        for by_name in (self._early, self._waiting, self._known, self._resting):
            by_name.pop(name, None)
        link = self._links.pop(name, None)
        if link is not None:
            link.dialer.close()

    def is_gone(self, name: BrokerName) -> bool:
        """Return whether there will be no connection to *name* any more."""
        return name in self._gone

    def turn(self, gone: Collection[BrokerName], now: float) -> None:
        """Send what has not arrived by other ways, where *ways* has changed, or led over brokers that are *gone*."""
        self._now = now
        for name, link in list(self._links.items()):
            is_cut = not link.line.is_direct and self._ways.leads_over(name, gone)
            if link.dialer.is_found and (is_cut or link.line.next != self._ways.way_to(name)):
                link.dialer.wake(now)

    def have_all(self) -> bool:
        """Return whether all that was sent has arrived."""
        waits = self._waiting or self._early
        return not waits and all(link.dialer.has_delivered for link in self._links.values())

    def send(self, name: BrokerName, message: Message, now: float) -> None:
        """Send *message* to a peer, now or once there is a connection, which is made if there is none."""
        self._now = now
        whole = spelled_out(message) if self._are_far else message
        self._send(name, _Letter(codec.encode(whole), whole is message))

    def pass_on(self, envelope: Envelope, by: BrokerName, now: float) -> None:
        """Send what is for another broker to the one that is next on the way there."""
        self._now = now
        passed = envelope.passed_on()
        if passed is not None:
            self._send(by, _Letter(passed.sealed(), copy=False))

    def _post(self, by: BrokerName, to: BrokerName, frames: Sequence[Buffer], copy: bool) -> None:
        self._send(by, _Letter(Envelope(to, self._name, frames).sealed(), copy))

    def _send(self, name: BrokerName, letter: _Letter) -> None:
        link = self._links.get(name)
        if link is None and self._is_known(name):
            needs_room = self._ways.way_to(name) == name
            if needs_room and (name in self._waiting or not self._has_room()):
                self._waiting.setdefault(name, []).append(letter)
                return
            link = self._dial(name)
        if link is not None:
            self._links.move_to_end(name)
            link.used = self._now
            link.dialer.pass_on(letter.frames, letter.copy)
        elif name not in self._gone:
            self._early.setdefault(name, []).append(letter)

    def _has_room(self) -> bool:
        """Return whether there may be another connection, after one has been laid to rest for it if need be."""
        if len(self._links) < self._policy.most_links:
            return True
        direct = {name: link for name, link in self._links.items() if link.line.is_direct}
        if len(direct) < self._policy.most_links:
            return True
        name = next((name for name, link in direct.items() if link.dialer.may_rest), None)
        if name is None:
            return False
        self._rest(name)
        return True

    def _rest(self, name: BrokerName) -> None:
        link = self._resting[name] = self._links.pop(name)
        link.dialer.rest()

    def _rest_unused(self) -> None:
        """Lay those connections to rest that nothing was sent on for long."""
        until = self._now - self._policy.unused
        unused = itertools.takewhile(lambda name: self._links[name].used <= until, self._links)
        for name in [name for name in unused if self._links[name].dialer.may_rest]:
            self._rest(name)

    def _dial(self, name: BrokerName) -> _Link:
        link = self._resting.pop(name, None)
        if link is None:
            line = _PeerLine(self._trunk, name, self._ways.way_to, self._post)
            dialer = Dialer(line, self._known.pop(name), self._policy.next_address, is_far=False)
            link = _Link(line, dialer, self._policy.unheard)
        self._links[name] = link
        link.used = self._now
        if link.dialer.is_found:
            link.dialer.wake(self._now)
        else:
            link.dialer.keep_trying(self._now)
        self._dialled.append(name)
        return link

    def take(self, heard: Heard) -> bool:
        """Take an answer of a peer; return whether there is a connection now, and was none.

        Raises ProtocolError for any other message.
        """
        link = self._links.get(heard.name)
        if link is None:  # it is gone since
            return False
        was_open = link.dialer.is_open
        unexpected = link.dialer.take(heard.frames)
        if unexpected is not None:
            raise ProtocolError(f"{unexpected!r} is no answer to a broker")
        return link.dialer.is_open and not was_open

    def look(self, now: float) -> list[BrokerName]:
        """Keep trying peers that have not answered; return those without a connection that had one at the last look.

        Among them are those to which one was begun since then. Who is reached by way of others is not among them: each
        of these looks after the connection to the next.
        """
        self._now = now
        for name in list(self._waiting):
            if not self._has_room():
                break
            letters = self._waiting.pop(name)
            self._dial(name)
            for letter in letters:
                self._send(name, letter)
        lost = self._trunk.lost()
        broken = [name for name in self._dialled if name in self._links and self._is_broken(self._links[name])]
        self._dialled.clear()
        for name, link in list(self._links.items()):
            link.dialer.keep_trying(now)
            link.dialer.tell()
            if link.line.is_direct:
                if name in lost and link.dialer.has_lost(now):
                    broken.append(name)
            elif link.is_stuck(now):
                link.dialer.has_lost(now)
        self._rest_unused()
        return broken

    @staticmethod
    def _is_broken(link: _Link) -> bool:
        return link.line.is_direct and not link.dialer.is_open
