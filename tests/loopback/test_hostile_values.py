"""Values that misbehave on their way between processes: each is the outcome of one future, in whichever way it goes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Runs

PROGRAM = """
import dataclasses, sys
from scoop_hpc import Executor, futures, shared

class Stop(BaseException): pass
@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    row: int
class Lying(Exception):
    def __reduce__(self): return int, ("7",)
class Leaving(Exception):
    def __reduce__(self): return sys.exit, (9,)
class Needs(Exception):
    def __init__(self, row, *, why): super().__init__(row); self.why = why
class Mute(Exception):
    def __str__(self): raise Stop("no text")
    __repr__ = __str__
    def __eq__(self, other): raise Stop("no comparison")
    __hash__ = None
class Outgoing:
    def __getstate__(self): raise Stop("while it is pickled")
    def __repr__(self): raise Stop("no text")
class Incoming:
    def __init__(self, kind): self.kind = kind
    def __reduce__(self): return arrive, (self.kind,)
class Blind:
    def __getattr__(self, name): raise AttributeError(name) if name == "__getstate__" else Stop(name)
    def __call__(self, x): return x

def arrive(kind): raise kind("while it is unpickled")

def make(kind):
    if kind == "frozen": raise Frozen(3)
    if kind == "lying": raise Lying(3)
    if kind == "leaving": raise Leaving(3)
    if kind == "needs": raise Needs(3, why="odd")
    if kind == "mute": raise Mute(3)
    if kind == "stop": raise Stop(3)
    if kind == "outgoing": return Outgoing()
    if kind == "incoming": return Incoming(SystemExit)
    if kind == "interrupt": return Incoming(KeyboardInterrupt)
    return [kind]

ERRORS = ["frozen", "lying", "leaving", "needs", "mute", "stop"]
VALUES = ["outgoing", "incoming"]
GOOD = ["a", "b"]

def told(call):
    try: return type(call()).__name__
    except BaseException as error: return type(error).__name__

def nested(kind):
    future = futures.submit(make, kind)
    good = futures.submit(make, "a")
    return told(future.result), good.result()

def use(x): return x

def by_futures(kinds):
    all = [futures.submit(make, kind) for kind in [*kinds, *GOOD]]
    futures.wait(all, timeout=60)
    yield "submit", [told(future.result) for future in all]
    yield "map", [told(lambda: list(futures.map(make, [*GOOD, kind], chunksize=1, timeout=60))) for kind in kinds]
    yield "chunks", [told(lambda: list(futures.map(make, [*GOOD, kind], timeout=60))) for kind in kinds]
    yield "nested", [futures.submit(nested, kind).result() for kind in kinds if kind in ERRORS]
    yield "reduce", [told(lambda: futures.map_reduce(make, lambda a, b: b, [*GOOD, kind], timeout=60))
                     for kind in kinds if kind in ERRORS]
    yield "scan", [told(lambda: list(futures.map_scan(make, lambda a, b: b, [*GOOD, kind], timeout=60)))
                   for kind in kinds if kind in ERRORS]

def by_executor(kinds):
    with Executor(max_workers=2) as executor:
        all = [executor.submit(make, kind) for kind in [*kinds, *GOOD]]
        yield "submit", [told(future.result) for future in all]
        yield "map", [told(lambda: list(executor.map(make, [*GOOD, kind]))) for kind in kinds]
        yield "chunks", [told(lambda: list(executor.map(make, [*GOOD, kind], chunksize=2))) for kind in kinds]
        yield "nested", [executor.submit(nested, kind).result() for kind in kinds if kind in ERRORS]
        yield "arguments", [told(lambda: executor.submit(use, value).result())
                            for value in (Outgoing(), Incoming(SystemExit), 1)]
        yield "function", [executor.submit(Blind(), 1).result()]
        yield "interrupt", [told(executor.submit(make, "interrupt").result)]
"""
ERRORS = ["Frozen", "Lying", "Leaving", "Needs", "Mute", "Stop"]
VALUES = ["UnpicklableError", "TaskError"]
GOOD = ["list", "list"]
NESTED = [(name, ["a"]) for name in ERRORS]


def lines(results: dict[str, object]) -> str:
    return "".join(f"{way} {outcome}\n" for way, outcome in results.items())


def test_hostile_value_is_the_outcome_of_its_own_future_in_a_run(runs: Runs) -> None:
    program = """
if __name__ == "__main__":
    for way, outcomes in by_futures([*ERRORS, *VALUES]): print(way, outcomes)
    print("function", [futures.submit(Blind(), 1).result()])
    got = [told(lambda: shared.set_const(a=Outgoing())), told(lambda: shared.set_const(b=Incoming(SystemExit)))]
    futures.wait([reading := futures.submit(shared.get_const, "b")], timeout=60)
    print("constant", [*got, told(reading.result)])
"""
    done = runs.run("-n", "3", runs.write(PROGRAM + program))
    every = [*ERRORS, *VALUES]
    ways = {"submit": every + GOOD, "map": every, "chunks": every, "nested": NESTED, "reduce": ERRORS, "scan": ERRORS}
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == lines({**ways, "function": [1], "constant": ["UnpicklableError", "NoneType", "TaskError"]})


def test_hostile_value_is_the_outcome_of_its_own_future_by_an_executor(runs: Runs) -> None:
    program = "for way, outcomes in by_executor([*ERRORS, *VALUES]): print(way, outcomes)\n"
    every = [*ERRORS, *VALUES]
    ways = {"submit": every + GOOD, "map": every, "chunks": every, "nested": NESTED}
    assert python(runs, program) == lines(
        {**ways, "arguments": ["UnpicklableError", "TaskError", "int"], "function": [1], "interrupt": ["TaskError"]}
    )


@pytest.mark.parametrize("workers", [0, 1], ids=["without a run", "one worker"])
def test_exceptions_that_do_not_travel_are_themselves(runs: Runs, workers: int) -> None:
    program = "if __name__ == '__main__':\n    for way, outcomes in by_futures(ERRORS): print(way, outcomes)\n"
    ways = {"submit": ERRORS + GOOD, **dict.fromkeys(["map", "chunks"], ERRORS), "nested": NESTED}
    right = lines({**ways, "reduce": ERRORS, "scan": ERRORS})
    if workers:
        done = runs.run("-n", str(workers), runs.write(PROGRAM + program))
        assert (done.returncode, done.stderr, done.stdout) == (0, "", right)
    else:
        assert python(runs, program) == right


def python(runs: Runs, program: str) -> str:
    """Run a program by itself; return what it printed, once it has ended well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", runs.write(PROGRAM + program)],
        cwd=runs.directory,
        env=runs.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
