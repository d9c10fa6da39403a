"""The connections of a broker to its peers: a line for each that it has anything for, to the peer's ROUTER."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import BrokerUp, Message
from scoop_hpc.protocol.names import BrokerName, broker_name
from scoop_hpc.transport.dialer import Dialer
from scoop_hpc.transport.lines import Heard, SharedLine, Trunk


class PeerLinks:
    """The connections from the broker *name* to its peers, each made when there is something to send, *most* at once.

    Beyond these, the one that was unused for longest rests, as do those that were *unused* for so many seconds. While
    all of them have messages under way, what is for others waits. What is for a peer is held back until it is known
    where that is: a worker may be quicker than the driver. What is for one that is gone is dropped.
    """

    def __init__(
        self, trunk: Trunk, name: BrokerName, seconds: float, most: int, unused: float, *, are_far: bool
    ) -> None:
        self._trunk = trunk
        self._name = name
        self._seconds = seconds  # for an answer from one address
        self._most = most
        self._unused = unused
        self._are_far = are_far  # peers may be on other machines
        self._known: dict[BrokerName, BrokerUp] = {}  # that there was no connection to so far
        self._links: OrderedDict[BrokerName, Dialer] = OrderedDict()  # the last used is the last
        self._used: dict[BrokerName, float] = {}  # when each of these was, or was begun
        self._resting: dict[BrokerName, Dialer] = {}
        self._early: dict[BrokerName, list[Message]] = {}  # for peers whose addresses are not known yet
        self._waiting: dict[BrokerName, list[Message]] = {}  # for those for which there is no room yet
        self._dialled: list[BrokerName] = []  # since the last look
        self._gone: set[BrokerName] = set()

    def meet(self, brokers: Iterable[BrokerUp], now: float) -> list[BrokerName]:
        """Note where those of *brokers* are that are new, but for the broker itself; return their names."""
        met = []
        for broker in brokers:
            name = broker_name(broker.node)
            if name == self._name or name in self._gone or self._is_known(name):
                continue
            self._known[name] = broker
            for message in self._early.pop(name, ()):
                self.send(name, message, now)
            met.append(name)
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
            del self._used[name]
            link.close()

    def is_gone(self, name: BrokerName) -> bool:
        """Return whether there will be no connection to *name* any more."""
        return name in self._gone

    def have_all(self) -> bool:
        """Return whether all that was sent has arrived."""
        waits = self._waiting or self._early
        return not waits and all(link.has_delivered for link in self._links.values())

    def send(self, name: BrokerName, message: Message, now: float) -> None:
        """Send *message* to a peer, now or once there is a connection, which is made if there is none."""
        link = self._links.get(name)
        if link is None and self._is_known(name):
            if name in self._waiting or not self._has_room():
                self._waiting.setdefault(name, []).append(message)
                return
            link = self._dial(name, now)
        if link is not None:
            self._links.move_to_end(name)
            self._used[name] = now
            link.send(message)
        elif name not in self._gone:
            self._early.setdefault(name, []).append(message)

    def _has_room(self) -> bool:
        """Return whether there may be another connection, after one has been laid to rest for it if need be."""
        if len(self._links) < self._most:
            return True
        name = next((name for name, link in self._links.items() if link.may_rest), None)
        if name is None:
            return False
        self._rest(name)
        return True

    def _rest(self, name: BrokerName) -> None:
        link = self._resting[name] = self._links.pop(name)
        del self._used[name]
        link.rest()

    def _rest_unused(self, now: float) -> None:
        """Lay those connections to rest that nothing was sent on for long."""
        unused = itertools.takewhile(lambda name: now >= self._used[name] + self._unused, self._links)
        for name in [name for name in unused if self._links[name].may_rest]:
            self._rest(name)

    def _dial(self, name: BrokerName, now: float) -> Dialer:
        link = self._resting.pop(name, None)
        if link is not None:
            link.wake(now)
        else:
            line = SharedLine(self._trunk, name)
            link = Dialer(line, self._known.pop(name), self._seconds, is_far=self._are_far)
            link.keep_trying(now)
        self._links[name] = link
        self._used[name] = now
        self._dialled.append(name)
        return link

    def take(self, heard: Heard) -> bool:
        """Take an answer of a peer; return whether there is a connection now, and was none.

        Raises ProtocolError for any other message.
        """
        link = self._links.get(heard.name)
        if link is None:  # it is gone since
            return False
        was_open = link.is_open
        unexpected = link.take(heard.frames)
        if unexpected is not None:
            raise ProtocolError(f"{unexpected!r} is no answer to a broker")
        return link.is_open and not was_open

    def look(self, now: float) -> list[BrokerName]:
        """Keep trying peers that have not answered; return those without a connection that had one at the last look.

        Among them are those to which one was begun since then.
        """
        for name in list(self._waiting):
            if not self._has_room():
                break
            messages = self._waiting.pop(name)
            self._dial(name, now)
            for message in messages:
                self.send(name, message, now)
        broken = [name for name in self._dialled if name in self._links and not self._links[name].is_open]
        self._dialled.clear()
        lost = self._trunk.lost()
        for name, link in self._links.items():
            link.keep_trying(now)
            link.tell()
            if name in lost and link.has_lost(now):
                broken.append(name)
        self._rest_unused(now)
        return broken
