"""Functions of a client's `__main__`, seen in a worker that has an empty one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.worker import arrived, bundles, calls, namespace

SCRIPT = """
import functools, math
scale, table, data = 2, {"a": 1}, None
def inner(x): return scale * x
def outer(x): return inner(x) + math.floor(0.5)
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n > 0 and even(n - 1)
def prepare(given):
    global data
    data = given
def read(): return data
def look(): return table["a"]
def increased(x, by=1): return x + by
@functools.lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Point:
    def __init__(self, x): self.x = x
    def scaled(self): return scale * self.x
def make(x): return Point(x)
def of(point): return point.scaled()
ring = {}
def around(): return ring["f"] is not None
ring["f"] = around
def locked(): return lock
"""


class Sides:
    """A client and a worker, in one process: each with its `__main__`, and with what it knows of names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.client, self.client_names = ModuleType("__main__"), arrived.Names()
        monkeypatch.setattr(calls, "_task_pickler", None)
        monkeypatch.setitem(sys.modules, "__mp_main__", self.client)
        self._enter(self.client, arrived.Names())
        namespace.become_worker()
        self.worker, self.worker_names = sys.modules["__main__"], arrived.names
        self.be_client()
        exec(SCRIPT, self.client.__dict__)

    def _enter(self, main: ModuleType, names: arrived.Names) -> None:
        self._monkeypatch.setitem(sys.modules, "__main__", main)
        self._monkeypatch.setattr(arrived, "names", names)

    def be_client(self) -> None:
        self._enter(self.client, self.client_names)

    def be_worker(self) -> None:
        self._enter(self.worker, self.worker_names)

    def frames(self, function: str, *args: Any) -> list[Any]:
        self.be_client()
        return bundles.dump_call(getattr(self.client, function), args, {})

    def call(self, function: str, *args: Any) -> Any:
        """Call a function of the client's in the worker."""
        frames = self.frames(function, *args)
        self.be_worker()
        called, given, kwargs = bundles.load_call(frames)
        try:
            return called(*given, **kwargs)
        finally:
            self.be_client()


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Sides:
    return Sides(monkeypatch)


@pytest.mark.parametrize(
    ("function", "argument", "result"), [("outer", 3, 6), ("even", 10, True), ("increased", 1, 2), ("fib", 30, 832040)]
)
def test_function_brings_what_it_uses(sides: Sides, function: str, argument: int, result: int) -> None:
    assert sides.call(function, argument) == result


def test_functions_share_globals_and_keep_what_the_worker_made_of_them(sides: Sides) -> None:
    sides.call("prepare", [1, 2])
    assert sides.call("read") == [1, 2]
    assert sides.client.data is None
    sides.client.data = "new"
    assert sides.call("read") == "new"


def test_changes_in_the_client_arrive(sides: Sides) -> None:
    assert (sides.call("outer", 1), sides.call("look"), sides.call("increased", 1)) == (2, 1, 2)
    sides.client.scale = 5
    sides.client.table["a"] = 7
    sides.client.increased.__defaults__ = (10,)
    assert (sides.call("outer", 1), sides.call("look"), sides.call("increased", 1)) == (5, 7, 11)
    exec("def inner(x): return -x", sides.client.__dict__)
    assert sides.call("outer", 1) == -1
    exec("def inner(x): return scale * x", sides.client.__dict__)
    assert sides.call("outer", 1) == 5


def test_pickle_of_a_settled_function_is_made_once(sides: Sides) -> None:
    first, second = sides.frames("outer", 1), sides.frames("outer", 2)
    assert len(sides.client_names.pickles) == 1
    sides.be_worker()
    assert bundles.load_call(first)[0] is bundles.load_call(second)[0]


def test_class_of_the_client_comes_back_as_itself(sides: Sides) -> None:
    assert sides.call("of", sides.client.Point(4)) == 8
    frames = sides.frames("make", 3)
    sides.be_worker()
    called, args, _ = bundles.load_call(frames)
    outcome = calls.dump_outcome(calls.Outcome(called(*args)))
    sides.be_client()
    assert type(calls.load_outcome(outcome).value) is sides.client.Point


def test_global_that_holds_its_user_is_no_endless_loop(sides: Sides) -> None:
    assert sides.call("around") is True


def test_worker_passes_a_call_on_with_what_the_client_gave(sides: Sides) -> None:
    sides.call("prepare", "of this worker alone")
    frames = sides.frames("read")
    sides.be_worker()
    on = bundles.dump_call(bundles.load_call(frames)[0], (), {})
    assert b"of this worker alone" not in b"".join(map(bytes, on))
    called, _, _ = bundles.load_call(on)
    assert called() == "of this worker alone"


def test_global_that_cannot_be_pickled_is_named(sides: Sides) -> None:
    exec("import threading; lock = threading.Lock()", sides.client.__dict__)
    with pytest.raises(UnpicklableError, match="the global 'lock': TypeError"):
        sides.frames("locked")


def test_functions_of_modules_go_by_name(sides: Sides) -> None:
    assert len(bundles.dump_call(pytest.approx, (1,), {})[0]) < 200
