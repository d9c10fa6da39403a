"""What the driver decides to do, as values that its shell carries out."""

from __future__ import annotations

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import Fault, Message, Open, Seen
from scoop_hpc.protocol.names import AgentName, NodeIndex


class Start(Struct, frozen=True):
    """Start *command*, unless the run ends; tell `command_started` or `command_failed`."""

    command: Command


class StartAgain(Struct, frozen=True):
    """Start other commands of the launcher for *nodes*; tell of each what is told after `Start`."""

    nodes: tuple[str, ...]


class EndAlone(Struct, frozen=True):
    """End the launcher's command of a process id, and none of the agents that it has brought."""

    pid: int


class Send(Struct, frozen=True):
    """Send *message* to the agent called *to*."""

    to: AgentName
    message: Message


class Report(Struct, frozen=True):
    """Tell the client of a pool."""

    message: Open | Fault


class Warn(Struct, frozen=True):
    """Tell the user."""

    text: str


class ShowReason(Struct, frozen=True):
    """Tell the user why the run ends."""

    reason: str


class ShowTraceback(Struct, frozen=True):
    """Show the user the traceback of the program, as a whole."""

    text: str


class ShowLastWords(Struct, frozen=True):
    """Show the user what the launcher's commands have printed last."""


class ShowNode(Struct, frozen=True):
    """Show who looks at the run what a node does."""

    node: NodeIndex
    seen: Seen


class RemoveEnvironment(Struct, frozen=True):
    """Remove the file that has brought the agents their environment: no agent needs it any more."""


class LookAtMemory(Struct, frozen=True):
    """Look at the count of processes that were killed, out of memory."""


class Probe(Struct, frozen=True):
    """Ask the machine of *agent* whether anybody listens at the port of *endpoint*; tell `refused` if nobody does."""

    agent: AgentName
    endpoint: str


Action = (
    Start
    | StartAgain
    | EndAlone
    | Send
    | Report
    | Warn
    | ShowReason
    | ShowTraceback
    | ShowLastWords
    | ShowNode
    | RemoveEnvironment
    | LookAtMemory
    | Probe
)


def warn(text: str, observers: Observers) -> list[Action]:
    """Return what tells the user *text*, and tell *observers*."""
    if observers:
        observers.tell(events.Warned(text))
    return [Warn(text)]
