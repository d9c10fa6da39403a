"""A run that has to end after all: its program hears of it first, and saves what it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import zmq
from conftest import Runs, members, until

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Fault

HEAD = """
import atexit, concurrent.futures, os, pathlib, queue, signal, sys, threading, time
from scoop_hpc import futures
from scoop_hpc.errors import RunEndedError

def note(name, text=""):
    new = f"{name}.{os.getpid()}.{threading.get_ident()}"
    pathlib.Path(new).write_text(text)
    os.rename(new, name)

def nap(_=None):
    note("begun", os.environ["SCOOP_HPC_LOCAL_RANK"])
    time.sleep(600)

if __name__ == "__main__":
    atexit.register(note, "atexit")
"""
SAVING = """
    try:
{body}
    finally:
        note("saved", repr(sys.exc_info()[1]))
"""
WAITS = {
    "result": "futures.submit(nap).result()",
    "map": "list(futures.map(nap, range(9)))",
    "chunks": "list(futures.map(nap, range(900)))",
    # it may be told by its futures: then a wait ends as any
    "wait": "[done.result() for done in futures.wait([futures.submit(nap) for _ in range(9)]).done]",
    "as_completed": "next(futures.as_completed([futures.submit(nap) for _ in range(9)])).result()",
    "map_reduce": "futures.map_reduce(nap, max, range(9))",
    "library": "[done.result() for done in concurrent.futures.wait([futures.submit(nap) for _ in range(9)]).done]",
    "deadline": "futures.submit(nap).result(timeout=500)",
    "retry": """
        while True:
            try:
                futures.submit(nap).result()
            except Exception:
                pass
""",
    "threads": """
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda n: futures.submit(nap).result(), range(3)))
""",
    "asyncio": """
        import asyncio
        async def main():
            await asyncio.gather(*[asyncio.wrap_future(futures.submit(nap)) for _ in range(3)])
        asyncio.run(main())
""",
    "asyncio.wait": """
        import asyncio
        async def main():
            done, _ = await asyncio.wait([asyncio.wrap_future(futures.submit(nap)) for _ in range(3)])
            return [each.result() for each in done]
        asyncio.run(main())
""",
    "executor": """
        from scoop_hpc import Executor
        with Executor(max_workers=1) as executor:
            list(executor.map(nap, range(3)))
""",
    "callbacks": """
        done = queue.Queue()
        futures.submit(nap).add_done_callback(done.put)
        done.get().result()
""",
    "sleeps": "note('begun'); time.sleep(600)",
    "computes": """
        note('begun')
        while True: pass
""",
    "polls": """
        future = futures.submit(nap)
        while not future.done(): time.sleep(0.01)
        future.result()
""",
}


def program(body: str, before: str = "") -> str:
    lines = body if "\n" in body else f"        {body}"
    return HEAD + "".join(f"    {line}\n" for line in before.splitlines()) + SAVING.format(body=lines)


def start(runs: Runs, text: str, workers: int = 2) -> subprocess.Popen[str]:
    process = runs.start("-n", str(workers), runs.write(text))
    until((runs.directory / "begun").exists)
    return process


def kill(run: subprocess.Popen[str], title: str = "scoop-broker") -> None:
    os.kill(next(pid for pid, name in members(run.pid).items() if name == title), signal.SIGKILL)


def end(runs: Runs, run: subprocess.Popen[str]) -> tuple[int, str]:
    """Expect that nothing is left; return the exit status, and what stderr said."""
    _, stderr = run.communicate(timeout=120)
    until(lambda: not members(run.pid))
    until(lambda: not list(runs.temporary.iterdir()))
    return run.returncode, stderr


def saved(runs: Runs, name: str = "saved") -> str:
    return (runs.directory / name).read_text()


def fault(runs: Runs, message: Fault) -> None:
    """Report, as the worker does that naps, that it cannot go on; another one may be a stranger to the broker yet."""
    worker = f"0.{1 + int((runs.directory / 'begun').read_text())}"
    (directory,) = {path.parent for path in runs.temporary.glob("*/driver")}
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.identity = worker.encode()
    socket.linger = 5000
    socket.connect(f"ipc://{directory}/0")
    socket.send_multipart([bytes(frame) for frame in codec.encode(message)])
    context.destroy()


ALONE = ("result", "map", "map_reduce", "callbacks")  # the program's own worker runs the tasks


@pytest.mark.parametrize(("way", "workers"), [*((way, 2) for way in WAITS), *((way, 1) for way in ALONE)])
def test_program_saves_what_it_has_when_a_broker_dies(runs: Runs, way: str, workers: int) -> None:
    run = start(runs, program(WAITS[way]), workers)
    kill(run)
    status, stderr = end(runs, run)
    assert saved(runs).startswith("RunEndedError('broker 0 (pid ")
    assert saved(runs, "atexit") == ""
    (line,) = stderr.splitlines()
    assert line.startswith("scoop-hpc: error: broker 0 (pid ")
    assert status == 1


@pytest.mark.parametrize("leaving", ["pass", "sys.exit(0)", "sys.exit(5)", "os._exit(0)", "raise KeyError(7)"])
def test_reason_and_status_of_the_end_stay_whatever_the_program_does(runs: Runs, leaving: str) -> None:
    body = f"""
        try:
            futures.submit(nap).result()
        except RunEndedError as error:
            note("saved", str(error))
            {leaving}
"""
    run = start(runs, HEAD + "    if True:\n" + body)
    fault(runs, Fault("no licence", 7))
    status, stderr = end(runs, run)
    assert saved(runs) == "the run is ending: no licence"
    assert stderr.splitlines()[-1] == "scoop-hpc: error: no licence"
    assert status == 7


def test_results_that_are_here_can_be_had_and_more_waits_end_at_once(runs: Runs) -> None:
    body = """
        done = [futures.submit(abs, -n) for n in range(5)]
        futures.wait(done)
        late = [futures.submit(nap) for _ in range(5)]
        waits = [lambda: futures.submit(abs, 1), late[0].result, lambda: list(futures.map(abs, range(9))),
                 lambda: list(futures.map(abs, range(9000))), lambda: futures.map_reduce(abs, max, range(9000))]
        # these may find that the futures have failed
        others = [lambda: futures.wait(late), lambda: next(futures.as_completed(late)), late[0].exception]

        def told(wait):
            try:
                wait()
            except RunEndedError:
                return True
            return False

        try:
            late[0].result()
        finally:
            for wait in others:
                told(wait)
            for future in late:
                future.cancel()
            note("results", f"{[each.result() for each in done if each.done()]} {[told(wait) for wait in waits]}")
"""
    run = start(runs, program(body))
    kill(run)
    assert end(runs, run)[0] == 1
    assert saved(runs, "results") == f"{[0, 1, 2, 3, 4]} {[True] * 5}"


def test_who_saves_is_not_disturbed(runs: Runs) -> None:
    slow = """
        try:
            futures.submit(nap).result()
        finally:
            note("saving")
            until = time.monotonic() + 3  # SIGTERM comes meanwhile
            while time.monotonic() < until: pass
            note("slowly")
"""
    run = start(runs, program(slow))
    kill(run)
    assert end(runs, run)[0] == 1
    assert saved(runs, "slowly") == saved(runs, "atexit") == ""


def test_reason_is_printed_before_the_program_has_had_its_time(runs: Runs) -> None:
    with (runs.directory / "log").open("w+") as log:
        command = [sys.executable, "-m", "scoop_hpc", "run", "-n", "2", runs.write(program(STAYS))]
        run = runs.start_command(command, stderr=log)
        until((runs.directory / "begun").exists)
        kill(run)
        until((runs.directory / "saving").exists)
        until(lambda: (runs.directory / "log").stat().st_size)
        run.kill()  # as a scheduler does
        end(runs, run)
    (line,) = (runs.directory / "log").read_text().splitlines()
    assert line.startswith("scoop-hpc: error: broker 0 (pid ")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_reason_is_the_last_line_whatever_the_program_prints(runs: Runs, stream: str) -> None:
    talks = f"""
        try:
            futures.submit(nap).result()
        finally:
            print("saving", file=sys.{stream}, flush=True)
"""
    run = start(runs, program(talks))
    fault(runs, Fault("no licence", 7))
    status, stderr = end(runs, run)
    said = "scoop-hpc: error: no licence"
    assert stderr.splitlines() == ([said, "saving", said] if stream == "stderr" else [said])
    assert status == 7


HANDLER = """
def heard(number, frame):
    note("heard", str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, heard)
"""


def test_handler_of_a_program_that_computes_is_called(runs: Runs) -> None:
    run = start(runs, program(WAITS["computes"], HANDLER))
    kill(run)
    assert end(runs, run)[0] == 1
    assert saved(runs, "heard") == "15"
    assert saved(runs) == "SystemExit(0)"
    assert saved(runs, "atexit") == ""


DEAF = """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGURG):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            futures.submit(nap).result()
        except BaseException:
            pass
"""


def test_program_that_heeds_nothing_is_killed(runs: Runs) -> None:
    run = start(runs, HEAD + DEAF)
    kill(run)
    status, stderr = end(runs, run)
    assert (status, len(stderr.splitlines())) == (1, 1)
    assert not (runs.directory / "atexit").exists()


STAYS = """
        try:
            futures.submit(nap).result()
        finally:
            note("saving")
            while True:
                try:
                    time.sleep(600)
                except BaseException:
                    pass
"""
NOTES = """
def heard(number, frame):
    note("heard", str(number))
signal.signal(signal.SIGTERM, heard)
"""


def test_ctrl_c_takes_the_programs_time(runs: Runs) -> None:
    run = start(runs, program(STAYS, NOTES))
    kill(run)
    until((runs.directory / "saving").exists)
    run.send_signal(signal.SIGINT)
    status, stderr = end(runs, run)
    assert (status, len(stderr.splitlines())) == (1, 1)
    assert not (runs.directory / "heard").exists()


def test_nothing_is_left_of_a_program_whose_driver_dies_meanwhile(runs: Runs) -> None:
    run = start(runs, program(STAYS, NOTES))
    kill(run)
    until((runs.directory / "saving").exists)
    run.kill()
    end(runs, run)
    assert saved(runs, "heard") == "15"


ENDED = ("result", "threads", "asyncio", "asyncio.wait", "callbacks", "sleeps", "computes")


@pytest.mark.parametrize(
    ("number", "way"),
    [
        *((signal.SIGTERM, way) for way in ENDED),
        (signal.SIGHUP, "result"),
    ],
)
def test_program_without_a_handler_saves_what_it_has(runs: Runs, number: signal.Signals, way: str) -> None:
    run = start(runs, program(WAITS[way]))
    run.send_signal(number)
    assert end(runs, run) == (128 + number, f"scoop-hpc: error: ended by {number.name}\n")
    assert saved(runs).startswith("RunEndedError('")
    assert saved(runs, "atexit") == ""


def test_handler_that_only_notes_is_followed_by_an_exception(runs: Runs) -> None:
    run = start(runs, program(WAITS["result"], NOTES))
    run.terminate()
    assert end(runs, run) == (143, "scoop-hpc: error: ended by SIGTERM\n")
    assert saved(runs, "heard") == "15"
    assert saved(runs) == "RunEndedError('ended by SIGTERM', 1)"


def test_program_saves_what_it_has_when_its_driver_is_killed(runs: Runs) -> None:
    run = start(runs, program(WAITS["result"]))
    run.kill()
    end(runs, run)
    assert saved(runs).startswith("RunEndedError(")
    assert saved(runs, "atexit") == ""


@pytest.mark.parametrize("leaving", ["raise", "pass", "sys.exit(5)", "os._exit(0)"])
def test_sigterm_to_the_program_alone_is_what_it_dies_of(runs: Runs, leaving: str) -> None:
    body = f"""
        try:
            futures.submit(nap).result()
        except BaseException as error:
            note("saved", repr(error))
            {leaving}
"""
    run = start(runs, HEAD + "    if True:\n" + body)
    (pid,) = (pid for pid, name in members(run.pid).items() if name == "scoop-origin")
    os.kill(pid, signal.SIGTERM)
    status, stderr = end(runs, run)
    assert status == 143
    (line,) = stderr.splitlines()
    assert line.endswith("died: killed by SIGTERM")
    assert saved(runs) == "RunEndedError('SIGTERM', 143)"
    assert (runs.directory / "atexit").exists() == ("os._exit" not in leaving)


def test_processes_that_the_program_has_forked_die_of_sigterm(runs: Runs) -> None:
    text = """
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        child.terminate()
        child.join()
        note("child", str(child.exitcode))
"""
    done = runs.run("-n", "2", runs.write(program(text)))
    assert (done.returncode, done.stderr) == (0, "")
    assert saved(runs, "child") == "-15"
