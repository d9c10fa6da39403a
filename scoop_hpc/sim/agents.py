"""The shells of the driver and of the agents in a simulated run: what they say to each other, start and end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import partial
from signal import SIGKILL
from typing import Protocol, TypeGuard

from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.protocol.messages import VERSION, Bye, Gone, Hello, Message, Welcome
from scoop_hpc.protocol.names import AGENT, ORIGIN, AgentName, BrokerName, ProcessName, WorkerName, is_broker
from scoop_hpc.run import agent_state
from scoop_hpc.run.agent_state import AgentState, Unfinished
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.sim.agenda import Process
from scoop_hpc.sim.brokers import Brokers
from scoop_hpc.sim.brokers import Surroundings as BrokersSurroundings
from scoop_hpc.sim.deaths import Deaths, ran_and_waited
from scoop_hpc.sim.faults import Fault, Late
from scoop_hpc.sim.lines import Lines
from scoop_hpc.sim.nodes import Broker, Node
from scoop_hpc.sim.plan import Classes
from scoop_hpc.sim.worker.process import Surroundings as WorkersSurroundings
from scoop_hpc.sim.worker.process import Worker


class Surroundings(BrokersSurroundings, WorkersSurroundings, Protocol):
    """The run, as driver and agents use it."""

    brokers: Brokers
    broker_policy: BrokerPolicy
    classes: Classes
    deaths: Deaths
    driver: DriverState
    lines: Lines | None
    size: int
    program_began: float | None

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""

    def note(self, what: str, message: object = "") -> None:
        """Put an event into the trace."""

    def program_begins(self, time: float) -> None:
        """Note that the origin is started, and begins at that *time*."""


class Agents:
    """The driver, whose process is *driver*, and the agents of a *run*; those of hosts that are *late* report later."""

    def __init__(self, run: Surroundings, chance: random.Random, driver: Process, late: set[int]) -> None:
        self._run = run
        self._chance = chance
        self._driver_process = driver
        self._driver_wakes = float("inf")
        self._late = late
        self._pids = itertools.count(100)

    def carry_out(self, actions: Sequence[driver_actions.Action]) -> None:
        """Carry out what the driver has decided."""
        run = self._run
        for action in actions:
            if isinstance(action, driver_actions.Start):
                run.driver.command_started(action.command, next(self._pids), run.agenda.now)
                self.report(run.nodes[int(action.command.nodes[0][1:])])
            elif isinstance(action, driver_actions.Send):
                node = run.nodes.by_agent.get(action.to)
                if node is None:  # a user, or a joiner
                    continue
                if isinstance(action.message, Gone):
                    run.losses.are_given_up(action.message.nodes)
                    for index in action.message.left:
                        run.moves.have_left(run.nodes.by_index[index])
                if run.lines is not None:
                    run.lines.tell_agents([action.to], action.message)
                elif not node.is_cut_off:
                    run.post.carry("driver", node.process.name, action.message, partial(self.hear, node), node.process)
            elif isinstance(action, driver_actions.Probe):
                process = run.nodes.by_agent[action.agent].process
                if process.is_gone:
                    run.later(0.001, partial(self._is_refused, action.agent))
                elif run.lines is not None and not run.network.is_hushed(process.name, "driver", run.agenda.now):
                    run.later(0.001, partial(self._answers, action.agent))
        due = run.driver.deadline()
        if due is not None and due < self._driver_wakes:
            self._driver_wakes = due
            run.agenda.at(due, self._driver_wake, self._driver_process)

    def _is_refused(self, agent: AgentName) -> None:
        """Let the driver know that nobody listens on a node."""
        self.carry_out(self._run.driver.refused(agent, self._run.agenda.now))

    def _answers(self, agent: AgentName) -> None:
        """Let the driver know that somebody listens on a node."""
        self._run.driver.answered(agent, self._run.agenda.now)

    def _driver_wake(self) -> None:
        self._driver_wakes = float("inf")
        self.carry_out(self._run.driver.pass_time(self._run.agenda.now))

    def report(self, node: Node) -> None:
        """Let an agent report to the driver, in a moment, or later if it is to be late."""
        seconds = self._chance.uniform(0.0, self._run.scenario.start_seconds)
        if not node.report and node.host in self._late:
            seconds += max(fault.seconds for fault in self._run.scenario.faults if _makes_late(fault, node.host))
        if self._run.lines is not None:
            self._run.later(seconds, partial(self._run.lines.report, node), node.process)
            return
        hello = Hello(VERSION, "3.11", f"n{node.host}", "h", 8, 64, node.party)
        self._run.later(seconds, partial(self._tell_driver, node, hello), node.process)

    def report_anew(self, old: Node) -> None:
        """Let a host report as another node than before."""
        if self._run.is_over():
            return
        self.report(self._run.nodes.add_again(old))

    def _tell_driver(self, node: Node, message: Message) -> None:
        if self._run.lines is not None:
            self._run.lines.tell_driver(node, message)
            return

        def hear(message: Message) -> None:
            self.carry_out(self._run.driver.handle(message, node.agent_name, self._run.agenda.now))

        self._run.post.carry(node.process.name, "driver", message, hear, self._driver_process)

    def hear(self, node: Node, message: Message) -> None:
        """Let an agent hear the driver."""
        if isinstance(message, Welcome):
            node.index = message.node
            self._run.nodes.by_index[message.node] = node
            node.agent = AgentState(f"n{node.host}", message)
            self._do_agent(node, node.agent.start(self._run.agenda.now))
        elif node.agent is not None:
            self._do_agent(node, node.agent.hear_driver(message, self._run.agenda.now))

    def hear_from_broker(self, node: Node, message: Message) -> None:
        """Let the agent of a node hear its broker."""
        if node.agent is not None:
            self._do_agent(node, node.agent.hear_broker(message, self._run.agenda.now))

    def tell_agent_of_connection(self, node: Node, made: bool) -> None:
        """Let an agent know that its connection to the driver is broken, or was *made* again."""
        if self._run.lines is None:
            self.way_of_agent(node, made)

    def way_of_agent(self, node: Node, made: bool) -> None:
        """Let an agent know that it has no way to the driver, or has one again."""
        if node.agent is not None:
            self._do_agent(node, node.agent.connected(made, self._run.agenda.now))

    def lose_agent(self, node: Node) -> None:
        """Let the driver see that it has no connection to an agent."""
        if self._run.lines is not None:
            self._run.lines.lose(node)
        else:
            self.carry_out(self._run.driver.disconnected(node.agent_name, self._run.agenda.now))

    def find_agent(self, node: Node) -> None:
        """Let the driver see that it has a connection to an agent again."""
        if self._run.lines is None:  # else the agent connects again
            self._run.driver.connected(node.agent_name)

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
                    hear = partial(self._run.brokers.hear, node.broker, AGENT)
                    self._run.post.carry(f"{node.index}.agent", node.broker.name, message, hear, node.broker)
                case agent_state.Signal(pid, number):
                    child = next((child for child, each in node.pids.items() if each == pid), None)
                    if child is not None:
                        self._run.later(0.0, partial(self.end, node, child, -number))
                case agent_state.LookAtProcesses():
                    self._do_agent(node, agent.looked(()))
                case agent_state.InspectDriver():
                    self._do_agent(node, agent.driver_inspected(False, False, self._run.agenda.now))
                case agent_state.OpenRelay() if self._run.lines is not None:
                    self._run.lines.open_relay(node)
                case agent_state.CloseRelay() if self._run.lines is not None:
                    self._run.lines.close_relay(node)
                case agent_state.KillAll():
                    for child in list(node.pids):
                        self._run.later(0.0, partial(self.end, node, child, -SIGKILL))
        if agent.phase is agent_state.Phase.OVER and not node.process.is_gone:
            if self._run.lines is None:
                self.leave(node)
            elif not node.is_leaving:
                node.is_leaving = True
                self._run.lines.linger(node)
        due = agent.deadline()
        if due is not None and due < node.wake_at:
            node.wake_at = due
            self._run.agenda.at(due, partial(self._agent_wake, node), node.process)

    def leave(self, node: Node) -> None:
        """Let the process of an agent end."""
        agent = node.agent
        assert agent is not None
        if agent.has_driver:
            self._tell_driver(node, Bye())
        if self._run.lines is not None:
            self._run.lines.left(node)
        self._run.losses.has_left(node)
        node.process.is_gone = True
        if agent.is_to_return:
            self._run.later(self._chance.choice((0.01, 0.3)), partial(self.report_anew, node))

    def _agent_wake(self, node: Node) -> None:
        node.wake_at = float("inf")
        if node.agent is not None:
            self._do_agent(node, node.agent.pass_time(self._run.agenda.now))

    def _fork(self, node: Node, name: BrokerName | WorkerName) -> None:
        run = self._run
        begins = self._chance.uniform(0.0, run.scenario.start_seconds)
        if is_broker(name):
            takers = run.nodes.workers_on[node.host]
            node.broker = broker = Broker(run.classes.broker(name, run.broker_policy, takers=takers))
            broker.slowness = run.nodes.slowness[node.host]
            broker.stalled_until = run.agenda.now + begins
            run.later(begins, partial(run.brokers.tick, broker), broker)
        else:
            worker = Worker(run, WorkerName(name), run.size, run.classes.worker)
            node.workers[worker.worker_name] = worker
            worker.slowness = run.nodes.slowness[node.host]
            run.later(begins, worker.begin, worker)
            if name != ORIGIN and run.program_began is not None and node.born_to_die:
                death = node.born_to_die.pop()
                run.later(begins + death.seconds, partial(run.deaths.kill, worker, death.status, death.reaped))
            if name == ORIGIN:
                run.program_begins(run.agenda.now + begins)

    def end(self, node: Node, name: ProcessName, status: int, reaped: float | None = None) -> None:
        """Let a process end, if it still runs: of its own accord, or killed, so that it is *reaped* after some time."""
        pid = node.pids.pop(name, None)
        process = self._run.nodes.process(name)
        if pid is None or process is None or node.agent is None:
            return
        self._run.note(f"{name} exits with {status}")
        process.is_gone = True
        if is_broker(name):
            self._run.losses.broker_died(node)
        act = partial(self._reap, node, pid, process, status, reaped is None and status >= 0)
        self._run.later(reaped or 0.0, act, node.process)

    def _reap(self, node: Node, pid: int, process: Process, status: int, own_end: bool) -> None:
        assert node.agent is not None
        unfinished = Unfinished()
        if isinstance(process, Worker):
            begun, (ran, waited) = process.begun, ran_and_waited(process)
            unfinished = Unfinished(tuple(ran), begun.function, begun.ended, 0, tuple(waited))
        self._do_agent(node, node.agent.exited(pid, status, self._run.agenda.now, False, own_end, unfinished))


def _makes_late(fault: Fault, host: int) -> TypeGuard[Late]:
    return isinstance(fault, Late) and fault.node == host
