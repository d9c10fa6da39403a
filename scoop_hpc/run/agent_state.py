"""An agent's decisions: what to start when, what to tell whom, and the steps of the end; no socket, no clock.

::

    SERVING --Shutdown for a reason--> TOLD -------------------> SIGNALLED --> STOPPING --> KILLING --> OVER
       |'----- by a signal, or the driver is lost --> AWAITING_SIGNAL --^          ^
       '------ at once, or the origin is not here ---------------------------------'

    TOLD              the program knows the reason, by an exception, and has some time until it gets SIGTERM
    AWAITING_SIGNAL   SIGTERM may be on its way to all processes of the job, the program among them
    SIGNALLED         the origin has its signal, and some time; then it is told the reason, too, and has some more
    STOPPING          the broker, and by it the workers, are told to stop
    KILLING           everything that is left is killed

A node that is given up ends everything on it, and reports anew: for the driver it is another node then. So does one
that has lost the driver, and may find it again; but not the first, whose loss ends the run.

What happens is told by method calls, each with the time *now*: in seconds, of a clock that only goes forward. Each
returns actions for the shell to carry out, in their order. When nothing happens, `pass_time` is to be called at
`deadline`.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc import events
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.jobs.record import DRIVER_LOST
from scoop_hpc.protocol.messages import (
    Accounts,
    Awaited,
    Beat,
    BrokerUp,
    Drained,
    Exited,
    Fault,
    GivenUp,
    Gone,
    Interrupt,
    JoinerLost,
    Leave,
    LinkBroken,
    Message,
    Peers,
    Progress,
    Ready,
    Relay,
    Seen,
    Shutdown,
    Standing,
    Stop,
    TaskId,
    Watch,
    Welcome,
    WorkerDied,
)
from scoop_hpc.protocol.names import (
    ORIGIN,
    BrokerName,
    NodeIndex,
    WorkerName,
    broker_name,
    described,
    is_worker,
    worker_name,
)
from scoop_hpc.run.exits import describe_exit, how_it_died
from scoop_hpc.run.heard import Heard
from scoop_hpc.run.policy import AgentPolicy
from scoop_hpc.transport.begun import BegunTask
from scoop_hpc.transport.notice import REMINDER

_DRIVER_STOPPED = "was stopped, by SIGSTOP or the like: it is ended, and the run with it"
_MOST_DEADLY = 1000  # tasks that are remembered because workers died in them
_TERMINATED = 128 + signal.SIGTERM


class Phase(enum.Enum):
    """The step of an agent's life."""

    SERVING = 1
    TOLD = 2
    AWAITING_SIGNAL = 3
    SIGNALLED = 4
    STOPPING = 5
    KILLING = 6
    OVER = 7


_GRACE = (Phase.TOLD, Phase.AWAITING_SIGNAL, Phase.SIGNALLED)  # the program has some time


class Fork(Struct, frozen=True):
    """Start the broker, or a worker; tell `started` of it.

    The local rank of a worker is its place among those of the node; who takes the place of a dead one has its rank.
    """

    name: BrokerName | WorkerName
    local_rank: int = 0


class ConnectBroker(Struct, frozen=True):
    """Connect to the broker, which may not be up yet."""


class Tell(Struct, frozen=True):
    """Send *message* to the driver."""

    message: Message


class TellBroker(Struct, frozen=True):
    """Send *message* to the broker."""

    message: Message


class Signal(Struct, frozen=True):
    """Send the signal *number* to the process *pid*, a child."""

    pid: int
    number: int


class TellProgram(Struct, frozen=True):
    """Leave the *reason* why the run ends where the program finds it, the child *pid*, when it is reminded."""

    pid: int
    reason: str


class LookAtProcesses(Struct, frozen=True):
    """Look which children are stopped, and how many processes were killed, out of memory; tell `looked`."""


class LookAtProgress(Struct, frozen=True):
    """Look what the program waits for, and how many workers are busy; tell `progressed`."""


class LookAtAccounts(Struct, frozen=True):
    """Look what the workers have executed; tell `accounted`, all of it if it *is due*, else if a task has failed."""

    is_due: bool


class LookAtWorkers(Struct, frozen=True):
    """Look what the workers do; tell `saw`."""


class InspectDriver(Struct, frozen=True):
    """Look whether the driver is gone, or a stopped process of this machine; tell `driver_inspected`."""


class KillDriver(Struct, frozen=True):
    """Kill the driver, which is on this machine: it would keep the allocation."""


class Unfinished(Struct, frozen=True):
    """What a worker had begun when it died."""

    tasks: tuple[BegunTask, ...] = ()  # the one that ran; all that had begun, if it was the worker's own
    function: str = ""  # that it called last
    ended: int = 0  # tasks before
    time: int = 0  # by the clock of their deadlines
    waiting: tuple[BegunTask, ...] = ()  # the others that had begun


class LeaveWord(Struct, frozen=True):
    """Say what became of the driver where it would have said so itself."""

    reason: str


class OpenRelay(Struct, frozen=True):
    """Relay for other agents, and tell the driver where that is."""


class CloseRelay(Struct, frozen=True):
    """Relay no more: those that have gone this way see that at once, and find the driver by themselves."""


class KillAll(Struct, frozen=True):
    """Kill everything that was started on this node."""


Action = (
    Fork
    | ConnectBroker
    | Tell
    | TellBroker
    | Signal
    | TellProgram
    | LookAtProcesses
    | LookAtProgress
    | LookAtAccounts
    | LookAtWorkers
    | InspectDriver
    | KillDriver
    | LeaveWord
    | OpenRelay
    | CloseRelay
    | KillAll
)


class AgentState:
    """The state machine of the agent on the node that its scheduler calls *node*, from its *welcome* on."""

    def __init__(
        self, node: str, welcome: Welcome, policy: AgentPolicy | None = None, observers: Observers = NOBODY
    ) -> None:
        self.phase = Phase.SERVING
        self.is_to_return = False  # report anew when all is over
        self.is_dismissed = False  # the driver has said that all is over
        self.has_lost_joiner = False  # who has brought this node, and would end its job
        self._node = node
        self._index = NodeIndex(welcome.node)
        self._welcome = welcome
        self._policy = policy or AgentPolicy()
        self._observers = observers
        self._children: dict[int, BrokerName | WorkerName] = {}  # by process id
        self._stopped: dict[int, int] = {}  # process id: looks in a row that found it stopped
        self._unanswered: int | None = None  # looks since the broker was asked; None: it is not up yet
        self._has_origin = False  # it was started
        self._has_broker = True  # it has not died
        self._next_worker = 0  # the index of the worker that is started next
        self._local_ranks: dict[WorkerName, int] = {}
        self._replacing: dict[WorkerName, float] = {}  # that are to take the place of dead ones, and since when
        self._replace_at: float | None = None  # when to try again to start those
        self._barren = 0  # workers in a row that died and had not begun a task
        self._deadly: dict[tuple[WorkerName, int], int] = {}  # tasks in which workers here died: how many did
        self._look_at: float | None = None
        self._progress_at: float | None = None  # when to look at it; None: nobody wants to know
        self._progress = Progress(0)  # that was told last
        self._account_at: float | None = None  # when to look at the accounts
        self._accounts_due = 0.0  # when to tell them
        self._watch: float | None = None  # seconds from one look at the workers to the next; None: nobody looks
        self._watch_at = 0.0  # when the next one is due
        self._standing: Standing | None = None  # the broker's, as it has told last
        self._heard = Heard()
        self._lost_at: float | None = None  # the connection to the driver
        self._inspect_at = 0.0  # the driver, while there is no connection
        self._terminated_at: float | None = None  # by SIGTERM to this process
        self._interrupted_at: float | None = None  # the origin
        self._program_end: Exited | None = None  # that the driver is not told of yet: it may say first why it came
        self._tell_end_at = 0.0
        self._relays = False  # for other agents
        self._untold = ""  # the reason of the end, while the program does not know it
        self._signalled_at = 0.0  # the origin
        self._remind_at: float | None = None  # the origin of its signal
        self._kill_at = 0.0  # the origin, at the latest
        self._next_step = 0.0  # of the end, when the present one takes too long

    @property
    def has_driver(self) -> bool:
        """True while there is a connection to the driver."""
        return self._lost_at is None

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        if self.phase is Phase.OVER:
            return None
        times = [] if self._remind_at is None else [self._remind_at]
        if self.phase is not Phase.SERVING:
            return min(*times, self._next_step) if times else self._next_step
        looks = (self._look_at, self._progress_at, self._account_at, self._replace_at)
        times += [time for time in looks if time is not None]
        if self._watch is not None:
            times.append(self._watch_at)
        if self._lost_at is not None:
            times.append(self._inspect_at)
        if self._terminated_at is not None:
            times.append(self._terminated_at + self._signal_grace())
        if self._program_end is not None:
            times.append(self._tell_end_at)
        return min(times, default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Do what is due at *now*."""
        actions = self._remind_origin(now)
        if self.phase is not Phase.SERVING:
            return actions + self._go_on(now)
        if self._progress_at is not None and now >= self._progress_at:
            self._progress_at = now + self._progress_interval()
            actions.append(LookAtProgress())
        if self._account_at is not None and now >= self._account_at:
            self._account_at = now + self._policy.account_look
            actions.append(LookAtAccounts(now >= self._accounts_due))
        if self._watch is not None and now >= self._watch_at:
            self._watch_at = now + self._watch
            actions += [LookAtWorkers(), *self._ask_broker()]
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + self._policy.look
            actions.append(LookAtProcesses())
        if self._replace_at is not None and now >= self._replace_at:
            self._replace_at = None
            actions += [Fork(name, self._local_ranks[name]) for name in self._replacing]
        if self._lost_at is not None and now >= self._inspect_at:
            until = self._lost_at + self._welcome.grace
            if now >= until:
                return [*actions, *self._lose_driver(now)]
            self._inspect_at = min(now + self._policy.probe, until)
            actions.append(InspectDriver())
        if self._program_end is not None and now >= self._tell_end_at:
            actions.append(Tell(self._program_end))
            self._program_end = None
        if self._terminated_at is not None and now >= self._terminated_at + self._signal_grace():
            reason = f"the agent on {self._node} was told to end by SIGTERM"
            actions += self._report(Fault(reason, _TERMINATED, of_node=True))
            actions += self._end("received SIGTERM", signal.SIGTERM, now, reason)
        return actions

    def _signal_grace(self) -> float:
        """Return how long after SIGTERM the node ends by itself, unless the driver has said so before."""
        beside = self._policy.leave_within if self._welcome.party else 0.0
        return self._policy.signal_grace + beside

    # starting

    def start(self, now: float) -> list[Action]:
        """Start the broker and the workers, but the origin: it comes when all brokers are known.

        The origin is no worker, unless it is the only one. No worker has its index, nor in a pool, which has no origin.
        """
        self._look_at = now + self._policy.look
        self._progress_at = None if self._welcome.progress is None else now
        self._account_at = now + self._policy.account_look
        self._accounts_due = now + self._accounts_interval()
        workers = 0 if self._welcome.is_alone() else self._welcome.workers
        self._next_worker = 0 if self._index else 1
        return [
            Fork(broker_name(self._index)),
            *map(self._fork_worker, range(workers)),
            ConnectBroker(),
            TellBroker(Ready()),
        ]

    def _fork_worker(self, local_rank: int) -> Fork:
        name = worker_name(self._index, self._next_worker)
        self._next_worker += 1
        self._local_ranks[name] = local_rank
        return Fork(name, local_rank)

    def started(self, name: BrokerName | WorkerName, pid: int) -> None:
        """Note the process id of a child."""
        self._children[pid] = name
        if is_worker(name):
            self._replacing.pop(name, None)
        if self._observers:
            self._observers.tell(events.ProcessStarted(described(name), pid))

    def starts_later(self, name: BrokerName | WorkerName, now: float) -> bool:
        """Return whether a child that could not be started is to be tried again, in a moment.

        That is one in the place of a dead worker: it was none's fault here, and what is short now may not be for long.
        """
        since = self._replacing.get(name) if is_worker(name) else None
        if since is None or now >= since + self._policy.start_within:
            return False
        self._replace_at = now + self._policy.start_pause
        return True

    def fail(self, reason: str, status: int, now: float) -> list[Action]:
        """Take it that this agent cannot go on."""
        actions = self._report(Fault(f"node {self._node}: {reason}", status, of_node=True))
        return actions + self._relay_no_more() + self._end(reason, None, now, reason)

    # messages

    def hear_driver(self, message: Message, now: float) -> list[Action]:
        """Take in a message of the driver; raise ProtocolError for one that has no meaning here."""
        match message:
            case Peers():
                self._heard.hear(message)
                return [TellBroker(message), *self._start_origin()]
            case Gone():
                self._heard.hear(message)
                return [TellBroker(message)]
            case Watch(interval):
                return self._be_watched(interval, now)
            case Interrupt(number):
                if number == signal.SIGINT:
                    self._interrupted_at = now
                return self._signal_origin(number, now)
            case Relay():
                self._relays = self.phase is Phase.SERVING
                return [OpenRelay()] if self._relays else []
            case GivenUp():
                self.is_to_return = self.is_to_return or self.phase is Phase.SERVING
                return self._relay_no_more() + self._end("the driver has given this node up", None, now)
            case JoinerLost():
                self.has_lost_joiner = True
                return []
            case Shutdown(number, reason):
                self.is_to_return, self.is_dismissed = False, True
                return self._end("the driver says so", number, now, reason)
            case _:
                raise ProtocolError(f"the driver sent an agent {message!r}")

    def hear_broker(self, message: Message, now: float) -> list[Action]:
        """Take in a message of the broker; raise ProtocolError for one that has no meaning here."""
        match message:
            case BrokerUp():
                self._unanswered = 0
                return [Tell(message)]
            case Standing():
                self._unanswered, self._standing = 0, message
                return []
            case Fault():
                return self._report(message)
            case LinkBroken() | Drained():
                return [Tell(message)]
            case _:
                raise ProtocolError(f"broker {self._index} sent its agent {message!r}")

    def _relay_no_more(self) -> list[Action]:
        """Let others see at once that this is no way to the driver; after a Shutdown it is until they have left."""
        actions: list[Action] = [CloseRelay()] if self._relays else []
        self._relays = False
        return actions

    def _start_origin(self) -> list[Action]:
        if self._index or self._welcome.pool is not None or self._has_origin:
            return []
        self._has_origin = True
        return [Fork(ORIGIN)]

    def _signal_origin(self, number: int, now: float) -> list[Action]:
        actions = self._to_origin(number)
        if actions:
            self._note_signal(now)
        return actions

    def _note_signal(self, now: float) -> None:
        self._signalled_at, self._remind_at = now, now + self._policy.first_reminder

    def _to_origin(self, number: int) -> list[Action]:
        return [Signal(pid, number) for pid, name in self._children.items() if name == ORIGIN]

    def _remind_origin(self, now: float) -> list[Action]:
        """Wake the program up, so that it heeds a signal that came just before a call that blocks.

        Python's handlers run between bytecodes: who enters `queue.get()` with a signal noted, but not handled, stays
        there until the next signal. The reminder's handler does nothing. It is repeated, at intervals that double,
        since the program may not have entered the call yet.
        """
        if self._remind_at is None or now < self._remind_at:
            return []
        past = max(now - self._signalled_at, self._policy.first_reminder)
        self._remind_at = now + past if past < self._policy.signal_grace else None
        return self._to_origin(REMINDER)

    # what happens to processes

    def exited(
        self,
        pid: int,
        status: int,
        now: float,
        out_of_memory: bool,
        own_end: bool,
        unfinished: Unfinished = Unfinished(),
    ) -> list[Action]:
        """Take the exit of a child, with a status as of `os.waitstatus_to_exitcode`; *own_end*: it meant to end.

        Another worker is started in the place of one that dies, unless several in a row have not begun a task. A
        program that ends after SIGTERM has come here may have ended by that: if the driver has it too, it says so.
        """
        name = self._children.pop(pid)
        if self._observers:
            meant = own_end or self.phase is not Phase.SERVING
            kind = events.ProcessEnded if meant else events.ProcessDied
            self._observers.tell(kind(described(name), pid, describe_exit(status)))
        was_stopped = status == -signal.SIGKILL and self._stopped.get(pid, 0) >= self._policy.stopped_looks
        exited = Exited(name, pid, status, out_of_memory, own_end, was_stopped=was_stopped)
        self._has_broker = self._has_broker and is_worker(name)
        if is_worker(name) and self._is_replaceable(name):
            return self._replace(exited, name, unfinished, now)
        if name == ORIGIN and self.phase is Phase.SERVING and self._terminated_at is not None:
            self._program_end, self._tell_end_at = exited, now + self._policy.same_signal
            return []
        return [Tell(exited), *self._go_on(now)]

    def _is_replaceable(self, name: BrokerName | WorkerName) -> bool:
        """Return whether the run goes on without the process *name*, by another in its place."""
        return self.phase is Phase.SERVING and is_worker(name) and name != ORIGIN and self._has_broker

    def _replace(self, exited: Exited, name: WorkerName, unfinished: Unfinished, now: float) -> list[Action]:
        """Tell of the death of a worker, and start another one in its place."""
        begun = (*unfinished.tasks, *unfinished.waiting)
        late = [task for task in begun if 0 < task.deadline <= unfinished.time]
        too_long = late if exited.status == -signal.SIGKILL else []
        cause = f"worker {name} (pid {exited.pid}) on {self._node} {how_it_died(exited, bool(too_long))}"
        self._barren = 0 if begun or unfinished.ended else self._barren + 1
        is_replaced = self._barren < self._policy.barren
        died = WorkerDied(name, cause, _ids(unfinished.tasks), _ids(too_long), is_replaced, _ids(unfinished.waiting))
        actions: list[Action] = [TellBroker(died)]
        local_rank = self._local_ranks.pop(name)
        if is_replaced:
            fork = self._fork_worker(local_rank)
            self._replacing[WorkerName(fork.name)] = now
            actions.append(fork)
        task = _described(too_long or unfinished.tasks, unfinished.function)
        may_be_node = self._may_be_node(unfinished.tasks) and not unfinished.ended and not too_long
        told = replace(exited, task=task, is_too_long=bool(too_long), is_replaced=is_replaced, may_be_node=may_be_node)
        return [*actions, Tell(told)]

    def _may_be_node(self, tasks: Sequence[BegunTask]) -> bool:
        """Note that a worker died in *tasks*; return whether the node may be to blame: none has cost one elsewhere."""
        here_alone = bool(tasks)
        for task in tasks:
            key = task.owner, task.serial
            before = self._deadly.pop(key, 0)
            here_alone = here_alone and task.losses <= before
            self._deadly[key] = before + 1
        while len(self._deadly) > _MOST_DEADLY:
            del self._deadly[next(iter(self._deadly))]
        return here_alone

    def looked(self, stopped: Collection[int]) -> list[Action]:
        """Take what a look at the children has found: which are *stopped*.

        A child that is stopped for long, or a broker that does not answer, is not dead, and hangs. A worker that is
        stopped is killed then, and others execute what it had begun.
        """
        policy = self._policy
        self._stopped = {pid: self._stopped.get(pid, 0) + 1 for pid in self._children if pid in stopped}
        actions: list[Action] = []
        for pid, looks in self._stopped.items():
            if looks >= policy.stopped_looks and self._is_replaceable(self._children[pid]):
                actions.append(Signal(pid, signal.SIGKILL))
            elif looks == policy.stopped_looks:
                seconds = f"{looks * policy.look:g} s"
                actions += self._report_child(pid, f"has been stopped for {seconds}, by SIGSTOP or the like")
        if self._unanswered is None or not self._has_broker:
            return actions
        if not self._unanswered:
            actions.append(TellBroker(Beat()))
        self._unanswered += 1
        if self._unanswered == policy.unanswered_looks + 1:
            for pid, name in self._children.items():
                if name == broker_name(self._index):
                    seconds = f"{policy.unanswered_looks * policy.look:g} s"
                    actions += self._report_child(pid, f"has not answered for {seconds}")
        return actions

    def _report_child(self, pid: int, what: str) -> list[Action]:
        """Tell of a child that hangs: that ends the run, or costs this node, where there is no origin."""
        reason = f"{described(self._children[pid])} (pid {pid}) on {self._node} {what}"
        return self._report(Fault(reason, of_node=True))

    def _progress_interval(self) -> float:
        """Return how long to wait between looks at the progress: many nodes together must not flood the driver."""
        assert self._welcome.progress is not None
        if self._index == 0:
            return self._welcome.progress
        return max(
            self._welcome.progress, self._policy.busy_look, self._policy.busy_look_each * len(self._welcome.nodes)
        )

    def progressed(self, busy: int, awaited: tuple[Awaited, ...]) -> list[Action]:
        """Take what a look at the progress has found, and tell the driver if that is new."""
        progress = Progress(busy, awaited)
        if progress == self._progress:
            return []
        self._progress = progress
        return [Tell(progress)]

    def _accounts_interval(self) -> float:
        wanted = self._welcome.accounts if self._watch is None else min(self._watch, self._welcome.accounts)
        return max(wanted, self._policy.account_each * len(self._welcome.nodes))

    def accounted(self, accounts: Accounts, now: float) -> list[Action]:
        """Take what a look at the accounts has found, and tell the driver."""
        self._accounts_due = now + self._accounts_interval()
        return [Tell(accounts)]

    def rested(self, now: float) -> None:
        """Take it that no worker has begun or ended a task between the last two looks at the accounts."""
        if self._watch is None:
            self._account_at = now + self._policy.account_rest

    def _be_watched(self, interval: float | None, now: float) -> list[Action]:
        """Look at the workers every *interval* seconds from now on, or no more.

        Many nodes together must not flood the driver.
        """
        self._watch = (
            None if interval is None else max(interval, self._policy.busy_look_each * len(self._welcome.nodes))
        )
        self._watch_at = self._accounts_due = now
        if self._account_at is not None:
            self._account_at = min(self._account_at, now + self._policy.account_look)
        return [] if interval is None else self._ask_broker()

    def _ask_broker(self) -> list[Action]:
        return [] if self._unanswered is None or not self._has_broker else [TellBroker(Beat())]

    def saw(self, seen: Seen) -> list[Action]:
        """Take what a look at the workers has found, and tell the driver, with what the broker has told."""
        return [Tell(replace(seen, standing=self._standing))]

    # the driver

    def connected(self, made: bool, now: float) -> list[Action]:
        """Note that the connection to the driver was *made* again, or lost: ask what has become of this node."""
        if self._observers and made != self.has_driver:
            self._observers.tell(events.DriverReconnected() if made else events.DriverDisconnected())
        is_again = made and not self.has_driver
        self._inspect_at = now + min(self._policy.probe, self._welcome.grace)
        self._lost_at = None if made else now
        if is_again:
            return [Tell(Beat(self._heard.known()))]
        return [] if made else self._relay_no_more()

    def driver_inspected(self, is_stopped: bool, is_gone: bool, now: float) -> list[Action]:
        """Take what a look at the driver has found, to which there is no connection: else wait on, for the grace."""
        if self.phase is not Phase.SERVING or self._lost_at is None:
            return []
        if is_stopped:
            word = LeaveWord(f"{self._welcome.driver} {_DRIVER_STOPPED}")
            return [word, KillDriver(), *self._end_without_driver(now)]
        return self._lose_driver(now) if is_gone else []

    def _lose_driver(self, now: float) -> list[Action]:
        """End without the driver; the first node leaves word of it, where it would have said so itself."""
        word = [] if self._index else [LeaveWord(f"{self._welcome.driver} {DRIVER_LOST}")]
        return [*word, *self._end_without_driver(now)]

    def _end_without_driver(self, now: float) -> list[Action]:
        self.is_to_return = self._index != 0 and not self._welcome.directory
        return self._end("the driver is gone", signal.SIGTERM, now, f"{self._welcome.driver} {DRIVER_LOST}")

    def terminated(self, now: float) -> list[Action]:
        """Take SIGTERM: the driver has it too, most likely, and decides."""
        if self._observers:
            self._observers.tell(events.SignalReceived(signal.Signals.SIGTERM.name))
        if self._terminated_at is None:
            self._terminated_at = now
            self._note_signal(now)  # it has come to the origin, too, if to all processes
            if self._welcome.party:  # the allocation that has brought this node ends, not the run
                return [Tell(Leave(self._policy.leave_within, why="SIGTERM"))]
        return self._go_on(now)

    def _report(self, fault: Fault) -> list[Action]:
        if self._observers:
            self._observers.tell(events.FaultReported(fault.reason))
        return [Tell(fault)]

    # the end

    def _end(self, reason: str, number: int | None, now: float, told: str = "") -> list[Action]:
        """Begin the end, unless it has begun: by the signal *number* for the origin, if any, or by what it is *told*.

        Without either all ends at once, also where the end has begun.
        """
        at_once = number is None and not told
        if self.phase is not Phase.SERVING:
            return self._stop(now) if at_once and self.phase in _GRACE else []
        if self._observers:
            self._observers.tell(events.NodeEnding(reason))
        if at_once or ORIGIN not in self._children.values():
            return self._stop(now)
        self._untold = told
        self._kill_at = now + self._policy.program_grace
        if self._interrupted_at is not None:  # Ctrl-C was the first word
            self._kill_at = max(self._interrupted_at + self._policy.program_grace, now + self._policy.signal_grace)
        if number is None:
            self.phase = Phase.TOLD
            return self._tell_program(now)
        if number != signal.SIGTERM or not self.has_driver:
            return self._signal_at_end(number, now)
        self.phase = Phase.AWAITING_SIGNAL
        self._next_step = now + self._policy.same_signal
        return self._go_on(now)

    def _go_on(self, now: float) -> list[Action]:
        """Take the next step of the end, if the present one is done, or its time is over."""
        late = now >= self._next_step
        if self.phase in _GRACE and (now >= self._kill_at or ORIGIN not in self._children.values()):
            return self._stop(now)
        if self.phase is Phase.AWAITING_SIGNAL and (late or self._terminated_at is not None):
            return self._signal_at_end(signal.SIGTERM, now)
        if self.phase is Phase.TOLD and late:
            return self._signal_at_end(signal.SIGTERM, now)
        if self.phase is Phase.SIGNALLED and late:
            return self._tell_program(now)
        if self.phase is Phase.STOPPING and (late or not self._children):
            if self._observers and self._children:
                names = tuple(described(name) for name in self._children.values())
                self._observers.tell(events.ProcessesKilled(names))
            self.phase = Phase.KILLING
            self._next_step = now + self._policy.kill_grace
            return [KillAll(), *self._go_on(now)]
        if self.phase is Phase.KILLING and (late or not self._children):
            self.phase = Phase.OVER
        return []

    def _signal_at_end(self, number: int, now: float) -> list[Action]:
        actions = [] if number == signal.SIGTERM and self._all_have_sigterm(now) else self._signal_origin(number, now)
        self.phase = Phase.SIGNALLED
        self._wait_for_program(now)
        return actions + self._go_on(now)

    def _tell_program(self, now: float) -> list[Action]:
        """Let the program know the reason of the end, at its next wait for a future, or in the one that it is in."""
        reason, self._untold = self._untold, ""
        self._wait_for_program(now)
        tell = [TellProgram(pid, reason) for pid, name in self._children.items() if name == ORIGIN]
        return [*tell, *self._signal_origin(REMINDER, now)]

    def _wait_for_program(self, now: float) -> None:
        """Give the program time, until it hears more or is killed."""
        has_more_to_hear = self.phase is Phase.TOLD or bool(self._untold)
        next_word = now + self._policy.signal_grace if has_more_to_hear else self._kill_at
        self._next_step = min(next_word, self._kill_at)

    def _all_have_sigterm(self, now: float) -> bool:
        """Return whether SIGTERM came to this process and, as it says, to the driver, so surely to the origin as well.

        A scheduler signals all processes of a job; the program's handler is not to be interrupted by itself.
        """
        at = self._terminated_at
        return at is not None and now < at + self._policy.signal_grace and self.has_driver

    def _stop(self, now: float) -> list[Action]:
        self.phase = Phase.STOPPING
        self._next_step = now + self._policy.stop_grace
        return [TellBroker(Stop()), *self._go_on(now)]


def _ids(tasks: Iterable[BegunTask]) -> tuple[TaskId, ...]:
    return tuple(TaskId(task.owner, task.serial + place) for task in tasks for place in range(task.count))


def _described(tasks: Sequence[BegunTask], function: str) -> str:
    """Say what a worker did when it died.

    >>> _described([], "simulate"), _described([BegunTask(ORIGIN, 7, 1, 0, 0)], "simulate")
    ('', 'simulate(), attempt 1')
    """
    if not tasks:
        return ""
    attempt = 1 + max(task.losses for task in tasks)
    return f"{function or 'a task'}(), attempt {attempt}"
