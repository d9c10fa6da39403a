"""The accounts of a node: those of its workers, the living and the dead, as its agent tells them to the driver."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc.events import TRACE, Event
from scoop_hpc.files.kernel import read_text
from scoop_hpc.protocol.histogram import added
from scoop_hpc.protocol.messages import Accounts, FailedTask, FunctionAccount, WorkerAccount
from scoop_hpc.protocol.names import NodeIndex, WorkerName
from scoop_hpc.transport.accounts import AccountTable

_MOST_FAILURES = 1000  # of a node, that are passed on


def summed(accounts: Iterable[FunctionAccount]) -> tuple[FunctionAccount, ...]:
    """Return one account for each function, in the order of their names."""
    by_name: dict[str, list[FunctionAccount]] = {}
    for account in accounts:
        by_name.setdefault(account.name, []).append(account)
    return tuple(
        FunctionAccount(
            name,
            sum(each.count for each in those),
            sum(each.failed for each in those),
            sum(each.repeated for each in those),
            sum(each.total for each in those),
            max(each.longest for each in those),
            added(each.durations for each in those),
        )
        for name, those in sorted(by_name.items())
    )


class NodeAccounted(Event, frozen=True):
    """A node's agent has told what its workers have executed so far. A node that comes back has another index."""

    level: ClassVar[int] = TRACE
    node: str
    index: NodeIndex
    accounts: Accounts

    def __str__(self) -> str:
        done = sum(each.count for each in self.accounts.functions)
        return f"node {self.node} has done {done} tasks, {len(self.accounts.failures)} have failed since"


class _Dead(Struct, frozen=True):
    """A worker that has died."""

    account: WorkerAccount
    at: float  # when that was read


class NodeAccounts:
    """The accounts of all workers of a node. Times are of CLOCK_MONOTONIC.

    The scheduler has *granted* so many bytes there; 0: it does not say so.
    """

    def __init__(self, read: Callable[[str], str | None] = read_text, granted: int = 0) -> None:
        self._read = read
        self._dead: list[_Dead] = []
        self._functions: tuple[FunctionAccount, ...] = ()  # of the dead
        self._failures: list[FailedTask] = []  # of the dead, that are not told yet
        self._told = 0  # failures
        self._lost = 0
        self._memory = 0
        self._looks = 0
        self.memory_limit = min((limit for limit in (memory_limit(read), granted) if limit), default=0)

    def bury(
        self, name: WorkerName, table: AccountTable, now: float, unfinished: int = 0, function: str | None = None
    ) -> None:
        """Keep what a worker has left that ended, with so many tasks *unfinished*.

        One of these, at most, was in a *function* whose name is known. The others' functions are not.
        """
        functions = [*self._functions, *table.functions()]
        if function is not None:
            functions.append(FunctionAccount(function, 0, 0, 1, 0.0, 0.0, ()))
            unfinished -= 1
        self._functions = summed(functions)
        self._failures += table.failures()
        self._dead.append(_Dead(table.worker(name, now), now))
        self._lost += unfinished

    def look_at_memory(self, pids: Iterable[int], is_due: bool) -> None:
        """Take note of the memory that processes of the node have now, unless there was a look as recently as this.

        The 1st, 2nd, 4th, 8th... time counts, for runs that end before *it is due*: a look takes 25 us a process.
        """
        self._looks += 1
        if is_due or self._looks & (self._looks - 1) == 0:
            self._memory = max(self._memory, self.memory_of(pids))

    def memory_of(self, pids: Iterable[int]) -> int:
        """Return the bytes that processes of the node have now."""
        return sum(own_memory(self._read(f"/proc/{pid}/status") or "") for pid in pids)

    def has_failures(self, tables: Collection[AccountTable]) -> bool:
        """Return whether there are failed tasks that are not told yet."""
        return bool(self._failures) or any(table.has_failures for table in tables)

    def read(self, workers: dict[WorkerName, AccountTable], now: float) -> Accounts:
        """Return the accounts as they are at *now*, those of the living *workers* among them."""
        failures, self._failures = self._failures, []
        for table in workers.values():
            failures += table.failures()
        del failures[max(0, _MOST_FAILURES - self._told) :]
        self._told += len(failures)
        living = [table.worker(name, now) for name, table in workers.items()]
        functions = [each for table in workers.values() for each in table.functions()]
        return Accounts(
            summed([*self._functions, *functions]),
            (*living, *(_aged(dead.account, now - dead.at) for dead in self._dead)),
            tuple(failures),
            self._lost,
            self._memory,
            self.memory_limit,
        )


def _aged(account: WorkerAccount, seconds: float) -> WorkerAccount:
    if account.began is None or account.ended is None:
        return account
    return replace(account, began=account.began + seconds, ended=account.ended + seconds)


def own_memory(status: str) -> int:
    """Return the bytes that belong to a process alone, or to nothing but memory, in view of its status [proc(5)].

    >>> own_memory("Name:\\tpython3\\nRssAnon:\\t    2048 kB\\nRssFile:\\t     900 kB\\nRssShmem:\\t       1 kB\\n")
    2097152
    """
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


def memory_limit(read: Callable[[str], str | None]) -> int:
    """Return the bytes that the kernel lets processes here have: of their cgroups, or all that there are; 0: unknown.

    [cgroup-v2.rst, Memory Interface Files; cgroup-v1/memory.rst; proc_meminfo(5)]
    """
    limits = [1024 * int(line.split()[1]) for line in (read("/proc/meminfo") or "").splitlines() if "MemTotal:" in line]
    for line in (read("/proc/self/cgroup") or "").splitlines():
        number, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if number == "0" and not controllers:
            folder, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            text = (read("/".join([folder, *parts[:depth], name])) or "").strip()
            if text.isdecimal():
                limits.append(int(text))
    return min(limits, default=0)
