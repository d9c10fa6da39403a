"""Nodes join: their agents are started, welcomed when all workers can be counted, and told of each other.

::

    planned --Start--> Hello --> welcomed --> BrokerUp --all that are needed--> the run begins
                                                       --after that--> the node is taken in

Nobody waits longer than the plan's patience for nodes that do not report.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import VERSION, BrokerUp, Hello, Open, Peers, Watch, Welcome
from scoop_hpc.protocol.names import AgentName, broker_name
from scoop_hpc.run.driving.actions import Action, Report, Send, Start, warn
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.driving.plan import RunPlan, dialling_part
from scoop_hpc.run.policy import DriverPolicy


class Joining:
    """The start of the nodes in *membership*, and of those that come back."""

    def __init__(
        self, plan: RunPlan, policy: DriverPolicy, membership: Membership, life: Life, observers: Observers
    ) -> None:
        self.floor = 0  # nodes, below which losses end the run
        self.is_alone = False  # the program executes all itself, and no broker has tasks for others
        self.watch: Watch | None = None  # what agents are told after their welcome; None: nobody looks at the run
        self._plan = plan
        self._policy = policy
        self._membership = membership
        self._life = life
        self._observers = observers
        self._python = plan.python
        self._unwelcomed: list[Node] = []  # their agents have reported
        self._commands: deque[Command] = deque()  # to be started
        self._begun = 0  # agents whose commands were started
        self._reported = 0  # of these, or they never will
        self._join_until: float | None = None
        self._tell_at: float | None = None  # the user, whom the run waits for
        self.obstacles: dict[str, str] = {}  # why nodes have not reported, as far as the launcher has said; by name

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        if self._life.phase is not Phase.JOINING or self._join_until is None:
            return None
        return self._join_until if self._tell_at is None else min(self._tell_at, self._join_until)

    def pass_time(self, now: float) -> list[Action]:
        """Say whom the run waits for; end it if nodes that it needs have not reported in time."""
        due = self.deadline()
        if due is None or now < due:
            return []
        if self._join_until is not None and now < self._join_until:
            return self._tell_of_waiting(self._join_until - now)
        reason = f"no word within {self._plan.patience:g} s from: {fold(self.missing())}"
        if self._plan.min_nodes is not None:
            reason += f"; {len(self._membership.up())} nodes are ready, --min-nodes is {self._plan.min_nodes}"
        known = [name for name in self.missing() if name in self.obstacles]
        reason += "".join(f"; node {name}: {self.obstacles[name]}" for name in known)
        if self._plan.pool is None:
            reason += "; --patience gives them more time"
        return self._life.end(1, reason, now, show_last_words=True)

    def _tell_of_waiting(self, left: float) -> list[Action]:
        """Name once the nodes that are late."""
        self._tell_at = None
        missing, planned = self.missing(), len(self._plan.nodes)
        option = " (--patience)" if self._plan.pool is None else ""
        waiting = f"waiting for {len(missing)} of {planned} nodes, {left:.0f} s more{option}: {fold(missing)}"
        return warn(waiting, self._observers)

    # the launcher's commands

    def start(self, commands: Sequence[Command], now: float) -> list[Action]:
        """Start the launcher's *commands*, but not too many at once whose agents have not reported."""
        if self._observers:
            program = os.fsdecode(self._plan.program.path) if self._plan.pool is None else ""
            self._observers.tell(events.RunStarting(len(self._plan.nodes), program))
        self._join_until = now + self._plan.patience
        if not self._plan.one_machine:  # here, an agent is late only if the machine is busy
            self._tell_at = now + self._policy.told_of_waiting
        self._commands.extend(commands)
        return self._start_more()

    def command_started(self, command: Command, pid: int) -> None:
        """Note that *command* runs."""
        if self._observers:
            self._observers.tell(events.CommandStarted(tuple(command.argv), fold(command.nodes), pid))

    def _start_more(self) -> list[Action]:
        actions: list[Action] = []
        while self._commands and self._life.ending is None:
            if not self._plan.one_machine and self._begun - self._reported >= self._policy.agents_at_once:
                break
            command = self._commands.popleft()
            self._begun += len(command.nodes)
            actions.append(Start(command))
        return actions

    def begin_anew(self, nodes: Sequence[Node]) -> None:
        """Take it that other commands are started for *nodes*, and nothing that their agents have said counts."""
        self._reported -= sum(node.agent is not None for node in nodes)
        self._unwelcomed = [node for node in self._unwelcomed if node not in nodes]
        self.is_alone = False

    # Hello and Welcome

    def report(self, node: Node, message: Hello, sender: AgentName) -> str | None:
        """Note that the agent of *node* has reported; return what is wrong with it, or None: then let it `join`."""
        if not node.party and not node.is_again:
            self._reported += 1
        self._membership.report(node, sender, message.pid)
        self._python = self._python or message.python
        if message.version == VERSION and message.python == self._python:
            return None
        others = "the driver" if self._plan.python else "another"
        return (
            f"runs Python {message.python} with protocol {message.version}, {others} "
            f"{self._python} with {VERSION}: install the same on all nodes"
        )

    def join(self, node: Node, message: Hello) -> list[Action]:
        """Welcome the agent of *node*, at once or when all workers can be counted."""
        self._unwelcomed.append(node)
        actions: list[Action] = []
        if node.workers is None:
            node.workers = message.cpus
        elif self._plan.warn and node.workers > message.cpus:
            text = f"node {node.name}: {node.workers} workers on {message.cpus} CPUs"
            actions += warn(text, self._observers)
        if self._observers:
            joined = events.NodeJoined(node.name, message.host, message.pid, message.cpus, node.workers)
            self._observers.tell(joined)
        actions += [*self._start_more(), *self._welcome_all()]
        return actions if self._life.phase is Phase.JOINING else [*actions, *self._life.remove_environment()]

    def go_on_without(self) -> list[Action]:
        """Take it that an agent which was to report never will."""
        self._reported += 1
        return [*self._start_more(), *self._welcome_all()]

    def _welcome_all(self) -> list[Action]:
        """Welcome who waits for it; nobody as long as some node's workers cannot be counted, if all are needed."""
        hoped_for = self._membership.hoped_for()
        if any(node.workers is None for node in hoped_for) and not self._are_enough(
            [node for node in hoped_for if node.agent is not None]
        ):
            return []
        waiting, self._unwelcomed = self._unwelcomed, []
        size = self._membership.size()
        actions: list[Action] = []
        for node in waiting:
            if node.agent is not None and not node.is_lost:
                node.welcomed = True
                welcome = self._welcome(node, size)
                self.is_alone = self.is_alone or (node.index == 0 and welcome.is_alone())
                actions.append(Send(node.agent, welcome))
                if self.watch is not None:
                    actions.append(Send(node.agent, self.watch))
        return actions

    def _welcome(self, node: Node, size: int) -> Welcome:
        return Welcome(
            node=node.index,
            workers=node.workers or 0,
            size=size,
            program=self._plan.program,
            nodes=self._membership.names(),
            curve=self._plan.curve,
            directory=self._plan.directory,
            inherit=self._plan.inherit,
            driver=f"the driver (pid {self._plan.driver_pid}) on {self._plan.host}",
            record=self._plan.record,
            attempt=self._plan.attempt,
            driver_process=self._plan.driver_process,
            driver_pid=self._plan.driver_pid,
            complaints=self._plan.complaints,
            pool=self._plan.pool,
            grace=self._plan.grace,
            progress=self._plan.progress,
            terminals=self._plan.terminals,
            accounts=self._plan.accounts,
            first_rank=self._membership.first_rank(node),
            ranks=max(1, self._membership.ranks()),
            party=node.party,
        )

    # brokers

    def broker_up(self, node: Node, message: BrokerUp) -> list[Action]:
        """Take it that the broker of *node* is ready: the run may begin, or takes the node in."""
        if node.broker is not None:
            return []
        node.broker = message
        if self._observers:
            self._observers.tell(events.BrokerJoined(node.name, message.main))
        if self._life.phase is Phase.RUNNING:
            return self._take_in(node, message)
        if self._life.phase is not Phase.JOINING or not self._are_enough(self._membership.up()):
            return []
        return self._begin()

    def _begin(self) -> list[Action]:
        """Tell all nodes that are ready of each other; the first starts the program."""
        self._life.phase = Phase.RUNNING
        up = self._membership.up()
        self.floor = (len(up) + 1) // 2 if self._plan.min_nodes is None else self._plan.min_nodes
        size = self._membership.size()
        if self._observers:
            self._observers.tell(events.RunBegan(len(up), size))
        actions = self._life.remove_environment()  # before the program begins
        missing = self.missing()
        if missing:
            text = f"the run begins with {self._membership.of_planned(len(up))}, without {fold(missing)}"
            actions += warn(text, self._observers)
        peers = self.all_peers()
        actions += [Send(node.agent, peers) for node in up if node.agent is not None]
        if self._plan.pool is not None:
            actions.append(Report(Open(size, peers.brokers[0], dialling_part(self._plan.curve))))
        return actions

    def _take_in(self, new: Node, broker: BrokerUp) -> list[Action]:
        """Let a node that is ready take part in the run, which has begun."""
        if self._observers:
            self._observers.tell(events.NodeTakenIn(new.name, broker_name(new.index)))
        others = [node.agent for node in self._membership.up() if node is not new and node.agent is not None]
        actions: list[Action] = [Send(other, Peers((broker,))) for other in others]
        if new.agent is not None:
            actions.append(Send(new.agent, self.all_peers()))
        again = "again " if new.is_again else ""
        left = self._membership.of_planned(len(others) + 1)
        text = f"node {new.name} takes part {again}from now on, as broker {new.index}: {left}"
        return [*actions, *warn(text, self._observers)]

    def all_peers(self) -> Peers:
        """Return all that brokers have to know of each other."""
        brokers = [node.broker for node in self._membership.up() if node.broker is not None]
        return Peers(
            tuple(brokers),
            tuple(node.index for node in self._membership.lost()),
            tuple(node.index for node in self._membership.leaving()),
            tuple(node.index for node in self._membership.left()),
        )

    # how many

    def missing(self) -> list[str]:
        """Return the nodes whose agent or broker has not reported."""
        return [node.name for node in self._membership.hoped_for() if node.broker is None]

    def needed(self) -> int:
        """Return the number of nodes that the run begins with."""
        return len(self._plan.nodes) if self._plan.min_nodes is None else self._plan.min_nodes

    def _are_enough(self, nodes: Sequence[Node]) -> bool:
        """Return whether the run may begin with *nodes*: the first is always needed."""
        return len(nodes) >= self.needed() and nodes[0].index == 0
