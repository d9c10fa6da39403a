"""The decisions of a joiner: when its nodes leave the run, and how it ends; no socket, no clock.

::

    SERVING --the run ends------------------------------> LEAVING --its agents have ended, or are late--> OVER
       |'--the walltime is nearly over, or a signal-- Leave --^
       |'--its agents have failed--> ABANDONED --the run has ended, or says nothing----------------------> OVER
       '---the driver has ended its agents, and nobody has said so here yet------------------------------> OVER
"""

from __future__ import annotations

import enum
import signal

from msgspec import Struct

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Leave, Message, Shutdown


class JoinerPolicy(Struct, frozen=True):
    """The numbers of `JoinerState`, in seconds."""

    lead: float = 30.0  # before the end of its walltime its nodes begin to leave
    slack: float = 5.0  # before that end all is over: the scheduler's clock began sooner
    on_warning: float = 20.0  # from a warning signal until they have left, where that end is not known
    on_term: float = 5.0  # the same from SIGTERM: PBS kills 10 s after it
    farewell: float = 10.0  # that agents have to end, when the run ends or their time is over
    last_word: float = 10.0  # that the driver has to say why all agents have ended
    again: float = 2.0  # from one word that they leave to the next: one may be lost


class Phase(enum.Enum):
    """The step of a joiner's life."""

    SERVING = 1
    LEAVING = 2
    ABANDONED = 3
    OVER = 4


class Say(Struct, frozen=True):
    """Send *message* to the driver."""

    message: Message


class Tell(Struct, frozen=True):
    """Tell the user."""

    text: str


class EndAgents(Struct, frozen=True):
    """End the agents that are still there."""


Action = Say | Tell | EndAgents


class JoinerState:
    """The state machine of a joiner, whose allocation ends at *ends_at* by the clock of all times, if that is known."""

    def __init__(self, ends_at: float | None, policy: JoinerPolicy | None = None) -> None:
        self.phase = Phase.SERVING
        self.status = 0
        self._policy = policy or JoinerPolicy()
        self._ends_at = ends_at
        self._leave: Leave | None = None
        self._leave_until = 0.0
        self._say_at: float | None = None  # again that they leave
        self._until: float | None = None  # when agents are ended that have not, or nobody is waited for any more
        self._complaint = ""  # of the last agent

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        begins = self._begins_to_leave() if self.phase is Phase.SERVING else None
        return min((time for time in (begins, self._say_at, self._until) if time is not None), default=None)

    def _begins_to_leave(self) -> float | None:
        return None if self._ends_at is None else self._ends_at - self._policy.lead

    def pass_time(self, now: float) -> list[Action]:
        """Do what is due at *now*."""
        begins = self._begins_to_leave()
        if self.phase is Phase.SERVING and begins is not None and now >= begins:
            return self._begin_to_leave("the walltime of its job ends", self._time_left(now), now)
        actions: list[Action] = []
        if self._until is not None and now >= self._until and self.phase is Phase.ABANDONED:
            self.phase, self.status, self._until = Phase.OVER, 1, None
            return [Tell(f"error: the agents of all its nodes have ended: {self._complaint or 'they lost the run'}")]
        if self._until is not None and now >= self._until and self.phase is Phase.LEAVING:
            self._until = self._say_at = None
            return [EndAgents()]
        if self._say_at is not None and self._leave is not None and now >= self._say_at:
            self._say_at = now + self._policy.again
            left = max(0.1, self._leave_until - now)
            actions.append(Say(Leave(left, why=self._leave.why)))
        return actions

    def _time_left(self, now: float) -> float:
        """Return how long nodes have to leave where the scheduler has warned, or is about to end the job."""
        if self._ends_at is None:
            return self._policy.on_warning
        return max(0.1, self._ends_at - self._policy.slack - now)

    def signalled(self, number: int, now: float) -> list[Action]:
        """Take the signal *number*: the allocation ends, or the user wants its nodes back; a second Ctrl-C ends all."""
        name = signal.Signals(number).name
        if self.phase is Phase.ABANDONED:
            return []
        if self.phase is Phase.LEAVING:
            if number == signal.SIGINT:
                self.status = 130
                return [EndAgents()]
            if number != signal.SIGTERM:
                return []
        within = self._time_left(now) if number in (signal.SIGUSR1, signal.SIGUSR2) else self._policy.on_term
        return self._begin_to_leave(name, within, now)

    def _begin_to_leave(self, why: str, within: float, now: float) -> list[Action]:
        self.phase = Phase.LEAVING
        self._leave, self._leave_until = Leave(within, why=why), now + within
        self._say_at, self._until = now + self._policy.again, now + within + self._policy.farewell
        return [Say(self._leave), Tell(f"leaving the run: {why}; {within:.0f} s for what its nodes execute")]

    def hear(self, message: Message, now: float) -> list[Action]:
        """Take in a message of the driver; raise ProtocolError for one that has no meaning here."""
        if not isinstance(message, Shutdown):
            raise ProtocolError(f"the driver sent a joiner {message!r}")
        if self.phase is Phase.ABANDONED:
            self.phase, self._until = Phase.OVER, None
            return []
        self.phase = Phase.LEAVING
        self._say_at, self._until = None, now + self._policy.farewell
        return []

    def agents_ended(self, complaint: str | None, now: float) -> None:
        """Take it that no agent is left; None: the driver has ended them, else the last of them had a *complaint*.

        They may have heard of the run's end before this process, or in its place: the driver does not wait for it.
        """
        if self.phase is Phase.SERVING and complaint is not None:
            self.phase, self._until, self._complaint = Phase.ABANDONED, now + self._policy.last_word, complaint
        elif self.phase in (Phase.SERVING, Phase.LEAVING):
            self.phase = Phase.OVER
