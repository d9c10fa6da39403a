"""The phase of a run, and its end.

The first reason to end is the one that counts: what falls over after it is a consequence.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.protocol.messages import Fault, Shutdown
from scoop_hpc.protocol.names import AgentName
from scoop_hpc.run.driving.actions import Action, RemoveEnvironment, Report, Send, ShowLastWords, ShowReason, warn
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.schedulers.job_state import JobState

INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_MOST_NAMED = 8  # lost nodes, in one line


class Phase(enum.Enum):
    """The step of a run's life."""

    JOINING = 1
    RUNNING = 2
    ENDING = 3
    OVER = 4


class Ending(Struct, frozen=True):
    """The exit status of a run, and the reason of its end, if that is not the program's own."""

    status: int
    reason: str = ""
    out_of_memory: bool = False


class Life:
    """The phase and the end of one run, whose nodes are *membership*."""

    def __init__(self, plan: RunPlan, policy: DriverPolicy, membership: Membership, observers: Observers) -> None:
        self.phase = Phase.JOINING
        self.ending: Ending | None = None
        self.joiners: list[AgentName] = []  # who have brought nodes of other allocations
        self._plan = plan
        self._policy = policy
        self._membership = membership
        self._observers = observers
        self._was_origin_killed = False  # and the run ended for that
        self._began_to_end = 0.0
        self._leave_until: float | None = None
        self._needs_environment = True  # an agent may still have to read it
        self._has_summed_up = False
        self._client_knows = plan.pool is None  # that the pool has ended; nobody has to be told

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        return self._leave_until if self.phase is Phase.ENDING else None

    def pass_time(self, now: float) -> list[Action]:
        """Wait no more for the agents that have not left, if their time is over."""
        if self.phase is not Phase.ENDING or self._leave_until is None or now < self._leave_until:
            return []
        self.phase = Phase.OVER
        left = fold(node.name for node in self._membership.present())
        return warn(f"no farewell within {now - self._began_to_end:.0f} s from: {left}", self._observers)

    def end(
        self,
        status: int,
        reason: str,
        now: float,
        number: int | None = None,
        show_last_words: bool = False,
        out_of_memory: bool = False,
        at_once: bool = False,
        of_origin: bool = False,
    ) -> list[Action]:
        """Begin the end, unless it has begun.

        A program that still runs is told of the *reason*, unless all is to end *at_once*; it gets the signal *number*
        first, if any. The user is told at once: a scheduler may kill the driver before the program has had its time.
        """
        if self.ending is not None:
            return []
        self.ending = Ending(status, reason, out_of_memory)
        self._was_origin_killed = of_origin
        if self._observers and reason:
            self._observers.tell(events.RunFailing(status, reason, self.job_state(now).value))
        elif self._observers:
            self._observers.tell(events.RunEnding(status, reason))
        has_program = self._plan.pool is None and self.phase is Phase.RUNNING
        told = reason if has_program and not at_once else ""
        actions: list[Action] = [ShowLastWords()] if show_last_words else []
        actions += self._tell_all(Shutdown(number, told))
        actions += self.remove_environment()
        self._began_to_end = now
        self._leave_until = now + self._policy.farewell + (self._policy.program_grace if told else 0.0)
        self.phase = Phase.ENDING
        self.depart(node for node in self._membership.present() if not node.welcomed)  # they have nothing to end
        if reason and self._plan.pool is None:
            actions += [*self.sum_up(), ShowReason(reason)]
        return actions + self._tell_client()

    def end_at_once(self, now: float) -> list[Action]:
        """Give the program no more time, after the end has begun."""
        self._leave_until = now + self._policy.farewell
        return self._tell_all(Shutdown())

    def fail(self, status: int, reason: str) -> list[Action]:
        """Take it that the driver itself cannot go on: the run is over, and this is why."""
        self.ending = Ending(status, reason)
        self.phase = Phase.OVER
        if self._observers:
            self._observers.tell(events.RunFailing(status, reason))
        return self._tell_client()

    def sum_up(self) -> list[Action]:
        """Name, once, the nodes that were lost."""
        lost = [] if self._has_summed_up else self._membership.lost()
        if not lost:
            return []
        self._has_summed_up = True
        named = ", ".join(f"{node.name} ({node.cause}{self._since(node)})" for node in lost[:_MOST_NAMED])
        more = f", and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        return warn(f"lost: {named}{more}", self._observers)

    def _since(self, node: Node) -> str:
        """Say whether a lost node came back."""
        last = self._membership.named(node.label, node.party)
        return "; it came back" if last is not None and last.index > node.index and last.broker is not None else ""

    def output_failed(self, reason: str, now: float) -> list[Action]:
        """Take it that output of the program is lost: the run has not succeeded."""
        actions = self.end(1, reason, now)
        if self.ending is not None and self.ending.status == 0:  # the last of it, after the program's end
            self.ending = Ending(1, reason)
        return actions

    def explain(self, reason: str) -> list[Action]:
        """Take it that a launcher has killed all processes, for a *reason* that it has told after the origin's end."""
        if not self._was_origin_killed:
            return []
        self.ending = Ending(1, reason)
        return [ShowReason(reason)]

    def client_left(self, now: float) -> list[Action]:
        """Take it that the client of a pool wants nothing more."""
        self._client_knows = True
        return self.end(0, "", now)

    def depart(self, nodes: Iterable[Node]) -> None:
        """Expect nothing more of the agents on *nodes*."""
        for node in list(nodes):
            node.has_departed = True
        if self.ending is not None and not self._membership.present():
            self.phase = Phase.OVER

    def remove_environment(self) -> list[Action]:
        """Remove the agents' environment once, when none of them has to read it any more."""
        waits = any(node.agent is None and not node.is_lost for node in self._membership.nodes)
        if not self._needs_environment or (waits and self.ending is None):
            return []
        self._needs_environment = False
        return [RemoveEnvironment()]

    def job_state(self, now: float) -> JobState:
        """Return what the ending makes of the job, at *now*, when the run is over."""
        ending = self.ending
        if ending is None:
            return JobState.RUNNING
        if ending.status == 0:
            return JobState.COMPLETED
        if ending.out_of_memory:
            return JobState.OUT_OF_MEMORY
        if ending.status == _TERMINATED and ending.reason and self.is_late(now):
            return JobState.TIMEOUT
        own = ending.status in (INTERRUPTED, _TERMINATED) and ending.reason
        return JobState.CANCELLED if own else JobState.FAILED

    def is_late(self, now: float) -> bool:
        """Return whether the job's walltime is over: then that is why SIGTERM comes."""
        return self._plan.ends_at is not None and now >= self._plan.ends_at - self._policy.walltime_slack

    def _tell_all(self, message: Shutdown) -> list[Action]:
        """Send *message* to all agents, those that wait for a welcome as well, and to who has brought some."""
        agents = [node.agent for node in self._membership.present() if node.agent is not None]
        return [*(Send(agent, message) for agent in agents), *(Send(joiner, Shutdown()) for joiner in self.joiners)]

    def _tell_client(self) -> list[Action]:
        if self._client_knows or self.ending is None:
            return []
        self._client_knows = True
        return [Report(Fault(self.ending.reason, self.ending.status))]
