"""The actions of a broker's state machine: messages to send."""

from __future__ import annotations

from msgspec import Struct

from scoop_hpc.protocol.messages import Message
from scoop_hpc.protocol.names import ProcessName


class Send(Struct, frozen=True):
    """Send *message* to the process called *to*."""

    to: ProcessName
    message: Message
