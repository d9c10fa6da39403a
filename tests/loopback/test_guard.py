"""Programs without a guard are refused, and others are not: whatever the number of workers and the timing."""

from __future__ import annotations

import pytest
from conftest import Runs

REFUSED = {
    "map": "print(sum(futures.map(abs, range(9))))",
    "many": "print(sum(futures.map(abs, range(1000))))",
    "submit": "print(futures.submit(abs, 1).result())",
    "nobody waits": "futures.submit(abs, 1)",
    "in a function": "def main():\n    print(futures.map_reduce(abs, max, range(9)))\nmain()",
    "scan": "print(list(futures.map_scan(abs, max, range(9))))",
    "executor": "with Executor() as executor:\n    print(list(executor.map(abs, range(9))))",
    "constant": "shared.set_const(a=1)",
    "wait": "futures.wait([])",
    "asyncio": "import asyncio\nasync def main(): return await asyncio.wrap_future(futures.submit(abs, 1))\n"
    "print(asyncio.run(main()))",
    "after a guard": "if __name__ == '__main__':\n    pass\nprint(futures.submit(abs, 1).result())",
    "a guard that lets all in": "if __name__ in ('__main__', '__mp_main__'):\n    futures.submit(abs, 1).result()",
    "the wrong branch": "if __name__ != '__main__' or True:\n    print(futures.submit(abs, 1).result())",
    "ends": "print(futures.submit(abs, 1).result())\nsys.exit(0)",
    "ends after the guard": "if __name__ != '__main__':\n    sys.exit()\nprint(futures.submit(abs, 1).result())",
    "swallowed": "try: print(list(futures.map(abs, [1])))\nexcept BaseException: pass",
    "SCOOP": "from scoop import futures as f, shared as s\ns.setConst(a=1)\nprint(list(f.map(abs, range(3))))",
}
# those that a single worker is tried with, too: it looks for the guard itself, whatever it is that others are asked for
ALONE = [
    *("map", "nobody waits", "in a function", "after a guard", "a guard that lets all in", "the wrong branch", "ends"),
    *("ends after the guard", "swallowed"),
]
ACCEPTED = {
    "plain": "if __name__ == '__main__':\n    main()",
    "reversed": "if '__main__' == __name__:\n    sys.exit(main())",
    "with more": "if __name__ == '__main__' and len(sys.argv) < 9:\n    main()",
    "in an expression": "sys.exit(main()) if __name__ == '__main__' else None",
    "and": "__name__ == '__main__' and main()",
    "else": "if __name__ != '__main__':\n    pass\nelse:\n    main()",
    "in a function": "def start():\n    if __name__ == '__main__':\n        main()\nstart()",
    "by a variable": "is_main = __name__ == '__main__'\nif is_main:\n    main()",
    "by a decorator": "def automain(f):\n    if f.__module__ == '__main__':\n        f()\n    return f\n@automain\n"
    "def start(): main()",
    "by another file": "exec(\"if __name__ == '__main__': main()\")",
    "try": "try:\n    if __name__ == '__main__':\n        for n in range(1): main()\nfinally:\n    pass",
    "SCOOP": "import scoop\nif scoop.IS_ORIGIN:\n    main()",
    "SCOOP, nobody sees": "import scoop\ndef start():\n    if scoop.IS_ORIGIN: main()\nstart()",
    "a thread": "import threading\nif __name__ == '__main__':\n    thread = threading.Thread(target=int)\n"
    "    thread.start(); thread.join(); main()",
    "module state": "def open_log(): return open('log', 'a')\nlog = open_log()\nif __name__ == '__main__':\n    main()",
    "executor made at import": "executor = Executor()\nif __name__ == '__main__':\n    executor.submit(abs, 1); main()",
    "catches": "if __name__ == '__main__':\n    try: main()\n    except BaseException as error: print(error)",
}
HIDDEN = ["in a function", "by a decorator", "by another file", "SCOOP, nobody sees"]
HEAD = (
    "import sys\nfrom scoop_hpc import Executor, futures, shared\ndef main(): print(sum(futures.map(abs, [1, 2, 3])))\n"
)


@pytest.mark.parametrize(("kind", "workers"), [*((kind, 2) for kind in REFUSED), *((kind, 1) for kind in ALONE)])
def test_program_without_a_guard_is_always_refused(runs: Runs, workers: int, kind: str) -> None:
    done = runs.run("-n", str(workers), runs.write(HEAD + REFUSED[kind] + "\n"))
    assert done.returncode == 2
    assert "put what it does under `if __name__ == '__main__':`" in done.stderr
    assert done.stderr.startswith("scoop-hpc: error: program.py: the program ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(("kind", "workers"), [*((kind, 2) for kind in ACCEPTED), *((kind, 1) for kind in HIDDEN)])
def test_guard_of_any_spelling_is_seen(runs: Runs, workers: int, kind: str) -> None:
    done = runs.run("-n", str(workers), runs.write(HEAD + ACCEPTED[kind] + "\n"))
    assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("end", ["", "sys.exit(0)\n"])
def test_program_without_futures_needs_no_guard(runs: Runs, workers: int, end: str) -> None:
    done = runs.run("-n", str(workers), runs.write(HEAD + "import os\nos.write(2, b'.\\n')\n" + end))
    assert done.returncode == 0
    assert set(done.stderr) == {".", "\n"}


@pytest.mark.parametrize("end", ["sys.exit('never so')", "raise OSError('no licence')"])
def test_quick_program_that_others_cannot_import_does_not_end_well(runs: Runs, end: str) -> None:
    program = runs.write(HEAD + f"if __name__ == '__main__':\n    futures.submit(abs, 1).result()\nelse:\n    {end}")
    done = runs.run("-n", "2", program)
    assert done.returncode in (1, 2)
    assert "program.py" in done.stderr.splitlines()[-1]


def test_single_worker_looks_for_the_guard_without_a_trace(runs: Runs) -> None:
    program = runs.write(
        HEAD + "import scoop\nprint('imported')\nsys.stderr.write('x')\n"
        "def start():\n    if scoop.IS_ORIGIN: print(scoop.worker.decode()[-3:]); main()\nstart()"
    )
    done = runs.run("-n", "1", program)
    assert (done.stdout, done.stderr, done.returncode) == ("imported\n0.0\n6\n", "x", 0)


@pytest.mark.parametrize("nodes", ["a:1,b:1", "a:1,b:2,c:1"])
def test_witness_may_be_on_another_node(runs: Runs, nodes: str) -> None:
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES=nodes)
    for _ in range(2):
        assert runs.run(runs.write(HEAD + REFUSED["map"])).returncode == 2
        done = runs.run(runs.write(HEAD + ACCEPTED["plain"]))
        assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)
