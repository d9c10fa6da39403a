"""Programs that do what programs do: they meet with no surprise because they run in many processes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from conftest import Runs, members, until

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
    program = HEAD + "class Late(Exception): pass\ndef ring(*_): raise Late\n" + MAIN
    program += "signal.signal(signal.SIGALRM, ring); a, b = [futures.submit(time.sleep, 1.0) for _ in 'ab']\n"
    program += (
        "    signal.setitimer(signal.ITIMER_REAL, 0.3)\n    try: a.result(timeout=60)\n    except Late: print('caught')"
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
    assert process.wait(20) == 143


def test_all_that_a_program_prints_because_of_a_signal_is_written(runs: Runs) -> None:
    text = HEAD + "def warn(*_):\n    os.write(1, b'z' * 50_000)\n    sys.exit(4)\n" + MAIN
    program = runs.write(text + "signal.signal(signal.SIGUSR1, warn); os.write(1, b'on\\n'); time.sleep(600)")
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 4  # with all of it in the pipe
    assert process.stdout.read() == "z" * 50_000


def test_exit_in_a_callback_is_the_programs(runs: Runs) -> None:
    program = HEAD + MAIN + "f = futures.submit(abs, 1)\n    f.add_done_callback(lambda _: sys.exit(5))\n"
    program += "    try: list(futures.map(abs, range(10_000_000)))\n    finally: print('finally')"
    assert printed(runs, program, status=5) == "finally\n"


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
    done = subprocess.run(["sh", "-c", words], cwd=runs.directory, env=runs.environ, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_hangup_does_not_end_a_run_under_nohup(runs: Runs) -> None:
    program = runs.write(HEAD + MAIN + "print('on', flush=True); input(); print('still here')")
    words = f"trap '' HUP; exec {sys.executable} -m scoop_hpc run -n 2 {program}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(["sh", "-c", words], cwd=runs.directory, env=runs.environ, text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate("\n", timeout=20)[0] == "still here\n"


def test_signal_is_heard_while_nobody_reads_the_output(runs: Runs) -> None:
    program = HEAD + "def talk(n):\n    while True: print('z' * 1000)\n" + MAIN + "list(futures.map(talk, range(9)))"
    process = runs.start("-n", "3", runs.write(program))
    assert process.stdout is not None
    process.stdout.readline()  # and no more: the pipe fills
    process.terminate()
    until(lambda: not members(process.pid))
    assert process.wait(20) == 143


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
    assert process.wait(60) == 0
    os.close(ours)


def test_progress_bar_of_a_task_is_whole_in_a_file(runs: Runs) -> None:
    (runs.directory / "go").touch()
    done = runs.run("-n", "3", runs.write(BAR))
    assert done.stderr == "\n 50%|#####     |\n100%|##########|\n" * 2  # what CR is to a reader of text
