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

import shlex
from collections.abc import Callable, Iterable
from typing import ClassVar

from msgspec import Struct

TRACE, DEBUG, INFO, WARNING, ERROR = 5, 10, 20, 30, 40  # as in `logging`, which takes 10 ms to import


class Event(Struct, frozen=True):
    """The root of all events. ``level`` says how much it matters, in the numbers of `logging`."""

    level: ClassVar[int] = INFO

    def __str__(self) -> str:
        """Return the event as a sentence for a log."""
        raise NotImplementedError


Observer = Callable[[Event], None]


class Observers(list[Observer]):
    """Whoever listens, in the order in which they are told; false while nobody does, which takes no call to see."""

    __slots__ = ("of_tasks",)

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        super().__init__(observers)
        self.of_tasks = False  # somebody wants to hear of every task

    def tell(self, event: Event) -> None:
        """Tell *event* to all observers."""
        for observer in self:
            observer(event)

    def add(self, observer: Observer) -> None:
        """Tell *observer* all that happens from now on."""
        self.append(observer)


NOBODY = Observers()  # never added to


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# runs: what the driver and the agents do


class RunStarting(Event, frozen=True):
    """The driver starts agents."""

    nodes: int
    program: str  # empty for a pool

    def __str__(self) -> str:
        return f"starting {repr(self.program) if self.program else 'a pool'} on {_count(self.nodes, 'node')}"


class CommandStarted(Event, frozen=True):
    """A command of the launcher was started. Keys are in its environment or its input, which are no part of this."""

    argv: tuple[str, ...]
    nodes: str  # a nodelist
    pid: int

    def __str__(self) -> str:
        return f"launch command for {self.nodes} (pid {self.pid}): {shlex.join(self.argv)}"


class CommandEnded(Event, frozen=True):
    """A command of the launcher has ended."""

    program: str
    nodes: str  # a nodelist
    pid: int
    ended: str  # how

    def __str__(self) -> str:
        return f"launch command {self.program} for {self.nodes} (pid {self.pid}) has ended: {self.ended}"


class NodeJoined(Event, frozen=True):
    """A node's agent has reported."""

    node: str
    host: str
    pid: int
    cpus: int
    workers: int

    def __str__(self) -> str:
        agent = f"agent (pid {self.pid}) on {self.host}"
        return f"node {self.node} joined: {agent}, {_count(self.cpus, 'CPU')}, {_count(self.workers, 'worker')}"


class BrokerJoined(Event, frozen=True):
    """A node's broker is ready."""

    node: str
    addresses: tuple[str, ...]

    def __str__(self) -> str:
        return f"the broker of node {self.node} is ready at {', '.join(self.addresses)}"


class RunBegan(Event, frozen=True):
    """All nodes are ready, and know of each other: the program is started."""

    nodes: int
    workers: int

    def __str__(self) -> str:
        return f"the run begins: {_count(self.nodes, 'node')}, {_count(self.workers, 'worker')}"


class WorkersBusy(Event, frozen=True):
    """So many workers of a node execute tasks now."""

    level: ClassVar[int] = TRACE
    node: str
    busy: int

    def __str__(self) -> str:
        return f"{_count(self.busy, 'worker')} of node {self.node} busy"


class Waits(Event, frozen=True):
    """The program waits for calls, or items of its maps, which go by one label."""

    level: ClassVar[int] = TRACE
    number: int  # of all that it has waited for
    label: str  # empty: it has none
    total: int | None  # None: it is not known yet
    done: int  # failed ones among them
    failed: int

    def __str__(self) -> str:
        total = "" if self.total is None else f" of {self.total}"
        return f"{self.label or 'tasks'}: {self.done}{total} done, {self.failed} failed"


class Warned(Event, frozen=True):
    """The driver has warned the user, who sees it on the standard error as well."""

    level: ClassVar[int] = WARNING
    text: str

    def __str__(self) -> str:
        return self.text


class SignalReceived(Event, frozen=True):
    """A signal has come to the driver or an agent."""

    name: str

    def __str__(self) -> str:
        return f"received {self.name}"


class LauncherGone(Event, frozen=True):
    """The command that brought agents has ended, and they live on."""

    level: ClassVar[int] = WARNING
    nodes: str  # a nodelist
    ended: str  # how

    def __str__(self) -> str:
        return f"the launcher of {self.nodes} has ended, the agents go on: {self.ended}"


class AgentDisconnected(Event, frozen=True):
    """The connection to an agent is lost."""

    level: ClassVar[int] = WARNING
    node: str

    def __str__(self) -> str:
        return f"lost the connection to the agent on {self.node}"


class AgentLeft(Event, frozen=True):
    """An agent has left: everything on its node has ended."""

    node: str

    def __str__(self) -> str:
        return f"the agent on {self.node} has left"


class RunEnding(Event, frozen=True):
    """The driver begins the end of the run."""

    status: int
    reason: str

    def __str__(self) -> str:
        return f"the run ends with status {self.status}{': ' if self.reason else ''}{self.reason}"


class RunFailing(RunEnding, frozen=True):
    """The driver begins the end of the run, for a reason that is not the program's own end."""

    level: ClassVar[int] = ERROR

    state: str = "FAILED"  # that the job will have, unless something else comes up until it is over


class RunOver(Event, frozen=True):
    """The run is over: its processes are gone."""

    state: str  # as a job's
    status: int
    reason: str

    def __str__(self) -> str:
        return f"the run is over: {self.state}, status {self.status}"


class ProcessStarted(Event, frozen=True):
    """An agent has started a broker or a worker."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"started {self.name} (pid {self.pid})"


class ProcessEnded(Event, frozen=True):
    """A broker or worker has ended, as it was meant to, or because the run ends."""

    name: str
    pid: int
    ended: str  # how

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}) has ended: {self.ended}"


class ProcessDied(ProcessEnded, frozen=True):
    """A broker or worker has ended, and was not meant to."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}) died: {self.ended}"


class WorkerLost(Event, frozen=True):
    """The run goes on without a worker that died."""

    level: ClassVar[int] = WARNING
    what: str

    def __str__(self) -> str:
        return self.what


class NodeLost(Event, frozen=True):
    """The run goes on without a node, and what ran there is executed again elsewhere."""

    level: ClassVar[int] = WARNING
    node: str
    cause: str

    def __str__(self) -> str:
        return f"node {self.node} is lost: {self.cause}"


class PartyJoins(Event, frozen=True):
    """The nodes of another allocation may join the run."""

    number: int
    job: str
    host: str
    nodes: str

    def __str__(self) -> str:
        whose = f"of the job {self.job}" if self.job else f"from {self.host}"
        return f"party {self.number} {whose} may join the run: {self.nodes}"


class NodesLeave(Event, frozen=True):
    """Nodes take no more tasks, and leave when they have none."""

    nodes: str
    why: str

    def __str__(self) -> str:
        return f"{self.nodes} leave the run ({self.why}): no more tasks go there"


class NodeLeft(Event, frozen=True):
    """The run goes on without a node that has left, and nothing was lost."""

    node: str
    why: str

    def __str__(self) -> str:
        return f"node {self.node} has left: {self.why}"


class NodeTakenIn(Event, frozen=True):
    """A node takes part from now on, in a run that has begun before."""

    node: str
    broker: str

    def __str__(self) -> str:
        return f"node {self.node} takes part from now on, as broker {self.broker}"


class DriverDisconnected(Event, frozen=True):
    """An agent's connection to the driver is lost."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return "lost the connection to the driver"


class DriverReconnected(Event, frozen=True):
    """An agent is connected to the driver again."""

    def __str__(self) -> str:
        return "connected to the driver again"


class FaultReported(Event, frozen=True):
    """An agent tells the driver why it cannot go on."""

    level: ClassVar[int] = ERROR
    reason: str

    def __str__(self) -> str:
        return self.reason


class NodeEnding(Event, frozen=True):
    """An agent ends everything on its node."""

    reason: str

    def __str__(self) -> str:
        return f"ending all processes of this node: {self.reason}"


class ProcessesKilled(Event, frozen=True):
    """An agent kills what has not ended by itself."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"killing {', '.join(self.names)}"


# brokers


class WorkerReady(Event, frozen=True):
    """A worker can be given tasks."""

    level: ClassVar[int] = DEBUG
    worker: str

    def __str__(self) -> str:
        return f"worker {self.worker} is ready"


class TasksQueuedAgain(Event, frozen=True):
    """A broker has queued the tasks of a worker that died, or failed those that had lost their last attempt."""

    worker: str
    again: int
    failed: int

    def __str__(self) -> str:
        return f"{self.again} tasks of worker {self.worker} are queued again, {self.failed} have failed"


class PeersKnown(Event, frozen=True):
    """A broker knows where all others are reached."""

    level: ClassVar[int] = DEBUG
    broker: str
    peers: int

    def __str__(self) -> str:
        return f"broker {self.broker} knows {self.peers} peers"


class Stole(Event, frozen=True):
    """A broker has tasks from a peer, because its own workers were idle."""

    level: ClassVar[int] = DEBUG
    broker: str
    peer: str
    tasks: int

    def __str__(self) -> str:
        return f"broker {self.broker} stole {self.tasks} tasks from broker {self.peer}"


class WasStolenFrom(Event, frozen=True):
    """A broker has given tasks to a peer whose workers were idle."""

    level: ClassVar[int] = DEBUG
    broker: str
    peer: str
    tasks: int

    def __str__(self) -> str:
        return f"broker {self.broker} gave {self.tasks} tasks to broker {self.peer}"


class StrangerRefused(Event, frozen=True):
    """A process that is no part of the run has sent a broker an invalid message, which was dropped."""

    level: ClassVar[int] = WARNING
    broker: str
    stranger: str
    reason: str

    def __str__(self) -> str:
        return f"broker {self.broker} dropped a message of {self.stranger!r}: {self.reason}"


# workers


class Exported(Event, frozen=True):
    """A worker has sent calls of one function to its broker."""

    level: ClassVar[int] = DEBUG
    worker: str
    serial: int  # of the first call
    count: int

    def __str__(self) -> str:
        return f"worker {self.worker} exported {self.count} tasks from {self.serial} on"


class GaveBack(Event, frozen=True):
    """A worker has returned tasks that it would not come to soon."""

    level: ClassVar[int] = DEBUG
    worker: str
    count: int

    def __str__(self) -> str:
        return f"worker {self.worker} gave back {self.count} tasks"


class TaskRan(Event, frozen=True):
    """A worker has executed a task, or the part of one from one wait to the next. Told where that is asked for."""

    level: ClassVar[int] = TRACE
    name: str  # of the function
    began: float  # by time.monotonic
    ended: float
    calls: int = 1
    owner: str = ""  # of the task, if it has come from another worker and begins here
    serial: int = 0
    goes_on: bool = False  # it waits
    in_main: bool = True  # thread of the worker

    def __str__(self) -> str:
        return f"{self.name}() ran for {self.ended - self.began:.6f} s"


class LateOutcome(Event, frozen=True):
    """An outcome came for a future that was cancelled or abandoned, and was dropped."""

    level: ClassVar[int] = DEBUG
    worker: str
    serial: int

    def __str__(self) -> str:
        return f"worker {self.worker} dropped the late outcome of task {self.serial}"
