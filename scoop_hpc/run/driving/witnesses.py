"""What tells that a node is lost: its agent's connection, the launcher's command that brought it, broken links.

A connection that broke is no proof of death: the agent makes it again as soon as the network lets it, and nothing is
lost then. It has the run's grace for that, as long as its machine answers, unless there is proof before::

    the launcher's command has ended      it brought this agent, and waits for it
    its machine refuses a connection      to the port of the broker, which ends with its agent [connect(2)]
    its machine does not answer           for long enough: it is down, or out of reach
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.run.driving.actions import Action, EndAlone, Probe
from scoop_hpc.run.driving.broken_links import BrokenLinks
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.losses import Losses
from scoop_hpc.run.driving.membership import Detached, Membership, Node
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.exits import OUT_OF_MEMORY, describe_exit
from scoop_hpc.run.policy import DriverPolicy


class CommandEnd(Struct, frozen=True):
    """The end of a launcher's command."""

    command: Command
    pid: int
    status: int  # as of `os.waitstatus_to_exitcode`
    said: str = ""  # the last line that it printed, or that was an error of ours
    complaint: str = ""  # the last line that was an error of ours: srun tells after it how its tasks ended
    unanswered: str = ""  # what it has said of a scheduler that was silent: it has started nothing
    first_death: str = ""  # what it has said of the process for whose end it ended all others
    out_of_memory: bool = False

    def as_event(self) -> events.CommandEnded:
        """Return what observers are told."""
        ended = describe_exit(self.status)
        words = f"{ended}: {self.said}" if self.said else ended
        program = os.path.basename(self.command.argv[0])
        return events.CommandEnded(program, fold(self.command.nodes), self.pid, words)


class _Suspect(Struct):
    """A node whose agent has no connection."""

    node: Node
    since: float
    heard: float  # when its machine has answered last, or this began
    due: float  # when to ask about it, or to give it up


class Witnesses:
    """The witnesses of losses among the nodes in *membership*."""

    def __init__(
        self,
        plan: RunPlan,
        policy: DriverPolicy,
        membership: Membership,
        life: Life,
        losses: Losses,
        observers: Observers,
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._membership = membership
        self._life = life
        self._losses = losses
        self._observers = observers
        self._suspects: dict[NodeIndex, _Suspect] = {}
        self._links = BrokenLinks(policy.gather)
        self._dangers: dict[int, Command] = {}  # by process id: they run, and may end all that they have brought
        self._ended_here: set[int] = set()  # process ids of those that were ended because of that

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        times = [suspect.due for suspect in self._suspects.values()]
        judged = self._links.due()
        return min(times if judged is None else [*times, judged], default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Give up the agents and links that have been without a connection for too long."""
        actions: list[Action] = []
        for suspect in [suspect for suspect in self._suspects.values() if now >= suspect.due]:
            actions += self._doubt(suspect, now)
        judged = self._links.due()
        if judged is not None and now >= judged:
            actions += self._judge_links(now)
        return [*actions, *self._end_dangers()]

    # connections of agents

    def disconnected(self, node: Node, now: float) -> list[Action]:
        """Take the end of the connection to the agent on *node*: it is lost, or about to leave."""
        if node.is_lost or node.disconnected_at is not None:
            return []
        if self._observers and not node.has_departed:
            self._observers.tell(events.AgentDisconnected(node.name))
        node.disconnected_at = now
        self._suspects[node.index] = _Suspect(node, now, now, now + min(self._policy.lost_after, self._plan.grace))
        if node.detached is not None and now < node.detached.since + self._policy.lost_after:
            return self._losses.lose(node, node.detached.words, node.detached.cause, now)  # both ended together
        return []

    def connected(self, node: Node) -> None:
        """Take a new connection to the agent on *node*, in the place of one that was lost."""
        if self._suspects.pop(node.index, None) is not None:
            node.disconnected_at = None

    def refused(self, node: Node, now: float) -> list[Action]:
        """Take it that nobody listens where the broker of *node* did: its agent is dead, unless it is connected."""
        return self._lose_agent(node, now) if node.index in self._suspects else []

    def answered(self, node: Node, now: float) -> None:
        """Take it that somebody listens where the broker of *node* does: only the connection is missing."""
        if node.index in self._suspects:
            self._suspects[node.index].heard = now

    def _doubt(self, suspect: _Suspect, now: float) -> list[Action]:
        """Ask about a node, or give it up: when its time is over, or where nobody can be asked."""
        node, until = suspect.node, suspect.since + self._plan.grace
        silent = suspect.heard + self._policy.silence
        if node.is_lost:
            del self._suspects[node.index]
            return []
        if self._plan.one_machine or node.broker is None or node.agent is None or node.has_departed:
            return self._lose_agent(node, now)
        if now >= until:
            del self._suspects[node.index]
            how = f"has had no connection to the driver for {self._plan.grace:g} s"
            reason = f"the agent (pid {node.pid}) on {node.name} {how}"
            return self._losses.lose(node, f"its agent (pid {node.pid}) {how}", reason, now, is_gone=True)
        if now >= silent:
            del self._suspects[node.index]
            for_so_long = f"nor its machine has answered for {self._policy.silence:g} s"
            what = f"neither its agent (pid {node.pid}) {for_so_long}"
            reason = f"neither the agent (pid {node.pid}) on {node.name} {for_so_long}"
            return self._losses.lose(node, what, reason, now, is_gone=True)
        suspect.due = min(now + self._policy.lost_after, silent, until)
        return [Probe(node.agent, node.broker.main[0])]

    def _lose_agent(self, node: Node, now: float) -> list[Action]:
        """Give up the agent on *node*, which is dead as far as anybody can tell."""
        del self._suspects[node.index]
        before = f", after its launcher had ended: {node.detached.words}" if node.detached is not None else ""
        how = f"died, or the connection to it broke{before}"
        reason = f"the agent (pid {node.pid}) on {node.name} {how}"
        return self._losses.lose(node, f"its agent (pid {node.pid}) {how}", reason, now, is_gone=True)

    # links between brokers

    def link_broken(self, node: Node, peer: NodeIndex, now: float) -> None:
        """Take it that the brokers of *node* and of a *peer* have had no connection for the run's grace."""
        if self._life.phase is Phase.RUNNING:
            self._links.report(node.index, peer, now)

    def _judge_links(self, now: float) -> list[Action]:
        """Give up nodes whose brokers have no connection to each other."""
        actions: list[Action] = []
        for verdict in self._links.judge([node.index for node in self._membership.up()]):
            node = self._membership.nodes[verdict.node]
            others = fold(self._membership.nodes[other].name for other in verdict.others)
            how = f"has had no connection to {others} for {self._plan.grace:g} s"
            actions += self._losses.lose(node, f"its broker {how}", f"broker {node.index} on {node.name} {how}", now)
        return actions

    # commands of the launcher

    def _nodes_of(self, command: Command) -> list[Node]:
        return [node for name in command.nodes if (node := self._membership.named(name)) is not None]

    def command_started(self, command: Command, pid: int) -> None:
        """Note that *command* runs."""
        if command.may_end_all and self._plan.outlived and not self._plan.ends_on_loss:
            self._dangers[pid] = command

    def begin_anew(self, nodes: Sequence[Node], pid: int) -> None:
        """Take it that the command *pid* ends the agents on *nodes*, before they were part of the run: no loss."""
        self._dangers.pop(pid, None)
        for node in nodes:
            self._suspects.pop(node.index, None)

    def _end_dangers(self) -> list[Action]:
        """End the commands that may end living agents because of a lost one, once they have brought all they could.

        That is when a connection is missing: a machine may be back before it counts as lost.
        """
        if self._life.phase is not Phase.RUNNING or self._life.ending is not None:
            return []
        if not self._suspects and not self._losses.nodes:
            return []
        due = [pid for pid, command in self._dangers.items() if self._is_danger(command)]
        return [action for pid in due for action in self.end_alone(pid)]

    def end_alone(self, pid: int) -> list[Action]:
        """End a command, unless it has ended, so that it cannot end the agents that it has brought."""
        if pid not in self._dangers:
            return []
        self._ended_here.add(pid)
        nodes = self._nodes_of(self._dangers.pop(pid))
        if self._observers:
            living = fold([node.name for node in nodes if node.agent is not None and not node.is_lost])
            self._observers.tell(events.LauncherGone(living, "so that it cannot end them because of a lost one"))
        return [EndAlone(pid)]

    def _is_danger(self, command: Command) -> bool:
        nodes = self._nodes_of(command)
        is_any_missing = any(node.is_lost or node.is_again or node.disconnected_at is not None for node in nodes)
        return is_any_missing and all(node.is_lost or node.agent is not None for node in nodes)

    def command_ended(self, end: CommandEnd, now: float) -> list[Action]:
        """Take the end of a command of the launcher.

        An agent that is connected lives, whatever became of the command that brought it: pbs_tmrsh ends when pbs_mom is
        restarted, its task does not.
        """
        command = end.command
        nodes = self._nodes_of(command)
        names = ", ".join(command.nodes)
        program = os.path.basename(command.argv[0])
        ended = describe_exit(end.status)
        if self._plan.one_machine:
            return self._agents_died(nodes, names, end, now)
        self._dangers.pop(end.pid, None)
        if end.pid in self._ended_here:
            return []
        if len(nodes) == 1 and end.said:
            said = end.said.removeprefix(f"node {names}: ")
            what = "lost the agent" if nodes[0].is_present else "no agent"
            return self._detach(nodes, said, f"{what} on {names}: {said}", now, show_last_words=False)
        who = f"{program} (pid {end.pid}) on {self._plan.host}"
        who += f" for {names}" if len(nodes) == 1 else ""
        why = end.complaint or end.first_death
        died = f"{who} died: {ended}" + (f": {why}" if why else "")
        if self._life.ending is not None and end.first_death:  # and end the origin first
            return self._life.explain(died)
        return self._detach(nodes, died, died, now, show_last_words=True)

    def _agents_died(self, nodes: Sequence[Node], names: str, end: CommandEnd, now: float) -> list[Action]:
        """Lose *nodes* of this machine, whose agent is the command itself."""
        how = f"died: {describe_exit(end.status)}{OUT_OF_MEMORY if end.out_of_memory else ''}"
        what, reason = f"its agent (pid {end.pid}) {how}", f"the agent (pid {end.pid}) on {names} {how}"
        actions: list[Action] = []
        for node in nodes:
            actions += self._losses.lose(
                node, what, reason, now, show_last_words=True, out_of_memory=end.out_of_memory, is_gone=True
            )
        return actions

    def _detach(self, nodes: Sequence[Node], words: str, cause: str, now: float, show_last_words: bool) -> list[Action]:
        """Go on with the agents that are connected, and need the command that brought them no more; lose the others."""
        connected = [node for node in nodes if self._plan.outlived and node.is_present and node.disconnected_at is None]
        if self._observers and self._life.ending is None and connected:
            self._observers.tell(events.LauncherGone(fold([node.name for node in connected]), words))
        for node in connected:
            node.detached = Detached(words, cause, now)
        actions: list[Action] = []
        for node in nodes:
            if node not in connected:
                actions += self._losses.lose(node, words, cause, now, show_last_words=show_last_words)
        return actions
