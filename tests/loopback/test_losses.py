"""What is lost, stopped, or not what it should be: the run says so, and its record is its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import Runs, members, signal_if_there, until

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Exited, Fault, Output, Request
from scoop_hpc.protocol.names import worker_name

PROGRAM = """
import pathlib, sys, time
from scoop_hpc import futures
if __name__ == "__main__":
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(float(sys.argv[1]))
"""


def record(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(path.read_text())
    return about


def one(run: subprocess.Popen[str], title: str) -> int:
    """Return the process of *run* that calls itself *title*."""
    return next(pid for pid, name in members(run.pid).items() if name == title)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_former_run_does_not_write_over_the_record_of_the_one_that_succeeds(runs: Runs, late: bool) -> None:
    path = runs.directory / "record.json"
    words = ("-n", "1", "--record", str(path), runs.write(PROGRAM))
    first = runs.start(*words, "600", "begun")
    until((runs.directory / "begun").exists)
    agent = one(first, "agent")
    if late:
        os.kill(agent, signal.SIGSTOP)
    first.kill()
    first.wait(120)
    second = runs.run(*words, "0", "begun")
    assert second.returncode == 0, second.stderr
    if late:
        os.kill(agent, signal.SIGCONT)
    until(lambda: not members(first.pid))
    assert (record(path)["state"], record(path)["reason"]) == ("COMPLETED", "")


def test_a_run_whose_driver_is_killed_is_recorded_as_failed(runs: Runs) -> None:
    path = runs.directory / "record.json"
    first = runs.start("-n", "1", "--record", str(path), runs.write(PROGRAM), "600", "begun")
    until((runs.directory / "begun").exists)
    first.kill()
    until(lambda: not members(first.pid))
    assert record(path)["state"] == "FAILED"
    assert record(path)["reason"].startswith(f"the driver (pid {first.pid}) on ")


WAITING = """
import os, pathlib, sys, time
from scoop_hpc import futures
if __name__ == "__main__":
    pathlib.Path("begun").touch()
    pathlib.Path(f"begun-{os.getsid(0)}").touch()
    while not pathlib.Path("go").exists():
        futures.submit(time.sleep, 0.01).result()
    print(sum(futures.map(abs, range(100))))
"""


class Peer:
    """Somebody who may connect to the sockets of a run on this machine, and says what he likes under any *name*."""

    def __init__(self, runs: Runs, socket: str, name: str) -> None:
        (directory,) = {path.parent for path in runs.temporary.glob("*/driver")}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.identity = name.encode()
        self._socket.linger = 5000
        self._socket.connect(f"ipc://{directory}/{socket}")

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def close(self) -> None:
        """Close, having sent all."""
        self._context.destroy()


def junk(seed: int) -> Iterator[list[bytes]]:
    """Yield damaged messages."""
    chance = random.Random(seed)
    whole = [
        codec.encode(each)
        for each in (
            Exited(worker_name(0, 1), 7, 0, False, True),
            Fault("why", 0),
            Request(2),
            Output(worker_name(0, 1), 1, b""),
        )
    ]
    yield [b"\x92\xa5Fault\xa2\xff\xfe"]
    for _ in range(300):
        frames = [bytearray(bytes(frame)) for frame in chance.choice(whole)]
        frames[0][chance.randrange(len(frames[0]))] = chance.randrange(256)
        yield [bytes(frame) for frame in frames]


@pytest.mark.parametrize(("socket", "who"), [("driver", "scoop-hpc: warning: dropped"), ("0", "broker 0 dropped")])
def test_what_a_stranger_sends_is_dropped_with_one_line(runs: Runs, socket: str, who: str) -> None:
    run = runs.start("-n", "2", runs.write(WAITING))
    until((runs.directory / "begun").exists)
    peer = Peer(runs, socket, "evil")
    for frames in junk(1):
        peer.send(*frames)
    peer.close()
    nameless = Peer(runs, socket, "last")
    nameless.send(b"\xc1")
    assert run.stderr is not None
    seen = [run.stderr.readline(), run.stderr.readline()]  # all was taken in
    (runs.directory / "go").touch()
    stdout, stderr = run.communicate(timeout=120)
    nameless.close()
    assert (stdout, stderr, run.returncode) == ("4950\n", "", 0)
    assert [who in line and name in line for line, name in zip(seen, ("'evil'", "'last'"))] == [True, True]


def test_what_cannot_be_understood_under_the_name_of_a_worker_of_the_run_ends_it(runs: Runs) -> None:
    run = runs.start("-n", "2", runs.write(WAITING))
    until((runs.directory / "begun").exists)
    peer = Peer(runs, "0", "0.1")  # an agent's name cannot be guessed
    peer.send(b"\x92\xa5Fault\xa2\xff\xfe")
    stdout, stderr = run.communicate(timeout=120)
    peer.close()
    assert (stdout, run.returncode) == ("", 1)
    assert "scoop-hpc: error: invalid message of " in stderr
    assert "Traceback" not in stderr
    until(lambda: not members(run.pid))


def test_a_process_that_is_stopped_ends_the_run_but_a_worker_and_a_run_that_is_suspended_goes_on(runs: Runs) -> None:
    """All of it at once, for it takes 20 seconds."""
    titles = ("scoop-broker", "scoop-origin", "driver")
    path = runs.directory / "record.json"
    program = runs.write(WAITING)
    started = {title: runs.start("-n", "2", "--record", str(path) + title, program) for title in titles}
    suspended, without_a_worker = (runs.start("-n", "2", program) for _ in range(2))
    for run in (*started.values(), suspended, without_a_worker):
        until((runs.directory / f"begun-{run.pid}").exists)
        there = {*titles[:2], "scoop-worker", "agent"}
        until(lambda run=run, there=there: there <= set(members(run.pid).values()))  # type: ignore[misc]
    worker = next(pid for pid, title in members(without_a_worker.pid).items() if title == "scoop-worker")
    os.kill(worker, signal.SIGSTOP)
    for title, run in started.items():
        os.kill(run.pid if title == "driver" else one(run, title), signal.SIGSTOP)
    stopped: set[int] = set()
    while others := members(suspended.pid).keys() - stopped:  # until none has forked another meanwhile
        for pid in others:
            signal_if_there(pid, signal.SIGSTOP)
        stopped |= others
    for title, run in started.items():
        stdout, stderr = run.communicate(timeout=240)
        about = record(Path(str(path) + title))
        assert (stdout, about["state"]) == ("", "FAILED")
        assert f"{title.removeprefix('scoop-')} " in about["reason"]
        assert "stopped" in about["reason"]
        assert "stopped" in stderr
        assert run.returncode == (-signal.SIGKILL if title == "driver" else 1)
        until(lambda run=run: not members(run.pid))  # type: ignore[misc]
    until(lambda: worker not in members(without_a_worker.pid))
    for pid in members(suspended.pid):
        signal_if_there(pid, signal.SIGCONT)
    (runs.directory / "go").touch()
    stdout, stderr = suspended.communicate(timeout=240)
    assert (stdout, stderr, suspended.returncode) == ("4950\n", "", 0)
    stdout, stderr = without_a_worker.communicate(timeout=240)
    assert (stdout, without_a_worker.returncode) == ("4950\n", 0)
    assert f"(pid {worker}) on " in stderr
    assert "was killed: it had been stopped for long" in stderr
