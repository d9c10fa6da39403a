"""`scoop-hpc run` on this machine, as its user sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import MEET, NAP, Runs, members, until

HEAD = "import os, sys, time\nfrom scoop_hpc import futures\n"
MAIN = "if __name__ == '__main__':\n    "


def test_origin_has_the_arguments_the_streams_and_the_status(runs: Runs) -> None:
    program = runs.write(
        HEAD + MAIN + "print(sys.argv[1:], sys.stdin.read(), end=''); print('oops', file=sys.stderr); sys.exit(3)"
    )
    done = runs.run("-n", "2", program, "-n", "a b", "", "--help", "\u00e9$\n", stdin="hello")
    assert done.stdout == "['-n', 'a b', '', '--help', '\u00e9$\\n'] hello"
    assert done.stderr == "oops\n"
    assert done.returncode == 3


def test_program_after_two_dashes_may_be_called_anything(runs: Runs) -> None:
    program = runs.write(MAIN + "import sys; print(sys.argv)", "-n")
    assert runs.run("-n", "1", "--", program, "--", "x").stdout == "['-n', '--', 'x']\n"


def test_words_that_are_not_utf8_arrive(runs: Runs) -> None:
    program = runs.write("import os, sys\n" + MAIN + "print(os.fsencode(sys.argv[1]), os.environb[b'ODD'])")
    runs.environ[os.fsdecode(b"ODD")] = os.fsdecode(b"\xff=")
    assert runs.run("-n", "1", program, os.fsdecode(b"\xe9")).stdout == "b'\\xe9' b'\\xff='\n"


@pytest.mark.parametrize(
    ("ending", "status", "stderr"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(300)", 44, ""),
        ("sys.exit('sorry')", 1, "sorry\n"),
        ("os._exit(7)", 7, ""),
        ("import atexit; atexit.register(print, 'bye', file=sys.stderr)", 0, "bye\n"),
        ("import atexit; atexit.register(sys.exit, 3); sys.exit(4)", 4, None),
    ],
)
def test_program_ends_as_python_ends_it(runs: Runs, ending: str, status: int, stderr: str) -> None:
    done = runs.run("-n", "2", runs.write(HEAD + MAIN + ending))
    assert (done.returncode, stderr is None or done.stderr == stderr) == (status, True), done.stderr


def test_what_the_program_does_at_its_exit_may_use_futures(runs: Runs) -> None:
    at_exit = """
    import atexit, time
    atexit.register(lambda: print('last', sum(futures.map(abs, range(-3000, 0))), flush=True))
    atexit.register(lambda: print(futures.submit(time.sleep, 0.05).result(), list(futures.map(abs, range(5)))))
    futures.submit(print, 'before', flush=True)
    raise SystemExit(3)
"""
    for workers in ("1", "3"):
        done = runs.run("-n", workers, runs.write(HEAD + MAIN + at_exit))
        assert done.returncode == 3, done.stderr
        assert done.stdout.splitlines()[-2:] == ["None [0, 1, 2, 3, 4]", "last 4501500"], done.stderr
        assert done.stderr == ""


def test_ways_to_leave_are_arguments_as_any_function(runs: Runs) -> None:
    text = """
    import os, pickle
    ways = [os._exit, os.execv, os.execve, os.chdir, os.putenv]
    print(pickle.loads(pickle.dumps(ways)) == ways, os.execve in os.supports_fd, os.chdir in os.supports_fd)
    print([way.__name__ for way in futures.submit(list, ways).result()])
"""
    done = runs.run("-n", "2", runs.write(HEAD + MAIN + text))
    assert done.stdout == "True True True\n['_exit', 'execv', 'execve', 'chdir', 'putenv']\n", done.stderr


def test_unhandled_exception_shows_the_remote_traceback(runs: Runs) -> None:
    program = runs.write(
        HEAD + "def invert(x):\n    return 1 / x\n" + MAIN + "print(list(futures.map(invert, [1, 0])))"
    )
    done = runs.run("-n", "2", program)
    assert done.returncode == 1
    assert "in invert" in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_all_workers_run_tasks(runs: Runs) -> None:
    program = runs.write(
        HEAD + MEET + "def where(n):\n    meet(os.getpid(), 3)\n    return os.getpid()\n"
        + MAIN + "print(len(set(futures.map(where, range(60)))))"
    )  # fmt: skip
    assert runs.run("-n", "3", program).stdout == "3\n"


def test_lambdas_closures_methods_and_classes_of_the_program_work(runs: Runs) -> None:
    program = runs.write(
        HEAD
        + "class Scale:\n    def __init__(self, by): self.by = by\n    def __call__(self, x): return self.by * x\n"
        + "    def add(self, x): return self.by + x\n"
        + MAIN
        + "k = 3; s = Scale(2)\n"
        + "    for f in (lambda x: x + k, s, s.add, Scale): r = list(futures.map(f, range(3))); print(r[:3])\n"
        + "    print(all(isinstance(x, Scale) for x in r))"
    )
    lines = runs.run("-n", "2", program).stdout.splitlines()
    assert lines[:3] == ["[3, 4, 5]", "[0, 2, 4]", "[2, 3, 4]"]
    assert lines[-1] == "True"


def test_program_finds_the_modules_beside_it_and_not_those_of_the_directory(runs: Runs) -> None:
    (runs.directory / "lib").mkdir()
    runs.write("def f(x): return x + 1\n", "lib/beside.py")
    runs.write("raise RuntimeError('a module of the directory that the user stands in')\n", "random.py")
    runs.write("raise RuntimeError('the same')\n", "zmq.py")
    program = runs.write("import beside\n" + HEAD + MAIN + "print(sum(futures.map(beside.f, range(4))))", "lib/p.py")
    command = Path(sys.executable).with_name("scoop-hpc")
    words = [str(command), "run", "-n", "2", program]
    done = subprocess.run(words, cwd=runs.directory, env=runs.environ, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("10\n", "", 0)


def test_program_without_a_guard_is_told_so_once(runs: Runs) -> None:
    program = runs.write(HEAD + "print(list(futures.map(abs, range(3))))\ntime.sleep(20)")
    done = runs.run("-n", "4", program)
    assert done.returncode == 2
    assert done.stderr.count("if __name__ == '__main__':") == 1


def test_program_that_workers_cannot_import_is_named(runs: Runs) -> None:
    program = runs.write("import time\nif __name__ != '__main__':\n    raise OSError('no licence')\ntime.sleep(20)")
    done = runs.run("-n", "2", program)
    assert done.returncode == 1
    assert "cannot import 'program.py': OSError: no licence" in done.stderr.splitlines()[-1]


def test_reason_of_the_end_is_the_last_line_whatever_was_still_to_be_written(runs: Runs) -> None:
    text = """
import sys, time
if __name__ != '__main__':
    sys.stderr.write('no licence here\\n' * 100_000)
    raise OSError('no licence')
time.sleep(20)
"""
    done = runs.run("-n", "2", runs.write(text))
    lines = done.stderr.splitlines()
    assert (done.returncode, "cannot import 'program.py': OSError: no licence" in lines[-1]) == (1, True), lines[-3:]
    assert lines.count("no licence here") >= 100_000


def test_whole_lines_of_all_workers_arrive_labelled_on_request(runs: Runs) -> None:
    program = runs.write(
        HEAD + "def talk(n):\n    time.sleep(0.01)\n    os.write(1, b'x' * 5000); os.write(1, b'y' * 5000 + b'\\n')\n"
        + MAIN + "list(futures.map(talk, range(100), chunksize=1))"
    )  # fmt: skip
    done = runs.run("-n", "3", "--label", program)
    lines = done.stdout.splitlines()
    assert len(lines) == 100
    assert {line.partition("] ")[0][-3:] for line in lines} == {"0.1", "0.2", "0.3"}
    assert {line.partition("] ")[2] for line in lines} == {"x" * 5000 + "y" * 5000}


def test_more_output_than_anyone_holds_arrives_whole(runs: Runs) -> None:
    program = runs.write(
        HEAD + "def talk(n):\n    for _ in range(2000): print('z' * 500)\n"
        + MAIN + "list(futures.map(talk, range(8), chunksize=1))"
    )  # fmt: skip
    assert runs.run("-n", "4", program).stdout == ("z" * 500 + "\n") * 16_000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nofile.py"], "cannot read the program 'nofile.py': No such file or directory"),
        (["."], "cannot read the program '.': Is a directory"),
        (["bad.py"], "the program 'bad.py' is not Python"),
        (["--patience", "nan", "bad.py"], "Invalid value for '--patience': 'nan': give a number above 0"),
        (["--hosts", "", "bad.py"], "--hosts '' is empty: give a text, or leave it out"),
        (["--hostfile=", "bad.py"], "--hostfile '' is empty: give a text, or leave it out"),
        (["--report", "", "bad.py"], "--report '' is empty: give a text, or leave it out"),
        (["--container-option=", "bad.py"], "--container-option '' is empty: give a text, or leave it out"),
        (["-n", "0", "bad.py"], "Invalid value for '-n' / '--workers': '0': give a whole number, 1 or more"),
        (["-n", "two", "bad.py"], "'two': give a whole number, 1 or more"),
        (["--wrokers", "2", "bad.py"], "--wrokers"),
        ([], "Missing argument 'PROGRAM'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(runs: Runs, words: list[str], complaint: str) -> None:
    runs.write("def (", "bad.py")
    done = runs.run(*words)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


SLEEPY = (
    HEAD
    + "import subprocess\n"
    + "def task(n):\n    subprocess.Popen(['sleep', '600'])\n    print('asleep', flush=True)\n    time.sleep(600)\n"
    + MAIN
    + "list(futures.map(task, range(10)))"
)


def asleep(runs: Runs, workers: int = 3) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """Start a run whose workers all sleep in a task; return it, and a pid of each kind of its processes."""
    process = runs.start("-n", str(workers), runs.write(SLEEPY))
    until(lambda: list(members(process.pid).values()).count("sleep") == workers)
    kinds = {kind: pid for pid, kind in members(process.pid).items()}
    return process, {**kinds, "driver": process.pid}


def see_the_end(runs: Runs, process: subprocess.Popen[str]) -> str:
    """Expect that everything is gone soon, from the processes and from the disk; return what stderr said."""
    until(lambda: not members(process.pid))
    _, stderr = process.communicate(timeout=120)
    until(lambda: not list(runs.temporary.iterdir()))
    return stderr


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("scoop-broker", 1, "broker 0 "),
        ("agent", 1, "the agent "),
        ("scoop-origin", 137, "origin "),
        ("driver", -9, "the driver "),
    ],
)
def test_kill_9_of_one_ends_all_and_names_it(runs: Runs, kind: str, status: int, words: str) -> None:
    process, pids = asleep(runs)
    os.kill(pids[kind], signal.SIGKILL)
    stderr = see_the_end(runs, process)
    assert process.returncode == status
    (line,) = stderr.splitlines()
    assert words in line
    assert f"(pid {pids[kind]})" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_to_the_driver_ends_all(runs: Runs, number: signal.Signals) -> None:
    process, _ = asleep(runs)
    process.send_signal(number)
    assert see_the_end(runs, process) == f"scoop-hpc: error: ended by {number.name}\n"
    assert process.returncode == 128 + number


WARNED = """
def warn(number, frame):
    os.write(1, b"saved\\n")  # print() may be what is interrupted
    sys.exit(4)
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_warning_to_the_driver_reaches_the_program(runs: Runs, number: signal.Signals) -> None:
    waiting = f"signal.signal({number}, warn); print('on', flush=True)\n    {NAP}"
    process = runs.start("-n", "2", runs.write("import signal\n" + HEAD + WARNED + MAIN + waiting))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(number)
    assert process.stdout.readline() == "saved\n"
    assert see_the_end(runs, process) == ""
    assert process.returncode == 4


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_warning_ends_a_program_that_does_not_heed_it(runs: Runs, number: signal.Signals) -> None:
    process, _ = asleep(runs)
    process.send_signal(number)
    (line,) = see_the_end(runs, process).splitlines()
    assert line.endswith(f"killed by {number.name}")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_warning_to_every_process_of_the_run_ends_no_other_than_the_program(runs: Runs, number: signal.Signals) -> None:
    # once both workers are there: a signal is nothing for a process that is just being started
    there = "list(futures.map(meet, 'ab', [2, 2], chunksize=1, timeout=60))"
    waiting = f"signal.signal({number}, warn); {there}; print('on', flush=True)\n    {NAP}"
    warn = "\ndef warn(number, frame):\n    os.write(1, b'warned\\n')\n"
    process = runs.start("-n", "2", runs.write("import signal\n" + HEAD + MEET + warn + MAIN + waiting))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    everyone = psutil.Process(process.pid).children(recursive=True)
    assert len(everyone) >= 4  # agent, broker, origin, worker
    for each in everyone:
        each.send_signal(number)
    assert process.stdout.readline() == "warned\n"
    assert all(each.is_running() for each in everyone)
    process.terminate()
    see_the_end(runs, process)


def test_ctrl_c_interrupts_the_program_and_ends_all(runs: Runs) -> None:
    process, _ = asleep(runs)
    os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to the whole group
    assert "KeyboardInterrupt" in see_the_end(runs, process)
    assert process.returncode == 130


def test_program_may_clean_up_after_ctrl_c(runs: Runs) -> None:
    program = runs.write(
        HEAD + MAIN + f"try:\n        print('on', flush=True)\n        {NAP}\n"
        "    except KeyboardInterrupt:\n        print('cleaned up'); sys.exit(5)"
    )  # fmt: skip
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaned up\n"
    assert see_the_end(runs, process) == ""
    assert process.returncode == 5


def test_program_heeds_a_signal_that_did_not_wake_it_up(runs: Runs) -> None:
    # that comes between bytecodes and a call that blocks; here, to another thread while the main one is in such a call
    program = runs.write(
        "import queue, signal, threading\n" + HEAD + MAIN + "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "    try:\n        print('on', flush=True); queue.Queue().get()\n"
        "    except KeyboardInterrupt:\n        print('heard', flush=True); os._exit(5)"
    )  # fmt: skip
    process = runs.start("-n", "2", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    until(lambda: sleeps(process, "scoop-origin"))
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "heard\n"
    assert see_the_end(runs, process) == ""
    assert process.returncode == 5


def sleeps(process: subprocess.Popen[str], title: str) -> bool:
    """Return whether the process *title* of a run is in a call that blocks."""
    (pid,) = (pid for pid, name in members(process.pid).items() if name == title)
    return psutil.Process(pid).status() == psutil.STATUS_SLEEPING


def test_run_leaves_nothing_on_disk(runs: Runs) -> None:
    runs.run("-n", "2", runs.write(HEAD + MAIN + "print(list(futures.map(abs, range(9))))"))
    assert list(runs.temporary.iterdir()) == []


def test_no_key_and_no_tcp_port_on_one_machine(runs: Runs) -> None:
    process, pids = asleep(runs)
    for pid in members(process.pid):
        sockets = []
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                sockets.append(os.readlink(path))
        inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
        listening = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
        assert not inodes & {line.split()[9] for line in listening.splitlines()}
    process.terminate()
    see_the_end(runs, process)


def test_full_disk_ends_the_run_with_one_line(runs: Runs) -> None:
    program = runs.write(HEAD + "def talk(n):\n    print('z' * 100)\n" + MAIN + "list(futures.map(talk, range(50)))")
    words = [sys.executable, "-m", "scoop_hpc", "run", "-n", "2", program]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, cwd=runs.directory, env=runs.environ, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_libraries_of_all_workers_and_their_children_start_a_workers_threads(runs: Runs) -> None:
    program = runs.write(
        "import os\nhere = os.environ.get('NUMBA_NUM_THREADS')\n" + HEAD
        + "def task(n):\n    time.sleep(0.02)\n    child = os.popen('echo $OPENBLAS_NUM_THREADS').read().strip()\n"
        + "    return os.getpid(), here, os.environ['MKL_NUM_THREADS'], child\n"
        + MAIN + "seen = set(futures.map(task, range(20), chunksize=1))\n"
        + "    print(here, len({pid for pid, *_ in seen}) > 1, {tuple(rest) for _, *rest in seen})"
    )  # fmt: skip
    for name in [name for name in runs.environ if name.endswith(("_NUM_THREADS", "_MAXIMUM_THREADS"))]:
        del runs.environ[name]
    many = str(max(2, len(os.sched_getaffinity(0))))
    assert runs.run("-n", many, program).stdout == "1 True {('1', '1', '1')}\n"
    runs.environ["OMP_NUM_THREADS"] = "3"
    assert runs.run("-n", many, program).stdout == "3 True {('3', '3', '3')}\n"
