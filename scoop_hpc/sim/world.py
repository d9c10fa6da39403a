"""The world of a simulated run: driver, agents, brokers and workers, and what lies between them."""

from __future__ import annotations

import itertools
import random
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from signal import SIGKILL
from typing import Any

from scoop_hpc.broker.actions import META
from scoop_hpc.broker.actions import Send as BrokerSend
from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol import codec, messages
from scoop_hpc.protocol.messages import VERSION, BrokerUp, Bye, Hello, Message, Peers, Ready, Stop, Tasks, Welcome
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    AgentName,
    BrokerName,
    ProcessName,
    WorkerName,
    broker_name,
    broker_of,
    is_broker,
    node_of,
)
from scoop_hpc.run import agent_state, driver_state
from scoop_hpc.run.agent_state import AgentState
from scoop_hpc.run.driver_state import DriverState, Ending, RunPlan
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.faults import Fault, HeldUp, SlowLink, SlowNode, Stall
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.network import Hold, Network, NetworkPlan
from scoop_hpc.sim.program import Program
from scoop_hpc.sim.worker import Worker
from scoop_hpc.worker.state import WorkerState

_BEGIN = 100.0  # seconds: the time at which a run begins
_REMEMBERED = 300  # events that a violation shows
_PATIENCE = 0.6  # seconds for which a task may wait beside an idle worker, two ticks of a broker among them
_JOURNEYS = 8  # of messages, within the same time
_QUIET = 5.0  # seconds without any change, and with work left, are a hang
_NO_END = 3600.0  # seconds after the last change


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a run depends on."""

    seed: int  # of the chances of the network
    nodes: tuple[int, ...]  # workers on each
    program: Program
    network: NetworkPlan = NetworkPlan()
    faults: tuple[Fault, ...] = ()
    stack_depth: int = 10  # tasks that may wait on one stack, one for the other
    start_seconds: float = 0.02  # in which a process that was forked begins, at the latest


@dataclass(frozen=True, slots=True)
class Classes:
    """The state machines that take part: those of production, or others that a test puts in their place."""

    broker: Callable[..., BrokerState] = BrokerState
    worker: Callable[..., WorkerState] = WorkerState


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    ending: Ending
    seconds: float  # from the beginning of the program to its end
    events: int
    messages: int
    task_messages: int  # while the program ran
    executed: int  # tasks
    computed: Mapping[WorkerName, float]  # seconds, by each worker
    digest: int  # of all events: two runs with the same are the same


class _Broker(Process):
    """A broker: it takes in one message after the other."""

    def __init__(self, state: BrokerState) -> None:
        super().__init__(state.name)
        self.state = state
        self.free_at = 0.0
        self.agent_is_here = False
        self.for_agent: list[Message] = []
        self.early: list[BrokerSend] = []  # for peers, before it is known where they are
        self.links: dict[str, float] = {}  # to peers, and when each is open


@dataclass(slots=True)
class _Node:
    """A node, and what runs there."""

    index: int
    process: Process  # the agent
    agent: AgentState | None = None
    wake_at: float = float("inf")
    broker: _Broker | None = None
    workers: dict[WorkerName, Worker] = field(default_factory=dict)
    pids: dict[ProcessName, int] = field(default_factory=dict)
    slowness: float = 1.0

    @property
    def agent_name(self) -> AgentName:
        return AgentName(f"n{self.index}/0")


class World:
    """A run of *scenario*, from the launcher's commands to the exit status; *tell* gets each event as a line."""

    def __init__(
        self,
        scenario: Scenario,
        classes: Classes = Classes(),
        tell: Callable[[str], object] | None = None,
        checks: bool = True,
    ) -> None:
        self.scenario = scenario
        self.program = scenario.program
        self.message_cost = scenario.network.cost
        self.stack_depth = scenario.stack_depth
        self.agenda = Agenda(_BEGIN)
        self.ledger = Ledger()
        self.remembered: deque[tuple[float, str, Any]] = deque(maxlen=_REMEMBERED)
        self._classes, self._tell, self._checks = classes, tell, checks
        self._chance = random.Random(scenario.seed)
        self.network = Network(scenario.network, self._chance)
        self._size = sum(scenario.nodes)
        self._digest = 0
        self._pids = itertools.count(100)
        self._driver_process = Process("driver")
        self._driver_wakes = float("inf")
        self._nodes = [_Node(index, Process(f"agent {index}")) for index in range(len(scenario.nodes))]
        self._program_began: float | None = None
        self._program_ended: float | None = None
        self._finished_at: float | None = None
        self._may_end = False
        self._delay = _JOURNEYS * (max(scenario.network.latencies) + max(scenario.network.local))
        self._troubled_until = _BEGIN
        self._computed_at = _BEGIN  # when any worker was last seen to
        self._sent_before = self._sent_until_end = 0  # messages, when the program began and ended
        plan = RunPlan(
            nodes=tuple(NodePlan(f"n{index}", workers) for index, workers in enumerate(scenario.nodes)),
            program=messages.Program(b"p.py", (), b"/", {}),
            curve=None,
            directory=None,
            inherit=(),
            driver_process="",
            driver_pid=7,
            python="3.11",
            host="head",
            patience=_NO_END,
            warn=False,
        )
        self.driver = DriverState(plan)
        for fault in scenario.faults:
            self._plan_fault(fault)

    # time

    def run(self) -> Result:
        """Let everything happen; raise Violation."""
        commands = [Command(("ssh", f"n{node.index}"), {}, (f"n{node.index}",)) for node in self._nodes]
        self._do(self.driver.start(commands, self.agenda.now))
        self._later(0.25, self._look)
        while self.driver.phase is not driver_state.Phase.OVER:
            try:
                if not self.agenda.step():
                    raise Violation("nothing is to happen any more, and the run is not over")
            except ProtocolError as error:
                raise Violation(f"a message was refused: {error}") from error
        if self.driver.ending != Ending(0):
            raise Violation(f"the run ended by {self.driver.ending}")
        began, ended = self._program_began, self._finished_at
        assert began is not None
        assert ended is not None
        return Result(
            self.driver.ending,
            ended - began,
            self.agenda.happened,
            self.network.sent,
            self._sent_until_end - self._sent_before,
            self.ledger.executed,
            {name: worker.computed for node in self._nodes for name, worker in node.workers.items()},
            self._digest,
        )

    def _later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        self.agenda.at(self.agenda.now + seconds, act, process)

    def _note(self, what: str, message: Any = "") -> None:
        now = self.agenda.now
        self._digest = zlib.crc32(f"{now!r} {what} {type(message).__name__}".encode(), self._digest)
        self.remembered.append((now, what, message))
        if self._tell is not None:
            self._tell(line_of(now, what, message))

    # faults

    def _plan_fault(self, fault: Fault) -> None:
        now = self.agenda.now
        match fault:
            case Stall(process, time, seconds):
                self.agenda.at(now + time, partial(self._stall, process, seconds))
                self._is_in_trouble(now + time + seconds)
            case HeldUp(sender, to, time, seconds):
                self.network.holds.append(Hold(sender, to, now + time, now + time + seconds))
                self._is_in_trouble(now + time + seconds)
            case SlowNode(node, factor):
                if node < len(self._nodes):
                    self._nodes[node].slowness = factor
                    self._delay += 0.1 * factor
            case SlowLink(node, other, seconds):
                self.network.extra[str(node), str(other)] = self.network.extra[str(other), str(node)] = seconds
                self._delay += 20 * seconds

    def _is_in_trouble(self, until: float) -> None:
        self._troubled_until = max(self._troubled_until, until)

    def _stall(self, name: str, seconds: float) -> None:
        process = self._process(name)
        if process is not None:
            self._note(f"{name} stalls for {seconds:g} s")
            process.stalled_until = max(process.stalled_until, self.agenda.now + seconds)

    def _process(self, name: str) -> Process | None:
        if name == "driver":
            return self._driver_process
        for node in self._nodes:
            if name == node.process.name:
                return node.process
            if node.broker is not None and name == node.broker.name:
                return node.broker
            if WorkerName(ProcessName(name)) in node.workers:
                return node.workers[WorkerName(ProcessName(name))]
        return None

    # what is looked at four times a second

    def _look(self) -> None:
        now, ledger = self.agenda.now, self.ledger
        self._later(0.25, self._look)
        if self._may_end or self._program_began is None:
            return
        workers = [worker for node in self._nodes for worker in node.workers.values()]
        computes = any(worker.state.busy_since for worker in workers)
        if computes:
            self._computed_at = now
        last = max(ledger.changed, self._troubled_until, self._computed_at)
        if self._program_ended is not None and ledger.is_finished():
            if self._finished_at is None:
                self._finished_at = max(ledger.changed, self._program_ended)
            if not computes and now > last + 1.0 + self._delay:
                self._check_end(workers)
                self._may_end = True
                origin = self._nodes[0].workers[ORIGIN]
                self._later(0.0, origin.nudge, origin)
            return
        if not computes and now > last + _QUIET + self._delay:
            what = ledger.unfinished() or "the program itself"
            raise Violation(f"nothing happens any more, and there is work left: {what}")
        if self._checks:
            self._check_patience(workers)

    def _check_patience(self, workers: Sequence[Worker]) -> None:
        now, patience = self.agenda.now, _PATIENCE + self._delay
        idle = [worker for worker in workers if worker.idle_since is not None]
        if not idle or now < self._troubled_until + patience:
            return
        first = min(idle, key=lambda worker: worker.idle_since or 0.0)
        assert first.idle_since is not None
        for number, since, where in self.ledger.waiting():
            if now - max(since, first.idle_since, self._troubled_until) > patience:
                waits, idles = now - since, now - first.idle_since
                who = f"worker {first.name} was idle for {idles:.2f} s"
                raise Violation(f"task {number} has waited for {waits:.2f} s ({where}), {who}")

    def _check_end(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            left = worker.left_over()
            if left:
                raise Violation(f"worker {worker.name} has something left at the end: {', '.join(left)}")
        for node in self._nodes:
            assert node.broker is not None
            left = _left_over(node.broker.state)
            if left:
                raise Violation(f"broker {node.broker.name} has something left at the end: {', '.join(left)}")

    # the driver

    def _do(self, actions: Sequence[driver_state.Action]) -> None:
        for action in actions:
            if isinstance(action, driver_state.Start):
                self.driver.command_started(action.command, next(self._pids))
                node = self._nodes[int(action.command.nodes[0][1:])]
                self._begin_later(
                    partial(self._tell_driver, node, Hello(VERSION, "3.11", f"n{node.index}", "h", 8, 64))
                )
            elif isinstance(action, driver_state.Send):
                node = self._nodes[int(action.to[1:].partition("/")[0])]
                self._carry("driver", node.process.name, action.message, partial(self._hear, node), node.process)
        due = self.driver.deadline()
        if due is not None and due < self._driver_wakes:
            self._driver_wakes = due
            self.agenda.at(due, self._driver_wake, self._driver_process)

    def _driver_wake(self) -> None:
        self._driver_wakes = float("inf")
        self._do(self.driver.pass_time(self.agenda.now))

    def _tell_driver(self, node: _Node, message: Message) -> None:
        def hear(message: Message) -> None:
            self._do(self.driver.handle(message, node.agent_name, self.agenda.now))

        self._carry(node.process.name, "driver", message, hear, self._driver_process)

    def _begin_later(self, act: Callable[[], object]) -> None:
        self._later(self._chance.uniform(0.0, self.scenario.start_seconds), act)

    # agents

    def _hear(self, node: _Node, message: Message) -> None:
        if isinstance(message, Welcome):
            node.agent = AgentState(f"n{node.index}", message)
            self._do_agent(node, node.agent.start(self.agenda.now))
        elif node.agent is not None:
            self._do_agent(node, node.agent.hear_driver(message, self.agenda.now))

    def _do_agent(self, node: _Node, actions: Sequence[agent_state.Action]) -> None:
        agent = node.agent
        assert agent is not None
        for action in actions:
            match action:
                case agent_state.Fork(name):
                    node.pids[name] = next(self._pids)
                    agent.started(name, node.pids[name])
                    self._fork(node, name)
                case agent_state.Tell(message):
                    self._tell_driver(node, message)
                case agent_state.TellBroker(message):
                    assert node.broker is not None
                    hear = partial(self._hear_broker, node.broker, AGENT)
                    self._carry(f"{node.index}.agent", node.broker.name, message, hear, node.broker)
                case agent_state.Signal(pid, number):
                    child = next((child for child, each in node.pids.items() if each == pid), None)
                    if child is not None:
                        self._later(0.0, partial(self._exit, node, child, -number))
                case agent_state.LookAtProcesses():
                    self._do_agent(node, agent.looked(()))
                case agent_state.InspectDriver():
                    self._do_agent(node, agent.driver_inspected(stopped=False))
                case agent_state.KillAll():
                    for child in list(node.pids):
                        self._later(0.0, partial(self._exit, node, child, -SIGKILL))
        if agent.phase is agent_state.Phase.OVER and not node.process.is_gone:
            self._tell_driver(node, Bye())
            node.process.is_gone = True
        due = agent.deadline()
        if due is not None and due < node.wake_at:
            node.wake_at = due
            self.agenda.at(due, partial(self._agent_wake, node), node.process)

    def _agent_wake(self, node: _Node) -> None:
        node.wake_at = float("inf")
        if node.agent is not None:
            self._do_agent(node, node.agent.pass_time(self.agenda.now))

    def _fork(self, node: _Node, name: BrokerName | WorkerName) -> None:
        begins = self._chance.uniform(0.0, self.scenario.start_seconds)
        if is_broker(name):
            node.broker = broker = _Broker(self._classes.broker(name))
            broker.slowness = node.slowness
            broker.stalled_until = self.agenda.now + begins
            self._later(begins, partial(self._tick, broker), broker)
        else:
            worker = Worker(self, WorkerName(name), self._size, self._classes.worker)
            node.workers[worker.worker_name] = worker
            worker.slowness = node.slowness
            self._later(begins, worker.begin, worker)
            if name == ORIGIN:
                self._program_began = self.agenda.now + begins
                self._sent_before = self.network.sent

    def _exit(self, node: _Node, name: ProcessName, status: int) -> None:
        """Let a process end, if it still runs."""
        pid = node.pids.pop(name, None)
        process = self._process(name)
        if pid is None or process is None or node.agent is None:
            return
        self._note(f"{name} exits with {status}")
        process.is_gone = True
        act = partial(self._reap, node, pid, status)
        self._later(0.0, act, node.process)

    def _reap(self, node: _Node, pid: int, status: int) -> None:
        assert node.agent is not None
        self._do_agent(node, node.agent.exited(pid, status, self.agenda.now, out_of_memory=False, own_end=status >= 0))

    # brokers

    def _tick(self, broker: _Broker) -> None:
        self._later(BrokerPolicy().tick, partial(self._tick, broker), broker)
        self._send(broker, broker.state.tick(self.agenda.now))

    def _hear_broker(self, broker: _Broker, sender: ProcessName, message: Message) -> None:
        """Take a message from the socket, once those before it are done with."""
        cost = self.message_cost * broker.slowness
        begin = max(self.agenda.now, broker.free_at)
        broker.free_at = begin + cost
        self.agenda.at(broker.free_at, partial(self._serve, broker, sender, message), broker)

    def _serve(self, broker: _Broker, sender: ProcessName, message: Message) -> None:
        if isinstance(message, Ready) and sender == AGENT:
            broker.agent_is_here = True
            up = BrokerUp(node_of(broker.state.name), ("main",), ("meta",))
            held, broker.for_agent = broker.for_agent, []
            self._send(broker, [BrokerSend(AGENT, each) for each in (up, *held)])
            return
        now, ledger = self.agenda.now, self.ledger
        if isinstance(message, Tasks):
            ledger.come(message.batches, broker.name, now)
        sends = broker.state.handle(message, sender)
        self._send(broker, sends)
        if self._checks:
            ledger.holds(list(broker.state.queue), broker.name, now)
        if isinstance(message, Peers):
            self._meet(broker, message)
        elif isinstance(message, Stop):
            node = self._nodes[node_of(broker.state.name)]
            self._later(0.0, partial(self._exit, node, broker.state.name, 0))

    def _meet(self, broker: _Broker, peers: Peers) -> None:
        """Connect to all peers; each answers a greeting before it is sent anything."""
        for up in peers.brokers:
            name = broker_name(up.node)
            if name != broker.name:
                there = self.network.arrival(broker.name, name, 30, self.agenda.now)
                peer = self._nodes[up.node].broker
                assert peer is not None
                broker.links[name] = self.network.arrival(name, broker.name, 30, max(there, peer.stalled_until))
        early, broker.early = broker.early, []
        self._send(broker, early, again=True)

    def _send(self, broker: _Broker, sends: Sequence[BrokerSend], again: bool = False) -> None:
        now = self.agenda.now
        for send in sends:
            to, message = send.to, send.message
            if isinstance(message, Tasks) and not again:
                self.ledger.leave(message.batches, broker.name, now)
            if to == META:
                self._publish(broker, message)
            elif to == AGENT:
                node = self._nodes[node_of(broker.state.name)]
                if broker.agent_is_here:
                    hear = partial(self._hear_from_broker, node)
                    self._carry(broker.name, f"{node.index}.agent", message, hear, node.process)
                else:
                    broker.for_agent.append(message)
            elif is_broker(to):
                if not broker.links:
                    broker.early.append(send)
                    continue
                peer = self._nodes[node_of(to)].broker
                assert peer is not None
                hear = partial(self._hear_broker, peer, broker.state.name)
                self._carry(broker.name, to, message, hear, peer, max(now, broker.links[to]))
            else:
                worker = self._nodes[node_of(broker_of(to))].workers[WorkerName(to)]
                self._carry(broker.name, to, message, worker.arrive, worker)

    def _publish(self, broker: _Broker, message: Message) -> None:
        """Send to all peers that have subscribed: those whose connection to this one was open a moment ago."""
        frames = codec.encode(message)
        arrived = codec.decode(frames)
        self._note(f"{broker.name} -> all: {message}")
        for node in self._nodes:
            peer = node.broker
            if peer is None or peer is broker:
                continue
            opened = peer.links.get(broker.name)
            if opened is not None and opened < self.agenda.now:
                time = self.network.arrival(broker.name, peer.name, len(frames[0]), self.agenda.now, meta=True)
                self.agenda.at(time, partial(self._hear_broker, peer, broker.state.name, arrived), peer)

    def _hear_from_broker(self, node: _Node, message: Message) -> None:
        if node.agent is not None:
            self._do_agent(node, node.agent.hear_broker(message, self.agenda.now))

    # workers

    def send_to_broker(self, worker: Worker, message: Message) -> None:
        """Send *message* to the worker's broker."""
        node = self._nodes[node_of(broker_of(worker.name))]
        assert node.broker is not None
        hear = partial(self._hear_broker, node.broker, worker.worker_name)
        self._carry(worker.name, node.broker.name, message, hear, node.broker)

    def program_ended(self) -> None:
        """Note that the origin's program has come to its end."""
        self._program_ended = self.agenda.now
        self._sent_until_end = self.network.sent
        self._note("the program ends")

    def may_end(self) -> bool:
        """Return whether the origin may end: everything was looked at."""
        return self._may_end

    def worker_ended(self, worker: Worker) -> None:
        """Note that a worker has come to its end."""
        self._exit(self._nodes[node_of(broker_of(worker.name))], worker.worker_name, 0)

    # messages

    def _carry(
        self,
        sender: str,
        to: str,
        message: Message,
        hear: Callable[[Message], object],
        process: Process,
        now: float | None = None,
    ) -> None:
        """Have *message* heard by *process* when it arrives."""
        frames = codec.encode(message)
        size = sum(map(len, frames))
        time = self.network.arrival(sender, to, size, self.agenda.now if now is None else now)
        self._note(f"{sender} -> {to}, there at {time:.6f}", message)
        self.agenda.at(time, partial(self._arrive, sender, to, codec.decode(frames), hear), process)

    def _arrive(self, sender: str, to: str, message: Message, hear: Callable[[Message], object]) -> None:
        self._note(f"{to} <- {sender}", message)
        hear(message)


def _left_over(state: BrokerState) -> list[str]:
    left = [name for name in ("queue", "_searches") if len(getattr(state, name))]
    if any(worker._asked for worker in state.workers.values()):
        left.append("questions to workers")
    if state._shared.is_asked:
        left.append("questions for shared values")
    return left


def line_of(time: float, what: str, message: Any) -> str:
    """Return an event as a line."""
    return f"{time:11.6f} {what} {message}"
