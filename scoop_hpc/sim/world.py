"""The world of a simulated run: its parts, the time, the program and the end; what faults do."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.errors import ProtocolError
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import Batch, Message, Reference
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.agents import Agents
from scoop_hpc.sim.brokers import Brokers
from scoop_hpc.sim.deaths import Deaths
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
from scoop_hpc.sim.network import Hold, Network
from scoop_hpc.sim.nodes import Node, Nodes
from scoop_hpc.sim.plan import Classes, Result, Scenario
from scoop_hpc.sim.post import Post
from scoop_hpc.sim.watch import Watch
from scoop_hpc.sim.worker.process import Worker

_BEGIN = 100.0  # seconds: the time at which a run begins
_REMEMBERED = 300  # events that a violation shows
_JOURNEYS = 8  # of messages, within the same time
_NO_RELAYS = 10**9  # nodes, up to which none relays for others
_NO_END = 3600.0  # seconds after the last change


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
        self.classes, self._tell = classes, tell
        self._chance = random.Random(scenario.seed)
        self.network = Network(scenario.network, self._chance)
        self.size = sum(scenario.nodes)
        self._digest = 0
        self._driver_process = Process("driver")
        self.nodes = Nodes(scenario.nodes)
        self.post = Post(self.agenda, self.network, self._chance, self.note)
        self.losses = Losses(self)
        self.moves = Moves(self)
        self.deaths = Deaths(self, self._chance, is_alone=self.size == 1)
        self.brokers = Brokers(self, checks)
        late = _late(scenario)
        self._agents = agents = Agents(self, self._chance, self._driver_process, late)
        # what the parts ask of each other by way of the run
        self.carry_out, self.report, self.report_anew = agents.carry_out, agents.report, agents.report_anew
        self.hear, self.hear_from_broker, self.leave = agents.hear, agents.hear_from_broker, agents.leave
        self.lose_agent, self.find_agent, self.way_of_agent = agents.lose_agent, agents.find_agent, agents.way_of_agent
        self.tell_agent_of_connection, self.end = agents.tell_agent_of_connection, agents.end
        self.send, self.has_delivered, self.lose_letters = self.brokers.send, self.brokers.has_delivered, self.post.lose
        self.passes, self.is_killed, self.check_owner = (
            self.deaths.passes,
            self.deaths.is_killed,
            self.deaths.check_owner,
        )
        self._watch = Watch(self, checks)
        self.program_began: float | None = None
        self._program_ended: float | None = None
        self._may_end = False
        self.delay = _JOURNEYS * _steps(scenario) * (max(scenario.network.latencies) + max(scenario.network.local))
        self.troubled_until = _BEGIN
        self._sent_before = self._sent_until_end = 0  # messages, when the program began and ended
        self._min_nodes = len(scenario.nodes) - len(late) if late else None
        most = _NO_RELAYS if scenario.all_connected is None else scenario.all_connected
        self.driver = DriverState(_plan(scenario, self._min_nodes), DriverPolicy(all_connected=most))
        self.lines = None if scenario.all_connected is None else Lines(self, self._driver_process)
        for fault in scenario.faults:
            self._plan_fault(fault)

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
        began, ended = self.program_began, self._watch.finished_at or self.agenda.now
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
            self.deaths.count,
            self.losses.count,
            self.moves.joined,
            self.moves.left,
        )

    def _may_fail(self, ending: Ending) -> bool:
        """Return whether the run may have come to this end: so much was lost."""
        if ending.reason.endswith("no worker is left"):
            return not self.nodes.living()
        members = sum(node.is_member for node in self.nodes)
        floor = self._min_nodes or -(-len(self.scenario.nodes) // 2)
        return "left" in ending.reason and members < floor

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
                self.agenda.at(now + time, partial(self.deaths.plan, fault))
                self.is_in_trouble(now + time)
            case NodeLoss() | Silence() | Cut():
                self.losses.plan(fault)
            case Drain() | Newcomer():
                self.moves.plan(fault)
                self.is_in_trouble(now + fault.time)
            case SlowNode(node, factor):
                if node in self.nodes.slowness:
                    self.nodes.slowness[node] = factor
                    self.delay += 0.1 * factor
            case SlowLink(node, other, seconds):
                self.network.extra[str(node), str(other)] = self.network.extra[str(other), str(node)] = seconds
                self.delay += 20 * seconds

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""
        return self._may_end or self.driver.ending is not None

    def has_begun(self) -> bool:
        """Return whether the program runs; before, most losses are fatal."""
        return self.program_began is not None and self.program_began <= self.agenda.now

    def end_broker(self, node: Node, status: int) -> None:
        """Let the broker of a node end."""
        assert node.broker is not None
        self.end(node, node.broker.state.name, status, self._chance.choice((0.0, 0.001, 0.05)))

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""
        self.troubled_until = max(self.troubled_until, until)

    def _stall(self, name: str, seconds: float) -> None:
        process = self._driver_process if name == "driver" else self.nodes.process(name)
        if process is not None:
            self.note(f"{name} stalls for {seconds:g} s")
            process.stalled_until = max(process.stalled_until, self.agenda.now + seconds)

    def _look(self) -> None:
        self.later(0.25, self._look)
        if self._may_end or self.program_began is None:
            return
        if self._watch.look(self._program_ended):
            self._may_end = True
            origin = self.nodes[0].workers[ORIGIN]
            self.later(0.0, origin.nudge, origin)

    def send_to_broker(self, worker: Worker, message: Message) -> None:
        """Send *message* to the worker's broker."""
        broker = self.nodes.of(worker.name).broker
        assert broker is not None
        self.post.carry(
            worker.name, broker.name, message, partial(self.brokers.hear, broker, worker.worker_name), broker
        )

    def taken(self, batch: Batch) -> Batch:
        """Return outcomes without their reference to a worker's memory, unless that is dead."""
        if type(batch.frames[-1]) is not Reference:
            return batch
        process = self.nodes.process(bytes(batch.frames[-1]).decode())
        return batch if process is None or process.is_gone else replace(batch, frames=[*batch.frames[:-1], b"large"])

    def program_begins(self, time: float) -> None:
        """Note that the origin is started, and begins at that *time*."""
        self.program_began = time
        self._sent_before = self.network.sent

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
        self.end(self.nodes.of(worker.name), worker.worker_name, 0)


def _late(scenario: Scenario) -> set[int]:
    """Return the hosts that are to be late, without the first one."""
    late = {fault.node for fault in scenario.faults if isinstance(fault, Late)}
    return {host for host in late if 0 < host < len(scenario.nodes)}


def _plan(scenario: Scenario, min_nodes: int | None) -> RunPlan:
    """Return what the driver is given; *min_nodes* are enough for the program to begin, None: all."""
    return RunPlan(
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
        min_nodes=min_nodes,
        grace=scenario.grace,
    )


def _steps(scenario: Scenario) -> int:
    """Return how many brokers a task passes on its way from node to node, if it goes the longest one."""
    node, steps = len(scenario.nodes) - 1, 0
    if node < scenario.all_direct:
        return 1
    while node:
        node = (node - 1) // scenario.branches
        steps += 2  # up and down
    return steps


def line_of(time: float, what: str, message: Any) -> str:
    """Return an event as a line."""
    return f"{time:11.6f} {what} {message}"
