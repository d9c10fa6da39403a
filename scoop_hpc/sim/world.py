"""The world of a simulated run: driver, agents, brokers and workers, and what lies between them."""

from __future__ import annotations

import itertools
import random
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from signal import SIGKILL, SIGSEGV
from typing import Any, TypeGuard

from msgspec.structs import replace

from scoop_hpc.broker.actions import Send as BrokerSend
from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol import codec, messages
from scoop_hpc.protocol.messages import (
    VERSION,
    Batch,
    BrokerUp,
    Bye,
    CancelAnswer,
    Gone,
    Hello,
    Message,
    OutcomeLost,
    Peers,
    Ready,
    Reference,
    Results,
    Steal,
    Stop,
    TaskId,
    Tasks,
    Welcome,
    WorkerDied,
)
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
    is_worker,
    node_of,
)
from scoop_hpc.run import agent_state
from scoop_hpc.run.agent_state import AgentState, Unfinished
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.faults import (
    Cut,
    Death,
    Drain,
    Fault,
    HeldUp,
    Late,
    Newcomer,
    NodeLoss,
    Silence,
    SlowLink,
    SlowNode,
    Stall,
)
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.lines import Lines
from scoop_hpc.sim.losses import Losses
from scoop_hpc.sim.moves import Moves
from scoop_hpc.sim.network import Hold, Network, NetworkPlan
from scoop_hpc.sim.nodes import Broker, Letter, Node
from scoop_hpc.sim.program import Program
from scoop_hpc.sim.watch import Watch
from scoop_hpc.sim.worker import Worker
from scoop_hpc.transport.begun import BegunTask
from scoop_hpc.worker.state import WorkerState

_BEGIN = 100.0  # seconds: the time at which a run begins
_REMEMBERED = 300  # events that a violation shows
_JOURNEYS = 8  # of messages, within the same time
_NO_RELAYS = 10**9  # nodes, up to which none relays for others
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
    large: int = 0  # every so manieth call has a large outcome, which is left in memory that a node shares; 0: none
    greed: int = 0  # tasks that brokers steal beyond those that they need: so they wander from node to node
    start_seconds: float = 0.02  # in which a process that was forked begins, at the latest
    all_direct: int = 8  # brokers, up to which all tell all others of their load; beyond, they do so along a tree
    branches: int = 16  # of that
    all_connected: int | None = None  # nodes, up to which each has a connection to the driver; None: all have
    grace: float = 3.0  # seconds without a connection between two brokers, until one of their nodes is given up


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
    deaths: int  # of workers
    losses: int  # of nodes
    joined: int = 0  # nodes of other allocations
    left: int = 0  # nodes, with nothing lost


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
        self.large = scenario.large
        self.agenda = Agenda(_BEGIN)
        policy = BrokerPolicy()
        self.ledger = Ledger((policy.memory_ticks - 1) * policy.tick)
        self.broker_policy = replace(
            policy, broken=scenario.grace, all_direct=scenario.all_direct, branches=scenario.branches
        )
        self.remembered: deque[tuple[float, str, Any]] = deque(maxlen=_REMEMBERED)
        self._classes, self._tell, self._checks = classes, tell, checks
        self._chance = random.Random(scenario.seed)
        self.network = Network(scenario.network, self._chance)
        self._size = sum(scenario.nodes)
        self._digest = 0
        self._pids = itertools.count(100)
        self._under_way: dict[tuple[str, str], deque[Letter]] = {}  # by sender and receiver
        self._doomed: dict[str, Death] = {}  # workers that die when they come to some point
        self.deaths = 0
        self._driver_process = Process("driver")
        self._driver_wakes = float("inf")
        hosts = range(len(scenario.nodes))
        self.nodes = [Node(host, 0, Process(f"agent {host}")) for host in hosts]  # as they have reported, lost or not
        self._by_agent = {node.agent_name: node for node in self.nodes}
        self._by_index: dict[int, Node] = {}  # as the driver counts them
        self._slowness = dict.fromkeys(hosts, 1.0)  # by hosts
        self.losses = Losses(self)
        self.moves = Moves(self)
        self._workers_on = dict(enumerate(scenario.nodes))  # by host
        self._watch = Watch(self, checks)
        self._program_began: float | None = None
        self._program_ended: float | None = None
        self._may_end = False
        self.delay = _JOURNEYS * _steps(scenario) * (max(scenario.network.latencies) + max(scenario.network.local))
        self.troubled_until = _BEGIN
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
            min_nodes=self._min_nodes(),
            grace=scenario.grace,
        )
        most = _NO_RELAYS if scenario.all_connected is None else scenario.all_connected
        self.driver = DriverState(plan, DriverPolicy(all_connected=most))
        self.lines = None if scenario.all_connected is None else Lines(self, self._driver_process)
        for fault in scenario.faults:
            self._plan_fault(fault)

    def _min_nodes(self) -> int | None:
        """Return how many nodes there must be for the program to begin, if not all."""
        late = {fault.node for fault in self.scenario.faults if isinstance(fault, Late)}
        self._late = {host for host in late if 0 < host < len(self.scenario.nodes)}
        return len(self.scenario.nodes) - len(self._late) if self._late else None

    # time

    def run(self) -> Result:
        """Let everything happen; raise Violation."""
        commands = [Command(("ssh", f"n{node.host}"), {}, (f"n{node.host}",)) for node in self.nodes]
        self.carry_out(self.driver.start(commands, self.agenda.now))
        self.later(0.25, self._look)
        while self.driver.phase is not Phase.OVER:
            try:
                if not self.agenda.step():
                    raise Violation("nothing is to happen any more, and the run is not over")
            except ProtocolError as error:
                raise Violation(f"a message was refused: {error}") from error
        ending = self.driver.ending
        assert ending is not None
        if ending != Ending(0) and not self._may_fail(ending):
            raise Violation(f"the run ended by {ending}")
        began, ended = self._program_began, self._watch.finished_at or self.agenda.now
        assert began is not None
        return Result(
            ending,
            ended - began,
            self.agenda.happened,
            self.network.sent,
            self._sent_until_end - self._sent_before,
            self.ledger.executed,
            {name: worker.computed for node in self.nodes for name, worker in node.workers.items()},
            self._digest,
            self.deaths,
            self.losses.count,
            self.moves.joined,
            self.moves.left,
        )

    def _may_fail(self, ending: Ending) -> bool:
        """Return whether the run may have come to this end: so much was lost."""
        if ending.reason.endswith("no worker is left"):
            return not self._living()
        members = sum(node.is_member for node in self.nodes)
        floor = self._min_nodes() or -(-len(self.scenario.nodes) // 2)
        return "left" in ending.reason and members < floor

    def _living(self) -> list[Worker]:
        """Return the workers, but the origin, that have not died."""
        workers = [worker for node in self.nodes if node.is_member for worker in node.workers.values()]
        return [worker for worker in workers if not worker.is_gone and worker.name != ORIGIN]

    def draw(self, most: float) -> float:
        """Return a number of seconds by chance."""
        return self._chance.choice((0.0, 0.0, 0.001, self._chance.uniform(0.0, most)))

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""
        self.agenda.at(self.agenda.now + seconds, act, process)

    def note(self, what: str, message: object = "") -> None:
        """Put an event into the trace."""
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
                self.is_in_trouble(now + time + seconds)
            case HeldUp(sender, to, time, seconds):
                self.network.holds.append(Hold(sender, to, now + time, now + time + seconds))
                self.is_in_trouble(now + time + seconds)
            case Death(_, _, time):
                self.agenda.at(now + time, partial(self._plan_death, fault))
                self.is_in_trouble(now + time)
            case NodeLoss() | Silence() | Cut():
                self.losses.plan(fault)
            case Drain() | Newcomer():
                self.moves.plan(fault)
                self.is_in_trouble(now + fault.time)
            case SlowNode(node, factor):
                if node in self._slowness:
                    self._slowness[node] = factor
                    self.delay += 0.1 * factor
            case SlowLink(node, other, seconds):
                self.network.extra[str(node), str(other)] = self.network.extra[str(other), str(node)] = seconds
                self.delay += 20 * seconds

    def _plan_death(self, death: Death) -> None:
        """Choose who is to die, and kill it now, or when it comes to the point."""
        if self.is_over() or self._size == 1 or death.node not in self._slowness:
            return
        if not self.has_begun():
            self.later(0.005, partial(self._plan_death, death))  # before, it is fatal
            return
        node = self.node_on(death.node)
        living = [worker for worker in self._living() if node is not None and worker.worker_name in node.workers]
        if not living or node is None:
            return
        first = death.which % len(living)
        for worker in (living[first:] + living[:first])[: death.count]:
            if death.moment in ("now", "fresh"):
                self._kill(worker, death.status, death.reaped)
            else:
                self._doomed[worker.name] = death
        if death.moment == "fresh":
            node.born_to_die.append(death)

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""
        return self._may_end or self.driver.ending is not None

    def has_begun(self) -> bool:
        """Return whether the program runs; before, most losses are fatal."""
        return self._program_began is not None and self._program_began <= self.agenda.now

    def node_on(self, host: int) -> Node | None:
        """Return the node that is on a *host*, or about to join the run, if there is one that is not lost."""
        return next((node for node in self.nodes if node.host == host and node.lost_at is None), None)

    def passes(self, worker: Worker, point: str) -> None:
        """Let a worker die some time after it has come to this *point*, if that is to be."""
        death = self._doomed.get(worker.name)
        self.losses.passes(self.node_of(worker.name), "owner" if worker.state.sent else "")
        if death is not None and (death.moment == point or (death.moment == "owner" and worker.state.sent)):
            del self._doomed[worker.name]
            self.later(death.seconds, partial(self._kill, worker, death.status, death.reaped))

    def check_owner(self, worker: Worker, owner: WorkerName) -> None:
        """Check that a task is begun whose owner lives, as far as the worker must know."""
        broker = self.node_of(worker.name).broker
        assert broker is not None
        held = max((hold.end for hold in self.network.holds if hold.to == worker.name), default=0.0)
        for name in (owner, broker_of(owner)):
            since = broker.gone.get(name)
            if since is not None and worker.state.polled > max(since, held) + self.delay:
                raise Violation(
                    f"worker {worker.name} begins a task of {owner}, of which its broker knows that it is gone"
                )

    def is_killed(self, worker: Worker, chance: float) -> bool:
        """Return whether a task takes its worker down, by this *chance*; it is dead then."""
        if worker.name == ORIGIN or self._chance.random() >= chance:
            return False
        self._kill(worker, -SIGSEGV, self._chance.choice((0.0, 0.001, 0.05)))
        return True

    def _kill(self, worker: Worker, status: int, reaped: float) -> None:
        """Kill a worker, of which its agent learns after *reaped* seconds."""
        if worker.is_gone or self.is_over():
            return
        self.deaths += 1
        node = self.node_of(worker.name)
        self.lose_letters({worker.name}, reaped + 0.002)
        ran, waited = map(_ids, _ran_and_waited(worker))
        self._exit(node, worker.worker_name, status, reaped)
        self.ledger.died(worker.worker_name, ran, waited, self.agenda.now)
        since = max(self.agenda.now, node.process.stalled_until)
        self.is_in_trouble(since + reaped)

    def lose_letters(self, senders: Collection[str], delay: float) -> None:
        """Lose what the dead have sent, from some message on; the rest may come late, when the death is known."""
        chance = self._chance
        for (sender, _), letters in self._under_way.items():
            if sender in senders:
                arrive = chance.choice((0, len(letters), chance.randint(0, len(letters))))
                late = chance.choice((0.0, 0.0, delay))
                for index, letter in enumerate(letters):
                    letter.is_lost, letter.delay = index >= arrive, late

    def add_host(self, workers: int) -> Node:
        """Return a node on a new host of so many *workers*."""
        host = len(self._workers_on)
        self._workers_on[host] = workers
        self._slowness[host] = 1.0
        node = Node(host, 0, Process(f"agent {host}"))
        self.nodes.append(node)
        self._by_agent[node.agent_name] = node
        return node

    def has_delivered(self, broker: Broker) -> bool:
        """Return whether all has arrived, and was heard, that a broker has sent to its peers."""
        if any(name not in broker.gone for name in broker.early):
            return False
        for name in broker.state.peers:
            peer = self.node_of(name).broker
            if self._under_way.get((broker.name, name)) or (peer is not None and peer.unheard[broker.state.name]):
                return False
        return True

    def end_broker(self, node: Node, status: int) -> None:
        """Let the broker of a node end."""
        assert node.broker is not None
        self._exit(node, node.broker.state.name, status, self._chance.choice((0.0, 0.001, 0.05)))

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""
        self.troubled_until = max(self.troubled_until, until)

    def _stall(self, name: str, seconds: float) -> None:
        process = self._process(name)
        if process is not None:
            self.note(f"{name} stalls for {seconds:g} s")
            process.stalled_until = max(process.stalled_until, self.agenda.now + seconds)

    def _process(self, name: str) -> Process | None:
        if name == "driver":
            return self._driver_process
        for node in self.nodes:
            if name == node.process.name:
                return node.process
            if node.broker is not None and name == node.broker.name:
                return node.broker
            if WorkerName(ProcessName(name)) in node.workers:
                return node.workers[WorkerName(ProcessName(name))]
        return None

    def _look(self) -> None:
        self.later(0.25, self._look)
        if self._may_end or self._program_began is None:
            return
        if self._watch.look(self._program_ended):
            self._may_end = True
            origin = self.nodes[0].workers[ORIGIN]
            self.later(0.0, origin.nudge, origin)

    # the driver

    def carry_out(self, actions: Sequence[driver_actions.Action]) -> None:
        """Carry out what the driver has decided."""
        for action in actions:
            if isinstance(action, driver_actions.Start):
                self.driver.command_started(action.command, next(self._pids), self.agenda.now)
                self.report(self.nodes[int(action.command.nodes[0][1:])])
            elif isinstance(action, driver_actions.Send):
                node = self._by_agent.get(action.to)
                if node is None:  # a user, or a joiner
                    continue
                if isinstance(action.message, Gone):
                    self.losses.are_given_up(action.message.nodes)
                    for index in action.message.left:
                        self.moves.have_left(self._by_index[index])
                if self.lines is not None:
                    self.lines.tell_agents([action.to], action.message)
                elif not node.is_cut_off:
                    self._carry("driver", node.process.name, action.message, partial(self.hear, node), node.process)
            elif isinstance(action, driver_actions.Probe):
                process = self._by_agent[action.agent].process
                if process.is_gone:
                    self.later(0.001, partial(self._is_refused, action.agent))
                elif self.lines is not None and not self.network.is_hushed(process.name, "driver", self.agenda.now):
                    self.later(0.001, partial(self._answers, action.agent))
        due = self.driver.deadline()
        if due is not None and due < self._driver_wakes:
            self._driver_wakes = due
            self.agenda.at(due, self._driver_wake, self._driver_process)

    def _is_refused(self, agent: AgentName) -> None:
        """Let the driver know that nobody listens on a node."""
        self.carry_out(self.driver.refused(agent, self.agenda.now))

    def _answers(self, agent: AgentName) -> None:
        """Let the driver know that somebody listens on a node."""
        self.driver.answered(agent, self.agenda.now)

    def _driver_wake(self) -> None:
        self._driver_wakes = float("inf")
        self.carry_out(self.driver.pass_time(self.agenda.now))

    def report(self, node: Node) -> None:
        """Let an agent report to the driver, in a moment, or later if it is to be late."""
        seconds = self._chance.uniform(0.0, self.scenario.start_seconds)
        if not node.report and node.host in self._late:
            seconds += max(fault.seconds for fault in self.scenario.faults if _makes_late(fault, node.host))
        if self.lines is not None:
            self.later(seconds, partial(self.lines.report, node), node.process)
            return
        hello = Hello(VERSION, "3.11", f"n{node.host}", "h", 8, 64, node.party)
        self.later(seconds, partial(self._tell_driver, node, hello), node.process)

    def report_anew(self, old: Node) -> None:
        """Let a host report as another node than before."""
        if self.is_over():
            return
        last = max(node.report for node in self.nodes if node.host == old.host)
        node = Node(old.host, last + 1, Process(f"agent {old.host}.{last + 1}"))
        node.party = old.party
        self.nodes.append(node)
        self._by_agent[node.agent_name] = node
        self.report(node)

    def _tell_driver(self, node: Node, message: Message) -> None:
        if self.lines is not None:
            self.lines.tell_driver(node, message)
            return

        def hear(message: Message) -> None:
            self.carry_out(self.driver.handle(message, node.agent_name, self.agenda.now))

        self._carry(node.process.name, "driver", message, hear, self._driver_process)

    # agents

    def hear(self, node: Node, message: Message) -> None:
        """Let an agent hear the driver."""
        if isinstance(message, Welcome):
            node.index = message.node
            self._by_index[message.node] = node
            node.agent = AgentState(f"n{node.host}", message)
            self._do_agent(node, node.agent.start(self.agenda.now))
        elif node.agent is not None:
            self._do_agent(node, node.agent.hear_driver(message, self.agenda.now))

    def tell_agent_of_connection(self, node: Node, made: bool) -> None:
        """Let an agent know that its connection to the driver is broken, or was *made* again."""
        if self.lines is None:
            self.way_of_agent(node, made)

    def way_of_agent(self, node: Node, made: bool) -> None:
        """Let an agent know that it has no way to the driver, or has one again."""
        if node.agent is not None:
            self._do_agent(node, node.agent.connected(made, self.agenda.now))

    def lose_agent(self, node: Node) -> None:
        """Let the driver see that it has no connection to an agent."""
        if self.lines is not None:
            self.lines.lose(node)
        else:
            self.carry_out(self.driver.disconnected(node.agent_name, self.agenda.now))

    def find_agent(self, node: Node) -> None:
        """Let the driver see that it has a connection to an agent again."""
        if self.lines is None:  # else the agent connects again
            self.driver.connected(node.agent_name)

    def _do_agent(self, node: Node, actions: Sequence[agent_state.Action]) -> None:
        agent = node.agent
        assert agent is not None
        for action in actions:
            match action:
                case agent_state.Fork(name, _):
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
                        self.later(0.0, partial(self._exit, node, child, -number))
                case agent_state.LookAtProcesses():
                    self._do_agent(node, agent.looked(()))
                case agent_state.InspectDriver():
                    self._do_agent(node, agent.driver_inspected(False, False, self.agenda.now))
                case agent_state.OpenRelay() if self.lines is not None:
                    self.lines.open_relay(node)
                case agent_state.CloseRelay() if self.lines is not None:
                    self.lines.close_relay(node)
                case agent_state.KillAll():
                    for child in list(node.pids):
                        self.later(0.0, partial(self._exit, node, child, -SIGKILL))
        if agent.phase is agent_state.Phase.OVER and not node.process.is_gone:
            if self.lines is None:
                self.leave(node)
            elif not node.is_leaving:
                node.is_leaving = True
                self.lines.linger(node)
        due = agent.deadline()
        if due is not None and due < node.wake_at:
            node.wake_at = due
            self.agenda.at(due, partial(self._agent_wake, node), node.process)

    def leave(self, node: Node) -> None:
        """Let the process of an agent end."""
        agent = node.agent
        assert agent is not None
        if agent.has_driver:
            self._tell_driver(node, Bye())
        if self.lines is not None:
            self.lines.left(node)
        self.losses.has_left(node)
        node.process.is_gone = True
        if agent.is_to_return:
            self.later(self._chance.choice((0.01, 0.3)), partial(self.report_anew, node))

    def _agent_wake(self, node: Node) -> None:
        node.wake_at = float("inf")
        if node.agent is not None:
            self._do_agent(node, node.agent.pass_time(self.agenda.now))

    def _fork(self, node: Node, name: BrokerName | WorkerName) -> None:
        begins = self._chance.uniform(0.0, self.scenario.start_seconds)
        if is_broker(name):
            takers = self._workers_on[node.host]
            node.broker = broker = Broker(self._classes.broker(name, self.broker_policy, takers=takers))
            broker.slowness = self._slowness[node.host]
            broker.stalled_until = self.agenda.now + begins
            self.later(begins, partial(self._tick, broker), broker)
        else:
            worker = Worker(self, WorkerName(name), self._size, self._classes.worker)
            node.workers[worker.worker_name] = worker
            worker.slowness = self._slowness[node.host]
            self.later(begins, worker.begin, worker)
            if name != ORIGIN and self._program_began is not None and node.born_to_die:
                death = node.born_to_die.pop()
                self.later(begins + death.seconds, partial(self._kill, worker, death.status, death.reaped))
            if name == ORIGIN:
                self._program_began = self.agenda.now + begins
                self._sent_before = self.network.sent

    def _exit(self, node: Node, name: ProcessName, status: int, reaped: float | None = None) -> None:
        """Let a process end, if it still runs: of its own accord, or killed, so that it is *reaped* after some time."""
        pid = node.pids.pop(name, None)
        process = self._process(name)
        if pid is None or process is None or node.agent is None:
            return
        self.note(f"{name} exits with {status}")
        process.is_gone = True
        if is_broker(name):
            self.losses.broker_died(node)
        act = partial(self._reap, node, pid, process, status, reaped is None and status >= 0)
        self.later(reaped or 0.0, act, node.process)

    def _reap(self, node: Node, pid: int, process: Process, status: int, own_end: bool) -> None:
        assert node.agent is not None
        unfinished = Unfinished()
        if isinstance(process, Worker):
            begun, (ran, waited) = process.begun, _ran_and_waited(process)
            unfinished = Unfinished(tuple(ran), begun.function, begun.ended, 0, tuple(waited))
        self._do_agent(node, node.agent.exited(pid, status, self.agenda.now, False, own_end, unfinished))

    # brokers

    def _tick(self, broker: Broker) -> None:
        self.later(BrokerPolicy().tick, partial(self._tick, broker), broker)
        self.send(broker, broker.state.tick(self.agenda.now))
        self.moves.look(self.node_of(broker.name))

    def _hear_broker(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        """Take a message from the socket, once those before it are done with."""
        cost = self.message_cost * broker.slowness
        begin = max(self.agenda.now, broker.free_at)
        broker.unheard[sender] += 1
        broker.free_at = begin + cost
        self.agenda.at(broker.free_at, partial(self._serve, broker, sender, message), broker)

    def _serve(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        broker.unheard[sender] -= 1
        if isinstance(message, Ready) and sender == AGENT:
            broker.agent_is_here = True
            up = BrokerUp(node_of(broker.state.name), ("main",))
            held, broker.for_agent = broker.for_agent, []
            self.send(broker, [BrokerSend(AGENT, each) for each in (up, *held)])
            return
        now, ledger = self.agenda.now, self.ledger
        if sender not in broker.gone:
            self._note_what_comes(broker, sender, message)
        state = broker.state
        sends = state.handle(message, sender)
        self.losses.has_got(self.node_of(broker.name), message, sender)
        if isinstance(message, Peers):
            self._meet(broker, message)
        elif isinstance(message, Gone):
            self._part(broker, message)
        self.send(broker, sends)
        if self._checks:
            ledger.holds([*state.queue, *state.risky], broker.name, now, broker.gone)
        if isinstance(message, Stop):
            node = self.node_of(broker.name)
            self.later(0.0, partial(self._exit, node, broker.state.name, 0))

    def _note_what_comes(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        """Let the ledger know what a message changes, which is not one of a worker that is known to be dead."""
        now, ledger = self.agenda.now, self.ledger
        match message:
            case Tasks():
                ledger.come(message.batches, sender, broker.name, now)
            case Results() if is_worker(sender):
                ledger.passed(message.batches, WorkerName(sender), now)
            case OutcomeLost():
                known = broker.state._in_memory
                for key in [(message.owner, serial) for serial in message.serials]:
                    if key not in known or isinstance(known[key].task, Batch):  # else a peer is asked
                        ledger.outcome_lost(*key, broker.name, key in known, now)
            case CancelAnswer() if is_worker(sender) and message.is_dropped:
                ledger.dropped(message.owner, message.serial, WorkerName(sender), now)
            case WorkerDied():
                broker.gone.setdefault(message.name, now)
                ledger.queued_again(message.name, now)
            case Gone():
                for name in (*message.workers, *map(broker_name, (*message.nodes, *message.left))):
                    broker.gone.setdefault(name, now)
            case Peers():
                for name in map(broker_name, (*message.gone, *message.left)):
                    broker.gone.setdefault(name, now)

    def _part(self, broker: Broker, gone: Gone) -> None:
        """Forget nodes that are gone."""
        for name in map(broker_name, (*gone.nodes, *gone.left)):
            broker.links.pop(name, None)
            broker.early.pop(name, None)

    def _meet(self, broker: Broker, peers: Peers) -> None:
        """Greet new peers; each answers once it knows this broker, too."""
        broker.is_member = True
        self.is_in_trouble(self.agenda.now)
        for name in [broker_name(up.node) for up in peers.brokers]:
            if name != broker.name and name not in broker.known and name not in broker.gone:
                broker.known.add(name)
                peer = self.node_of(name).broker
                assert peer is not None
                if broker.state.name in peer.known:
                    self._open_link(broker, peer)
                    self._open_link(peer, broker)

    def _open_link(self, broker: Broker, peer: Broker) -> None:
        """Let *broker* greet its *peer*, and send what it has for it after the answer."""
        name = peer.state.name
        there = self.network.arrival(broker.name, name, 30, self.agenda.now)
        broker.links[name] = self.network.arrival(name, broker.name, 30, max(there, peer.stalled_until))
        self.is_in_trouble(broker.links[name])
        self.send(broker, broker.early.pop(name, []), again=True)

    def send(self, broker: Broker, sends: Sequence[BrokerSend], again: bool = False) -> None:
        """Send what a broker has decided to, some of it *again*: it was held back."""
        now = self.agenda.now
        for send in sends:
            to, message = send.to, send.message
            if isinstance(message, Tasks) and not again:
                self.ledger.leave(message.batches, broker.name, to, now)
            if to == AGENT:
                node = self.node_of(broker.name)
                if broker.agent_is_here:
                    hear = partial(self._hear_from_broker, node)
                    self._carry(broker.name, f"{node.index}.agent", message, hear, node.process)
                else:
                    broker.for_agent.append(message)
            elif is_broker(to):
                if to not in broker.links:
                    if to not in broker.gone:
                        broker.early.setdefault(to, []).append(send)
                    continue
                peer = self.node_of(to).broker
                assert peer is not None
                hear = partial(self._hear_broker, peer, broker.state.name)
                if isinstance(message, Steal):
                    message = replace(message, count=message.count + self.scenario.greed)
                elif isinstance(message, Results):
                    message = replace(message, batches=list(map(self.taken, message.batches)))
                self._carry(broker.name, to, message, hear, peer, max(now, broker.links[to]))
                self.losses.has_sent(self.node_of(broker.name), message)
            else:
                worker = self.node_of(to).workers[WorkerName(to)]
                self._carry(broker.name, to, message, worker.arrive, worker)

    def _hear_from_broker(self, node: Node, message: Message) -> None:
        if node.agent is not None:
            self._do_agent(node, node.agent.hear_broker(message, self.agenda.now))

    # workers

    def send_to_broker(self, worker: Worker, message: Message) -> None:
        """Send *message* to the worker's broker."""
        broker = self.node_of(worker.name).broker
        assert broker is not None
        self._carry(worker.name, broker.name, message, partial(self._hear_broker, broker, worker.worker_name), broker)

    def taken(self, batch: Batch) -> Batch:
        """Return outcomes without their reference to a worker's memory, unless that is dead."""
        if type(batch.frames[-1]) is not Reference:
            return batch
        process = self._process(bytes(batch.frames[-1]).decode())
        return batch if process is None or process.is_gone else replace(batch, frames=[*batch.frames[:-1], b"large"])

    def program_ended(self) -> None:
        """Note that the origin's program has come to its end."""
        self._program_ended = self.agenda.now
        self._sent_until_end = self.network.sent
        self.note("the program ends")

    def may_end(self) -> bool:
        """Return whether the origin may end: everything was looked at."""
        return self._may_end

    def worker_ended(self, worker: Worker) -> None:
        """Note that a worker has come to its end."""
        self._exit(self.node_of(worker.name), worker.worker_name, 0)

    def node_of(self, name: str) -> Node:
        """Return the node of a worker or broker."""
        return self._by_index[node_of(broker_of(name))]

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
        self.note(f"{sender} -> {to}, there at {time:.6f}", message)
        letters = self._under_way.get((sender, to))
        if letters is None:
            letters = self._under_way[sender, to] = deque()
        letters.append(Letter())

        def arrive(message: Message = codec.decode(frames)) -> None:
            letter = letters.popleft()
            if letter.is_lost:
                return
            if letter.delay:
                self.later(letter.delay, partial(self._arrive, sender, to, message, hear), process)
            else:
                self._arrive(sender, to, message, hear)

        self.agenda.at(time, arrive, process)

    def _arrive(self, sender: str, to: str, message: Message, hear: Callable[[Message], object]) -> None:
        self.note(f"{to} <- {sender}", message)
        hear(message)


def _steps(scenario: Scenario) -> int:
    """Return how many brokers a task passes on its way from node to node, if it goes the longest one."""
    node, steps = len(scenario.nodes) - 1, 0
    if node < scenario.all_direct:
        return 1
    while node:
        node = (node - 1) // scenario.branches
        steps += 2  # up and down
    return steps


def _makes_late(fault: Fault, host: int) -> TypeGuard[Late]:
    return isinstance(fault, Late) and fault.node == host


def _ran_and_waited(worker: Worker) -> tuple[list[BegunTask], list[BegunTask]]:
    """Return what ran when a worker died, as far as its agent knows, and what else had begun."""
    ran = worker.begun.running()
    return ran, [task for task in worker.begun.tasks() if task not in ran]


def _ids(tasks: Iterable[BegunTask]) -> list[TaskId]:
    return [TaskId(task.owner, task.serial + place) for task in tasks for place in range(task.count)]


def line_of(time: float, what: str, message: Any) -> str:
    """Return an event as a line."""
    return f"{time:11.6f} {what} {message}"
