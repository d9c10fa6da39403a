"""Count the calls of functions of this package that one future takes: on a busy machine times say nothing, counts do.

::

    $ python -m benchmarks.hops         # -v names the functions

*local* is ``submit(f).result()`` that stays in its worker; *owner* and *executor* are the two sides of a future that is
exported, from `submit` to `result`. Both workers are in this process, and a broker in memory is between them. What the
broker and the codec do is not counted.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import scoop_hpc
from scoop_hpc import futures
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Message, Ready, Results
from scoop_hpc.protocol.names import ORIGIN, ProcessName, WorkerName, broker_name, worker_name
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.policy import Policy

_HOME = str(Path(scoop_hpc.__file__).parent) + "/"
_NOT_COUNTED = (_HOME + "broker/", _HOME + "protocol/")
_OTHER = worker_name(0, 1)


class Counts:
    """The calls of functions, by whose they are."""

    def __init__(self) -> None:
        self.of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.side = ""  # whose calls are made now; empty: nobody's

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Count a call; fit for `sys.setprofile`."""
        path = frame.f_code.co_filename
        if self.side and event == "call" and path.startswith(_HOME) and not path.startswith(_NOT_COUNTED):
            self.of[self.side][f"{path[len(_HOME) :]}:{frame.f_code.co_name}"] += 1


class Broker:
    """A broker in memory, and what is on the way from it."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.arriving: defaultdict[ProcessName, list[Message]] = defaultdict(list)
        self._state = BrokerState(broker_name(0))

    def take(self, message: Message, sender: WorkerName) -> None:
        """Take in a message, and pass on what follows from it."""
        for send in self._state.handle(codec.decode(codec.encode(message)), sender):
            self.arriving[send.to].append(send.message)


class Line:
    """A worker's link to that broker, on which nobody ever waits."""

    def __init__(self, broker: Broker, name: WorkerName) -> None:
        self._broker = broker
        self._name = name
        broker.take(Ready(), name)

    def send(self, message: Message) -> None:
        self._broker.take(message, self._name)

    def receive(self) -> list[Message]:
        return self._broker.arriving.pop(self._name, [])

    def wait(self, timeout: float | None) -> None:
        pass

    def wake(self) -> None:
        pass

    def descriptor(self) -> int | None:
        return None


def _quick(x: int) -> int:
    return x


def _long(x: int) -> int:
    return x


def _count(counts: Counts, broker: Broker, origin: Controller) -> None:
    """Be the program of the origin: take futures all the way, first to warm up."""
    # looks that are due by the clock would be counted now and then
    other = Controller(Line(broker, _OTHER), _OTHER, 2, policy=Policy(poll_seconds=60.0))
    other.loop.step()
    for controller in (origin, other):
        controller.runner.durations.of(_quick).learn(1e-6)
    for side in ("", "", "local"):
        counts.side = side
        futures.submit(_quick, 1).result()
        counts.side = ""
    for measured in (False, False, True):
        for controller in (origin, other):
            controller.runner.durations.of(_long).learn(0.05)
        counts.side = "owner" if measured else ""
        future = futures.submit(_long, 7)
        counts.side = "executor" if measured else ""
        while not any(isinstance(message, Results) for message in broker.arriving[ORIGIN]):
            other.loop.step()
        counts.side = "owner" if measured else ""
        future.result()
        counts.side = ""
        other.loop.step()


def count() -> dict[str, Counter[str]]:
    """Return how often each function is called, by the side that it is called on."""
    counts = Counts()
    broker = Broker(counts)
    origin = Controller(Line(broker, ORIGIN), ORIGIN, 2, policy=Policy(poll_seconds=60.0))
    current.install(origin)

    def program() -> int:
        sys.setprofile(counts.profile)
        try:
            _count(counts, broker, origin)
        finally:
            sys.setprofile(None)
        return 0

    origin.loop.run_program(program)
    return dict(counts.of)


def main(arguments: list[str]) -> None:
    """Print the counts."""
    found: dict[str, Counter[str]] = count()
    for side, calls in found.items():
        files: set[Any] = {name.partition(":")[0] for name in calls}
        print(f"{side:9} {sum(calls.values()):4} calls in {len(files)} files")
        if "-v" in arguments:
            for name, times in calls.items():
                print(f"    {times:3} {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
