"""Runs of programs on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
CHROMIUMS = ("chromium-headless-shell", "chromium", "google-chrome")  # commands, and the package of the first
# what a program does until it is signalled: a signal that comes just before one long sleep would not be heard in it,
# since Python's handlers run between bytecodes
NAP = "while True: time.sleep(0.1)"
# what a task does so that all of *count* workers, or nodes, get one: it waits for a task of each
MEET = """
def meet(who, count):
    import os, time
    open(f"met-{who}", "w").close()
    while sum(name.startswith("met-") for name in os.listdir()) < count:
        time.sleep(0.005)
"""


class Runs:
    """Runs programs written into *directory*; what they leave of temporary files is seen in *temporary*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.environ = {**os.environ, "TMPDIR": str(self.temporary), "SCOOP_HPC_STATE": str(directory / ".state")}
        self.before: Callable[[], object] = lambda: None  # called in each process that is started here
        self._started: list[subprocess.Popen[str]] = []

    def write(self, text: str, name: str = "program.py") -> str:
        """Write a program; return its name."""
        (self.directory / name).write_text(text, encoding="utf-8")
        return name

    def start(
        self,
        *words: str,
        stdin: int | None = subprocess.DEVNULL,
        command: Sequence[str] = ("run",),
        module: str = "scoop_hpc",
    ) -> subprocess.Popen[str]:
        """Start ``scoop-hpc run WORDS``, or another *command* or *module*, in a session of its own."""
        return self.start_command([sys.executable, "-m", module, *command, *words], stdin)

    def start_command(
        self, argv: Sequence[str], stdin: int | None = subprocess.DEVNULL, stderr: int | IO[str] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start any command in a session of its own."""
        process = subprocess.Popen(
            argv,
            cwd=self.directory,
            env=self.environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            preexec_fn=self._prepare,
        )
        self._started.append(process)
        return process

    def run(self, *words: str, stdin: str = "", command: Sequence[str] = ("run",)) -> subprocess.CompletedProcess[str]:
        """Run ``scoop-hpc run WORDS``, or another *command*, to its end."""
        process = self.start(*words, stdin=subprocess.PIPE, command=command)
        stdout, stderr = process.communicate(stdin, timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, without_delays(stderr))

    def _prepare(self) -> None:
        """Undo what nohup(1) does to the tests, and a driver would respect; then do what the test wants."""
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.before()

    def close(self) -> None:
        """Kill what a failed test left."""
        for process in self._started:
            for pid in [*members(process.pid), process.pid]:
                if process.poll() is None or pid != process.pid:
                    signal_if_there(pid, signal.SIGKILL)
            process.communicate()


def signal_if_there(pid: int, number: int) -> None:
    """Send a signal to a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def members(session: int) -> dict[int, str]:
    """Return the live processes of a *session*, and what each calls itself [proc_pid_stat(5)].

    What an agent has just forked, and has no name of its own yet, is no agent.
    """
    found, agents = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                head, _, tail = (entry / "stat").read_text().rpartition(")")
                argv = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            state, parent, _, sid = tail.split()[:4]
            if int(sid) == session and state not in "ZX":
                pid, name = int(entry.name), head.partition("(")[2]
                found[pid] = name
                if name == "scoop-agent" or (b"scoop_hpc.cli.agent" in argv and name.startswith("py")):
                    agents[pid] = int(parent)
    return found | {pid: "agent" for pid, parent in agents.items() if parent not in agents}


def without_warnings(stderr: str) -> str:
    """Leave out the warnings: the machine may have fewer CPUs than the workers that a test wants, or be slow."""
    lines = without_delays(stderr).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("scoop-hpc: warning: node "))


def without_delays(text: str) -> str:
    """Leave out what a run says when it takes long, as any does on a loaded machine: who is late, and its progress."""
    return re.sub("^scoop-hpc: ((?:warning: )?waiting for|progress:) .*\n", "", text, flags=re.MULTILINE)


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until *condition* holds; fail if it does not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """Run programs, and see to it that nothing is left of them."""
    runs = Runs(tmp_path)
    yield runs
    runs.close()


def shared_memory() -> set[str]:
    """Return what is in /dev/shm, but for what MPI, joblib, semaphores and browsers have there meanwhile."""
    of_others = "mpich_shm_", "sm_segment.", "Intel_MPI", "joblib_memmapping_", "sem.", ".org.chromium."
    return {name for name in os.listdir("/dev/shm") if not name.startswith(of_others)}


@pytest.fixture(scope="session")
def chromium() -> str:
    """A Chromium without windows, Debian's for one; root installs it."""
    path = os.pathsep.join([os.defpath, os.environ["PATH"]])  # the directories where it may have come to meanwhile

    def found() -> str | None:
        return next(filter(None, (shutil.which(name, path=path) for name in CHROMIUMS)), None)

    if found() is None and os.geteuid() == 0:
        ensure = f"from minicluster.packages import ensure; ensure({{{CHROMIUMS[0]!r}: {CHROMIUMS[0]!r}}})"
        subprocess.run([sys.executable, "-c", ensure], cwd=ROOT / "tests" / "cluster", check=True)
    browser = found()
    assert browser is not None, f"there is none of {', '.join(CHROMIUMS)}: apt-get install {CHROMIUMS[0]}"
    return browser


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser that reaches nothing but this machine."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  others are run without it

    options = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium has none for root
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=options) as browser:
        yield browser
