"""The agent: one on every node; starts its broker and workers, watches and reaps them.

::

    driver <--meet: CURVE over tcp, or ipc--> agent --main: ipc--> broker
                                                |<--pipes: stdout, stderr-- workers
                                                '<--exits-- broker, workers

It leaves when the driver says so, or when the driver is gone: its connection lost and not made again in time. If it is
given up, or may find the driver again, another `Agent` in the same process takes its place then. It is the parent of
everything that is started on its node, and kills all that before it leaves; when it dies itself, the kernel kills its
children (PR_SET_PDEATHSIG), and the broker the rest of its process group.

What to do is decided by `AgentState`; here are its sockets, processes, pipes and signals.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import zmq
from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc.errors import LaunchError, ProtocolError, ScoopError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.files.kernel import read_text
from scoop_hpc.jobs import record as records
from scoop_hpc.protocol.messages import Bye, Curve, FileLost, Forward, Message, OutputSeen, RelayUp, Seen, Welcome
from scoop_hpc.protocol.names import AGENT, ORIGIN, BrokerName, WorkerName, is_worker
from scoop_hpc.run import children, proc
from scoop_hpc.run.agent_state import (
    Action,
    AgentState,
    CloseRelay,
    ConnectBroker,
    Fork,
    InspectDriver,
    KillAll,
    KillDriver,
    LeaveWord,
    LookAtAccounts,
    LookAtProcesses,
    LookAtProgress,
    LookAtWorkers,
    OpenRelay,
    Phase,
    Signal,
    Tell,
    TellBroker,
    TellProgram,
    Unfinished,
)
from scoop_hpc.run.children import Child, ProcessOptions
from scoop_hpc.run.connect import find_driver
from scoop_hpc.run.oom_kills import OomKills
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.streams.output import OutputPipes
from scoop_hpc.run.watching.accounts import NodeAccounts, memory_limit
from scoop_hpc.run.watching.gpus import Gpus
from scoop_hpc.run.watching.workers import Sample, Sight
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import limits, sockets
from scoop_hpc.transport.begun import BegunTask
from scoop_hpc.transport.entrance import Entrance, nameless_entrance, shared_entrance
from scoop_hpc.transport.last_word import LastWord
from scoop_hpc.transport.notice import REMINDER
from scoop_hpc.transport.probe import all_refuse
from scoop_hpc.transport.relay import Relay

_REMEDY = "raise that, or ask for fewer workers"
_LONGEST_POLL = 1.0  # seconds
_RESTING_POLL = 4.0  # the same, where there is nothing to tell the driver
_FAREWELL = 4.0  # seconds that those have to leave who are relayed for, and the driver to take an agent's last word
_PROBE = 0.2  # seconds that a machine has to refuse a connection

Main = Callable[[LastWord], int]


class AgentPlan(Struct, frozen=True):
    """The command line and the environment of an agent."""

    node: str  # the scheduler's name for it
    driver: tuple[str, ...]  # addresses that it may have
    curve: Curve | None
    patience: float  # seconds to wait for the driver's welcome
    silence: float  # seconds of it after which the connection to the driver counts as lost
    parent: int  # the process that started this one
    own_addresses: Callable[[str], Sequence[str]]  # driver's address: own ones, the most promising first
    is_traced: bool = False  # what the processes here do
    party: int = 0  # of the allocation that has brought this node; 0: the run's own
    memory: int = 0  # bytes that the scheduler grants here; 0: it does not say
    lost_files: Callable[[], Sequence[str]] = tuple  # what was lost since the last call, and why


class Mains(Struct, frozen=True):
    """The mains of the processes that an agent forks; made by the one who may know them all."""

    broker: Callable[[Welcome, Entrance, Sequence[str]], Main]  # welcome, entrance, addresses
    worker: Callable[[Welcome, Entrance, WorkerName, int], Main]  # welcome, entrance, name, local rank


class Agent:
    """The agent of one node."""

    def __init__(self, plan: AgentPlan, mains: Mains, signals: SignalFd) -> None:
        self._pid = os.getpid()
        self._plan = plan
        self._mains = mains
        self._signals = signals
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._poller.register(signals.fileno(), zmq.POLLIN)
        self._children: dict[int, Child] = {}
        self._pipes = OutputPipes(self._poller, self._tell)
        self._entrance: Entrance | None = None  # of its node
        self._broker: sockets.Socket | None = None
        self._told = time.monotonic()  # the driver, of what has arrived; tried to, while there is no connection
        self._heard = self._told  # the driver
        self._marks: list[tuple[int, int]] = []  # of the workers' tasks, at the last look at their accounts
        self._relay: Relay | None = None  # while other agents go by this one
        self._relays = 0  # that there have been
        self._authenticator: keys.Authenticator | None = None  # of them
        self._oom_kills = OomKills(read_text)
        self._accounts = NodeAccounts(granted=plan.memory)
        self._gpus = Gpus(None)
        self._sight = Sight()
        self._ended = 0  # tasks, of workers that have died
        self._late: set[str] = set()  # workers that could not be started at first

    def join(self) -> None:
        """Find the driver, and be welcomed; raise LaunchError if that takes too long."""
        plan = self._plan
        way, self._welcome = find_driver(
            self._context, plan.node, plan.driver, plan.curve, plan.patience, plan.silence, plan.parent, plan.party
        )
        self._line = way.line
        self._line.poll_by(self._poller)
        self._addresses = plan.own_addresses(way.address) if self._welcome.curve is not None else ()

    def run(self, observers: Observers = NOBODY) -> None:
        """Start the broker and the workers, and serve until the end; leave nothing behind."""
        self._state = AgentState(self._plan.node, self._welcome, observers=observers)
        try:
            with self._failing():
                self._prepare()
                self._do(self._state.start(time.monotonic()))
            while self._state.phase is not Phase.OVER:
                with self._failing():
                    self._serve()
            self._relay_to_the_end(time.monotonic() + _FAREWELL)
        finally:
            children.kill_descendants()
            self._look_at_accounts(is_due=True)
            self._tell_of_lost_files()
            has_driver = self._state.has_driver
            if not has_driver and self._welcome.directory:  # which was the driver's to remove
                shutil.rmtree(self._welcome.directory, ignore_errors=True)
            if self._entrance is not None:
                self._entrance.close()
            if not self._state.is_to_return:
                self._do(self._state.saw(Seen((), self._ended)))
                self._tell(Bye())
                self._take_leave(time.monotonic() + _FAREWELL)
            # the driver may be gone by now: what it has needs no second time to reach it
            is_heard = self._line.all_has_arrived or not has_driver
            self._context.destroy(linger=0 if is_heard else 500)

    @property
    def is_to_return(self) -> bool:
        """True if another agent is to report from this node, after `run`."""
        if not self._state.is_to_return:
            return False
        if self._state.has_driver or self._welcome.directory:
            return self._state.has_driver
        return not all_refuse(self._plan.driver, _PROBE)  # where the driver has died, they do

    @property
    def is_dismissed(self) -> bool:
        """True if the driver has said, during `run`, that this agent is to end."""
        return self._state.is_dismissed

    @property
    def has_lost_joiner(self) -> bool:
        """True if the driver has said, during `run`, that nobody else is left who would end this node's job."""
        return self._state.has_lost_joiner

    def print(self, line: bytes) -> None:
        """Let the driver print *line* on its standard error: few launchers show what agents print on theirs."""
        self._pipes.print(AGENT, line)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """End this node's part of the run by an expected error."""
        try:
            yield
        except ScoopError as error:
            status = 2 if isinstance(error, LaunchError) else 1
            self._do(self._state.fail(str(error), status, time.monotonic()))

    def _prepare(self) -> None:
        """Make this process the one that brokers and workers are forked from."""
        children.adopt_orphans()
        if not self._welcome.directory and os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        limits.raise_limits()
        processes = self._welcome.processes()
        traces = processes + 1 if self._plan.is_traced else 0
        limits.check_files(limits.files_of_agent(processes, len(self._welcome.nodes)) + traces, _REMEDY)
        if not self._welcome.directory:  # else the driver has done so, on this machine
            limits.check_processes(limits.processes_of_agent(processes), _REMEDY)
            ports = read_text("/proc/sys/net/ipv4/ip_local_port_range")
            limits.check_ports(limits.ports_of_node(len(self._welcome.nodes)), ports, "let the site's staff widen that")
        memory = limits.memory_of_node(processes, len(self._welcome.nodes))
        limits.check_memory(memory, memory_limit(read_text), "ask for more by --memory, or for fewer workers")
        program = self._welcome.program
        os.environ.clear()
        os.environb.update(program.environ)
        self._gpus = Gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
        try:
            os.chdir(program.directory)
        except OSError as error:
            directory = os.fsdecode(program.directory)
            raise LaunchError(f"cannot enter the directory {directory!r}: {error.strerror}") from error
        if self._welcome.directory:
            self._entrance = shared_entrance(self._welcome.directory, self._welcome.node)
        else:
            self._entrance = nameless_entrance(os.environ.get("TMPDIR", ""), self._welcome.node)

    # serving

    def _serve(self) -> None:
        """Wait until something happens, or is due, and take it in."""
        due, now = self._state.deadline(), time.monotonic()
        rests = self._line.rests and self._relay is None and self._told > self._heard
        longest = _RESTING_POLL if rests else _LONGEST_POLL
        wait = longest if due is None else min(max(0.0, due - now), longest)
        for ready, _ in self._poller.poll(math.ceil(wait * 1000)):
            if ready in self._line:
                self._hear_driver()
                self._note_connections(self._line.news())
            elif self._relay is not None and ready in self._relay:
                self._pass_on()
            elif ready is self._broker:
                self._hear_broker(self._broker)
            elif ready == self._signals.fileno():
                self._take_signals()
            elif ready in self._pipes:
                self._pipes.read(ready)
        now = time.monotonic()
        if now >= self._told + _LONGEST_POLL:
            self._told = now
            self._line.tell()
            self._note_connections(self._line.look())
            self._line.keep_trying(now)
            if self._relay is not None:
                self._relay.beat()
        self._tell_of_lost_files()
        self._do(self._state.pass_time(now))

    def _hear_driver(self) -> None:
        message = self._line.receive()
        while message is not None:
            self._heard = time.monotonic()
            if isinstance(message, OutputSeen):
                self._pipes.seen(message.count)
            elif isinstance(message, Forward):
                if self._relay is not None:  # else they have found the driver by themselves
                    self._relay.forward(message)
            else:
                self._do(self._state.hear_driver(message, time.monotonic()))
            message = self._line.receive()

    def _note_connections(self, changes: Sequence[bool]) -> None:
        for made in changes:
            self._do(self._state.connected(made, time.monotonic()))

    def _pass_on(self) -> None:
        if self._relay is not None:
            for message in self._relay.receive():
                self._tell(message)

    def _relay_to_the_end(self, until: float) -> None:
        """Let the agents that are relayed for leave before this one, if they do so soon."""
        while self._relay is not None and self._relay.is_used and self._state.has_driver and time.monotonic() < until:
            self._poller.poll(int(_LONGEST_POLL * 1000))
            self._hear_driver()
            self._note_connections(self._line.news())
            self._pass_on()

    def _take_leave(self, until: float) -> None:
        """Wait until the driver has this agent's last word.

        It may learn of the end of a process before it has read what that has sent last, and not look for it any more.
        """
        poller = zmq.Poller()
        self._line.poll_by(poller)
        while not self._line.all_has_arrived and self._state.has_driver and time.monotonic() < until:
            poller.poll(int(_LONGEST_POLL * 1000))
            with contextlib.suppress(ProtocolError):
                while self._line.receive() is not None:  # whatever it is, it is too late
                    pass
            self._note_connections(self._line.news())

    def _hear_broker(self, broker: sockets.Socket) -> None:
        message = sockets.receive(broker)
        while message is not None:
            self._do(self._state.hear_broker(message, time.monotonic()))
            message = sockets.receive(broker)

    def _take_signals(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGTERM:
                self._do(self._state.terminated(time.monotonic()))

    def _reap(self) -> None:
        """Collect every child that has ended, adopted ones as well."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._welcome.progress is not None and pid in self._children and self._children[pid].name == ORIGIN:
                self._look_at_progress()  # for the last time: what the program has not waited for stays so
            child = self._children.pop(pid, None)
            if child is not None:
                self._pipes.finish(child.name)
                code = os.waitstatus_to_exitcode(status)
                out_of_memory = code == -signal.SIGKILL and self._oom_kills.have_come()
                said, begun = child.last_word.said(), child.last_word.begun
                self._ended += begun.ended
                ran = begun.running()
                waiting = tuple(task for task in begun.tasks() if task not in ran)
                left = Unfinished(tuple(ran), begun.function, begun.ended, time.monotonic_ns(), waiting)
                if is_worker(child.name):
                    self._bury(child.name, child.last_word, ran, waiting)
                self._do(self._state.exited(pid, code, time.monotonic(), out_of_memory, said, left))

    def _bury(self, name: WorkerName, word: LastWord, ran: Sequence[BegunTask], waiting: Sequence[BegunTask]) -> None:
        """Keep the accounts of a dead worker and what it had begun, unless it meant to end."""
        said, function = word.said(), word.begun.function
        unfinished = 0 if said else sum(task.count for task in (*ran, *waiting))
        is_known = bool(function) and not said and [task.count for task in ran] == [1]
        self._accounts.bury(name, word.accounts, time.monotonic(), unfinished, function if is_known else None)

    # acting

    def _do(self, actions: Sequence[Action]) -> None:
        """Carry out *actions*."""
        for action in actions:
            match action:
                case Tell(message):
                    self._tell(message)
                case TellBroker(message):
                    if self._broker is not None:
                        sockets.send(self._broker, message)
                case Fork(name, local_rank):
                    self._fork(name, local_rank)
                case ConnectBroker():
                    self._broker = self._connect_broker()
                case Signal(pid, number):
                    os.kill(pid, number)
                case TellProgram(pid, reason):
                    self._children[pid].last_word.notice.give(reason)
                case LookAtProcesses():
                    self._oom_kills.look()
                    self._do(self._state.looked(self._look_at_processes()))
                case LookAtProgress():
                    self._look_at_progress()
                case LookAtAccounts(is_due):
                    self._look_at_accounts(is_due)
                case LookAtWorkers():
                    self._look_at_processes()
                    self._do(self._state.saw(self._seen()))
                case InspectDriver():
                    is_stopped, is_gone = self._driver_is_stopped(), self._driver_is_gone()
                    self._do(self._state.driver_inspected(is_stopped, is_gone, time.monotonic()))
                case KillDriver():
                    with contextlib.suppress(OSError):
                        os.kill(self._welcome.driver_pid, signal.SIGKILL)
                case LeaveWord(reason):
                    self._leave_word(reason)
                case OpenRelay():
                    self._open_relay()
                case CloseRelay():
                    if self._relay is not None:
                        self._relay.close()
                        self._relay = None
                case KillAll():
                    children.kill_descendants()

    def _look_at_processes(self) -> list[int]:
        """Note what the workers do, and use; return the children that are stopped."""
        samples, stopped = [], []
        for pid, child in self._children.items():
            usage = proc.usage(pid)
            if usage.is_stopped:
                stopped.append(pid)
            if is_worker(child.name):
                begun = child.last_word.begun
                samples.append(Sample(child.name, pid, begun.serves, begun.mark, begun.is_running, usage))
        self._sight.note(samples, time.monotonic())
        return stopped

    def _seen(self) -> Seen:
        begun = {pid: child.last_word.begun for pid, child in self._children.items()}
        workers = self._sight.workers(
            time.monotonic(), lambda pid: begun[pid].function, lambda pid: begun[pid].has_tasks
        )
        done = self._ended + sum(worker.done for worker in workers)
        memory, limit = self._accounts.memory_of(self._children), self._accounts.memory_limit or None
        return Seen(workers, done, None, memory, limit, self._gpus.read())

    def _look_at_progress(self) -> None:
        origin = next((child for child in self._children.values() if child.name == ORIGIN), None)
        awaited = () if origin is None else origin.last_word.tally.read()
        if origin is not None and origin.terminal >= 0:
            children.copy_size(origin.terminal)
        if self._welcome.is_alone():
            busy = int(any(each.total is None or each.done < each.total for each in awaited))
        else:
            busy = sum(child.last_word.begun.is_running for child in self._children.values() if is_worker(child.name))
        self._do(self._state.progressed(busy, awaited))

    def _look_at_accounts(self, is_due: bool) -> None:
        tables = {child.name: child.last_word.accounts for child in self._children.values() if is_worker(child.name)}
        self._accounts.look_at_memory(self._children, is_due)
        if is_due or self._accounts.has_failures(tables.values()):
            now = time.monotonic()
            self._do(self._state.accounted(self._accounts.read(tables, now), now))
        before, self._marks = self._marks, [child.last_word.begun.mark for child in self._children.values()]
        if self._marks == before:
            self._state.rested(time.monotonic())

    def _tell_of_lost_files(self) -> None:
        for what in self._plan.lost_files():
            self._tell(FileLost(what))

    def _tell(self, message: Message) -> None:
        self._line.send(message)

    def _open_relay(self) -> None:
        if self._relay is None:
            self._relay = self._make_relay()
        self._tell(RelayUp(self._relay.address))

    def _make_relay(self) -> Relay:
        curve = self._welcome.curve
        if curve is not None and self._authenticator is None:
            self._authenticator = keys.Authenticator(self._context, curve)
        relay = Relay(self._context, self._plan.silence, self._poller, self._authenticator)
        self._relays += 1
        if curve is None:  # a file of its own: that of the one before is removed at some time
            relay.bind_ipc(f"ipc://{self._welcome.directory}/relay{self._welcome.node}.{self._relays}")
        else:
            relay.bind_tcp(curve, self._addresses[0])
        return relay

    def _connect_broker(self) -> sockets.Socket:
        assert self._entrance is not None
        broker = sockets.make(self._context, zmq.DEALER, AGENT)
        broker.connect(self._entrance.endpoint)
        self._poller.register(broker, zmq.POLLIN)
        return broker

    def _fork(self, name: BrokerName | WorkerName, local_rank: int) -> None:
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        entrance = self._entrance
        assert entrance is not None
        if not is_worker(name):
            main = self._mains.broker(self._welcome, entrance, self._addresses)
            heeded = tuple(number for number in ignored if number != signal.SIGUSR1)
            options = ProcessOptions("scoop-broker", heeded, signal.SIGUSR1, (), self._die_without_agent)
        else:
            main = self._mains.worker(self._welcome, entrance, name, local_rank)
            options = ProcessOptions("scoop-worker", ignored, signal.SIGKILL)
            if name == ORIGIN:
                options = ProcessOptions(
                    "scoop-origin",
                    (),
                    signal.SIGKILL,
                    self._welcome.inherit,
                    woken=REMINDER,
                    terminals=self._welcome.terminals,
                    is_counted=self._welcome.progress is not None,
                )
        kept = entrance.of_workers if is_worker(name) else (entrance.listening,)
        try:
            child = children.fork(name, replace(options, kept=kept, is_traced=self._plan.is_traced), main)
        except LaunchError as error:
            if not self._state.starts_later(name, time.monotonic()):
                raise
            if name not in self._late:
                self._late.add(name)
                self.print(f"scoop-hpc: warning: node {self._plan.node}: {error}; it is tried again\n".encode())
            return
        if not is_worker(name):
            entrance.leave_to_broker()
        self._children[child.pid] = child
        self._pipes.add(child.name, child.pipes, child.terminal)
        self._state.started(name, child.pid)

    def _die_without_agent(self) -> None:
        """End what the agent would have ended; called in the broker, by the signal that tells of the agent's death."""
        if os.getppid() == self._pid:  # a scheduler's warning, which goes to all processes of a job
            return
        if not self._welcome.directory:  # else the driver is on this machine, and sees to it all
            os.killpg(os.getpgrp(), signal.SIGKILL)  # the agent's own group: what tasks started is in it
        os._exit(1)

    def _driver_is_stopped(self) -> bool:
        """Return whether the driver is a process of this machine, and does not go on."""
        pid, identity = self._welcome.driver_pid, self._welcome.driver_process
        return bool(identity) and proc.identity(pid) == identity and proc.is_stopped(pid)

    def _driver_is_gone(self) -> bool:
        """Return whether nobody listens where the driver was; on its own machine a connection does not break else."""
        return bool(self._welcome.directory) or all_refuse([self._line.address], _PROBE)

    def nodes(self) -> int:
        """Return how many nodes the run has, or has had."""
        return len(self._welcome.nodes)

    def tell_of_lost_driver(self) -> None:
        """Leave word that the driver is lost, in the place of the first node's agent."""
        if not self._plan.party:  # else the job that has ended is another one
            self._leave_word(self.lost_driver())

    def lost_driver(self) -> str:
        """Return what has become of a driver that does not answer any more."""
        return f"{self._welcome.driver} {records.DRIVER_LOST}"

    def _leave_word(self, reason: str) -> None:
        with contextlib.suppress(OSError):  # nobody is left to be told of it
            if self._welcome.complaints:
                with open(self._welcome.complaints, "a", encoding="utf-8") as file:
                    file.write(f"scoop-hpc: error: {reason}\n")
            else:
                print(f"scoop-hpc: error: {reason}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):  # the same
            if self._welcome.record:
                records.end_lost(self._welcome.record, self._welcome.attempt, reason, time.time())
