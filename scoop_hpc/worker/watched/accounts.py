"""Accounts of a worker: how often it has called which function, how long that took, and which tasks failed.

They are kept always, for the report at the end of a run, so they are made for a microsecond's task: its duration is
appended to a list, and many are added up together. Items of a map are counted by their chunk, for the user's function.
"""

from __future__ import annotations

import os
import reprlib
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from scoop_hpc.errors import WorkerLostError
from scoop_hpc.pickling.pickles import traceback_text
from scoop_hpc.pickling.unpicklable import go_on_after, plain_text
from scoop_hpc.protocol.histogram import BINS, EDGES, bin_of
from scoop_hpc.protocol.messages import FailedTask
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.task import TaskOptions, options_of, repeated_by
from scoop_hpc.tracebacks import class_name, encodable
from scoop_hpc.transport.accounts import AccountTable
from scoop_hpc.worker.losses import name_of_call

UNKNOWN = "a task"  # the function of a task that cannot be unpickled
MOST_TIMES = 256  # of one function, that are added up together
MOST_FAILURES = 1000  # of one worker, that are described
_FAILURES_A_SECOND = 50  # the same: to describe one takes 0.2 ms
_ARGUMENTS, _ERROR, _TRACEBACK = 300, 300, 4000  # characters that are kept
# These pass by a user's metaclass.
_qualified_name_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__


class Account:
    """The calls of one function."""

    __slots__ = ("_lock", "_repeats", "_row", "_table", "name", "times")

    def __init__(self, table: AccountTable, name: str, lock: threading.Lock) -> None:
        self._table = table
        self._row = table.row(name)
        self._lock = lock  # of all accounts: any thread of the worker may have run a task
        self.name = name
        self.times: list[float] = []  # seconds of calls that are not added up yet
        self._repeats = 0  # of the calls of a function with retries, that are counted

    def add_up(self) -> None:
        """Add up the calls whose durations are in the list."""
        with self._lock:
            times = self.times[:]
            del self.times[: len(times)]
            if len(times) < BINS:
                bins = [(bin_of(seconds), 1) for seconds in times]
            else:
                times.sort()
                bins, done = [], 0
                while done < len(times):
                    number = bin_of(times[done])
                    until = len(times) if number == BINS - 1 else bisect_right(times, EDGES[number])
                    bins.append((number, until - done))
                    done = until
            if times:
                taken, now = max(0.0, sum(times)), monotonic()
                self._table.ran(now - taken, now)
                self._table.add(self._row, len(times), taken, max(times), bins)

    def add(self, count: int, seconds: float) -> None:
        """Add *count* calls that have taken so many *seconds* together."""
        each, now = max(0.0, seconds) / count, monotonic()
        with self._lock:
            self._table.ran(now - seconds, now)
            self._table.add(self._row, count, each * count, each, ((bin_of(each), count),))

    def add_failed(self) -> None:
        """Count one of the calls, which is counted already, as failed."""
        with self._lock:
            self._table.add_failed(self._row)

    def count_repeats(self, function: Callable[..., Any]) -> None:
        """Count how often calls of *function* were tried again after exceptions, until now."""
        repeats = repeated_by(function)
        with self._lock:
            if repeats > self._repeats:
                self._table.add_repeated(self._row, repeats - self._repeats)
                self._repeats = repeats


class Accounts:
    """The accounts of the worker called *worker*, in a *table* that it shares with its agent."""

    def __init__(self, table: AccountTable, worker: WorkerName) -> None:
        self._table = table
        self._worker = worker
        self._process = os.getpid()
        self._accounts: dict[str, Account] = {}
        self._lock = threading.Lock()
        self._described = 0
        self._tokens = float(_FAILURES_A_SECOND)  # failures that may be described now
        self._filled = monotonic()

    def of(self, function: Callable[..., Any] | None) -> Account:
        """Return the account of *function*, if that is known; functions of one name have one together."""
        name = ("" if function is None else name_of_call(function, ())[0]) or UNKNOWN
        account = self._accounts.get(name)
        if account is None:
            with self._lock:
                account = self._accounts[name] = Account(self._table, name, self._lock)
        return account

    def add_up(self) -> None:
        """Add up all that is counted, so that the agent sees it."""
        for account in [account for account in self._accounts.values() if account.times]:
            account.add_up()

    def worked(self, began: float, ended: float) -> None:
        """Note that the main thread executed tasks between two points in time."""
        self._table.worked(began, ended)

    def fail(
        self,
        account: Account,
        error: BaseException,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        attempt: int,
        options: TaskOptions | None = None,
        position: int | None = None,
    ) -> None:
        """Count a failed call, and describe it, unless there are too many: *position* is that of a map's item.

        The *attempt* is that of the worker; an exception that retries are for has come after all of these.
        """
        if os.getpid() != self._process:  # in a child that a task has forked
            return
        account.add_failed()
        if not self._may_describe():
            return
        if options is not None and isinstance(error, options.retry_on):
            attempt += options.retries
        self._describe(account, error, _cut(_shown(args, kwargs), _ARGUMENTS), attempt, position)

    def _describe(
        self, account: Account, error: BaseException, arguments: str, attempt: int, position: int | None
    ) -> None:
        failure = FailedTask(
            function=encodable(account.name),
            position=position,
            arguments=arguments,
            error=_cut(described(error), _ERROR),
            traceback=_cut_middle(encodable(traceback_text(error)), _TRACEBACK),
            worker=self._worker,
            attempt=attempt,
            time=time.time(),
        )
        with self._lock:
            if self._table.tell(failure):
                self._described += 1

    def lose(self, account: Account, error: BaseException, position: int | None = None) -> None:
        """Count a call that was lost with its workers, and describe it: nobody else can. Its arguments are packed."""
        account.times.append(0.0)
        account.add_up()
        if os.getpid() != self._process:  # in a child that a task has forked
            return
        account.add_failed()
        if self._may_describe():
            attempts = len(error.losses) if isinstance(error, WorkerLostError) else 1
            self._describe(account, error, "...", max(1, attempts), position)

    def _may_describe(self) -> bool:
        now = monotonic()
        with self._lock:
            self._tokens = min(_FAILURES_A_SECOND, self._tokens + (now - self._filled) * _FAILURES_A_SECOND)
            self._filled = now
            if self._described >= MOST_FAILURES or self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class Running(Protocol):
    """The task that runs in a thread, as a meter uses it."""

    aside: float  # seconds since it began that are not its own
    attempt: int


class Meter:
    """Counts the calls of one *function* that a *running* task makes in a loop."""

    __slots__ = ("_account", "_accounts", "_aside", "_function", "_running")

    def __init__(self, accounts: Accounts, function: Callable[..., Any], running: Running) -> None:
        self._accounts = accounts
        self._account = accounts.of(function)
        self._function = function
        self._running = running
        self._aside = running.aside

    def add(self, count: int, seconds: float) -> None:
        """Note that *count* calls have taken so many *seconds*, with all else that ran meanwhile."""
        aside = self._running.aside
        if count:
            self._account.add(count, seconds - (aside - self._aside))
        self._aside = aside

    def fail(self, error: BaseException, args: tuple[Any, ...], position: int | None) -> None:
        """Note that the last call has failed."""
        options = options_of(self._function)
        self._accounts.fail(self._account, error, args, {}, self._running.attempt, options, position)

    def end(self) -> None:
        """Note that the loop is over."""
        self._account.count_repeats(self._function)


class _Arguments(reprlib.Repr):
    """Writes arguments down, shortened, whatever their classes do."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80
        self.maxlevel = 3

    def repr1(self, x: Any, level: int) -> str:
        try:
            return super().repr1(x, level)
        except BaseException as error:  # a user's class, which may be called `array`, or an integer of 10,000 digits
            go_on_after(error)
            return f"<{class_name(x)}>"


_arguments = _Arguments()


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write the arguments of a call down, shortened.

    >>> _shown((1, "x"), {"far": list(range(100))})
    "1, 'x', far=[0, 1, 2, 3, 4, 5, ...]"
    """
    words = [_arguments.repr(each) for each in args]
    return encodable(", ".join([*words, *(f"{name}={_arguments.repr(value)}" for name, value in kwargs.items())]))


def shortened(value: Any) -> str:
    """Write any value down, shortened, whatever its class does.

    >>> shortened(list(range(100)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    return encodable(_arguments.repr(value))


def described(error: BaseException) -> str:
    """Return the name of the class of *error*, and what it says, whatever that class does."""
    try:
        text = plain_text(error)
    except BaseException as failure:  # a user's __str__
        go_on_after(failure)
        text = ""
    name, module = _qualified_name_of(type(error)), _module_of(type(error))
    if module not in ("builtins", "__main__"):
        name = f"{module}.{name}"
    return encodable(f"{name}: {text}" if text else name)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _cut_middle(text: str, most: int) -> str:
    """Leave out the middle of a long text: its end says what happened, its beginning where from.

    >>> _cut_middle("abcdefghij" * 2, 10)
    'ab\\n...\\nhij'
    """
    return text if len(text) <= most else text[: most // 4] + "\n...\n" + text[len(text) - (most - 5 - most // 4) :]
