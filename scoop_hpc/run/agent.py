"""The agent: one on every node; starts its broker and workers, watches and reaps them.

::

    driver <--meet: CURVE over tcp, or ipc--> agent --main: ipc--> broker
                                                |<--pipes: stdout, stderr-- workers
                                                '<--exits-- broker, workers

It leaves when the driver says so, or when the driver is gone: its connection lost and not made again in time. It is the
parent of everything that is started on its node, and kills all that before it leaves; when it dies itself, the kernel
kills its children (PR_SET_PDEATHSIG), and the broker removes the sockets' directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from scoop_hpc.errors import LaunchError, ScoopError
from scoop_hpc.jobs import record as records
from scoop_hpc.protocol.messages import (
    Beat,
    BrokerUp,
    Bye,
    Curve,
    Exited,
    Fault,
    Interrupt,
    Message,
    OutputSeen,
    Peers,
    Ready,
    Shutdown,
    Stop,
    Welcome,
)
from scoop_hpc.protocol.names import AGENT, ORIGIN
from scoop_hpc.run import children, proc
from scoop_hpc.run.children import Child, ProcessOptions
from scoop_hpc.run.connect import LOST, knock
from scoop_hpc.run.oom_kills import OomKills, read_text
from scoop_hpc.run.output import OutputPipes
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.transport import limits, sockets
from scoop_hpc.transport.directory import choose_private, make_private
from scoop_hpc.transport.last_word import LastWord

_SIGNAL_GRACE = 2.0  # seconds that the origin has to end after its signal
_SAME_SIGNAL = 0.1  # seconds in which a signal to all processes has come to all of them
_FILES = 10  # more than those for each worker and node, in an agent and in a broker
_REMEDY = "raise that, or ask for fewer workers"
_STOP_GRACE = 0.3  # seconds that idle workers have to end by themselves


Main = Callable[[LastWord], int]


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """What an agent is started with."""

    node: str  # the scheduler's name for it
    driver: tuple[str, ...]  # addresses to knock at
    curve: Curve | None
    patience: float  # seconds to wait for the driver's welcome
    parent: int  # the process that started this one
    own_addresses: Callable[[str], Sequence[str]]  # driver's address: own ones, the most promising first


@dataclass(frozen=True, slots=True)
class Rooms:
    """The mains of the processes that an agent forks; made by the one who may know them all."""

    broker: Callable[[Welcome, str, Sequence[str]], Main]  # welcome, private directory, addresses
    worker: Callable[[Welcome, str, str], Main]  # welcome, private directory, name


class Agent:
    """The agent of one node."""

    def __init__(self, plan: AgentPlan, rooms: Rooms, wakeup: SignalFd) -> None:
        self._pid = os.getpid()
        self._plan = plan
        self._rooms = rooms
        self._wakeup = wakeup
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._poller.register(wakeup.fileno(), zmq.POLLIN)
        self._children: dict[int, Child] = {}
        self._origin: Child | None = None
        self._pipes = OutputPipes(self._poller, self._tell)
        self._shutdown: Shutdown | None = None
        self._lost_at: float | None = None
        self._terminated_at: float | None = None
        self._directory = ""
        self._broker: sockets.Socket | None = None
        self._stopped = proc.Stopped(proc.process_state)
        self._oom_kills = OomKills(read_text)
        self._looked = 0.0  # at the children, last
        self._unanswered: int | None = None  # looks since the broker was asked; None: it is not up yet

    def join(self) -> None:
        """Find the driver, and be welcomed; raise LaunchError if that takes too long."""
        plan = self._plan
        door, self._welcome = knock(self._context, plan.node, plan.driver, plan.curve, plan.patience, plan.parent)
        self._meet, self._watch = door.socket, door.watch
        self._poller.register(self._meet, zmq.POLLIN)
        self._poller.register(self._watch.socket, zmq.POLLIN)
        self._addresses = plan.own_addresses(door.address) if self._welcome.curve is not None else ()

    def run(self) -> None:
        """Start the broker and the workers, and serve until the end; leave nothing behind."""
        try:
            self._start()
            while self._shutdown is None:
                self._serve(1.0 if self._lost_at is None else 0.1)
            self._end(self._shutdown.signal)
        except ScoopError as error:
            self._tell(Fault(f"node {self._plan.node}: {error}", 2 if isinstance(error, LaunchError) else 1))
            self._end(0)
        finally:
            children.kill_descendants()
            if self._lost_at is not None or not self._welcome.directory:  # else it is the driver's to remove
                shutil.rmtree(self._directory, ignore_errors=True)
            self._tell(Bye())
            self._context.destroy(linger=500 if self._lost_at is None else 0)

    def _start(self) -> None:
        children.adopt_orphans()
        if not self._welcome.directory and os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        limits.raise_file_limit()
        forked = self._welcome.workers + 1
        limits.check_files(_FILES + 2 * forked + 2 * len(self._welcome.nodes), _REMEDY)
        if not self._welcome.directory:  # else the driver has done so, on this machine
            limits.check_processes(limits.THREADS + limits.WORKER_THREADS * self._welcome.workers, _REMEDY)
        program = self._welcome.program
        os.environ.clear()
        os.environb.update(program.environ)
        try:
            os.chdir(program.directory)
        except OSError as error:
            directory = os.fsdecode(program.directory)
            raise LaunchError(f"cannot enter the directory {directory!r}: {error.strerror}") from error
        self._directory = self._welcome.directory or make_private(choose_private(os.environ.get("TMPDIR", "")))
        name = str(self._welcome.node)
        make = self._rooms.broker(self._welcome, self._directory, self._addresses)
        orphaned = signal.SIGUSR1
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
        options = ProcessOptions("scoop-broker", ignored, orphaned, (), self._die_without_agent)
        self._add(children.fork(name, options, make))
        for index in range(self._welcome.workers):
            worker = f"{name}.{index + (self._welcome.pool is not None)}"  # a pool has no origin
            if worker != ORIGIN:
                self._fork_worker(worker)
        self._broker = sockets.make(self._context, zmq.DEALER, AGENT)
        self._broker.connect(f"ipc://{self._directory}/{name}")
        self._poller.register(self._broker, zmq.POLLIN)
        sockets.send(self._broker, Ready())

    def _die_without_agent(self) -> None:
        """End what the agent would have ended; called in the broker, by the signal that tells of the agent's death."""
        if os.getppid() == self._pid:  # a scheduler's warning, which goes to all processes of a job
            return
        if not self._welcome.directory:  # else the driver is on this machine, and sees to it all
            shutil.rmtree(self._directory, ignore_errors=True)
            os.killpg(os.getpgrp(), signal.SIGKILL)  # the agent's own group: what tasks started is in it
        os._exit(1)

    def _fork_worker(self, name: str) -> None:
        main = self._rooms.worker(self._welcome, self._directory, name)
        if name == ORIGIN:
            options = ProcessOptions("scoop-origin", (), signal.SIGKILL, self._welcome.inherit)
            self._origin = children.fork(name, options, main)
            self._add(self._origin)
        else:
            ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
            self._add(children.fork(name, ProcessOptions("scoop-worker", ignored, signal.SIGKILL), main))

    def _add(self, child: Child) -> None:
        self._children[child.pid] = child
        self._pipes.add(child.name, child.pipes)

    def _serve(self, timeout: float) -> None:
        """Take in whatever happens within *timeout* seconds, at least once."""
        for ready, _ in self._poller.poll(int(timeout * 1000)):
            if ready is self._meet:
                self._take_all(self._meet)
            elif ready is self._broker:
                self._take_all(self._broker)
            elif ready is self._watch.socket:
                for made, _ in self._watch.news():
                    self._lost_at = None if made else time.monotonic()
            elif ready == self._wakeup.fileno():
                self._on_signals()
            elif ready in self._pipes:
                self._pipes.read(ready)
        now = time.monotonic()
        if self._shutdown is None:
            if now > self._looked + proc.LOOK:
                self._looked = now
                self._look()
            if self._lost_at is not None and now > self._lost_at + LOST:
                self._lose_driver()
            elif self._terminated_at is not None and now > self._terminated_at + _SIGNAL_GRACE:
                self._tell(Fault(f"the agent on {self._plan.node} was told to end by SIGTERM", 143))
                self._shutdown = Shutdown(signal.SIGTERM)

    def _look(self) -> None:
        """End the run if a child is not dead, and hangs: it is stopped, or a broker that does not answer."""
        self._oom_kills.look()
        for pid in self._stopped.look(self._children):
            seconds = proc.LOOKS * proc.LOOK
            self._tell(Fault(f"{self._name_of(pid)} has been stopped for {seconds:g} s, by SIGSTOP or the like"))
        if self._unanswered is None or self._broker is None:
            return
        if not self._unanswered:
            sockets.send(self._broker, Beat())
        self._unanswered += 1
        if self._unanswered > proc.UNANSWERED:
            pid = next((pid for pid, child in self._children.items() if "." not in child.name), 0)
            self._tell(Fault(f"{self._name_of(pid)} has not answered for {proc.UNANSWERED * proc.LOOK:g} s"))

    def _name_of(self, pid: int) -> str:
        name = self._children[pid].name if pid in self._children else ""
        kind = "origin" if name == ORIGIN else f"worker {name}" if "." in name else f"broker {name}"
        return f"{kind} (pid {pid}) on {self._plan.node}"

    def _take_all(self, source: sockets.Socket) -> None:
        message = sockets.receive(source)
        while message is not None:
            self._take(message)
            message = sockets.receive(source)

    def _take(self, message: Message) -> None:
        if isinstance(message, Shutdown):
            self._shutdown = message
        elif isinstance(message, OutputSeen):
            self._pipes.seen(message.count)
        elif isinstance(message, Interrupt):
            self._signal_origin(message.signal)
        elif isinstance(message, Peers):
            assert self._broker is not None
            sockets.send(self._broker, message)
            if self._welcome.node == 0 and self._welcome.pool is None and self._origin is None:
                self._fork_worker(ORIGIN)
        elif isinstance(message, Beat):
            self._unanswered = 0
        elif isinstance(message, (BrokerUp, Fault)):
            if isinstance(message, BrokerUp):
                self._unanswered = 0
            self._tell(message)

    def _tell(self, message: Message) -> None:
        sockets.send(self._meet, message)

    def _signal_origin(self, number: int) -> None:
        if self._origin is not None and self._origin.pid in self._children:
            os.kill(self._origin.pid, number)

    def _on_signals(self) -> None:
        for number in self._wakeup.take():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGTERM and self._terminated_at is None:
                self._terminated_at = time.monotonic()  # the driver has it too, most likely, and decides

    def _reap(self) -> None:
        """Collect every child that has ended, adopted ones as well, and tell the driver of ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                self._pipes.finish(child.name)
                code = os.waitstatus_to_exitcode(status)
                starved = code == -signal.SIGKILL and self._oom_kills.have_come()
                self._tell(Exited(child.name, pid, code, starved, child.last_word.said()))

    # the end

    def _lose_driver(self) -> None:
        """Begin the end, and leave word of it where the driver cannot any more: the first node does."""
        self._shutdown = Shutdown(signal.SIGTERM)
        pid = self._welcome.driver_pid
        here = bool(self._welcome.driver_process) and proc.identity(pid) == self._welcome.driver_process
        if here and proc.process_state(pid) == "T":
            self._leave_word("was stopped, by SIGSTOP or the like: it is ended, and the run with it")
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # it would keep the allocation
        elif self._welcome.node == 0:
            self._leave_word(records.DRIVER_LOST)

    def _leave_word(self, what: str) -> None:
        """Say what became of the driver where it would have said so itself."""
        reason = f"{self._welcome.driver} {what}"
        with contextlib.suppress(OSError):  # nobody is left to be told of it
            if self._welcome.complaints:
                with open(self._welcome.complaints, "a", encoding="utf-8") as file:
                    file.write(f"scoop-hpc: error: {reason}\n")
            else:
                print(f"scoop-hpc: error: {reason}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):  # the same
            if self._welcome.record:
                records.end_lost(self._welcome.record, self._welcome.attempt, reason, time.time())

    def _end(self, number: int) -> None:
        """End the origin by the signal *number*, the others by Stop, all that is left by SIGKILL."""
        if number:
            origin = self._origin
            if number == signal.SIGTERM and self._lost_at is None:
                self._serve_until(lambda: self._terminated_at is not None, _SAME_SIGNAL)
            if number != signal.SIGTERM or not self._everybody_was_signalled():
                self._signal_origin(number)
            self._serve_until(lambda: origin is None or origin.pid not in self._children, _SIGNAL_GRACE)
        if self._broker is not None:
            sockets.send(self._broker, Stop())
        self._serve_until(lambda: not self._children, _STOP_GRACE)
        children.kill_descendants()
        self._serve_until(lambda: not self._children, 2.0)

    def _everybody_was_signalled(self) -> bool:
        """Return whether SIGTERM came to this process and, as it says, to the driver, so surely to the origin as well.

        A scheduler signals all processes of a job; the program's handler is not to be interrupted by itself.
        """
        now = time.monotonic()
        return self._terminated_at is not None and now < self._terminated_at + _SIGNAL_GRACE and self._lost_at is None

    def _serve_until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done() and time.monotonic() < deadline:
            self._serve(0.05)
