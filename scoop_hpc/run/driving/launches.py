"""A launcher's command that could not start one agent, and ends all others because of that, is started again.

::

    Start --> failed --it has ended--> StartAgain, after a pause --> failed --> ...    with all nodes, if all are needed
       |                          '--> StartAgain                                      without those that failed twice
       '--the run has begun without some nodes--> EndAlone --> StartAgain              with those that have not reported

srun is such a command: a node that is down, or whose daemon does not answer, makes it end the step on all nodes. One to
which the scheduler itself was silent has started nothing, and is started again as well, until the nodes are not waited
for any more.

Before the run has begun nothing is lost by that: the nodes begin anew, and whatever comes from their agents of before
is dropped. It goes on so until nobody waits for nodes any more: see `Joining`. A run that begins without some nodes
ends the command before it can end the others, and starts another for those, which can do harm to no others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command, FailedLaunch
from scoop_hpc.protocol.messages import Shutdown
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.run.driving.actions import Action, Send, StartAgain, warn
from scoop_hpc.run.driving.joining import Joining
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.losses import Losses
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.relays import Relays
from scoop_hpc.run.driving.witnesses import CommandEnd, Witnesses
from scoop_hpc.run.exits import describe_exit
from scoop_hpc.run.policy import DriverPolicy

_TRIES = 2  # that a node has, if the run can do without it


class _Started(Struct):
    """A command that runs, and could end all that it brings."""

    command: Command
    since: float
    failed: list[FailedLaunch]  # what it has said; it is about to end then


class Launches:
    """The launcher's commands for the nodes in *membership*, those of a kind that may end all that they bring."""

    def __init__(
        self,
        plan: RunPlan,
        policy: DriverPolicy,
        membership: Membership,
        life: Life,
        joining: Joining,
        losses: Losses,
        witnesses: Witnesses,
        relays: Relays,
        observers: Observers,
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._membership = membership
        self._life = life
        self._joining = joining
        self._losses = losses
        self._witnesses = witnesses
        self._relays = relays
        self._observers = observers
        self._started: dict[int, _Started] = {}  # by process id
        self._tries: Counter[NodeIndex] = Counter()  # that have failed
        self._pause = policy.launch_pause
        self._due: float | None = None  # the next start, of those who are not there

    def command_started(self, command: Command, pid: int, now: float) -> None:
        """Note that *command* runs."""
        if command.failed_launch and not self._plan.ends_on_loss:
            self._started[pid] = _Started(command, now, [])

    def is_failing(self, node: Node) -> bool:
        """Return whether a command is about to end whatever agent there is on *node*."""
        return any(node in self._nodes_of(each.command) for each in self._started.values() if each.failed)

    def _nodes_of(self, command: Command) -> list[Node]:
        named = [self._membership.named(name) for name in command.nodes]
        return [node for node in named if node is not None and not node.is_lost]

    def _absent(self) -> list[Node]:
        """Return the nodes of the run's own allocation whose agents have not reported."""
        return [node for node in self._membership.hoped_for() if node.agent is None and not node.party]

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        if self._life.ending is not None:
            return None
        times = [self._due, *(each.since + self._policy.launch_within for each in self._late().values())]
        return min((time for time in times if time is not None), default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Start agents again, and end commands that have brought all that they could in time, if that is due."""
        actions: list[Action] = []
        if self._life.ending is not None:
            return actions
        for pid, each in self._late().items():
            if now >= each.since + self._policy.launch_within:
                del self._started[pid]
                actions += self._witnesses.end_alone(pid)
                self._due = now + self._policy.launch_again
        if self._due is not None and now >= self._due:
            self._due = None
            absent = tuple(node.name for node in self._absent())
            actions += [StartAgain(absent)] if absent else []
        return actions

    def _late(self) -> dict[int, _Started]:
        """Return the commands that have brought some agents to a run that has begun, but not all."""
        if self._life.phase is not Phase.RUNNING:
            return {}
        return {pid: each for pid, each in self._started.items() if not each.failed and self._is_late(each.command)}

    def _is_late(self, command: Command) -> bool:
        return len({node.agent is None for node in self._nodes_of(command)}) > 1

    # a command that fails

    def failed(self, failed: FailedLaunch) -> list[Action]:
        """Take it that a command could not start the agent on a node: those on its others end now."""
        started = self._started.get(failed.pid)
        if started is None or (not started.failed and not self._can_begin_anew(failed.command)):
            return []
        started.failed.append(failed)
        if len(started.failed) > 1:
            return []
        nodes = self._nodes_of(failed.command)
        self._joining.begin_anew(nodes)
        self._witnesses.begin_anew(nodes, failed.pid)
        if self._life.phase is Phase.JOINING:
            self._relays.begin_anew()
        for node in nodes:
            self._membership.renew(node)
        return [Send(node.agent, Shutdown()) for node in nodes if node.agent is not None and node.is_present]

    def _can_begin_anew(self, command: Command) -> bool:
        """Return whether nothing is lost by the end of all agents that *command* has brought."""
        nodes = self._nodes_of(command)
        if self._life.ending is not None or any(node.refusal for node in nodes):
            return False
        return self._life.phase is Phase.JOINING or all(node.agent is None for node in nodes)

    def command_ended(self, end: CommandEnd, now: float) -> list[Action]:
        """Take the end of a command of the launcher: after its word that it has failed, or else."""
        started = self._started.pop(end.pid, None)
        nodes = self._nodes_of(end.command)
        if end.unanswered and self._can_ask_again(nodes):
            return self._ask_again(nodes, end, now)
        if started is None or self._life.ending is not None:
            return self._witnesses.command_ended(end, now)
        if started.failed:
            return self._start_again(started, now)
        blamed = [node for node in nodes if node.name in self._joining.obstacles]
        if self._life.phase is Phase.JOINING and blamed and all(node.agent is None for node in nodes):
            return self._refused(blamed, end, now)
        return self._witnesses.command_ended(end, now)

    def _start_again(self, started: _Started, now: float) -> list[Action]:
        """Start a command again that could not start all agents: with all, or without those that can be spared."""
        program, words = os.path.basename(started.command.argv[0]), started.failed[0].words
        unreached = sorted({each.node for each in started.failed})
        nodes = [node for name in unreached if (node := self._membership.named(name)) is not None and not node.is_lost]
        self._tries.update([node.index for node in nodes])
        what = f"{program} could not start its agent: {words}"
        self._joining.obstacles = {node.name: what for node in nodes}
        if all(self._tries[node.index] >= _TRIES for node in nodes) and self._can_do_without(nodes):
            return self._do_without(nodes, now)
        pause = self._next_pause()
        self._due = now + pause
        text = f"{program} could not start an agent on {fold([node.name for node in nodes])}: {words}"
        absent = fold([node.name for node in self._absent()])
        return warn(f"{text}; those of {absent} are started again in {pause:g} s", self._observers)

    def _can_ask_again(self, nodes: Sequence[Node]) -> bool:
        """Return whether *nodes* are waited for, and none of them has an agent."""
        is_early = self._life.phase is Phase.JOINING and self._life.ending is None
        return is_early and all(node.agent is None for node in nodes)

    def _ask_again(self, nodes: Sequence[Node], end: CommandEnd, now: float) -> list[Action]:
        """Start a command again to which the scheduler was silent, for as long as *nodes* are waited for."""
        program = os.path.basename(end.command.argv[0])
        what = f"{program} got no answer: {end.unanswered}"
        self._joining.obstacles = {node.name: what for node in nodes}
        self._witnesses.begin_anew(nodes, end.pid)
        pause = self._next_pause()
        self._due = now + pause
        return warn(f"{what}; it is started again in {pause:g} s", self._observers)

    def _next_pause(self) -> float:
        """Return how long to wait before the next start, twice as long as before."""
        pause, self._pause = self._pause, min(2 * self._pause, self._policy.longest_launch_pause)
        return pause

    def _refused(self, nodes: Sequence[Node], end: CommandEnd, now: float) -> list[Action]:
        """Go on without *nodes*, or end: no more can be started there, as Slurm says when a job has lost a node."""
        if self._can_do_without(nodes):
            return self._do_without(nodes, now)
        why = "; ".join(f"node {node.name}: {self._joining.obstacles[node.name]}" for node in nodes)
        then = f"the next {os.path.basename(end.command.argv[0])} died: {describe_exit(end.status)}"
        said = f": {end.said}" if end.said else ""
        return self._life.end(1, f"{why}; {then}{said}", now)

    def _can_do_without(self, nodes: Sequence[Node]) -> bool:
        left = len(self._membership.hoped_for()) - len(nodes)
        is_enough = self._life.phase is not Phase.JOINING or left >= self._joining.needed()
        return is_enough and all(self._losses.can_spare(node) for node in nodes)

    def _do_without(self, nodes: Sequence[Node], now: float) -> list[Action]:
        self._due = now
        actions: list[Action] = []
        for node in nodes:
            what = self._joining.obstacles[node.name]
            actions += self._losses.lose(node, what, f"node {node.name}: {what}", now)
        return actions
