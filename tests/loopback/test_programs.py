"""Programs that do what programs do: they meet with no surprise because they run in many processes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import NAP, Runs, members, signal_if_there, until

HEAD = "import os, signal, subprocess, sys, time\nfrom scoop_hpc import futures\n"
MAIN = "if __name__ == '__main__':\n    "


def printed(runs: Runs, text: str, workers: int = 3, status: int = 0) -> str:
    """Run the program *text*; return what it printed."""
    done = runs.run("-n", str(workers), runs.write(text))
    assert done.returncode == status, done.stderr
    return done.stdout


def test_result_is_what_it_was_when_the_task_returned_it(runs: Runs) -> None:
    program = (
        HEAD + "work = bytearray(100_000)\ndef fill(n):\n    work[:] = bytes([n]) * len(work)\n    return work\n"
        + MAIN + "pairs = [(n, futures.submit(fill, n)) for n in range(200)]\n"
        "    wrong = [n for n, f in pairs if f.result() is not work and f.result() != bytes([n]) * len(work)]\n"
        "    wrong += [n for n, r in enumerate(futures.map(fill, range(200))) if r != bytes([n]) * len(work)]\n"
        "    print(wrong)"
    )  # fmt: skip
    assert printed(runs, program) == "[]\n"


def test_files_that_the_program_left_open_are_written(runs: Runs) -> None:
    printed(runs, HEAD + MAIN + "out = open('left', 'w'); out.write('precious')")
    assert (runs.directory / "left").read_text() == "precious"


def test_what_was_submitted_is_run_before_the_end(runs: Runs) -> None:
    program = HEAD + "def touch(n):\n    time.sleep(0.05)\n    open(f'ran{n}', 'w').close()\n"
    printed(runs, program + MAIN + "for n in range(10): futures.submit(touch, n)")
    assert len(list(runs.directory.glob("ran*"))) == 10


def test_program_that_leaves_a_map_does_not_wait_for_the_rest_of_it(runs: Runs) -> None:
    program = HEAD + "def slow(n):\n    time.sleep(0 if n == 0 else 600)\n"
    # with a time-out, the origin itself takes none of the long tasks
    program += MAIN + "results = futures.map(slow, range(9), timeout=60); print(next(results)); results.close()"
    assert printed(runs, program) == "None\n"


@pytest.mark.parametrize("workers", [1, 3])
def test_program_may_ask_again_and_again_whether_a_future_is_done(runs: Runs, workers: int) -> None:
    program = (
        HEAD + MAIN + "f = futures.submit(abs, -3)\n    while not f.done(): time.sleep(0.005)\n    print(f.result())"
    )
    assert printed(runs, program, workers) == "3\n"


def test_exception_of_a_signal_handler_reaches_the_program_that_waits(runs: Runs) -> None:
    program = HEAD + (
        "class Late(Exception): pass\n"
        "def ring(*_):\n    open('rung', 'w').close()\n    raise Late\n"
        "def hold():\n    while not os.path.exists('rung'): time.sleep(0.01)\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGALRM, ring); a, b = [futures.submit(hold) for _ in 'ab']\n"
        "    try: signal.setitimer(signal.ITIMER_REAL, 0.3); a.result(timeout=60)\n"
        "    except Late: print('caught')"
    )
    assert printed(runs, program) == "caught\n"


def test_program_saves_its_state_when_it_is_terminated(runs: Runs) -> None:
    program = runs.write(
        HEAD + MAIN + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "    try: print('on', flush=True); futures.submit(time.sleep, 600).result()\n    "
        "finally: os.write(1, b'saved\\n')"
    )  # fmt: skip
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.terminate()
    assert process.stdout.read() == "saved\n"
    assert process.wait(120) == 143


def test_program_hears_once_of_a_signal_to_all_processes(runs: Runs) -> None:
    program = runs.write(
        HEAD + "def save(*_):\n    os.write(1, b'heard\\n'); time.sleep(0.3); os.write(1, b'saved\\n'); sys.exit(9)\n"
        + MAIN + "signal.signal(signal.SIGTERM, save); os.write(1, b'on\\n')  # print() is not reentrant\n"
        "    futures.submit(time.sleep, 600).result()"
    )  # fmt: skip
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    for pid in members(process.pid):
        signal_if_there(pid, signal.SIGTERM)  # some end as soon as another has had it
    assert process.stdout.read() == "heard\nsaved\n"
    assert process.wait(120) == 143


def test_all_that_a_program_prints_because_of_a_signal_is_written(runs: Runs) -> None:
    text = HEAD + "def warn(*_):\n    os.write(1, b'z' * 50_000)\n    sys.exit(4)\n" + MAIN
    program = runs.write(text + "signal.signal(signal.SIGUSR1, warn); os.write(1, b'on\\n')\n    " + NAP)
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGUSR1)
    assert process.wait(120) == 4  # with all of it in the pipe
    assert process.stdout.read() == "z" * 50_000


def test_exit_in_a_callback_is_the_programs(runs: Runs) -> None:
    program = HEAD + MAIN + "f = futures.submit(abs, 1)\n    f.add_done_callback(lambda _: sys.exit(5))\n"
    program += "    try: list(futures.map(abs, range(10_000_000)))\n    finally: print('finally')"
    assert printed(runs, program, status=5) == "finally\n"


@pytest.mark.parametrize(
    "leave",
    [
        "os._exit(0)",
        "os.execvp('true', ['true'])",
        "ctypes.CDLL(None).exit(0)",
        "sys.exit(0)",
        "t = threading.Thread(target=os._exit, args=(0,)); t.start(); t.join()",
    ],
    ids=["_exit", "exec", "exit of a library", "sys.exit", "_exit in a thread"],
)
def test_run_whose_task_ends_the_origin_is_no_success(runs: Runs, leave: str) -> None:
    program = "import ctypes, threading\n" + HEAD + f"def task(n):\n    {leave}\n"
    program += MAIN + "print(sum(futures.map(task, range(3), chunksize=1)))"
    done = runs.run("-n", "1", runs.write(program))
    assert (done.stdout, done.returncode) == ("", 1)
    assert "called sys.exit()" in done.stderr or "died: exit status 0, not at the program's end" in done.stderr


@pytest.mark.parametrize(
    ("leave", "status"),
    [("os._exit(0)", 0), ("os._exit(3)", 3), ("os.execvp('true', ['true'])", 0), ("os.fork() or os._exit(4)", 0)],
)
def test_program_may_end_by_any_call_of_its_own(runs: Runs, leave: str, status: int) -> None:
    program = HEAD + MAIN + f"print(sum(futures.map(abs, range(9))), flush=True)\n    {leave}"
    done = runs.run("-n", "2", runs.write(program))
    assert (done.stdout, done.stderr, done.returncode) == ("36\n", "", status)


def test_context_variables_of_the_program_hold_in_tasks(runs: Runs) -> None:
    program = (
        "import decimal\n" + HEAD + "decimal.getcontext().prec = 40\n"
        "def digits(n):\n    time.sleep(0.01)\n    return len(str(decimal.Decimal(1) / 7))\n"
        + MAIN + "print(set(futures.map(digits, range(60))))"
    )  # fmt: skip
    assert printed(runs, program) == "{42}\n"


def test_task_may_end_the_processes_that_it_starts(runs: Runs) -> None:
    program = (
        HEAD + "def start(n):\n    p = subprocess.Popen(['sleep', '60']); time.sleep(0.05); p.terminate()\n"
        "    return p.wait(9)\n"
        + MAIN + "print(set(futures.map(start, range(6), chunksize=1)))"
    )  # fmt: skip
    assert printed(runs, program) == "{-15}\n"


def test_task_may_use_multiprocessing(runs: Runs) -> None:
    program = (
        "import multiprocessing\n" + HEAD
        + "def pool(n):\n    with multiprocessing.get_context('fork').Pool(2) as p: return sum(p.map(abs, range(n)))\n"
        + MAIN + "print(list(futures.map(pool, [3, 4, 5], chunksize=1)))"
    )  # fmt: skip
    assert printed(runs, program) == "[3, 6, 10]\n"


def test_what_a_task_has_left_to_a_resource_tracker_is_removed(runs: Runs) -> None:
    work = """
from multiprocessing import shared_memory
kept = []
def share(n):
    kept.append(shared_memory.SharedMemory(create=True, size=n))
    return kept[-1].name
"""
    done = runs.run("-n", "2", runs.write(HEAD + work + MAIN + "print(*{*futures.map(share, [9, 99], chunksize=1)})"))
    assert done.returncode == 0
    names = done.stdout.split()
    assert len(names) == 2
    assert [name for name in names if Path("/dev/shm", name).exists()] == []


def test_child_that_is_ended_as_soon_as_it_is_there_ends(runs: Runs) -> None:
    program = (
        HEAD + "def end(n):\n    pid = os.fork()\n    if pid == 0: time.sleep(60); os._exit(0)\n"
        "    os.kill(pid, signal.SIGTERM)\n    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        + MAIN
        + "print(set(futures.map(end, range(300))))"
    )
    assert printed(runs, program) == "{-15}\n"


def test_child_of_a_task_has_the_programs_own_handlers(runs: Runs) -> None:
    program = (
        HEAD + "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        "def end(n):\n    read, write = os.pipe()\n    pid = os.fork()\n"
        "    while pid == 0: os.write(write, b'.'); time.sleep(0.01)\n"
        "    os.read(read, 1); os.kill(pid, signal.SIGTERM)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        + MAIN
        + "print(set(futures.map(end, range(100))))"
    )
    assert printed(runs, program) == "{7}\n"


def test_forked_child_of_a_task_is_no_second_worker(runs: Runs) -> None:
    program = (
        HEAD + "def fork(n):\n    pid = os.fork()\n    if pid == 0: sys.exit(n)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        + MAIN
        + "print(list(futures.map(fork, [3, 4])))"
    )
    assert printed(runs, program) == "[3, 4]\n"


def test_program_behind_a_link_finds_what_is_beside_it(runs: Runs) -> None:
    (runs.directory / "real").mkdir()
    runs.write("value = 7\n", "real/beside.py")
    runs.write("import beside\n" + MAIN + "print(beside.value)", "real/p.py")
    (runs.directory / "link.py").symlink_to("real/p.py")
    assert runs.run("-n", "2", "link.py").stdout == "7\n"


def test_item_before_the_failure_of_an_iterable_counts(runs: Runs) -> None:
    program = (
        HEAD + "def items():\n    yield from range(5000)\n    sys.exit('no more')\n" + MAIN
        + "n = 0\n    try:\n        for r in futures.map(abs, items()): n += 1\n    finally: print(n)"
    )  # fmt: skip
    assert printed(runs, program, status=1) == "5000\n"


def test_long_line_arrives_whole_and_soon(runs: Runs) -> None:
    program = HEAD + MAIN + "sys.stdout.write('x' * 30_000_000)"
    assert len(printed(runs, program)) == 30_000_000


def test_closed_output_is_no_trouble(runs: Runs) -> None:
    program = runs.write(HEAD + MAIN + "print(sum(futures.map(abs, range(9))))")
    words = f"exec {sys.executable} -m scoop_hpc run -n 2 {program} >&-"
    done = subprocess.run(
        ["sh", "-c", words], cwd=runs.directory, env=runs.environ, stderr=subprocess.PIPE, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_hangup_does_not_end_a_run_under_nohup(runs: Runs) -> None:
    program = runs.write(HEAD + MAIN + "print('on', flush=True); input(); print('still here')")
    words = f"trap '' HUP; exec {sys.executable} -m scoop_hpc run -n 2 {program}"
    process = subprocess.Popen(
        ["sh", "-c", words],
        cwd=runs.directory,
        env=runs.environ,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate("\n", timeout=120)[0] == "still here\n"


@pytest.mark.parametrize(
    "setting",
    ["signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])"],
    ids=["ignored", "blocked"],
)
def test_run_hears_of_its_children_whatever_its_parent_has_made_of_that_signal(runs: Runs, setting: str) -> None:
    work = "def fail(n): return subprocess.call('exit 3', shell=True)\n"
    program = runs.write("import subprocess\n" + HEAD + work + MAIN + "print(sum(futures.map(fail, range(4))))")
    words = f"import os, signal, sys; {setting}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", words, "-m", "scoop_hpc", "run", "-n", "2", program]
    done = subprocess.run(command, cwd=runs.directory, env=runs.environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "12\n", "")


def test_signal_is_heard_while_nobody_reads_the_output(runs: Runs) -> None:
    program = HEAD + "def talk(n):\n    while True: print('z' * 1000)\n" + MAIN + "list(futures.map(talk, range(9)))"
    process = runs.start("-n", "3", runs.write(program))
    assert process.stdout is not None
    process.stdout.readline()  # and no more: the pipe fills
    process.terminate()
    until(lambda: not members(process.pid))
    assert process.wait(120) == 143


@pytest.mark.parametrize("after", [0.05, 0.1, 0.12, 0.14, 0.16, 0.2, 0.3])
def test_driver_killed_while_it_starts_leaves_nothing(runs: Runs, after: float) -> None:
    process = runs.start("-n", "2", runs.write(HEAD + MAIN + "time.sleep(600)"))
    time.sleep(after)  # any moment will do
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not members(process.pid))
    assert list(runs.temporary.iterdir()) == []


def test_what_is_defined_under_the_guard_can_be_a_task(runs: Runs) -> None:
    program = HEAD + (
        "def twice(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    base = 40\n"
        "    class Adder:\n"
        "        def __call__(self, x): return base + x\n"
        "    if base:\n"
        "        def work(n): time.sleep(0.01); return os.getpid(), twice(n) + base\n"
        "        def tree(n): return n if n < 2 else sum(futures.map(tree, [n - 1, n - 2]))\n"
        "    found = list(futures.map(work, range(30)))\n"
        "    print([got for _, got in found] == [2 * n + 40 for n in range(30)], len({pid for pid, _ in found}) > 1)\n"
        "    print(futures.submit(tree, 12).result(), list(futures.map(Adder(), [1, 2], timeout=60)))\n"
    )
    assert printed(runs, program) == "True True\n144 [41, 42]\n"


SAVES = """
import dataclasses, enum, inspect, logging, multiprocessing, os, pickle, sys, time, typing
from scoop_hpc import futures

@dataclasses.dataclass
class Result:
    number: int
    class Inner(typing.NamedTuple):
        a: int

Shape = enum.Enum("Shape", "ROUND")
log = logging.getLogger(__name__)

def double(value: Result) -> int:
    return 2 * value.number

def compute(number):
    time.sleep(0.05)
    values = Result(number), Result.Inner(1), Shape.ROUND, double
    with open(f"{os.getpid()}.pickle", "wb") as file:
        pickle.dump(values, file)
    doubled = 2 * number
    if "scoop" not in sys.modules:  # which is nowhere outside of a run
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            doubled = pool.apply(double, (Result(number),))
    main = sys.modules["__main__"]
    seen = (log.name, Result.__module__, double.__module__, __name__, os.path.basename(main.__file__),
            typing.get_type_hints(double)["value"] is Result, inspect.getsource(double).count("\\n"), repr(Result))
    return os.getpid(), doubled == 2 * number, seen
"""


@pytest.mark.parametrize("main", ["if __name__ == '__main__':\n", "import scoop\nif scoop.IS_ORIGIN:\n"])
def test_what_any_worker_pickles_into_a_file_another_program_can_read(runs: Runs, main: str) -> None:
    program = SAVES + main + (
        "    found = list(futures.map(compute, range(6), chunksize=1))\n"
        "    pids = {pid for pid, *_ in found}\n"
        "    print(len(pids) > 1, {good for _, good, _ in found}, *{seen for *_, seen in found})\n"
    )  # fmt: skip
    told = printed(runs, program)
    if "scoop" in main:  # nothing tells such a program from another one that looks at its name
        told = told.replace("'__mp_main__', '__main__'", "'__main__', '__main__'")
    seen = ("__main__", "__main__", "__main__", "__main__", "program.py", True, 2, "<class '__main__.Result'>")
    assert told in (f"True {{True}} {seen}\n", f"True {{True}} {seen} {seen}\n")
    reader = SAVES + "for path in sys.argv[1:]: print(pickle.load(open(path, 'rb'))[:3])\n"
    runs.write(reader, "reader.py")
    files = sorted(path.name for path in runs.directory.glob("*.pickle"))
    done = subprocess.run(
        [sys.executable, "reader.py", *files], cwd=runs.directory, env=runs.environ, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.count("Inner(a=1), <Shape.ROUND: 1>)") == len(files) > 1


@pytest.mark.parametrize(
    "ending",
    [
        "sys.stdout = None",
        "sys.stderr = None",
        "sys.stdout = sys.stderr = None",
        "sys.stdout = object()",
        "sys.stderr = object()",
        "sys.stdout.close()",
        "del sys.stdout, sys.stderr",
        "sys.stdout = sys.__stdout__ = None",
    ],
)
def test_program_may_leave_any_object_in_the_place_of_a_stream(runs: Runs, ending: str) -> None:
    text = HEAD + MAIN + f"print('whole', end=''); print('told', end='', file=sys.stderr)\n    {ending}"
    done = runs.run("-n", "2", runs.write(text))
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole", "told")


def test_last_word_of_a_program_without_a_stream_is_told(runs: Runs) -> None:
    done = runs.run("-n", "2", runs.write(HEAD + MAIN + "sys.stdout = sys.stderr = None; sys.exit('sorry')"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "sorry\n")


def test_tasks_may_take_the_streams_of_their_worker_away(runs: Runs) -> None:
    text = HEAD + "def mute(n):\n    sys.stdout = sys.stderr = None\n    return n\n"
    text += MAIN + "print(sum(futures.map(mute, range(10))), file=sys.__stdout__)"
    done = runs.run("-n", "2", runs.write(text))
    assert (done.returncode, done.stdout, done.stderr) == (0, "45\n", "")


BAR = """
import os, sys, time
from scoop_hpc import futures

def work(number):
    sys.stderr.write("\\r 50%|#####     |")
    sys.stderr.flush()
    while not os.path.exists("go"):
        time.sleep(0.02)
    sys.stderr.write("\\r100%|##########|\\n")

if __name__ == "__main__":
    list(futures.map(work, [1, 2]))
"""


def test_progress_bar_of_a_task_is_seen_on_a_terminal_while_it_runs(runs: Runs) -> None:
    ours, terminal = pty.openpty()
    words = [sys.executable, "-m", "scoop_hpc", "run", "-n", "3", "--label", runs.write(BAR)]
    process = subprocess.Popen(
        words, cwd=runs.directory, env=runs.environ, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    seen = b""
    while seen.count(b"50%") < 2:
        seen += os.read(ours, 4096)
    assert b"100%" not in seen
    (runs.directory / "go").touch()
    while seen.count(b"100%") < 2:
        seen += os.read(ours, 4096)
    assert process.wait(120) == 0
    os.close(ours)


def test_progress_bar_of_a_task_is_whole_in_a_file(runs: Runs) -> None:
    (runs.directory / "go").touch()
    done = runs.run("-n", "3", runs.write(BAR))
    assert done.stderr == "\n 50%|#####     |\n100%|##########|\n" * 2  # what CR is to a reader of text
