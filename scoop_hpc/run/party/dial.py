"""Ask the driver of a run that is not this process's own: through its door, at all of its addresses at once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import zmq

from scoop_hpc.errors import InputError, ProtocolError, ScoopError
from scoop_hpc.jobs.door import Door
from scoop_hpc.protocol.messages import VERSION, Message
from scoop_hpc.protocol.names import agent_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.probe import all_refuse

_AGAIN = 1.0  # seconds, after which a question is put again that has no answer
_PROBE = 0.5  # seconds that a machine has to refuse a connection
TOLD = 5.0  # seconds after which one who waits is told so


class Line:
    """The connections to the driver behind a *door*, one for each of its addresses until one has answered."""

    def __init__(self, context: sockets.Context, door: Door) -> None:
        check_door(door)
        token, host = os.urandom(4).hex(), socket.gethostname()
        self.sockets: list[sockets.Socket] = []
        for number, address in enumerate(door.addresses):
            name, silence = agent_name(host, token, number), sockets.silence_within(door.grace)
            dealer = sockets.make(context, zmq.DEALER, name, silence)
            if door.curve is not None:
                keys.dial(dealer, door.curve)
            sockets.connect(dealer, address)
            self.sockets.append(dealer)
        self._door = door

    def ask(self, question: Message, patience: float, tell: Callable[[str], None] | None = None) -> Message:
        """Return the answer to a *question*; raise ScoopError if none comes for so many seconds of *patience*.

        After some of them, *tell* is told what is waited for.
        """
        poller = zmq.Poller()
        for each in self.sockets:
            poller.register(each, zmq.POLLIN)
        until = time.monotonic() + patience
        tell_at = until - patience + TOLD
        due = float("-inf")
        while (now := time.monotonic()) < until:
            if now >= due:
                due = now + _AGAIN
                for each in self.sockets:
                    sockets.send(each, question)
            for ready, _ in poller.poll(int(1000 * min(due - now, until - now)) + 1):
                answer = sockets.receive(ready)
                if answer is not None:
                    self._keep(ready)
                    return answer
            if tell is not None and now >= tell_at:
                tell_at = until
                tell(f"the driver on {self._door.host} to answer")
        where = ", ".join(self._door.addresses)
        remote = [address for address in self._door.addresses if address.startswith("tcp://")]
        if remote and all_refuse(remote, _PROBE):
            raise ScoopError(f"nothing listens at {where}: the driver on {self._door.host} is gone")
        raise ScoopError(f"no answer within {patience:g} s from the driver on {self._door.host}, at {where}")

    def _keep(self, found: sockets.Socket) -> None:
        for each in self.sockets:
            if each is not found:
                each.close(0)
        self.sockets = [found]

    @property
    def socket(self) -> sockets.Socket:
        """The connection on which the driver has answered."""
        return self.sockets[0]


def ask_once(door: Door, question: Message, patience: float) -> Message:
    """Return the driver's answer to one *question*, as `Line.ask` does."""
    context: sockets.Context = zmq.Context()
    try:
        return Line(context, door).ask(question, patience)
    finally:
        context.destroy(linger=0)


def check_door(door: Door) -> None:
    """Refuse a run that cannot be reached from here."""
    if door.version != VERSION:
        raise InputError(f"the run speaks protocol {door.version}, this is {VERSION}: use one version of scoop_hpc")
    if door.curve is None and not os.path.exists(os.path.dirname(door.addresses[0].removeprefix("ipc://"))):
        raise InputError(
            f"the run is on one machine, {door.host}, and its sockets are files there: only from there can it be "
            "reached. Nodes of other machines may join runs that a scheduler's launcher, or ssh, has started"
        )


def unexpected(answer: Message) -> ProtocolError:
    """Return the error for an answer that makes no sense."""
    return ProtocolError(f"the driver answered {answer!r}")
