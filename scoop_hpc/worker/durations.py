"""Durations of calls, as one worker has learnt them: they decide what stays local, and what goes together.

The measure is for how long a call keeps its worker *unpolled*, from one look at the link to the next. That is short for
a task that often submits or waits, however long it lasts in all. The guess is a maximum that decays, so that a function
that is mostly quick and now and then slow counts as slow; a function never seen counts as slow, too.

But the kernel takes the CPU away now and then, for some milliseconds. By one call that took no longer the guess rises a
few times at the most: else thousands of quick calls that wait would all be taken for long ones, and sent away one by
one.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import CodeType, MethodType
from typing import Any

from scoop_hpc.pickling.unpicklable import go_on_after
from scoop_hpc.protocol.messages import USUAL, Terms
from scoop_hpc.task import TaskFunction, TaskOptions, options_of
from scoop_hpc.worker.losses import is_ours
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.watched.accounts import Account, Accounts

_LEAST = 1e-6  # seconds, where the last call took none: it may have failed before it began
_CODES = 1000  # code objects known by their id


class Cost:
    """The duration of calls of one function, and what else is known of them."""

    __slots__ = (
        *("_away", "_decay", "_leap", "_policy", "_short"),
        *("account", "is_new", "options", "short", "spawns", "terms", "times", "unpolled"),
    )

    account: Account | None  # of the function, if its calls are counted one by one
    times: list[float] | None  # to append the durations of its calls to

    def __init__(self, policy: Policy = DEFAULT, options: TaskOptions | None = None) -> None:
        self._policy = policy
        self.options = options  # of the function that is called, perhaps for many items
        self._short, self._away = policy.short, policy.away_seconds
        self._decay, self._leap = policy.call_decay, policy.call_leap
        self.unpolled = 0.0  # seconds, the most of late
        self.is_new = True  # no call has ended here, and no future of one was settled
        self.short = False  # whether the next call is likely to be
        self.terms = USUAL if options is None else terms_of(options)
        self.spawns = False  # whether its calls submit tasks: then one call may stand for a whole tree of them
        self.account = self.times = None

    def learn(self, unpolled: float) -> None:
        """Note that a call kept a worker from polling for so many seconds."""
        known = self.unpolled
        if unpolled < self._decay * known:
            unpolled = self._decay * known
        elif unpolled > self._leap * (known or _LEAST) and unpolled < self._away and not self.is_new:
            unpolled = self._leap * (known or _LEAST)
        self.unpolled = unpolled
        self.short = unpolled <= self._short
        self.is_new = False

    def learn_early(self, unpolled: float) -> None:
        """Note the same before the program has heard of the call's outcome."""
        is_new = self.is_new
        self.learn(unpolled)
        self.is_new = is_new

    def batch_size(self) -> int:
        """Return how many calls should travel together.

        >>> cost = Cost()
        >>> cost.learn(0.0001)
        >>> cost.batch_size()
        20
        """
        return min(self._policy.batch_calls, self._calls_in(self._policy.batch_seconds))

    def least_batch(self) -> int:
        """Return how many calls are worth a message.

        >>> cost = Cost()
        >>> cost.learn(0.00001)
        >>> cost.least_batch()
        10
        """
        return self._calls_in(self._policy.worth_seconds)

    def _calls_in(self, seconds: float) -> int:
        """Return how many calls take so many *seconds*; one, if a single one may take long."""
        return max(1, int(seconds / max(self.unpolled, 1e-7))) if self.short and not self.spawns else 1

    @property
    def stays(self) -> bool:
        """Return whether the next call stays here until others want it: not if it may last.

        Calls that submit tasks stay, too: were they all to leave for the broker's queue, a tree of tasks would be
        walked breadth first, and be in memory as a whole. So does what may submit tasks: while no call has ended, the
        worker that has them may try one, and knows.
        """
        return self.short or self.spawns or self.is_untried

    @property
    def is_untried(self) -> bool:
        """Return whether nobody knows how long a call lasts, and a worker with other work may try one."""
        return self.unpolled == 0.0

    def worth_a_journey(self, count: int) -> bool:
        """Return whether others should have some of *count* calls, in spite of what it takes to send them."""
        if self.spawns or not self.short:
            return True
        policy = self._policy
        return self.unpolled > policy.travel_seconds and count * self.unpolled > policy.worth_seconds

    @property
    def brief(self) -> bool:
        """Return whether the outcomes of other tasks may wait for the end of the next call."""
        return 0.0 < self.unpolled < self._policy.brief

    @property
    def moderate(self) -> bool:
        """Return whether other tasks may wait behind the next call."""
        return 0.0 < self.unpolled < self._policy.moderate


class Durations:
    """The costs of the calls of all functions seen, found by what a function's copies have in common."""

    def __init__(self, policy: Policy = DEFAULT, accounts: Accounts | None = None) -> None:
        self.accounts = accounts
        self._policy = policy
        self._by_key: dict[Hashable, Cost] = {}
        self._by_code: dict[int, Cost] = {}  # the id of a code object: hashing one takes a microsecond
        self._codes: list[object] = []  # keeps those ids from being used again

    def of(self, function: Any) -> Cost:
        """Return the cost of *function*."""
        try:
            return self._by_code[id(function.__code__)]
        except BaseException as error:  # a callable's own __getattr__, too
            go_on_after(error)
            return self._find(function)

    def of_pair(self, task: Any, function: Any, leaves: bool = False) -> Cost:
        """Return the cost of *task* where it calls *function*; one that *leaves* is not to be run where it is made."""
        return self._called((key_of(task), key_of(function)), options_of(function), leaves)

    def _find(self, function: Any) -> Cost:
        cost = self._called(key_of(function), options_of(function))
        if cost.account is None and self.accounts is not None and not is_ours(function):
            cost.account = self.accounts.of(function)
            cost.times = cost.account.times
        code = _attribute(function, "__code__")
        if not isinstance(code, CodeType):
            return cost
        if len(self._codes) >= _CODES:  # functions made at run time bring code objects of their own, without end
            self._codes.clear()
            self._by_code.clear()
        self._codes.append(code)
        self._by_code[id(code)] = cost
        return cost

    def _called(self, key: Hashable, options: TaskOptions | None, leaves: bool = False) -> Cost:
        cost = self._by_key.get(key)
        if cost is None:
            is_limited = options is not None and options.time_limit is not None
            cost = self._by_key[key] = (Leaving if leaves or is_limited else Cost)(self._policy, options)
        return cost


class Leaving(Cost):
    """The cost of calls that may cost their worker: none stays where it was submitted, with other work."""

    def __init__(self, policy: Policy = DEFAULT, options: TaskOptions | None = None) -> None:
        super().__init__(policy, options)
        self._short = -1.0  # seconds: no call counts as short

    @property
    def is_untried(self) -> bool:
        """Return False: no worker with other work tries one."""
        return False

    @property
    def spawns(self) -> bool:
        """Return False: whether or not its calls submit tasks."""
        return False

    @spawns.setter
    def spawns(self, value: bool) -> None:
        """Learn nothing."""


def terms_of(options: TaskOptions) -> Terms:
    """Return the terms on which tasks with these *options* are executed; retries of exceptions are the worker's own."""
    if options.time_limit is None:
        return Terms(options.max_losses) if options.max_losses != USUAL.attempts else USUAL
    return Terms(options.max_losses, options.time_limit, 1 + options.retries)


class Unforeseeable(Cost):
    """The cost of calls that have nothing in common: none is known to be short."""

    @property
    def is_untried(self) -> bool:
        """Return False: one that was tried tells nothing of the next."""
        return False

    def learn(self, unpolled: float) -> None:
        """Learn nothing."""


def key_of(function: Any) -> Hashable:
    """Return what all copies of *function* have in common, however they came here, and its options if it has any."""
    options = options_of(function)
    return _key_of(function) if options is None else (_key_of(function), options)


def _key_of(function: Any) -> Hashable:
    inner = _attribute(function, "func")  # of a functools.partial
    function = function if inner is None else inner
    if type(function) is MethodType and type(function.__func__) is TaskFunction:
        function = function.__func__
    if type(function) is TaskFunction:
        return _key_of(function.__wrapped__)
    code = _attribute(function, "__code__")
    if isinstance(code, CodeType):
        return code.co_filename, code.co_firstlineno, code.co_name
    module, name = _attribute(function, "__module__"), _attribute(function, "__qualname__")
    if type(module) is str and type(name) is str:
        return module, name
    return type(function).__module__, type(function).__qualname__


def _attribute(function: Any, name: str) -> Any:
    try:
        return getattr(function, name, None)
    except BaseException as error:  # a callable's own __getattr__
        go_on_after(error)
        return None
