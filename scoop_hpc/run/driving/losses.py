"""What becomes of the run when a worker or a node is lost: it goes on without it, or ends.

While the run goes on, the loss of a node does not end it, unless it is the first, or too few are left. All agents are
told, and tell their brokers: these execute again elsewhere what the lost ones had.
"""

from __future__ import annotations

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.protocol.messages import Exited, GivenUp, Gone, JoinerLost, Message, Shutdown
from scoop_hpc.protocol.names import ORIGIN, WorkerName, described, is_worker
from scoop_hpc.run.driving.actions import Action, Send, warn
from scoop_hpc.run.driving.joining import Joining
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.exits import how_it_died

_NOT_ITS_OWN = ", not at the program's end: a task, or a library, called exit() or exec() in it"


class Losses:
    """The losses among the nodes in *membership*, and their workers."""

    def __init__(
        self, plan: RunPlan, membership: Membership, life: Life, joining: Joining, observers: Observers
    ) -> None:
        self._plan = plan
        self._membership = membership
        self._life = life
        self._joining = joining
        self._observers = observers
        self.nodes = 0  # that the run has gone on without
        self._dead: list[WorkerName] = []

    # processes

    def exited(self, message: Exited, node: Node, now: float) -> list[Action]:
        """Take the end of a process on *node*: of the program, a worker, or a broker."""
        if message.name == ORIGIN and message.status >= 0 and message.own_end:
            return self._life.end(message.status, "", now)
        who, how = f"{described(message.name)} (pid {message.pid})", how_it_died(message, False)
        died = f"{who} on {node.name} {how}"
        is_early = self._life.phase is Phase.JOINING
        if is_worker(message.name) and message.name != ORIGIN and (is_early or self._life.phase is Phase.RUNNING):
            return self._lose_worker(message, node, f"{who} on {node.name}", now)
        if message.name != ORIGIN:
            what = f"its {who if is_worker(message.name) else f'broker (pid {message.pid})'} {how}"
            return self.lose(node, what, died, now, out_of_memory=message.out_of_memory)
        if message.status >= 0:  # 0 is for a program that has ended
            return self._life.end(message.status or 1, f"{died}{_NOT_ITS_OWN}", now)
        status, out_of_memory = 128 - message.status, message.out_of_memory
        return self._life.end(status, died, now, out_of_memory=out_of_memory, of_origin=True)

    def _lose_worker(self, message: Exited, node: Node, who: str, now: float) -> list[Action]:
        """Go on without a worker that died: its agent has seen to its tasks, all drop those that it had submitted."""
        how = f"{who} {how_it_died(message, message.is_too_long)}"
        if self._plan.pool is not None and self._plan.pool.breaks:
            return self._life.end(1, how, now, out_of_memory=message.out_of_memory)
        if not message.is_replaced:
            node.dead_workers += 1
            if self._membership.workers_left(self._life.phase is Phase.JOINING) <= 0:
                return self._life.end(1, f"{how}; no worker is left", now, out_of_memory=message.out_of_memory)
        doing = f", in {message.task}" if message.task else ""
        then = "another takes its place" if message.is_replaced else "none takes its place: the last ones began no task"
        if self._observers:
            self._observers.tell(events.WorkerLost(f"{how}{doing}"))
        self._dead.append(WorkerName(message.name))
        return [*self.tell_welcome(Gone((WorkerName(message.name),))), *self._warn(f"{how}{doing}; {then}")]

    # nodes

    def lose(
        self,
        node: Node,
        what: str,
        reason: str,
        now: float,
        *,
        status: int = 1,
        show_last_words: bool = False,
        out_of_memory: bool = False,
        is_gone: bool = False,
    ) -> list[Action]:
        """Go on without *node*, because of *what* has happened there; or end the run, if it cannot, for this *reason*.

        What ran there is executed again elsewhere. If its agent *is_gone*, nothing more is expected of it.
        """
        if node.is_lost:
            return []
        if node.refusal and self._life.ending is None:  # it has said why: see `Refusals`
            if is_gone:
                self._life.depart([node])
            return []
        if self._life.ending is not None or not self.can_spare(node):
            actions = self._life.end(status, reason, now, show_last_words=show_last_words, out_of_memory=out_of_memory)
            if is_gone:
                self._life.depart([node])
            return actions
        node.cause = what
        self.nodes += 1
        self._life.depart([node])
        if self._observers:
            self._observers.tell(events.NodeLost(node.name, what))
        lost = f"node {node.name} is lost: {what}"
        actions = []
        if node.agent is None:
            actions += self._joining.go_on_without()
        else:
            actions.append(Send(node.agent, GivenUp() if node.welcomed and not node.is_leaving else Shutdown()))
        if self._life.phase is Phase.JOINING:
            left = self._membership.of_planned(len(self._membership.hoped_for()))
            return [*actions, *self._warn(f"{lost}; {left}")]
        actions += self._life.remove_environment()
        if node.broker is not None:
            actions += self.tell_welcome(Gone(nodes=(node.index,), cause=f"node {node.name} was lost: {what}"))
        return [*actions, *self._go_on_with_the_rest(lost, now), *(self._tell_party(node) if node.has_joiner else ())]

    def _tell_party(self, lost: Node) -> list[Action]:
        """Let the other nodes of a joining job know that its script is *lost*, so that nobody else will end the job."""
        party = [node for node in self._membership.present() if node.party == lost.party and node.welcomed]
        if not party or self._life.ending is not None:
            return []
        names = fold([node.name for node in party])
        stay = f"{names} stay{'s' if len(party) == 1 else ''} to the end of the run"
        text = f"the script of the job that brought {names} was on {lost.name}; {stay}"
        return [*(Send(node.agent, JoinerLost()) for node in party if node.agent is not None), *self._warn(text)]

    def can_spare(self, node: Node) -> bool:
        """Return whether the run may go on without *node*."""
        breaks = self._plan.pool is not None and self._plan.pool.breaks
        if node.index == 0 or self._plan.ends_on_loss or breaks:
            return False
        return self._life.phase is Phase.RUNNING or len(self._membership.hoped_for()) > self._joining.needed()

    def _go_on_with_the_rest(self, lost: str, now: float) -> list[Action]:
        left, floor = len(self._membership.up()), self._joining.floor
        lost += f"; {self._membership.of_planned(left)} {'is' if left == 1 else 'are'} left"
        if left < floor:
            return self._life.end(1, f"{lost}, fewer than the {floor} that it takes to go on (--min-nodes)", now)
        if self._membership.workers_left() <= 0:
            return self._life.end(1, f"{lost}; no worker is left", now)
        return self._warn(lost)

    def part(self, node: Node, why: str, now: float) -> list[Action]:
        """Go on without *node*, which has handed back all that it had: nothing is lost."""
        if node.is_lost or self._life.ending is not None:
            return []
        node.cause, node.has_left = why, True
        self._life.depart([node])
        if self._observers:
            self._observers.tell(events.NodeLeft(node.name, why))
        actions: list[Action] = [] if node.agent is None else [Send(node.agent, Shutdown())]
        actions += self.tell_welcome(Gone(cause=f"node {node.name} has left", left=(node.index,)))
        return [*actions, *self._go_on_with_the_rest(f"node {node.name} has left: {why}", now)]

    # who is told

    def gone(self) -> Gone:
        """Return all that were lost so far."""
        lost, left = self._membership.lost(), self._membership.left()
        return Gone(tuple(self._dead), tuple(node.index for node in lost), left=tuple(node.index for node in left))

    def tell_welcome(self, message: Message) -> list[Action]:
        """Send *message* to all agents that are part of the run."""
        present = self._membership.present()
        return [Send(node.agent, message) for node in present if node.agent is not None and node.welcomed]

    def _warn(self, text: str) -> list[Action]:
        return warn(text, self._observers)
