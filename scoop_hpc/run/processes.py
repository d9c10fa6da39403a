"""The launcher's commands as processes of the driver: their ends, and their last words."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator

import zmq
from msgspec import Struct

from scoop_hpc.errors import LaunchError
from scoop_hpc.files.line_buffer import LineBuffer
from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command, FailedLaunch
from scoop_hpc.run.forked_agent import AgentMain, ForkedAgent, fork_agent

_LAST_WORDS = 20  # lines
_COMPLAINT = "scoop-hpc: error: "
_ADVICE = ('Try "', "Try '")  # srun and others say last how to get help, not what is wrong


class Ended(Struct, frozen=True):
    """A command that has ended, with its exit status as of `os.waitstatus_to_exitcode`, and its last line.

    Its *complaint* is the last line that is an error of ours: srun tells after it how its tasks ended. *unanswered* is
    what it has said of a scheduler that was silent, *first_death* of the process for whose end it ended all others.
    """

    command: Command
    pid: int
    status: int
    last_line: str
    complaint: str
    unanswered: str
    first_death: str


class Processes:
    """Starts commands; registers with *poller* what they print, unless they *share* this process's streams."""

    def __init__(self, poller: zmq.Poller, share: bool) -> None:
        self.last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._poller = poller
        self._share = share
        self._running: dict[int, tuple[Command, subprocess.Popen[bytes] | ForkedAgent]] = {}
        self._lines: dict[int, LineBuffer] = {}  # by descriptor
        self._last_lines: dict[int, str] = {}  # descriptor: the last line with something in it
        self._complaints: dict[int, str] = {}  # descriptor: the last line that is an error of ours
        self._patterns: dict[int, str] = {}  # descriptor: of the words in which a command names the first death
        self._first_deaths: dict[int, str] = {}  # descriptor: these words
        self._silences: dict[int, str] = {}  # descriptor: of a line that says that the scheduler was silent
        self._unanswered: dict[int, str] = {}  # descriptor: what such a line said
        self._launches: dict[int, tuple[Command, int]] = {}  # descriptor: a command that says what it cannot start
        self._failed_launches: list[FailedLaunch] = []

    def start(self, command: Command, text: bytes = b"") -> int:
        """Start *command*, with *text* for its input; return its process id. Raises LaunchError."""
        try:
            with _input(text) as stdin, _blocked(signal.SIGINT) if self._share else contextlib.nullcontext():
                process = subprocess.Popen(
                    command.argv,
                    env=command.environ,
                    stdin=None if self._share else stdin,
                    stdout=None if self._share else subprocess.PIPE,
                    stderr=None if self._share else subprocess.STDOUT,
                    start_new_session=command.own_session or not self._share,  # Ctrl-C must not reach srun
                )
        except OSError as error:
            nodes = fold(command.nodes)
            raise LaunchError(f"cannot start {command.argv[0]!r} for {nodes}: {error.strerror}") from error
        self._running[process.pid] = command, process
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)  # what was polled may have been read since
            self._lines[process.stdout.fileno()] = LineBuffer()
            self._poller.register(process.stdout.fileno(), zmq.POLLIN)
            if command.first_death:
                self._patterns[process.stdout.fileno()] = command.first_death
            if command.unanswered:
                self._silences[process.stdout.fileno()] = command.unanswered
            if command.failed_launch:
                self._launches[process.stdout.fileno()] = command, process.pid
        return process.pid

    def fork(self, command: Command, main: AgentMain) -> int:
        """Fork the agent of *command*, which is its *main*; return its process id. Raises LaunchError."""
        try:
            agent = fork_agent(command, main)
        except OSError as error:
            raise LaunchError(f"cannot start an agent for {fold(command.nodes)}: {error.strerror}") from error
        self._running[agent.pid] = command, agent
        return agent.pid

    def __contains__(self, descriptor: object) -> bool:
        return descriptor in self._lines

    def hear(self, descriptor: int) -> bool:
        """Keep what a command has printed, if anything; return whether there may be more."""
        try:
            text = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        self._keep(descriptor, self._lines[descriptor].add(text))
        if not text:
            self._forget(descriptor)
        return bool(text)

    def _forget(self, descriptor: int) -> None:
        """Hear no more of *descriptor*, which is about to be closed."""
        rest = self._lines.pop(descriptor).rest()
        self._poller.unregister(descriptor)
        if rest:
            self._keep(descriptor, [rest])
        self._launches.pop(descriptor, None)
        self._patterns.pop(descriptor, None)
        self._silences.pop(descriptor, None)

    def _keep(self, descriptor: int, lines: Iterable[bytes]) -> None:
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if descriptor in self._patterns and descriptor not in self._first_deaths:
                two = f"{self._last_lines.get(descriptor, '')} {text}"
                match = re.search(self._patterns[descriptor], two)
                if match is not None:
                    self._first_deaths[descriptor] = re.sub(" = +", ": ", match[0])
            self.last_words.append(text)
            if text and not text.startswith(_ADVICE):
                self._last_lines[descriptor] = text
            if text.startswith(_COMPLAINT):
                self._complaints[descriptor] = text.removeprefix(_COMPLAINT)
            if descriptor in self._silences:
                match = re.fullmatch(self._silences[descriptor], text)
                if match is not None:
                    self._unanswered[descriptor] = match["words"]
            if descriptor in self._launches:
                command, pid = self._launches[descriptor]
                match = re.fullmatch(command.failed_launch, text)
                if match is not None:
                    self._failed_launches.append(FailedLaunch(command, pid, match["node"], match["words"]))

    def failed_launches(self) -> list[FailedLaunch]:
        """Return what commands could not start, of all that they have printed until now, since the last call."""
        for descriptor in list(self._launches):
            while self.hear(descriptor):
                pass
        failed, self._failed_launches = self._failed_launches, []
        return failed

    def running(self) -> set[int]:
        """Return the process ids of the commands that have not ended."""
        return set(self._running)

    def end_alone(self, pid: int) -> None:
        """End a command so that it can do no more to what it has started.

        It is stopped first: of srun's two processes, the one that outlives the other ends the step.
        """
        for number in (signal.SIGSTOP, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)  # each has a session of its own

    def reap(self) -> list[Ended]:
        """Return the commands that have ended since the last call."""
        ended = []
        for pid, (command, process) in list(self._running.items()):
            status = process.poll()
            if status is not None:
                del self._running[pid]
                last_line = complaint = unanswered = first_death = ""
                if process.stdout is not None and process.stdout.fileno() in self._lines:
                    while self.hear(process.stdout.fileno()):
                        pass
                    if process.stdout.fileno() in self._lines:  # its own children hold it open
                        self._forget(process.stdout.fileno())
                if process.stdout is not None:
                    last_line = self._last_lines.pop(process.stdout.fileno(), "")
                    complaint = self._complaints.pop(process.stdout.fileno(), "")
                    unanswered = self._unanswered.pop(process.stdout.fileno(), "")
                    first_death = self._first_deaths.pop(process.stdout.fileno(), "")
                ended.append(Ended(command, pid, status, last_line, complaint, unanswered, first_death))
        return ended

    def end(self) -> None:
        """Give what still runs a second to end by itself; then end it."""
        deadline = time.monotonic() + 1.0
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            for _, process in self._running.values():
                if number:
                    process.send_signal(number)
            for _, process in self._running.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
            deadline += 0.5


@contextlib.contextmanager
def _blocked(number: int) -> Iterator[None]:
    """Let what is started here begin with the signal *number* blocked; whoever waits for it here gets it afterwards.

    A terminal sends Ctrl-C to all processes: an agent must not be ended by it before it has said that it ignores it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _input(text: bytes) -> Iterator[int]:
    """Give a descriptor to read *text* from: of a file without a name, so that nobody has to wait for the reader."""
    if not text:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.seek(0)
        yield file.fileno()
