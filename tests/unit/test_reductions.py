"""Reductions and scans: the same as the standard library's, however the work is shared."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import operator
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_controller import Home

from scoop_hpc import futures
from scoop_hpc.bulk import scans, splitting
from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.bulk.splitting import NOTHING, Fold
from scoop_hpc.errors import TaskError, UnpicklableError
from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.worker import controller, current
from scoop_hpc.worker.loop_timing import LoopTiming, LoopTimings
from scoop_hpc.worker.policy import DEFAULT, Policy

Matrix = tuple[tuple[int, int], tuple[int, int]]
Run = Callable[..., Any]


def run_program(program: Callable[[], Any], link: Home | None = None, size: int = 4, policy: Policy = DEFAULT) -> Any:
    """Run *program* as the origin's, on one of *size* workers; return its result."""
    link = link or Home()
    worker = controller.Controller(link, ORIGIN, size, policy=policy)
    handler = signal.getsignal(signal.SIGINT)
    results: list[Any] = []
    try:
        with mock.patch.object(current, "_worker", worker):
            # a program that fails does not wait for what it submitted
            worker.loop.run_program(lambda: results.append(program()) or int(not link.hands_out))  # type: ignore[func-returns-value]
    finally:
        signal.signal(signal.SIGINT, handler)
    return results[0]


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a program on a worker alone or one of four."""
    return functools.partial(run_program, size=request.param)


class FakeFuture:
    """A task that is run when somebody wants it, with all that it takes and gives pickled on the way."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.call: tuple[Any, ...] | None = pickles.load(pickles.dump((function, args)))
        self.settled = False
        self.abandoned = False

    def run(self) -> None:
        if self.call is not None:
            function, args = self.call
            self.call = None
            self._result = pickles.load(pickles.dump(function(*args)))
            self.settled = True

    def result(self) -> Any:
        return self._result


class FakeWorker:
    """A worker among others that are hungry by the dice, and do a part now, later or when it is wanted."""

    def __init__(self, seed: int, size: int = 3, hunger: float = 0.3, policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self.size = size
        self.longest_here = math.inf
        self.loop_timings = LoopTimings()
        self.futures: list[FakeFuture] = []
        self._dice = random.Random(seed)
        self._hunger = hunger

    def hungry(self) -> bool:
        for future in self.futures:
            if self._dice.random() < 0.2:
                future.run()
        return self._dice.random() < self._hunger

    def submit(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], cost: Any = None
    ) -> Any:
        self.futures.append(FakeFuture(function, args))
        return self.futures[-1]

    def wait_for(self, future: Any, deadline: float | None) -> None:
        if deadline is None or time.monotonic() < deadline:
            future.run()

    def as_task(self) -> Any:
        return contextlib.nullcontext()

    def meter(self, function: object) -> None:
        return None

    def note_called(self, function: object) -> None:
        """Do nothing: nobody dies here."""

    def abandon(self, future: Any) -> None:
        future.abandoned = True


def fold(
    worker: FakeWorker,
    function: Callable[..., Any],
    reduction: Callable[[Any, Any], Any],
    items: Iterable[Any],
    deadline: float | None = None,
) -> Any:
    """Fold single *items* on *worker*, looking around after each of them, as if all of them lasted."""
    always: dict[str, Any] = {"is_due": lambda _: True, "worth_sharing": lambda _, count: count > 1}
    with mock.patch.object(splitting, "current", return_value=worker), mock.patch.multiple(LoopTiming, **always):
        return splitting.fold(worker, function, reduction, zip(items), deadline)


def multiply(a: Matrix, b: Matrix) -> Matrix:
    ((e, f), (g, h)), ((i, j), (k, m)) = a, b
    return (e * i + f * k, e * j + f * m), (g * i + h * k, g * j + h * m)


def shear(n: int) -> Matrix:
    return ((1, n), (0, 1)) if n % 2 else ((1, 0), (n, 1))


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_fold_of_texts_keeps_their_order_however_it_is_split(texts: list[str], seed: int, hunger: float) -> None:
    result = fold(FakeWorker(seed, 3, hunger), str.upper, operator.add, texts)
    assert result == (functools.reduce(operator.add, map(str.upper, texts)) if texts else NOTHING)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.integers(0, 10**6), st.booleans())
def test_fold_of_matrices_is_their_product_however_it_is_split(numbers: list[int], seed: int, in_time: bool) -> None:
    deadline = time.monotonic() + 60 if in_time else None
    result = fold(FakeWorker(seed), shear, multiply, numbers, deadline)
    assert result == functools.reduce(multiply, map(shear, numbers))


def test_fold_calls_each_function_once_for_each_item() -> None:
    called: list[int] = []
    worker = FakeWorker(1, 3, 0.0)
    total = fold(worker, lambda n: called.append(n) or n, operator.add, range(100))  # type: ignore[func-returns-value]
    assert (total, called, worker.futures) == (4950, list(range(100)), [])


def test_fold_reads_a_long_iterator_by_blocks_and_bounds_what_is_out() -> None:
    worker = FakeWorker(2, 2, 0.9, Policy(fold_block=20, fold_ahead=50))
    out = []

    def numbers() -> Iterator[int]:
        for n in range(1000):
            done = sum(future.settled for future in worker.futures)
            out.append(len(worker.futures) - done)
            yield n

    assert fold(worker, int, operator.add, numbers()) == 499500
    assert max(out) < 60


@pytest.mark.parametrize("seed", range(20))
def test_fold_raises_what_a_part_raised_and_drops_the_others(seed: int) -> None:
    worker = FakeWorker(seed, 3, 0.9)

    def inverse(n: int) -> float:
        return 1 / n

    with pytest.raises(ZeroDivisionError):
        fold(worker, inverse, operator.add, [1, 2, 3, 4, 5, 6, 0, 8, 9])
    assert all(future.settled or future.abandoned for future in worker.futures)


def test_items_that_cannot_be_pickled_are_folded_where_they_are() -> None:
    worker = FakeWorker(3, 3, 1.0)
    assert fold(worker, lambda lock: 1, operator.add, [threading.Lock() for _ in range(9)]) == 9
    assert worker.futures == []


def test_item_that_cannot_be_pickled_keeps_its_own_block_only() -> None:
    worker = FakeWorker(3, 3, 1.0)
    items = [threading.Lock(), *range(200)]
    assert fold(worker, lambda item: 1, operator.add, items) == 201
    assert worker.futures != []


def test_part_that_cannot_be_unpickled_says_so() -> None:
    class Odd:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    with pytest.raises(TaskError, match="part of map_reduce.*no number"):
        splitting.fold_part(Packed(pickles.dump((abs, max, [(Odd(),)]))), None, None)


def test_part_stops_when_its_time_is_over() -> None:
    worker = FakeWorker(4, 1)
    with pytest.raises(futures.TimeoutError):
        Fold(worker, int, operator.add, deadline=time.monotonic() - 1).run(zip(range(10)), 11)


def test_fold_that_nobody_hurries_is_a_loop(run: Run) -> None:
    link = Home()
    assert run(lambda: futures.map_reduce(int, operator.add, range(100)), link, size=1) == 4950
    assert link.exported == 0


# on the controller, with a broker in memory


def test_map_reduce_is_the_reduction(run: Run) -> None:
    for count in (1, 2, 7, 100, 1000):
        assert run(lambda count=count: futures.map_reduce(str, operator.add, range(count))) == "".join(
            map(str, range(count))
        )


def test_map_reduce_takes_several_iterables(run: Run) -> None:
    assert run(lambda: futures.map_reduce(pow, operator.add, [2, 3, 4], [3, 2])) == 17


def test_map_reduce_shares_with_the_hungry(run: Run) -> None:
    link = Home()
    assert run(lambda: futures.map_reduce(str, operator.add, range(100)), link, size=4) == "".join(map(str, range(100)))
    assert link.exported > 0


def test_map_reduce_of_one_item_does_not_reduce(run: Run) -> None:
    assert run(lambda: futures.map_reduce(str, lambda a, b: 1 / 0, [7])) == "7"


def test_map_reduce_of_nothing_is_its_initial(run: Run) -> None:
    assert run(lambda: futures.map_reduce(str, operator.add, [], initial=None)) is None
    with pytest.raises(TypeError, match="no items"):
        run(lambda: futures.map_reduce(str, operator.add, []))


def test_map_reduce_puts_its_initial_first(run: Run) -> None:
    assert run(lambda: futures.map_reduce(str, operator.add, range(9), initial="x")) == "x012345678"


def test_map_reduce_leaves_all_to_others_to_keep_its_time(run: Run) -> None:
    link = Home(hands_out=False)
    with pytest.raises(futures.TimeoutError):
        run(lambda: futures.map_reduce(fail, operator.add, range(100), timeout=0.01), link, size=4)


def test_map_reduce_alone_notices_its_time_between_items(run: Run) -> None:
    with pytest.raises(futures.TimeoutError):
        run(lambda: futures.map_reduce(int, operator.add, itertools.repeat(1), timeout=0.01), size=1)


def test_map_reduce_raises_what_its_iterable_raises(run: Run) -> None:
    def items() -> Iterator[int]:
        yield from range(50)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        run(lambda: futures.map_reduce(str, operator.add, items()))


def test_exception_of_a_part_carries_its_traceback(run: Run) -> None:
    def program() -> BaseException:
        with pytest.raises(KeyError, match="1") as raised:
            futures.map_reduce(fail_at_one, operator.add, range(2))
        return raised.value

    assert "fail_at_one" in str(run(program, size=4).__cause__)


def test_folds_inside_folds(run: Run) -> None:
    def row(n: int) -> int:
        return int(futures.map_reduce(int, operator.add, range(n)))

    assert run(lambda: futures.map_reduce(row, operator.add, range(1, 30))) == sum(sum(range(n)) for n in range(30))


@pytest.mark.parametrize("name", ["map_reduce", "map_scan"])
def test_folds_refuse_what_they_cannot_use(run: Run, name: str) -> None:
    call = getattr(futures, name)
    for refused in (
        lambda: call(3, max, [1]),
        lambda: call(int, 3, [1]),
        lambda: call(int, max),
        lambda: list(call(str, max, [1, (n for n in "ab")])),
    ):
        with pytest.raises(TypeError, match=f"not callable|{name} needs|item 2 of {name}: argument 1 is a generator"):
            run(refused)


@pytest.mark.filterwarnings("ignore:futures run one after the other:RuntimeWarning")
def test_folds_outside_a_run_are_done_here() -> None:
    assert futures.map_reduce(int, max, [1, 3, 2]) == 3
    assert list(futures.map_scan(int, max, [1, 3, 2])) == [1, 3, 3]


def test_map_scan_is_accumulate(run: Run) -> None:
    for count in (0, 1, 2, 3, 100, 1000):
        expected = list(itertools.accumulate(map(str, range(count))))
        assert run(lambda count=count: list(futures.map_scan(str, operator.add, range(count)))) == expected


@pytest.mark.parametrize("worth", [True, False])
@given(numbers=st.lists(st.integers(-5, 5), max_size=40))
def test_map_scan_of_matrices_keeps_their_order(worth: bool, numbers: list[int]) -> None:
    def program() -> list[Matrix]:
        return list(futures.map_scan(shear, multiply, numbers))

    with mock.patch("scoop_hpc.bulk.reduce.worth_a_task", return_value=worth):
        assert run_program(program) == list(itertools.accumulate(map(shear, numbers), multiply))


def test_map_scan_reduces_twice_for_each_item_at_most(run: Run) -> None:
    reductions = []

    def add(a: int, b: int) -> int:
        reductions.append(1)
        return a + b

    assert run(lambda: list(futures.map_scan(int, add, range(500))), size=1)[-1] == 124750
    assert len(reductions) < 2 * 500 + 60


def test_map_scan_reads_an_endless_iterable_as_needed(run: Run) -> None:
    def program() -> list[int]:
        return list(itertools.islice(futures.map_scan(int, operator.add, itertools.count(1)), 2000))

    assert run(program) == list(itertools.accumulate(range(1, 2001)))


def test_map_scan_raises_at_the_place_of_the_failure(run: Run) -> None:
    def program() -> list[float]:
        got: list[float] = []
        with pytest.raises(ZeroDivisionError):
            got.extend(futures.map_scan(lambda x: 6 // x, operator.add, [1, 2, 3, 6, 0, 1]))
        return got

    assert run(program) == [6, 9, 11, 12]


def test_map_scan_raises_what_its_reduction_raises_after_the_results_before(run: Run) -> None:
    def add(a: int, b: int) -> int:
        if a + b > 10_000:
            raise OverflowError
        return a + b

    def program() -> list[int]:
        got: list[int] = []
        with pytest.raises(OverflowError):
            got.extend(futures.map_scan(int, add, [1] * 20_000))
        return got

    assert run(program) == list(range(1, 10_001))


def test_map_scan_of_what_cannot_be_pickled_is_done_here(run: Run) -> None:
    assert run(lambda: list(futures.map_scan(count_locks, operator.add, [threading.Lock()] * 50))) == list(range(1, 51))


def test_result_of_a_fold_that_cannot_be_pickled_is_an_error_at_its_place(run: Run) -> None:
    with pytest.raises(UnpicklableError, match="lock"):
        run(lambda: list(futures.map_scan(lambda _: threading.Lock(), lambda a, b: b, [1])), size=4)


def test_map_scan_honours_its_timeout(run: Run) -> None:
    with pytest.raises(futures.TimeoutError):
        run(lambda: list(futures.map_scan(int, max, [1], timeout=0.01)), Home(hands_out=False), size=4)


def test_what_came_before_is_put_in_front_up_to_a_failure() -> None:
    chunk = run_chunk(fail_at_one, [(0,), (1,)])
    shifted = scans.put_before(operator.add, 7, chunk)
    results = iter(shifted.unpacked())
    assert next(results) == 7
    with pytest.raises(KeyError):
        next(results)


def fail(x: int) -> int:
    raise KeyError(x)


def fail_at_one(x: int) -> int:
    return fail(x) if x == 1 else x


def count_locks(lock: Any) -> int:
    return 1
