"""Timing of a long loop over short calls, so that it notices in time that others could help."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from scoop_hpc.worker.durations import key_of
from scoop_hpc.worker.policy import DEFAULT, Policy


class LoopTiming:
    """Sizes the groups of a loop's items, says when to look around, and whether what is left is worth sharing.

    *each* is how many seconds an item takes, as far as known. Until that is known all is worth sharing: a call that
    never ran may take an hour.
    """

    def __init__(self, clock: Callable[[], float], each: float | None = None, policy: Policy = DEFAULT) -> None:
        self._policy = policy
        self.each = each
        self.group = 1
        self._pickling = self._policy.loop_pickling  # seconds for an item
        self.now = self._since = clock()
        self._clock = clock
        self._look_at = self.now

    def is_due(self) -> bool:
        """Return whether to look around now: at first, and then once in a millisecond."""
        if self.now < self._look_at:
            return False
        self._look_at = self.now + self._policy.loop_look
        return True

    def start(self) -> None:
        """Begin a group of items."""
        self._since = self.now = self._clock()

    def note(self, count: int) -> None:
        """Note that *count* items were done since the last group, or since the start."""
        self.now = self._clock()
        each = (self.now - self._since) / count
        self._since = self.now
        self.each = each if self.each is None else (self.each + each) / 2
        most, seconds = self._policy.loop_group_items, self._policy.loop_group_seconds
        fitting = most if self.each * most <= seconds else int(seconds / self.each)
        self.group = max(1, min(2 * self.group, fitting))

    def pickled(self, count: int, seconds: float) -> None:
        """Note how many seconds it took to pickle *count* items."""
        self._pickling = max(self._policy.loop_pickling, seconds / count)

    def worth_sharing(self, count: int) -> bool:
        """Return whether another worker should take half of *count* items."""
        if self.each is None:
            return count > 1
        return (
            count > 1
            and self.each * count >= self._policy.loop_worth
            and self.each >= self._policy.loop_travel * self._pickling
        )


class LoopTimings:
    """The seconds that an item takes in loops over functions, as one worker has learnt.

    A loop that is slow now and then counts as slow for a while: to wait for one long item before others are called to
    help costs more than to call them in vain.
    """

    def __init__(self, policy: Policy = DEFAULT) -> None:
        self._decay = policy.loop_decay
        self._each: dict[Hashable, float] = {}
        self._weights: dict[Hashable, float] = {}

    def weight_of(self, *functions: Any) -> float:
        """Return how many bytes the result for an item had of late; 0.0 if it is not known to have any."""
        return self._weights.get(tuple(key_of(function) for function in functions), 0.0)

    def weigh(self, weight: float, *functions: Any) -> None:
        """Note how many bytes the result for an item had."""
        self._weights[tuple(key_of(function) for function in functions)] = weight

    def of(self, *functions: Any) -> float | None:
        """Return how many seconds an item takes that goes through *functions*, None if they are new here."""
        return self._each.get(tuple(key_of(function) for function in functions))

    def learn(self, each: float | None, *functions: Any) -> None:
        """Note how long the items of a loop took of late."""
        if each is not None:
            key = tuple(key_of(function) for function in functions)
            self._each[key] = max(each, self._decay * self._each.get(key, 0.0))
