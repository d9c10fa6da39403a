"""Messages under way between the processes of a simulated run."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Message
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.network import Network


@dataclass(slots=True, eq=False)
class Letter:
    """A message under way: if its sender dies, it may be lost, or come by its own time or later than others'."""

    is_lost: bool = False
    delay: float = 0.0


class Post:
    """What is under way on a *network*; *note* puts an event into the trace."""

    def __init__(
        self, agenda: Agenda, network: Network, chance: random.Random, note: Callable[[str, object], None]
    ) -> None:
        self._agenda = agenda
        self._network = network
        self._chance = chance
        self._note = note
        self._under_way: dict[tuple[str, str], deque[Letter]] = {}  # by sender and receiver

    def carry(
        self,
        sender: str,
        to: str,
        message: Message,
        hear: Callable[[Message], object],
        process: Process,
        now: float | None = None,
    ) -> None:
        """Have *message* heard by *process* when it arrives."""
        frames = codec.encode(message)
        size = sum(map(len, frames))
        time = self._network.arrival(sender, to, size, self._agenda.now if now is None else now)
        self._note(f"{sender} -> {to}, there at {time:.6f}", message)
        letters = self._under_way.get((sender, to))
        if letters is None:
            letters = self._under_way[sender, to] = deque()
        letters.append(Letter())

        def arrive(message: Message = codec.decode(frames)) -> None:
            letter = letters.popleft()
            if letter.is_lost:
                return
            if letter.delay:
                self._agenda.at(
                    self._agenda.now + letter.delay, partial(self._arrive, sender, to, message, hear), process
                )
            else:
                self._arrive(sender, to, message, hear)

        self._agenda.at(time, arrive, process)

    def is_under_way(self, sender: str, to: str) -> bool:
        """Return whether something that one process has sent to another has not arrived."""
        return bool(self._under_way.get((sender, to)))

    def lose(self, senders: Collection[str], delay: float) -> None:
        """Lose what the dead have sent, from some message on; the rest may come late, when the death is known."""
        chance = self._chance
        for (sender, _), letters in self._under_way.items():
            if sender in senders:
                arrive = chance.choice((0, len(letters), chance.randint(0, len(letters))))
                late = chance.choice((0.0, 0.0, delay))
                for index, letter in enumerate(letters):
                    letter.is_lost, letter.delay = index >= arrive, late

    def _arrive(self, sender: str, to: str, message: Message, hear: Callable[[Message], object]) -> None:
        self._note(f"{to} <- {sender}", message)
        hear(message)
