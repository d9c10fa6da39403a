"""What happens in a run, told as values to observers.

::

    driver, agent, broker, worker --tell(Event)--> Observers --> logging
                                                             '-> a record, and whoever else registers

Who has something to tell asks first whether anybody listens, so that an event which nobody wants is never made::

    if self._observers:
        self._observers.tell(Stolen(...))

State machines may tell, too: an observer never answers, so that what a state machine decides does not depend on it. An
observer must neither block nor raise. Each process has its own observers; what they hear is of that process only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40  # as in `logging`, which this module does not import: it takes 10 ms


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events. ``level`` says how much it matters, in the numbers of `logging`."""

    level: ClassVar[int] = INFO

    def __str__(self) -> str:
        """Return the event as a sentence for a log."""
        raise NotImplementedError


Observer = Callable[[Event], None]


class Observers:
    """Whoever listens, false while nobody does."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: Event) -> None:
        """Tell *event* to all observers, in the order of their registration."""
        for observer in self._observers:
            observer(event)

    def add(self, observer: Observer) -> None:
        """Tell *observer* all that happens from now on."""
        self._observers = (*self._observers, observer)


NOBODY = Observers()  # never added to


# brokers


@dataclass(frozen=True, slots=True)
class WorkerReady(Event):
    """A worker can be given tasks."""

    level: ClassVar[int] = DEBUG
    worker: str

    def __str__(self) -> str:
        return f"worker {self.worker} is ready"


@dataclass(frozen=True, slots=True)
class PeersKnown(Event):
    """A broker knows where all others are reached."""

    level: ClassVar[int] = DEBUG
    broker: str
    peers: int

    def __str__(self) -> str:
        return f"broker {self.broker} knows {self.peers} peers"


@dataclass(frozen=True, slots=True)
class Stole(Event):
    """A broker has tasks from a peer, because its own workers were idle."""

    level: ClassVar[int] = DEBUG
    broker: str
    peer: str
    tasks: int

    def __str__(self) -> str:
        return f"broker {self.broker} stole {self.tasks} tasks from broker {self.peer}"


@dataclass(frozen=True, slots=True)
class WasStolenFrom(Event):
    """A broker has given tasks to a peer whose workers were idle."""

    level: ClassVar[int] = DEBUG
    broker: str
    peer: str
    tasks: int

    def __str__(self) -> str:
        return f"broker {self.broker} gave {self.tasks} tasks to broker {self.peer}"


@dataclass(frozen=True, slots=True)
class StrangerRefused(Event):
    """A process that is no part of the run has sent a broker an invalid message, which was dropped."""

    level: ClassVar[int] = WARNING
    broker: str
    stranger: str
    reason: str

    def __str__(self) -> str:
        return f"broker {self.broker} dropped a message of {self.stranger!r}: {self.reason}"


# workers


@dataclass(frozen=True, slots=True)
class Exported(Event):
    """A worker has sent calls of one function to its broker."""

    level: ClassVar[int] = DEBUG
    worker: str
    serial: int  # of the first call
    count: int

    def __str__(self) -> str:
        return f"worker {self.worker} exported {self.count} tasks from {self.serial} on"


@dataclass(frozen=True, slots=True)
class GaveBack(Event):
    """A worker has returned tasks that it would not come to soon."""

    level: ClassVar[int] = DEBUG
    worker: str
    count: int

    def __str__(self) -> str:
        return f"worker {self.worker} gave back {self.count} tasks"


@dataclass(frozen=True, slots=True)
class LateOutcome(Event):
    """An outcome came for a future that was cancelled or abandoned, and was dropped."""

    level: ClassVar[int] = DEBUG
    worker: str
    serial: int

    def __str__(self) -> str:
        return f"worker {self.worker} dropped the late outcome of task {self.serial}"
