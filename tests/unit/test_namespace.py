"""Functions of a client's `__main__`, seen in a worker that has an empty one."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import re
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import cloudpickle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoop_hpc import futures
from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import batching, main_by_value, main_received, pickles
from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import ORIGIN, worker_name
from scoop_hpc.task import TaskOptions, options_of
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.serial import NoLink
from scoop_hpc.worker.tasks import opened

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


class Process:
    """What is different in each process: its `__main__`, and what it knows of names and of classes sent by value."""

    def __init__(self) -> None:
        self.main = ModuleType("__main__")
        self.names = main_received.Names()
        self.classes: Any = weakref.WeakKeyDictionary()
        self.classes_by_id: Any = weakref.WeakValueDictionary()

    def enter(self) -> None:
        sys.modules["__main__"] = sys.modules["__mp_main__"] = self.main
        main_received.names = self.names
        cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS = self.classes
        cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID = self.classes_by_id


class Sides:
    """A client and two workers, in one process."""

    def __init__(self, script: str = SCRIPT) -> None:
        self.parties = [Process() for _ in range(3)]
        for worker in self.parties[1:]:
            worker.enter()
            main_by_value.become_worker()
            worker.main = sys.modules["__main__"]
        self.client: Any = self.parties[0].main
        self.client_names = self.parties[0].names
        self.be_client()
        exec(script, self.client.__dict__)

    def define(self, text: str) -> None:
        """Execute a text in the client's `__main__`."""
        self.be_client()
        exec(textwrap.dedent(text), self.client.__dict__)

    def be_client(self) -> None:
        self.parties[0].enter()

    def be_worker(self, number: int = 1) -> None:
        self.parties[number].enter()

    def frames(self, function: str, *args: Any) -> list[Any]:
        self.be_client()
        return batching.dump_call(getattr(self.client, function), args, {})

    def call(self, function: str, *args: Any, worker: int = 1) -> Any:
        """Call a function of the client's in a worker."""
        frames = self.frames(function, *args)
        self.be_worker(worker)
        try:
            called, given, kwargs = batching.load_call(frames)
            return called(*given, **kwargs)
        finally:
            self.be_client()

    def call_from_task(self, function: str, *args: Any) -> Any:
        """Call a function of the client's in the second worker, as a task of a task in the first."""
        frames = self.frames(function, *args)
        try:
            self.be_worker(1)
            called, given, kwargs = batching.load_call(frames)
            frames = batching.dump_call(called, given, kwargs)
            self.be_worker(2)
            called, given, kwargs = batching.load_call(frames)
            return called(*given, **kwargs)
        finally:
            self.be_client()


@pytest.fixture(autouse=True)
def this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be again what this process is, at the end."""
    monkeypatch.setattr(pickles, "_task_pickler", None)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])
    process = Process()
    process.main, process.names = sys.modules["__main__"], main_received.names
    process.classes = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS
    process.classes_by_id = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    yield
    process.enter()


@pytest.fixture
def sides() -> Sides:
    return Sides()


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
    assert len(sides.client_names.prefixes) == 1
    sides.be_worker()
    assert batching.load_call(first)[0] is batching.load_call(second)[0]


def test_class_of_the_client_comes_back_as_itself(sides: Sides) -> None:
    assert sides.call("of", sides.client.Point(4)) == 8
    frames = sides.frames("make", 3)
    sides.be_worker()
    called, args, _ = batching.load_call(frames)
    outcome = pickles.dump_outcome(pickles.Outcome(called(*args)))
    sides.be_client()
    assert type(pickles.load_outcome(outcome).value) is sides.client.Point


def test_global_that_holds_its_user_is_no_endless_loop(sides: Sides) -> None:
    assert sides.call("around") is True


def test_worker_passes_a_call_on_with_what_the_client_gave(sides: Sides) -> None:
    sides.call("prepare", "of this worker alone")
    frames = sides.frames("read")
    sides.be_worker()
    on = batching.dump_call(batching.load_call(frames)[0], (), {})
    assert b"of this worker alone" not in b"".join(map(bytes, on))
    called, _, _ = batching.load_call(on)
    assert called() == "of this worker alone"


def test_global_set_back_to_an_earlier_value_is_the_earlier_one_in_workers(sides: Sides) -> None:
    for scale in (2, 3, 2):
        sides.client.scale = scale
        assert (sides.call("inner", 10), sides.call_from_task("outer", 10)) == (10 * scale, 10 * scale)


def test_global_that_is_given_again_replaces_what_a_task_made_of_it_in_whichever_worker(sides: Sides) -> None:
    sides.call("prepare", "of a task")
    sides.client.data = "new"
    sides.call("read", worker=2)  # the first worker never hears of it
    sides.client.data = None
    assert sides.call("read") is None


def test_large_global_is_brought_up_to_date_and_kept_by_nobody_as_a_pickle(sides: Sides) -> None:
    sides.client.table = {"a": 1, "much": ["x" * 100_000]}
    for value in (1, 2, 1, 1):
        sides.client.table["a"] = value
        assert (sides.call("look"), sides.call_from_task("look")) == (value, value)
    assert not sides.client_names.sent["table"].given.text
    worker = sides.parties[1].names
    assert not [text for text in worker.environments if len(text) > 100_000]
    assert not [each for each in worker.agreeing.values() if "table" in each]


def test_deleted_global_is_deleted_in_workers_and_shows_the_builtin_that_it_hid(sides: Sides) -> None:
    sides.define("""
        def len(x): return -1
        def size(): return len([]), scale
    """)
    assert sides.call("size") == (-1, 2)
    del sides.client.len
    assert sides.call("size") == (0, 2)
    del sides.client.scale
    with pytest.raises(NameError, match="scale"):
        sides.call("size")


def test_global_that_only_the_worker_has_stays(sides: Sides) -> None:
    sides.define("""
        def fill():
            global own
            own = 7
        def has(): return own, scale
    """)
    sides.call("fill")
    for scale in (1, 2, 1):
        sides.client.scale = scale
        assert sides.call("has") == (7, scale)


def test_attributes_of_a_class_are_changed_deleted_and_put_back(sides: Sides) -> None:
    sides.define("""
        class Model:
            rate = 1
            def get(self): return getattr(self, "rate", None)
        def ask(): return Model().get()
    """)
    for rate in (1, 2, None, 2, 1):
        if rate is None:
            del sides.client.Model.rate
        else:
            sides.client.Model.rate = rate
        assert (sides.call("ask"), sides.call_from_task("ask")) == (rate, rate)


def test_attribute_of_a_class_that_a_worker_has_set_stays_until_another_is_given(sides: Sides) -> None:
    sides.define("""
        class Model:
            table = None
            rate = 1
        def load(x): Model.table = x
        def get(): return Model.table, Model.rate
    """)
    sides.call("load", "loaded")
    sides.client.Model.rate = 2
    assert sides.call("get") == ("loaded", 2)
    sides.client.Model.table = "of the program"
    assert sides.call("get") == ("of the program", 2)


def test_classes_and_functions_that_refer_to_each_other_arrive_as_one_web(sides: Sides) -> None:
    sides.define("""
        class A: pass
        class B(A): partner = A
        A.partner, A.own, B.rank = B, B(), lambda self: rank(self)
        def rank(x): return [rank.top, x.partner is A, isinstance(A.own, B)]
        rank.top = "top"
        def web(): return B().rank() + [A.partner is B]
    """)
    assert sides.call("web") == sides.call_from_task("web") == ["top", True, True, True]


def test_function_put_into_a_module_under_its_name_there_is_the_one_that_was_put(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides.define("""
        import functools, textwrap
        original = textwrap.dedent
        @functools.wraps(original)
        def counted(text): return "counted " + original(text)
        used = counted
        def use(): return used(" x")
    """)
    monkeypatch.setattr("textwrap.dedent", sides.client.counted)
    assert sides.call("use") == "counted x"
    sides.client.used = sides.client.original
    assert sides.call("use") == "x"


def test_task_begins_with_the_globals_that_it_came_with_though_others_came_meanwhile(sides: Sides) -> None:
    batches = []
    for scale in (3, 4):
        sides.client.scale = scale
        sides.be_client()
        batches.append(Batch(ORIGIN, 1, batching.dump_calls(sides.client.inner, [(1,), (2,)]), 2))
    sides.be_worker()
    (first, second), (other, _) = (opened(batch, lambda function: Cost()) for batch in batches)
    assert [task.function(*task.arguments()[0]) for task in (first, other, second)] == [3, 4, 6]
    assert other.function(*other.arguments()[0]) == 4
    late, _ = opened(batches[0], lambda function: Cost())
    assert late.function(*late.arguments()[0]) == 3
    on = batching.dump_again(second.function, second.item, second.environment)  # given back, while the others are here
    assert other.function(*other.arguments()[0]) == 4
    sides.be_worker(2)
    function, ((argument,),) = batching.load_calls(on)
    assert function(argument) == 6


def test_future_of_a_task_runs_with_the_globals_of_that_task_though_others_came_meanwhile(sides: Sides) -> None:
    first, second = (sides.frames("inner", 1) for sides.client.scale in (3, 4))
    quick = Cost()
    quick.learn(1e-5)
    sides.be_worker()
    controller = Controller(NoLink(), worker_name(0, 1), 2)
    future = controller.submit(batching.load_call(first)[0], (1,), {}, quick)  # stays here until others want it
    assert batching.load_call(second)[0](1) == 4
    assert future.unstarted
    assert future.result() == 3


EDITS = [
    *(f"{name} = {value}" for name in ("a", "b", "len") for value in (1, 2)),
    *(f"del {name}" for name in ("a", "b", "len", "used", "Model", "Model.rate", "Model.read", "other")),
    "def used(): return a",
    "def used(): return 'other', a, b",
    "used = (lambda a: lambda: (a, b))(5)",
    "def used(x=[]): return x, b",
    "used.__defaults__ = ([3],)",
    "def len(x): return 'own', a",
    "class Model:\n    rate = 1\n    def read(self): return self.rate, a",
    "class Model:\n    def read(self): return 'new', used()",
    "Model.rate = 1",
    "Model.rate = 2",
    "Model.read = lambda self: b",
    "other = [1]",
    "other.append(a)",
    "a = {'deep': [b]}",
    "kept = used, Model",
    "used, Model = kept",
]
TASKS = """
def by_global(): return a, b
def by_function(): return used()
def by_builtin(): return len("xy")
def by_class(): return Model().read(), Model.rate
def by_other(): return other, by_global()
def told(call):
    try: return repr(call())
    except (NameError, AttributeError, TypeError) as error: return repr(error)
def all_told(): return [told(call) for call in (by_global, by_function, by_builtin, by_class, by_other)]
a, b, other, used = 1, 1, [1], by_global
class Model:
    rate = 1
    def read(self): return self.rate, a
"""
BY = st.sampled_from(["by_global", "by_function", "by_builtin", "by_class", "by_other"])


@given(st.lists(st.tuples(st.sampled_from(EDITS), BY, st.integers(1, 2)), max_size=12))
@settings(max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_workers_compute_what_the_program_would_after_any_edits(steps: list[tuple[str, str, int]]) -> None:
    sides = Sides(TASKS)
    for edit, name, worker in steps:
        with contextlib.suppress(NameError, AttributeError, TypeError):
            sides.define(edit)
        task = getattr(sides.client, name)
        assert sides.call("told", task, worker=worker) == sides.client.told(task)
        assert sides.call_from_task("all_told") == sides.client.all_told()


TRAVELS = {
    "context variable": """
        import contextvars
        thing = contextvars.ContextVar("thing", default=4)
        def use(): return thing.get() + 1
    """,
    "singledispatch": """
        import functools
        @functools.singledispatch
        def thing(x): return 0
        @thing.register(int)
        def _(x): return 3 + len(thing.registry)
        def use(): return thing(1)
    """,
    "cached_property": """
        import functools
        class Thing:
            @functools.cached_property
            def five(self): return 5
        def use(): return Thing().five
    """,
    "lock": """
        import threading
        thing = threading.Lock()
        def use():
            with thing: return 5
    """,
    "lock of a class": """
        import threading
        class Thing: lock = threading.RLock()
        def use():
            with Thing.lock: return 5
    """,
    "logger": """
        import logging
        thing = logging.getLogger("x")
        def use(): return thing.name == "x" and 5
    """,
    "stream": """
        import sys
        thing = sys.stderr
        def use(): return thing is sys.stderr and 5
    """,
    "module made at run time": """
        import types
        thing = types.ModuleType("made")
        thing.five = 5
        def use(): return thing.five
    """,
}
REFUSED = {
    "thing": """
        thing = (n for n in "ab")
        def touch(): return next(thing)
    """,
    "thing['a'][0]": """
        import socket
        thing = {"a": [socket.socket()]}
        def touch(): return thing["a"]
    """,
    "Model.table": """
        class Model:
            table = (n for n in "ab")
            def use(self): return 5
        def touch(): return Model().use() and Model.table
    """,
    "thing.table": """
        def make(table):
            def inner(): return table
            return inner
        thing = make((n for n in "ab"))
        def touch(): return thing()
    """,
}


@pytest.mark.parametrize("text", TRAVELS.values(), ids=TRAVELS)
def test_what_ordinary_programs_have_among_their_globals_travels(sides: Sides, text: str) -> None:
    sides.define(text)
    assert (sides.call("use"), sides.call("use"), sides.call_from_task("use")) == (5, 5, 5)


@pytest.mark.parametrize(("path", "text"), REFUSED.items(), ids=REFUSED)
def test_only_the_part_that_cannot_travel_is_refused_and_by_its_path(sides: Sides, path: str, text: str) -> None:
    sides.define(text)
    sides.define("def maybe(use): return touch() if use else 5")
    assert (sides.call("maybe", False), sides.call("maybe", False)) == (5, 5)
    for call in (sides.call, sides.call_from_task):
        with pytest.raises(UnpicklableError, match=f"^{re.escape(path)}: TypeError: "):
            call("maybe", True)


def test_function_that_cannot_be_sent_itself_is_refused_before_it_is_sent(sides: Sides) -> None:
    sides.define(REFUSED["thing.table"] + "\n        inner = thing")
    with pytest.raises(UnpicklableError, match=r"cannot pickle inner\.table: TypeError"):
        sides.frames("inner")


def test_argument_that_cannot_be_pickled_is_named(sides: Sides) -> None:
    with pytest.raises(UnpicklableError, match=re.escape("cannot pickle argument 1['a'].lock of inner (")):
        sides.frames("inner", {"a": SimpleNamespace(lock=threading.Lock())})


def test_class_whose_metaclass_has_a_reducer_of_its_own_goes_by_that(sides: Sides) -> None:
    sides.define("""
        import copyreg
        class Meta(type):
            def __new__(meta, name, base): return type.__new__(meta, name, (base,), {})
            def __init__(self, name, base): pass
        def reduce(kind): return remake, (kind.__name__, kind.__base__)
        def remake(name, base): return Meta(name, base)
        copyreg.pickle(Meta, reduce)
        Kind = Meta("Kind", list)
        offset = 1
        def use(kind): return kind([1, 2])[0] + offset
    """)
    try:
        assert sides.call("use", sides.client.Kind) == 2
    finally:
        del copyreg.dispatch_table[sides.client.Meta]


def test_functions_of_modules_go_by_name(sides: Sides) -> None:
    assert len(batching.dump_call(pytest.approx, (1,), {})[0]) < 200


WITH_OPTIONS = """
from scoop_hpc import futures
class Flaky(Exception): pass
calls = []
scale = 2
@futures.task(retries=2, retry_on=(Flaky,), name="flaky")
def flaky(n):
    calls.append(n)
    if len(calls) < 3: raise Flaky
    return scale * n
@futures.task
def factorial(n): return n * factorial(n - 1) if n else 1
def plain(n): return scale * n
renamed = futures.task(plain, time_limit=5)
def user(n): return flaky(n), renamed(n), factorial(n)
class Shape:
    @futures.task(time_limit=3)
    def area(self): return scale * 9
def shaped(n): return Shape().area()
closed = (lambda offset: futures.task(lambda n: n + offset, retries=1))(7)
def options(_): return options_of(flaky)
from scoop_hpc.task import options_of
"""


@pytest.mark.parametrize("way", ["call", "call_from_task"])
def test_task_functions_bring_what_they_use_and_keep_their_options(way: str) -> None:
    sides = Sides(WITH_OPTIONS)
    call = getattr(sides, way)
    for function, argument, result in (
        ("flaky", 3, 6),
        ("factorial", 5, 120),
        ("renamed", 4, 8),
        ("user", 3, (6, 6, 6)),
        ("shaped", 0, 18),
        ("closed", 1, 8),
    ):
        assert call(function, argument) == result
    sides.client.scale = 5
    assert (call("renamed", 4), call("flaky", 1), call("shaped", 0)) == (20, 5, 45)
    sides.client.flaky = futures.task(sides.client.flaky, retries=4)
    given = call("options", 0)
    assert (given.retries, given.name, [kind.__name__ for kind in given.retry_on]) == (4, "flaky", ["Flaky"])


def test_task_function_of_the_client_is_the_same_in_all_its_calls() -> None:
    sides = Sides(WITH_OPTIONS)
    first, second = sides.frames("flaky", 1), sides.frames("flaky", 2)
    sides.be_worker()
    task = batching.load_call(first)[0]
    assert task is batching.load_call(second)[0]
    assert options_of(task) == TaskOptions(2, (sys.modules["__main__"].Flaky,), name="flaky")


def test_pickle_of_a_settled_task_function_is_made_once() -> None:
    sides = Sides(WITH_OPTIONS)
    first = sides.frames("factorial", 1)
    with mock.patch.object(main_by_value, "_definition", side_effect=AssertionError):
        assert len(sides.frames("factorial", 1)[0]) == len(first[0])


def test_task_function_of_a_module_that_is_to_go_by_value_does() -> None:
    module = ModuleType("sent_by_value")
    sys.modules["sent_by_value"] = module
    try:
        exec("from scoop_hpc import futures\n@futures.task(retries=1)\ndef f(n): return n + 1", module.__dict__)
        cloudpickle.register_pickle_by_value(module)
        sides = Sides("")
        sides.client.user = functools.partial(module.f)
        frames = sides.frames("user", 1)
        cloudpickle.unregister_pickle_by_value(module)
    finally:
        del sys.modules["sent_by_value"]
    sides.be_worker()
    called, args, _ = batching.load_call(frames)
    assert (called(*args), options_of(called)) == (2, TaskOptions(1))
