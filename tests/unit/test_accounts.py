"""The accounts of workers: what was executed, by functions, and which tasks failed."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from scoop_hpc import futures
from scoop_hpc.protocol.histogram import EDGES, bin_of, quantile
from scoop_hpc.protocol.messages import FailedTask, FunctionAccount
from scoop_hpc.protocol.names import ORIGIN, worker_name
from scoop_hpc.run.watching.accounts import NodeAccounts, memory_limit, summed
from scoop_hpc.transport.accounts import OTHERS, RING_BYTES, ROWS, AccountTable
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import Unlinked
from scoop_hpc.worker.watched.accounts import MOST_FAILURES, MOST_TIMES, Accounts


class NoLink(Unlinked):
    """A line to no broker."""

    def wait(self, timeout: float | None) -> None:
        raise AssertionError("nothing to wait for")

    def wake(self) -> None:
        pass


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> AccountTable:
    """Make this process the only worker of a run; return what its parent sees."""
    table = AccountTable()
    controller = Controller(NoLink(), ORIGIN, 1, serial=True, accounts=Accounts(table, ORIGIN))
    monkeypatch.setattr(current, "_worker", controller)
    return table


def seen(table: AccountTable) -> dict[str, FunctionAccount]:
    """Add up what the worker has counted, and return it by functions."""
    worker = current.running()
    assert worker is not None
    assert worker.exchange.accounts is not None
    worker.exchange.accounts.add_up()
    return {account.name: account for account in table.functions()}


def half(number: int) -> float:
    if number == 13:
        raise ValueError(f"cannot halve {number}")
    return number / 2


def outer(number: int) -> float:
    result: float = futures.submit(half, number).result()
    return result


@futures.task(retries=2)
def broken(number: int) -> None:
    raise OSError("no such file")


def fail(error: BaseException, *_: Any) -> None:
    raise error


def failed(number: int = 1, text: str = "") -> FailedTask:
    return FailedTask("half", number, "13", "ValueError", text, ORIGIN, 1, 1e9)


@pytest.mark.parametrize("count", [1, 3, MOST_TIMES + 1, 5 * MOST_TIMES])
def test_each_call_is_counted_once(table: AccountTable, count: int) -> None:
    for _ in range(count):
        futures.submit(half, 1).result()
    account = seen(table)["half"]
    assert (account.count, account.failed) == (count, 0)
    assert sum(size for _, size in account.durations) == count
    assert 0 <= account.longest <= account.total


def test_item_of_a_map_counts_for_the_function_of_the_user(table: AccountTable) -> None:
    assert sum(futures.map(half, range(10))) == 22.5
    assert sum(futures.map(half, [1.0] * 1000)) == 500
    assert {name: account.count for name, account in seen(table).items()} == {"half": 1010}


def test_fold_and_scan_count_their_items(table: AccountTable) -> None:
    futures.map_reduce(half, max, range(10))
    list(futures.map_scan(half, max, range(10)))
    assert seen(table)["half"].count == 20


def test_item_that_fails_in_a_fold_is_told(table: AccountTable) -> None:
    with pytest.raises(ValueError, match="cannot halve 13"):
        futures.map_reduce(half, max, [1, 2, 13, 4])
    assert seen(table)["half"].count == 3
    assert [(failure.function, failure.arguments) for failure in table.failures()] == [("half", "13")]


def test_task_has_its_own_time_without_that_of_tasks_inside() -> None:
    table = AccountTable()
    clock = [0.0]

    def inner() -> None:
        clock[0] += 5

    def whole() -> None:
        clock[0] += 1
        futures.submit(inner).result()
        clock[0] += 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoop_hpc.worker.runner.monotonic", lambda: clock[0])
        controller = Controller(NoLink(), ORIGIN, 1, serial=True, accounts=Accounts(table, ORIGIN))
        patch.setattr(current, "_worker", controller)
        futures.submit(whole).result()
        found = seen(table)
    totals = {name.rpartition(".")[2]: account.total for name, account in found.items()}
    assert totals == {"inner": pytest.approx(5), "whole": pytest.approx(3)}


def test_failed_task_is_described(table: AccountTable) -> None:
    assert futures.submit(half, 13).exception() is not None
    (failure,) = table.failures()
    assert (failure.function, failure.position, failure.arguments) == ("half", None, "13")
    assert failure.error == "ValueError: cannot halve 13"
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError(f"cannot halve {number}")' in failure.traceback
    assert (failure.worker, failure.attempt) == (ORIGIN, 1)
    assert seen(table)["half"].failed == 1
    assert table.failures() == []  # each is told once


@pytest.mark.parametrize("count", [4, 40])  # single tasks, and chunks
def test_failed_item_has_its_place_in_the_map(table: AccountTable, count: int) -> None:
    with pytest.raises(ValueError, match="cannot halve 13"):
        list(futures.map(half, [1] * count + [13] + [1] * count))
    (failure,) = table.failures()
    assert (failure.function, failure.position, failure.arguments) == ("half", count + 1, "13")


def test_task_that_fails_since_one_that_it_waits_for_has_failed_is_told_as_well(table: AccountTable) -> None:
    assert futures.submit(outer, 13).exception() is not None
    assert [failure.function for failure in table.failures()] == ["half", "outer"]


def test_retries_are_counted_and_the_last_attempt_is_told(table: AccountTable) -> None:
    assert futures.submit(broken, 1).exception() is not None
    assert seen(table)["broken"].repeated == 2
    assert [failure.attempt for failure in table.failures()] == [3]


def test_thousands_of_failures_are_counted_and_few_are_described(table: AccountTable) -> None:
    for _ in range(10_000):
        futures.submit(half, 13).exception()
    assert seen(table)["half"].failed == 10_000
    assert 0 < len(table.failures()) < MOST_FAILURES


class Hostile:
    """A value whose description raises."""

    def __repr__(self) -> str:
        raise SystemExit("no")


def test_arguments_are_shortened_whatever_they_do(table: AccountTable) -> None:
    futures.submit(fail, ValueError(), Hostile(), "x" * 10_000).exception()
    (failure,) = table.failures()
    assert failure.arguments.startswith("ValueError(), <Hostile")
    assert len(failure.arguments) < 200


def nameless() -> Exception:
    """Return an error whose class lets nobody see its name."""

    class Hidden(type):
        def __getattribute__(cls, name: str) -> Any:
            if name in ("__name__", "__qualname__", "__module__"):
                raise SystemExit("no")
            return super().__getattribute__(name)

    class Nameless(Exception, metaclass=Hidden):
        pass

    return Nameless("x")


class Text(str):
    """A string that nobody may look at."""

    __slots__ = ()

    def __len__(self) -> int:
        raise SystemExit("no")


class Saying(Exception):
    """An error that says something of a class of its own."""

    def __str__(self) -> str:
        return Text("so it is")


def imitation(name: str) -> object:
    """Return an object that reprlib takes for a collection."""
    return type(name, (), {})()


def fail_in_no_file() -> None:
    exec(compile("raise ValueError('in no file')", "\ud800", "exec"), {})


@pytest.mark.parametrize(
    "argument",
    [10**5000, [10**5000], "\udcff", *map(imitation, ["array", "deque", "dict", "list", "set"])],
    ids=lambda value: type(value).__name__,
)
def test_task_fails_by_its_own_error_whatever_its_arguments_are(table: AccountTable, argument: object) -> None:
    assert str(futures.submit(fail, ValueError("its own"), argument).exception()) == "its own"
    (failure,) = table.failures()
    assert failure.error == "ValueError: its own"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: ValueError("caf\udce9"), r"ValueError: caf\udce9"),
        (nameless, "Nameless: x"),
        (Saying, "Saying: so it is"),
    ],
    ids=["surrogate", "nameless", "saying"],
)
def test_task_fails_by_its_own_error_whatever_that_says(
    table: AccountTable, error: Callable[[], Exception], text: str
) -> None:
    raised = error()
    assert futures.submit(fail, raised).exception() is raised
    (failure,) = table.failures()
    assert failure.error.rpartition(".")[2] == text


def test_task_of_a_file_that_can_be_none_and_with_such_a_name_fails_by_its_own_error(table: AccountTable) -> None:
    task = types.FunctionType(fail_in_no_file.__code__, globals(), "task\udcff")
    task.__qualname__ = "task\udcff"
    assert str(futures.submit(task).exception()) == "in no file"
    (failure,) = table.failures()
    assert failure.function == r"task\udcff"
    assert failure.traceback.endswith("ValueError: in no file\n")


def test_functions_beyond_the_rows_go_together() -> None:
    table = AccountTable()
    for number in range(ROWS + 10):
        table.add(table.row(f"f{number}"), 1, 1.0, 1.0, ((0, 1),))
    accounts = table.functions()
    assert (len(accounts), accounts[-1].name, accounts[-1].count) == (ROWS, OTHERS, 11)


def test_failures_come_out_as_they_went_in_around_the_ring() -> None:
    table = AccountTable()
    for number in range(200):
        assert table.tell(failed(number, "x" * 997 * (number % 5)))
        assert table.failures() == [failed(number, "x" * 997 * (number % 5))]


def test_failure_without_room_is_dropped() -> None:
    table = AccountTable()
    assert table.tell(failed(1, "x" * (RING_BYTES // 2)))
    assert not table.tell(failed(2, "x" * (RING_BYTES // 2)))
    assert [failure.position for failure in table.failures()] == [1]
    assert table.tell(failed(3, "x" * (RING_BYTES // 2)))


def test_what_a_program_has_written_over_is_no_failure() -> None:
    table = AccountTable()
    table.tell(failed())
    table._memory[-RING_BYTES : -RING_BYTES + 100] = b"\xff" * 100
    assert table.failures() == []
    assert table.tell(failed(2))
    assert [failure.position for failure in table.failures()] == [2]


def test_worker_tells_since_when_it_is_idle() -> None:
    table = AccountTable()
    assert table.worker(ORIGIN, 10.0).began is None
    table.worked(2.0, 5.0)
    table.worked(6.0, 7.0)
    account = table.worker(ORIGIN, 10.0)
    assert (account.busy, account.began, account.ended) == (4.0, 8.0, 3.0)


def nothing(path: str) -> None:
    return None


def test_node_keeps_what_dead_workers_have_done_and_tells_each_failure_once() -> None:
    node = NodeAccounts(nothing)
    tables = {worker_name(0, 1): AccountTable(), worker_name(0, 2): AccountTable()}
    for table in tables.values():
        table.add(table.row("half"), 2, 3.0, 2.0, ((40, 2),))
        table.worked(1.0, 2.0)
        table.tell(failed())
    node.bury(worker_name(0, 1), tables.pop(worker_name(0, 1)), 4.0, 1)
    assert node.has_failures(())
    told = node.read(tables, 6.0)
    assert told.functions == (FunctionAccount("half", 4, 0, 0, 6.0, 2.0, ((40, 4),)),)
    assert {worker.name: worker.ended for worker in told.workers} == {worker_name(0, 1): 4.0, worker_name(0, 2): 4.0}
    assert (len(told.failures), told.lost) == (2, 1)
    assert node.read(tables, 7.0).failures == ()


def test_task_in_which_a_worker_died_is_repeated_of_its_function_and_those_that_waited_of_none() -> None:
    node = NodeAccounts(nothing)
    for _ in range(2):
        node.bury(worker_name(0, 1), AccountTable(), 4.0, 3, "fatal")
    node.bury(worker_name(0, 2), AccountTable(), 4.0, 1)
    told = node.read({}, 6.0)
    assert told.functions == (FunctionAccount("fatal", 0, 0, 2, 0.0, 0.0, ()),)
    assert told.lost == 5


def test_functions_of_one_name_are_summed() -> None:
    one, two = FunctionAccount("f", 1, 0, 1, 1.0, 1.0, ((3, 1),)), FunctionAccount("f", 2, 1, 0, 4.0, 3.0, ((4, 2),))
    assert summed([one, two]) == (FunctionAccount("f", 3, 1, 1, 5.0, 3.0, ((3, 1), (4, 2))),)


def files(texts: dict[str, str]) -> Callable[[str], str | None]:
    return texts.get


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        ({}, 0),
        ({"/proc/meminfo": "MemTotal:  4 kB\nMemFree: 1 kB\n"}, 4096),
        (
            {
                "/proc/meminfo": "MemTotal:  4 kB\n",
                "/proc/self/cgroup": "0::/job/step\n",
                "/sys/fs/cgroup/job/memory.max": "1000\n",
                "/sys/fs/cgroup/job/step/memory.max": "max\n",
            },
            1000,
        ),
        (
            {
                "/proc/self/cgroup": "3:cpu,memory:/job\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000\n",
            },
            2000,
        ),
    ],
    ids=["nobody", "machine", "v2", "v1"],
)
def test_memory_is_limited_by_whoever_gives_least(texts: dict[str, str], limit: int) -> None:
    assert memory_limit(files(texts)) == limit


@pytest.mark.parametrize(
    ("texts", "granted", "limit"),
    [
        ({"/proc/meminfo": "MemTotal: 1048576 kB\n"}, 2**29, 2**29),
        ({"/proc/meminfo": "MemTotal: 1048576 kB\n"}, 0, 2**30),
        ({}, 2**29, 2**29),
        ({}, 0, 0),
    ],
)
def test_memory_is_limited_by_what_the_scheduler_grants_too(texts: dict[str, str], granted: int, limit: int) -> None:
    accounts = NodeAccounts(files(texts), granted)
    assert (accounts.memory_limit, accounts.read({}, 1.0).memory_limit) == (limit, limit)


@pytest.mark.parametrize("seconds", [1e-8, 1e-6, 0.0123, 1.0, 7200.0])
def test_quantile_is_within_a_bin(seconds: float) -> None:
    assert seconds <= quantile(((bin_of(seconds), 1),), 0.5) <= max(1.42 * seconds, EDGES[0])


def test_most_memory_is_seen_of_runs_that_end_soon_and_looks_get_rare() -> None:
    looks: list[str] = []

    def read(path: str) -> str | None:
        if "status" not in path:
            return None
        looks.append(path)
        return f"RssAnon:\t{4 if len(looks) == 2 else 1} kB\n"

    accounts = NodeAccounts(read)
    for _ in range(64):
        accounts.look_at_memory([7], is_due=False)
    assert accounts.read({}, 1.0).memory == 4096
    assert looks == ["/proc/7/status"] * 7
    accounts.look_at_memory([7, 8], is_due=True)
    assert looks[7:] == ["/proc/7/status", "/proc/8/status"]
