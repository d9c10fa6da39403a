"""The program of `benchmarks.viewers`, for ``scoop-hpc run``: sleeping tasks, with somebody who looks at them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scoop_hpc import futures

INTERVAL = 1.0  # seconds between two looks of a browser, as the live page's
_SIZE = struct.pack("4H", 40, 120, 0, 0)  # of the terminal of `top` [ioctl_tty(2)]


def asleep(seconds: float) -> int:
    """Last *seconds*; return the process, of which each worker is one."""
    time.sleep(seconds)
    return os.getpid()


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "scoop_hpc", name]


def _environ() -> dict[str, str]:
    """Return the environment of a login shell: not that of the run."""
    return {name: text for name, text in os.environ.items() if not name.startswith("SCOOP_HPC_")} | {"TERM": "xterm"}


@contextmanager
def nobody() -> Iterator[None]:
    """Do not look."""
    yield


@contextmanager
def top() -> Iterator[None]:
    """Look by ``scoop-hpc top`` in a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SIZE)
    viewer = subprocess.Popen(_command("top"), stdin=theirs, stdout=theirs, stderr=theirs, env=_environ())
    os.close(theirs)
    shown = bytearray(os.read(ours, 1 << 16))
    drained = threading.Thread(target=_drain, args=(ours, shown))
    drained.start()
    try:
        while b"worker" not in shown:
            time.sleep(0.05)
        yield
    finally:
        os.write(ours, b"q")
        viewer.wait()
        drained.join()
        os.close(ours)


def _drain(descriptor: int, shown: bytearray) -> None:
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # nobody has the other end any more [pty(7)]
            return
        if not piece:
            return
        shown += piece


@contextmanager
def web() -> Iterator[None]:
    """Look by ``scoop-hpc web``, and ask it for what is new as its page does."""
    viewer = subprocess.Popen(_command("web"), stdout=subprocess.PIPE, env=_environ(), text=True)
    assert viewer.stdout is not None
    address = ""
    while not address:
        line = viewer.stdout.readline()
        assert line, "scoop-hpc web has ended"
        found = re.search(r"http://\S+", line)
        address = found[0] if found else ""
    ended = threading.Event()
    browser = threading.Thread(target=_browse, args=(address, ended))
    browser.start()
    try:
        yield
    finally:
        ended.set()
        browser.join()
        viewer.send_signal(signal.SIGINT)
        viewer.wait()


def _browse(address: str, ended: threading.Event) -> None:
    look = 0
    while not ended.wait(INTERVAL):
        with urllib.request.urlopen(f"{address}snapshot.json?since={look}") as answer:
            look = json.load(answer)["look"]
    assert look, "the page has seen nothing"


VIEWERS = {"nobody": nobody, "top": top, "web": web}


def main(viewer: str, workers: int, each: int, seconds: float) -> dict[str, Any]:
    """Return how long *each* task of so many *seconds* for each worker took, and what part of a core the viewer had."""
    while len({*futures.map(asleep, [0.02] * (4 * workers))}) < workers:  # all of them are there
        pass
    with VIEWERS[viewer]():
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        for _ in futures.map(asleep, [seconds] * (each * workers)):
            pass
        taken = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # with the viewer's start
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": taken, "viewer": used / taken}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))), flush=True)
