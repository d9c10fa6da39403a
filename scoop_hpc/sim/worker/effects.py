"""What the threads of a simulated worker do with their time, and the greenlets that they switch to."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Busy:
    """Compute for some *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Wait at the link, for *seconds* at the most; None: until something arrives."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Park:
    """Leave for the event loop."""


PARK = Park()
Thread = Generator[Busy | Idle, None, None]
Life = Generator[Busy | Idle | Park, None, Any]


class Greenlet:
    """A stack of its own, *depth* tasks deep."""

    __slots__ = ("depth", "life")

    def __init__(self, life: Life) -> None:
        self.life = life
        self.depth = 0


class Waiter:
    """A greenlet that has parked, or is about to."""

    __slots__ = ("greenlet", "ready", "woken")

    def __init__(self, greenlet: Greenlet, ready: deque[Waiter]) -> None:
        self.greenlet = greenlet
        self.ready = ready
        self.woken = False

    def wake(self) -> None:
        """Let the greenlet go on, once."""
        if not self.woken:
            self.woken = True
            self.ready.append(self)
