"""A whole run of two nodes in memory: driver, agents, brokers and workers decide as ever, under a clock that jumps.

Nothing is patched: each state machine gets what the others send, through the codec, after some latency. What shells do,
and the user's program, is played here.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from signal import SIGINT, SIGKILL, SIGSEGV
from typing import cast

import pytest
from msgspec.structs import replace

from scoop_hpc.broker.actions import Send as BrokerSend
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.events import Event, Observers
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    VERSION,
    Batch,
    BrokerUp,
    Bye,
    Hello,
    Message,
    Program,
    Ready,
    Results,
    Stop,
    Tasks,
    Welcome,
)
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    AgentName,
    BrokerName,
    NodeIndex,
    ProcessName,
    WorkerName,
    broker_name,
    is_broker,
    node_of,
    worker_name,
)
from scoop_hpc.run import agent_state
from scoop_hpc.run.agent_state import AgentState, Unfinished
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.witnesses import CommandEnd
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.transport.begun import BegunTask
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future, Waits
from scoop_hpc.worker.state import Export, GiveBack, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Given

LATENCY = 0.001  # seconds
TASKS, LENGTH = 40, 0.5  # seconds


def arrived(message: Message) -> Message:
    return codec.decode(codec.encode(message))


class Worker:
    """A worker's state, in a shell for which a task is some time that passes."""

    def __init__(self, world: World, node: Node, name: WorkerName) -> None:
        self.name = name
        self.done = 0  # tasks
        self.is_busy = False
        self.begun: tuple[BegunTask, ...] = ()
        self.state = WorkerState(name, 5, world.now, observers=world.observers, is_spared=name == ORIGIN)
        self.world, self._node = world, node

    def begin(self) -> None:
        self._send(Ready())
        self._go_on()

    def hear(self, message: Message) -> None:
        self.state.receive(message)
        if self.state.stopped:
            self.world.die(self._node, self.name, 0)
        elif not self.is_busy:
            self._go_on()

    def _go_on(self) -> None:
        """Begin a task, or ask for one; send what is to be sent."""
        given = self.state.next_task()
        if given is None:
            self.state.want()
        else:
            self.is_busy = True
            self.begun = (BegunTask(given.owner, given.serial, given.count, len(given.losses), 0),)
            self.world.later(LENGTH * given.count, partial(self._finish, given))
        self.state.flush()
        self._drain()

    def _finish(self, given: Given) -> None:
        self.is_busy = False
        if self.name not in self._node.workers:
            return
        self.begun = ()
        self.done += given.count
        for serial in range(given.serial, given.serial + given.count):
            self.state.finished(given.owner, (serial, None, 0.0), self.world.now)
        self._go_on()

    def _drain(self) -> None:
        while self.state.outbox:
            match self.state.outbox.popleft():
                case Export(groups):
                    self._send(Tasks([self._export(group) for group in groups]))
                case GiveBack(given):
                    self._send(Tasks([batch for batch in given if isinstance(batch, Batch)]))
                case SendOutcomes(outcomes, request):
                    done = [(to, serial) for to, items in outcomes.items() for serial, _, _ in items]
                    batches = [Batch(to, serial, [b"outcome"], done=(serial,)) for to, serial in done]
                    self._send(Results(batches, request))
                case Message() as message:
                    self._send(message)

    def _export(self, futures: Sequence[Future]) -> Batch:
        for future in futures:
            assert future.take() is not None
        return self.state.exported(futures, [b"calls"])

    def _send(self, message: Message) -> None:
        self.world.later(LATENCY, partial(self.world.hear_from_worker, self._node, self.name, message))


class Origin(Worker):
    """The worker that runs the program: it maps a function over `TASKS` items, and ends when it has all results."""

    def begin(self) -> None:
        self._send(Ready())
        for number in range(TASKS):
            self.state.submitted(Future(cast(Waits, None), abs, (number,), {}, Cost()), self.world.now)
        self._drain()

    def hear(self, message: Message) -> None:
        self.state.receive(message)
        while self.state.arrived:
            future = self.state.claim(self.state.arrived.popleft().serial, LENGTH)
            assert future is not None  # each comes once
        if not self.state.sent or self.state.stopped:
            self.world.die(self._node, self.name, 0)


@dataclass
class Node:
    """What runs on a node."""

    name: AgentName
    agent: AgentState | None = None  # once it is welcome
    broker: BrokerState | None = None
    workers: dict[WorkerName, Worker] = field(default_factory=dict)
    pids: dict[ProcessName, int] = field(default_factory=dict)
    is_gone: bool = False


class World:
    """The time, and everything that is yet to happen."""

    def __init__(self, **changes: object) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self.warnings: list[str] = []
        self.hung: set[ProcessName] = set()  # brokers that do not answer
        self.counted: dict[WorkerName, int] = {}  # tasks of workers, also of those that have ended
        self._number = itertools.count(100)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.nodes = [Node(AgentName("n1/0")), Node(AgentName("n2/0"))]
        self.silent: set[str] = set()  # nodes whose agents never report
        self.observers = Observers([self.events.append])
        plan = RunPlan(
            nodes=(NodePlan("n1", 3), NodePlan("n2", 2)),
            program=Program(b"p.py", (), b"/", {}),
            curve=None,
            directory=None,
            inherit=(),
            driver_process="",
            driver_pid=7,
            python="3.11",
            host="head",
        )
        self.driver = DriverState(replace(plan, **changes), observers=self.observers)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + seconds, next(self._number), action))

    def run(self) -> Ending:
        """Let the run begin, and all happen to its end."""
        commands = [Command(("ssh", name), {}, (name,)) for name in ("n1", "n2")]
        self._do(self.driver.start(commands, self.now))
        while self.driver.phase is not Phase.OVER:
            self.step()
            assert self.now < 1000, "it never ends"
        assert self.driver.ending is not None
        return self.driver.ending

    def step(self) -> None:
        """Jump to the next time at which something happens, or is due."""
        due = [self.driver.deadline()]
        due += [node.agent.deadline() for node in self.nodes if node.agent is not None and not node.is_gone]
        due += [self._agenda[0][0]] if self._agenda else []
        self.now = max(self.now, min(time for time in due if time is not None))
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        self._do(self.driver.pass_time(self.now))
        for node in self.nodes:
            if node.agent is not None and not node.is_gone:
                self._do_agent(node, node.agent.pass_time(self.now))

    # the driver

    def _do(self, actions: Sequence[driver_actions.Action]) -> None:
        for action in actions:
            match action:
                case driver_actions.Start(command):
                    self.driver.command_started(command, next(self._number), self.now)
                    if command.nodes[0] not in self.silent:
                        hello = Hello(VERSION, "3.11", command.nodes[0], "host", 8, 4)
                        self._tell_driver(self.nodes[command.nodes[0] == "n2"], hello)
                case driver_actions.Send(to, message):
                    node = next(node for node in self.nodes if node.name == to)
                    self.later(LATENCY, partial(self._hear, node, message))
                case driver_actions.Probe(agent):
                    self.later(LATENCY, partial(self._refuse, agent))
                case driver_actions.Warn(text):
                    self.warnings.append(text)

    def _refuse(self, agent: AgentName) -> None:
        """Let the driver know that nobody listens on a node, unless it lives."""
        if next(node for node in self.nodes if node.name == agent).is_gone:
            self._do(self.driver.refused(agent, self.now))

    def _tell_driver(self, node: Node, message: Message) -> None:
        def tell() -> None:
            self._do(self.driver.handle(arrived(message), node.name, self.now))

        self.later(LATENCY, tell)

    # agents

    def _hear(self, node: Node, message: Message) -> None:
        message = arrived(message)
        if node.is_gone:
            return
        if isinstance(message, Welcome):
            node.agent = AgentState(node.name[:2], message, observers=self.observers)
            self._do_agent(node, node.agent.start(self.now))
        elif node.agent is not None:
            self._do_agent(node, node.agent.hear_driver(message, self.now))

    def _do_agent(self, node: Node, actions: Sequence[agent_state.Action]) -> None:
        assert node.agent is not None
        for action in actions:
            match action:
                case agent_state.Fork(name, _):
                    node.pids[name] = next(self._number)
                    node.agent.started(name, node.pids[name])
                    self._begin(node, name)
                case agent_state.Tell(message):
                    self._tell_driver(node, message)
                case agent_state.TellBroker(message):
                    self.later(LATENCY, partial(self._hear_broker, node, message, AGENT))
                case agent_state.Signal(pid, number):
                    child = next(child for child, each in node.pids.items() if each == pid)
                    self.later(0.0, partial(self.die, node, child, -number))
                case agent_state.LookAtProcesses():
                    self._do_agent(node, node.agent.looked(()))
                case agent_state.InspectDriver():
                    self._do_agent(node, node.agent.driver_inspected(False, True, self.now))
                case agent_state.KillAll():
                    for child in list(node.pids):
                        self.later(0.0, partial(self.die, node, child, -SIGKILL))
        if node.agent.phase is agent_state.Phase.OVER and not node.is_gone:
            node.is_gone = True
            self._tell_driver(node, Bye())

    def _begin(self, node: Node, name: BrokerName | WorkerName) -> None:
        if is_broker(name):
            node.broker = BrokerState(name, observers=self.observers)
            return
        worker = WorkerName(name)
        node.workers[worker] = (Origin if worker == ORIGIN else Worker)(self, node, worker)
        node.workers[worker].begin()

    def die(self, node: Node, name: ProcessName, status: int) -> None:
        """Let the process *name* end, if it still runs."""
        pid = node.pids.pop(name, None)
        if pid is None or node.is_gone or node.agent is None:
            return
        ended = node.workers.pop(WorkerName(name), None)
        if ended is not None and ended.name != ORIGIN:
            self.counted[ended.name] = ended.done
        if is_broker(name):
            node.broker = None
        unfinished = Unfinished() if ended is None else Unfinished(ended.begun, "f", ended.done)
        own_end = status >= 0
        self._do_agent(node, node.agent.exited(pid, status, self.now, False, own_end, unfinished))

    def lose(self, node: Node) -> None:
        """Let a node disappear, with all that runs there."""
        node.is_gone = True
        node.broker = None
        node.workers.clear()
        self._do(self.driver.disconnected(node.name, self.now))

    # brokers and workers

    def _hear_broker(self, node: Node, message: Message, sender: ProcessName) -> None:
        broker = node.broker
        if broker is None or broker.name in self.hung:
            return
        message = arrived(message)
        if isinstance(message, Ready) and sender == AGENT:
            up = BrokerUp(node_of(broker.name), ("main",))
            self._send(node, [BrokerSend(AGENT, up)])
            return
        self._send(node, broker.handle(message, sender))
        if isinstance(message, Stop):
            self.later(0.0, lambda: self.die(node, broker.name, 0))

    def _send(self, node: Node, sends: Sequence[BrokerSend]) -> None:
        assert node.broker is not None
        own = node.broker.name
        for send in sends:
            message = send.message
            if send.to == AGENT:
                self.later(LATENCY, partial(self._hear_from_broker, node, message))
            elif is_broker(send.to):
                peer = self.nodes[node_of(send.to)]
                self.later(LATENCY, partial(self._hear_broker, peer, message, own))
            else:
                worker = WorkerName(send.to)
                self.later(LATENCY, partial(self._hear_worker, node, worker, message))

    def _hear_from_broker(self, node: Node, message: Message) -> None:
        if node.agent is not None and not node.is_gone:
            self._do_agent(node, node.agent.hear_broker(arrived(message), self.now))

    def _hear_worker(self, node: Node, name: WorkerName, message: Message) -> None:
        worker = node.workers.get(name)
        if worker is not None:
            worker.hear(arrived(message))

    def hear_from_worker(self, node: Node, name: WorkerName, message: Message) -> None:
        if name in node.workers:
            self._hear_broker(node, message, name)

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def world() -> World:
    return World()


def test_a_run_of_two_nodes_from_its_start_to_its_end(world: World) -> None:
    assert world.run() == Ending(0)
    assert sum(world.counted.values()) == TASKS
    assert sorted(world.counted) == ["0.1", "0.2", "0.3", "1.0", "1.1"]  # and the origin none
    assert min(world.counted.values()) >= TASKS // 10  # those of the other node have stolen their share
    assert world.now < 1.5 * TASKS * LENGTH / 5
    assert world.warnings == []
    assert not any(node.pids for node in world.nodes)


def test_what_happened_is_told_in_its_order(world: World) -> None:
    world.run()
    names = world.names()
    course = [
        "RunStarting",
        "CommandStarted",
        "NodeJoined",
        "BrokerJoined",
        "RunBegan",
        "Stole",
        "RunEnding",
        "AgentLeft",
    ]
    assert sorted(course, key=names.index) == course
    assert "ProcessDied" not in names


def test_a_worker_that_dies_costs_what_it_ran_and_another_takes_its_place(world: World) -> None:
    world.later(3.0, lambda: world.die(world.nodes[1], ProcessName("1.1"), -SIGSEGV))
    assert world.run() == Ending(0)
    assert sum(world.counted.values()) == TASKS  # and the attempt that was lost
    assert world.counted[worker_name(1, 2)] > 0
    died = r"worker 1\.1 \(pid \d+\) on n2 died: killed by SIGSEGV, in f\(\), attempt 1; another takes its place"
    assert [bool(re.fullmatch(died, text)) for text in world.warnings] == [True]
    assert world.names().count("WorkerLost") == world.names().count("TasksQueuedAgain") == 1
    assert not any(node.pids for node in world.nodes)


def test_workers_that_die_before_they_begin_a_task_are_not_replaced_for_ever(world: World) -> None:
    def fall() -> None:
        for node in world.nodes:
            for name in [name for name in node.workers if name != ORIGIN]:
                node.workers[name].begun, node.workers[name].done = (), 0
                world.die(node, name, -SIGKILL)

    for number in range(9):
        world.later(3.0 + 0.01 * number, fall)
    ending = world.run()
    assert ending.status == 1
    assert ending.reason.endswith("died: killed by SIGKILL; no worker is left")
    assert not any(node.pids for node in world.nodes)


def test_a_node_that_is_lost_costs_what_ran_there_and_the_run_goes_on(world: World) -> None:
    world.later(3.0, lambda: world.lose(world.nodes[1]))
    assert world.run() == Ending(0)
    died = "its agent (pid 8) died, or the connection to it broke"
    assert world.warnings == [f"node n2 is lost: {died}; 1 of 2 nodes is left"]
    assert not world.nodes[0].pids


def test_a_node_that_is_lost_ends_a_run_that_is_told_to_end_then() -> None:
    world = World(ends_on_loss=True)
    world.later(3.0, lambda: world.lose(world.nodes[1]))
    assert world.run() == Ending(1, "the agent (pid 8) on n2 died, or the connection to it broke")
    assert 5.0 <= world.now < 6.0
    assert not world.nodes[0].pids


def test_a_broker_that_hangs_ends_the_run(world: World) -> None:
    world.later(3.0, lambda: world.hung.add(broker_name(NodeIndex(0))))
    ending = world.run()
    assert "broker 0 (pid " in ending.reason
    assert "on n1 has not answered for 60 s" in ending.reason
    assert not any(node.pids for node in world.nodes)


def test_a_node_that_never_reports_ends_the_run_when_patience_is_over(world: World) -> None:
    world.silent.add("n2")
    assert world.run() == Ending(1, "no word within 60 s from: n2; --patience gives them more time")


def test_ctrl_c_ends_a_run_whose_program_dies_of_it(world: World) -> None:
    world.later(3.0, lambda: world._do(world.driver.signalled(SIGINT, world.now)))
    ending = world.run()
    assert ending.status == 128 + SIGINT
    assert world.now < 4.0
    assert not any(node.pids for node in world.nodes)


def test_a_launcher_that_ends_leaves_a_connected_agent_alone() -> None:
    world = World(outlived=True)
    command = Command(("pbs_tmrsh", "n2"), {}, ("n2",))
    world.later(3.0, lambda: world._do(world.driver.command_ended(CommandEnd(command, 9, 1), world.now)))
    assert world.run() == Ending(0)
    assert "LauncherGone" in world.names()
