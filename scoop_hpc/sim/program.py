"""Programs of a simulated run: calls, and the steps that each takes. A call is submitted once, by its parent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

ROOT = 0  # the call that is the origin's program


@dataclass(frozen=True, slots=True)
class Compute:
    """Compute for some *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Submit:
    """Submit a call."""

    call: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for the result of a call that was submitted."""

    call: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel calls that were submitted: one by itself, or several with one wait for all answers."""

    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AskWhetherRunning:
    """Ask whether a call has begun."""

    call: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Do not care any more for a call that was submitted."""

    call: int


@dataclass(frozen=True, slots=True)
class SetConstant:
    """Set a shared constant; it may be set already."""

    name: str


@dataclass(frozen=True, slots=True)
class GetConstant:
    """Get a shared constant; if it *waits*, once there is one."""

    name: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """Take down the worker, unless that is the origin: by this chance."""

    chance: float


Step = Compute | Submit | Wait | Cancel | AskWhetherRunning | Abandon | SetConstant | GetConstant | Kill


@dataclass(frozen=True, slots=True)
class Call:
    """A call of *function*, which decides what workers believe to know of it, and its steps."""

    function: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """All calls of a program, by their numbers."""

    calls: dict[int, Call] = field(default_factory=dict)

    def seconds(self) -> float:
        """Return how long all calls compute."""
        return sum(step.seconds for call in self.calls.values() for step in call.steps if isinstance(step, Compute))

    def without(self, number: int) -> Program:
        """Return the program without a call, and all that it submits."""
        gone = {number}
        for each in sorted(self.calls):  # a child's number is greater than its parent's
            if each in gone:
                gone |= {step.call for step in self.calls[each].steps if isinstance(step, Submit)}
        kept = {each: call for each, call in self.calls.items() if each not in gone}
        return Program({each: replace(call, steps=tuple(_kept(call.steps, gone))) for each, call in kept.items()})

    def without_step(self, number: int, index: int) -> Program:
        """Return the program without one step of a call, which is not a Submit."""
        call = self.calls[number]
        steps = (*call.steps[:index], *call.steps[index + 1 :])
        return Program({**self.calls, number: replace(call, steps=steps)})


def _kept(steps: tuple[Step, ...], gone: set[int]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Cancel):
            left = tuple(call for call in step.calls if call not in gone)
            if left:
                yield Cancel(left)
        elif getattr(step, "call", None) not in gone:
            yield step


@dataclass(slots=True)
class _Maker:
    """Makes programs of about *tasks* calls by *chance*."""

    chance: random.Random
    tasks: int
    calls: dict[int, Call] = field(default_factory=dict)
    number: int = 0
    lengths: dict[str, tuple[float, ...]] = field(default_factory=dict)
    constants: tuple[str, ...] = ()

    def make(self) -> Program:
        chance = self.chance
        usual = ((0.00001, 0.0004), (0.002,), (0.01, 0.00001), (0.05,), (0.2, 0.001), (0.0005, 0.0015))
        self.lengths = {name: chance.choice(usual) for name in ("f", "g", "h")[: chance.randint(1, 3)]}
        self.constants = ("a", "b")[: chance.choice((0, 0, 1, 2))]
        depth = chance.choice((1, 1, 2, 3))
        self._call(ROOT, "main", depth, first=True)
        return Program(self.calls)

    def _call(self, number: int, function: str, depth: int, first: bool = False) -> None:
        chance = self.chance
        seconds = chance.choice(self.lengths.get(function, (0.0,)))
        if not first and chance.random() < 0.04:
            seconds = chance.choice((0.3, 2.0, 6.0))  # it turns out long
        steps: list[Step] = [Compute(seconds)] if seconds else []
        if first:
            steps += [SetConstant(name) for name in self.constants]
        elif self.constants and chance.random() < 0.15:
            steps.append(GetConstant(chance.choice(self.constants), chance.random() < 0.5))
        elif chance.random() < 0.01:
            steps.append(SetConstant(chance.choice((*self.constants, f"c{number}"))))
        if depth and (first or chance.random() < 0.3):
            most = self.tasks if first and depth == 1 else chance.randint(1, 8) if not first else self.tasks // 3 + 1
            for _ in range(chance.choice((1, 1, 2, 4))):
                steps += self._children(min(most, self.tasks - self.number), depth)
                most = chance.randint(1, 8)
            if chance.random() < 0.5:
                steps.append(Compute(chance.choice((0.0001, 0.003, 0.03))))
        self.calls[number] = Call(function, tuple(steps))

    def _children(self, count: int, depth: int) -> list[Step]:
        """Return the steps that submit *count* calls and see to each."""
        chance = self.chance
        numbers = list(range(self.number + 1, self.number + 1 + count))
        self.number += count
        steps: list[Step] = []
        function = chance.choice(list(self.lengths))
        pause = chance.choice((0.0, 0.0, 0.0, 0.0005, 0.004))
        for number in numbers:
            steps.append(Submit(number))
            if pause:
                steps.append(Compute(pause))
            if chance.random() < 0.3:
                function = chance.choice(list(self.lengths))
            self._call(number, function, depth - 1)
        if chance.random() < 0.3:
            steps.append(Compute(chance.choice((0.001, 0.02, 0.3, 6.0))))
        if chance.random() < 0.2:
            chance.shuffle(numbers)
        if chance.random() < 0.1:
            several = tuple(number for number in numbers if chance.random() < 0.5)
            if several:
                steps.append(Cancel(several))
        for number in numbers:
            draw = chance.random()
            if draw < 0.08:
                steps.append(Cancel((number,)))
            elif draw < 0.12:
                steps.append(AskWhetherRunning(number))
            elif draw < 0.16:
                steps.append(Abandon(number))
                continue
            if chance.random() < 0.95:  # else its task ends before, and nobody waits
                steps.append(Wait(number))
                if chance.random() < 0.08:
                    steps.append(Compute(chance.choice((0.0001, 0.004, 0.05, 0.5, 6.0))))
        return steps


def with_killers(program: Program, chance: random.Random) -> Program:
    """Return *program* with a call, or two, that more or less often takes its worker down.

    Some have a function of their own, which no worker knows to be short before.
    """
    calls = dict(program.calls)
    for number in chance.sample(sorted(calls), min(len(calls), chance.choice((1, 1, 2)))):
        if number != ROOT:
            call = calls[number]
            at = chance.randint(0, len(call.steps))
            kill = Kill(chance.choice((0.3, 0.7, 1.0)))
            function = chance.choice((call.function, "killer"))
            calls[number] = Call(function, (*call.steps[:at], kill, *call.steps[at:]))
    return Program(calls)


def make_program(chance: random.Random, tasks: int) -> Program:
    """Return a program of up to *tasks* calls beside the origin's own."""
    return _Maker(chance, tasks).make()


def make_wide_program(chance: random.Random, tasks: int) -> Program:
    """Return a program of about so many calls, most of them submitted by tasks, so that they wander between nodes."""
    parents = chance.randint(1, max(1, min(6, tasks // 3)))
    lengths = chance.choice(((0.0004,), (0.002, 0.0004), (0.01,), (0.03, 0.05), (0.0004, 0.0004, 0.2)))
    calls: dict[int, Call] = {}
    number = parents
    for parent in range(1, parents + 1):
        children = range(number + 1, number + 1 + max(1, (tasks - parents) // parents))
        number = children[-1]
        pause = chance.choice((0.0, 0.0005, 0.01))
        steps: list[Step] = []
        for child in children:
            steps += [Submit(child), Compute(pause)] if pause else [Submit(child)]
            calls[child] = Call("f", (Compute(chance.choice(lengths)),))
        steps += map(Wait, children)
        calls[parent] = Call("g", tuple(steps))
    before = chance.choice((0.0, 0.02))
    numbers = range(1, parents + 1)
    root = Call("main", (*map(Submit, numbers), Compute(before), *map(Wait, numbers)))
    return Program(dict(sorted({ROOT: root, **calls}.items())))
