"""The driver: starts the agents, brings them together, owns the exit status.

::

    launcher's commands (srun, or agents here) <--exits, last words-- driver <--meet--> agents
                                                                         '--> stdout, stderr, record

It polls everything in one thread. What to do is decided by `DriverState`; when the run is over, every agent has left or
is past its time, and what the launcher started here is gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import zmq

from scoop_hpc.complaints import say as _say
from scoop_hpc.complaints import show
from scoop_hpc.errors import InputError, LaunchError, ProtocolError, ScoopError
from scoop_hpc.fields.spec import JobState
from scoop_hpc.interpreter import installed_argv, python_argv
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.record import Record
from scoop_hpc.launchers import container
from scoop_hpc.launchers.base import Command, Forwarding, Launcher
from scoop_hpc.launchers.container import Container
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Curve,
    Fault,
    Interrupt,
    Open,
    Output,
    OutputSeen,
    Pool,
    Program,
)
from scoop_hpc.protocol.strangers import Strangers
from scoop_hpc.run import children, environment, proc
from scoop_hpc.run.client_pipes import ClientPipes
from scoop_hpc.run.driver_state import DriverState, Ending, Phase, RunPlan, Send, how_it_ended
from scoop_hpc.run.lines import Lines
from scoop_hpc.run.oom_kills import OUT_OF_MEMORY, OomKills, read_text
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.proc import LOOK
from scoop_hpc.run.processes import Processes
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.writer import Writer
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import limits, sockets
from scoop_hpc.transport.directory import choose_private, make_private

KEYS = "SCOOP_HPC_KEYS"  # the variable that brings an agent the run's keys, or rather what it needs of them
DOORS = "SCOOP_HPC_DOORS"  # the variable that brings an agent the driver's addresses, with commas between
# what schedulers send before the end, on request; a program that does not heed them is ended by them [signal(7)]
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
_AGENT = "scoop_hpc.cli.agent"
_AT_ONCE = 32  # agents that are being started: their launchers all go through one daemon on this node, such as PBS's
_FILES = 16  # that are open at most, besides a pipe and a connection for each node
_BYE = 4.0  # seconds that the agents have to leave
_LOST = 2.0  # seconds without a connection after which an agent is gone
_EARLY = 5.0  # seconds before that a job's walltime may be over: its script began later than the job
_GRACE = 2.0  # seconds that the program has to end after Ctrl-C


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the user asked of a run."""

    nodes: tuple[NodePlan, ...]
    program: Program
    launcher: Launcher
    own_addresses: Callable[[], Sequence[str]]  # where agents on other nodes may reach the driver
    state: str = ""  # directory that all nodes see
    record: str = ""  # file
    job_id: str | None = None
    interface: str = ""  # the network interface to be reached by, on every node
    label: bool = False
    warn: bool = True  # of more workers than CPUs
    patience: float = 60.0  # seconds that all nodes have to report
    ends_at: float | None = None  # when the job's walltime is over, in seconds since the epoch
    pool: Pool | None = None  # instead of a program to run
    container: Container | None = None  # that the agents, and so the workers, run in


@dataclass(frozen=True, slots=True)
class Detached:
    """The end of a launcher's command whose agent was connected."""

    words: str  # how it ended
    cause: str  # the same as the reason of the run's end
    since: float  # monotonic


class Driver:
    """One run."""

    def __init__(self, wishes: RunRequest, wakeup: SignalFd, leash: ClientPipes | None = None) -> None:
        self._wishes = wishes
        self._wakeup = wakeup
        self._leash = leash  # to the client of a pool
        self._one_machine = wishes.launcher.one_machine
        self._curve = None if self._one_machine else keys.make_keys()
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._processes = Processes(self._poller, self._one_machine)
        self._writer = Writer(self._poller, self._tell_written)
        self._lines = {stream: Lines(os.isatty(stream)) for stream in (1, 2)}
        self._authenticator: keys.Authenticator | None = None
        self._attempt = secrets.token_hex(8)
        self._directory = choose_private(os.environ.get("TMPDIR", "")) if self._one_machine else ""
        self._environment = ""  # file that agents have to read yet
        self._input = b""  # what each of the launcher's commands reads
        self._waiting: deque[Command] = deque()  # to be started
        self._begun = 0  # agents whose commands were started
        plan = RunPlan(
            nodes=wishes.nodes,
            program=wishes.program,
            curve=self._curve,
            directory=self._directory,
            inherit=self._shared_streams(),
            python="" if wishes.container else "{}.{}".format(*sys.version_info),
            driver_process=proc.identity(os.getpid()),
            driver_pid=os.getpid(),
            driver=f"the driver (pid {os.getpid()}) on {socket.gethostname()}",
            record=wishes.record,
            attempt=self._attempt,
            complaints=_file_behind(2),
            pool=wishes.pool,
        )
        self._rendezvous = DriverState(plan)
        self._connections: dict[int, str] = {}  # file descriptor: agent
        self._lost: dict[str, float] = {}  # agent: since when
        self._interrupted_at: float | None = None
        self._signalled = False
        self._detached: dict[str, Detached] = {}  # node: how its agent lost its launcher
        self._unwritten = ""  # why output was lost
        self._opened = False  # the client of a pool knows that it works
        self._started = time.time()
        self._strangers = Strangers()
        self._oom_kills = OomKills(read_text)  # which the agent on one machine shares
        self._looked = 0.0  # at them, last
        self._recorded = False  # that the run has begun

    def run(self) -> Ending:
        """Run the program to its end; return how it ended."""
        ending = Ending(1, "the driver failed")
        try:
            ending = self._run()
        except ScoopError as error:
            ending = Ending(2 if isinstance(error, InputError) else 1, str(error))
        finally:
            self._report_end(ending)
            self._clean_up()
            self._write_record(self._state(ending), ending)
        return ending

    def _run(self) -> Ending:
        self._check_limits()
        if self._curve is None:
            address = f"ipc://{self._directory}/driver"
            self._launch([address])  # first: they remove the directory should this process be killed
            self._meet(address)
        else:
            self._launch(self._meet_others(self._curve))
        joined_by = time.monotonic() + self._wishes.patience
        while self._rendezvous.ending is None:
            self._serve(0.5)
            if self._rendezvous.phase is Phase.JOINING and time.monotonic() > joined_by:
                missing = ", ".join(self._rendezvous.missing())
                self._end(1, f"no word within {self._wishes.patience:g} s from: {missing}", show_last_words=True)
        self._report_end(self._rendezvous.ending)
        self._see_off()
        if self._unwritten and self._rendezvous.ending.status == 0:  # the last of the output, after the program's end
            return Ending(1, self._unwritten)
        return self._rendezvous.ending

    def _check_limits(self) -> None:
        """Refuse here what would fail in the midst of starting; on one machine, for agents and workers as well."""
        limits.raise_file_limit()
        nodes = self._wishes.nodes
        limits.check_files(_FILES + 2 * (0 if self._one_machine else len(nodes)), "raise that")
        count = limits.THREADS
        if self._one_machine:
            count += 2 * limits.THREADS * len(nodes) + limits.WORKER_THREADS * sum(node.workers for node in nodes)
        limits.check_processes(count, "raise that, or ask for fewer workers with -n")

    def _shared_streams(self) -> tuple[int, ...]:
        """Let the origin have its input, and a terminal for prompts and colours; what else it prints comes by lines."""
        if not self._one_machine or self._wishes.pool is not None:
            return ()
        return (0, *(stream for stream in (1, 2) if os.isatty(stream) and not self._wishes.label))

    # starting

    def _meet(self, address: str) -> None:
        """Be at *address* for agents on this machine; those that are early try again."""
        make_private(self._directory)
        self._open_socket()
        sockets.bind_ipc(self._socket, address)

    def _meet_others(self, curve: Curve) -> Sequence[str]:
        """Be there for agents on other machines; return the addresses."""
        self._open_socket()
        self._authenticator = keys.Authenticator(self._context, curve)
        self._poller.register(self._authenticator.socket, zmq.POLLIN)
        port = sockets.bind_tcp(self._socket, curve)
        return [sockets.url(address, port) for address in self._wishes.own_addresses()]

    def _open_socket(self) -> None:
        self._socket = sockets.make(self._context, zmq.ROUTER, watch_silence=True)
        self._watch = sockets.Watch(self._socket)
        for source in (self._socket, self._watch.socket, self._wakeup.fileno()):
            self._poller.register(source, zmq.POLLIN)
        if self._leash is not None:
            self._poller.register(self._leash.fileno(), zmq.POLLIN)

    def _launch(self, addresses: Sequence[str]) -> None:
        """Start the launcher's commands. Keys, and the name of a directory to be made, travel in their environment, or
        in the text or file that takes its place."""
        if self._one_machine:
            children.adopt_orphans()  # should an agent die, what its workers started comes to this process
        wishes = self._wishes
        environ = dict(os.environ)
        ours = {DOORS: ",".join(addresses)}
        if self._curve is not None:
            ours[KEYS] = msgspec.json.encode(_for_agents(self._curve)).decode()
        parent = os.getpid() if self._one_machine else 0
        agent = agent_argv(wishes.patience, wishes.interface, parent, container.PYTHON if wishes.container else "")
        if wishes.container is not None:
            directory = os.fsdecode(wishes.program.directory)
            agent = container.inside(wishes.container, agent, directory, elsewhere=not self._one_machine)
        text = b""
        if wishes.launcher.forwarding is Forwarding.LAUNCHER:
            environ.update(ours)
        else:
            text = environment.shell_text({**environ, **ours}, os.fsdecode(wishes.program.directory))
        if wishes.launcher.forwarding is Forwarding.INPUT:
            agent = environment.reading_input(agent)
        elif wishes.launcher.forwarding is Forwarding.FILE:
            self._environment = environment.write(wishes.state, text, time.time(), wishes.patience)
            output = "" if wishes.launcher.relays else _file_behind(2)
            agent = environment.reading_file(self._environment, output, agent)
            text = b""
        names = [node.name for node in wishes.nodes]
        self._input = text
        self._waiting.extend(wishes.launcher.commands(agent, names, environ))
        self._start_more()
        self._write_record(JobState.RUNNING, None)

    def _start_more(self) -> None:
        """Start commands of the launcher, but not too many at once whose agents have not reported."""
        while self._waiting and (self._one_machine or self._begun - self._rendezvous.reported() < _AT_ONCE):
            command = self._waiting.popleft()
            self._begun += len(command.nodes)
            self._processes.start([command], self._input)

    # serving

    def _serve(self, timeout: float) -> None:
        for ready, _ in self._poller.poll(int(timeout * 1000)):
            if ready is self._socket:
                self._serve_agents()
            elif ready is self._watch.socket:
                self._note_connections()
            elif self._authenticator is not None and ready is self._authenticator.socket:
                self._authenticator.step()
            elif ready == self._wakeup.fileno():
                self._on_signals()
            elif self._leash is not None and ready == self._leash.fileno():
                self._leash.hear()
            elif ready in self._processes:
                self._processes.hear(ready)
            elif ready in self._writer:
                self._write(ready)
        now = time.monotonic()
        if self._one_machine and now > self._looked + LOOK:
            self._looked = now
            self._oom_kills.look()
        for agent, since in list(self._lost.items()):
            if now > since + _LOST:
                del self._lost[agent]
                detached = self._detached.get(self._rendezvous.where(agent))
                self._send_all(self._rendezvous.lost(agent, "" if detached is None else detached.words))
        if self._interrupted_at is not None and now > self._interrupted_at + _GRACE:
            self._end(130, "interrupted", signal.SIGTERM)
        if self._waiting and self._rendezvous.ending is None:
            try:
                self._start_more()
            except LaunchError as error:
                self._end(1, str(error))
        if self._environment and self._rendezvous.phase is not Phase.JOINING:
            self._remove_environment()
        self._heed_client()
        for warning in self._rendezvous.warnings if self._wishes.warn else ():
            _say(f"warning: {warning}")
        self._rendezvous.warnings.clear()

    def _serve_agents(self) -> None:
        for _ in range(100):
            try:
                sender, *rest = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            name = sender.bytes.decode(errors="backslashreplace")
            descriptor = int(sender.get(zmq.SRCFD))
            if self._connections.get(descriptor) != name:
                self._note_connections()  # the loss of who had this descriptor before, if it was not noted yet
                self._connections[descriptor] = name
            try:
                message = codec.decode([frame.bytes for frame in rest])
                if isinstance(message, Output):
                    self._queue(message, name)
                else:
                    self._send_all(self._rendezvous.handle(message, name))
                    self._report_opening()
            except ProtocolError as error:
                self._send_all(self._rendezvous.refuse(name, error))
                if self._strangers.is_new(name) and not self._rendezvous.is_agent(name):
                    _say(f"warning: dropped a message of {name!r}: {error}")

    def _note_connections(self) -> None:
        for made, descriptor in self._watch.news():
            agent = None if made else self._connections.pop(descriptor, None)
            if agent not in self._rendezvous.agents():
                continue
            now = time.monotonic()
            self._lost[agent] = now
            detached = self._detached.get(self._rendezvous.where(agent))
            if detached is not None and now < detached.since + _LOST:  # both ended together: no need to wait for it
                self._end(1, detached.cause)

    def _on_signals(self) -> None:
        for number in self._wakeup.take():
            self._signalled = self._signalled or number != signal.SIGCHLD
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGINT and self._interrupted_at is None:
                self._interrupted_at = time.monotonic()
                if not self._signal_origin(number):
                    self._end(130, "interrupted")
            elif number == signal.SIGINT:
                self._end(130, "interrupted")
            elif number in _WARNINGS and self._signal_origin(number):
                continue
            else:
                why = ": its walltime was over" if number == signal.SIGTERM and self._is_late() else ""
                self._end(128 + number, f"ended by {signal.Signals(number).name}{why}", number)

    def _is_late(self) -> bool:
        """Return whether the job's walltime is over: then that is why SIGTERM comes."""
        return self._wishes.ends_at is not None and time.time() >= self._wishes.ends_at - _EARLY

    def _signal_origin(self, number: int) -> bool:
        """Pass a signal on to the program; return whether there may be one yet."""
        agents = self._rendezvous.agents()
        if not agents or self._rendezvous.phase is Phase.JOINING:
            return False
        sockets.send_to(self._socket, agents[0], Interrupt(number))
        return True

    def _reap(self) -> None:
        """Take the ends of the launcher's commands. An agent that is connected lives, whatever became of the command
        that brought it: pbs_tmrsh ends when pbs_mom is restarted, its task does not."""
        for ended in self._processes.reap():
            nodes = ended.command.nodes
            died = f"died: {how_it_ended(ended.status)}"
            said = ended.complaint or ended.last_line
            if self._one_machine:
                starved = ended.status == -signal.SIGKILL and self._oom_kills.have_come()
                died += OUT_OF_MEMORY if starved else ""
                died = f"the agent (pid {ended.pid}) on {', '.join(nodes)} {died}"
                self._end(1, died, show_last_words=True, starved=starved)
            elif len(nodes) == 1 and said:
                said = said.removeprefix(f"node {nodes[0]}: ")
                what = "lost the agent" if self._rendezvous.has_agents(nodes) else "no agent"
                self._end_unless_connected(nodes, said, f"{what} on {nodes[0]}: {said}")
            else:
                who = f"{os.path.basename(ended.command.argv[0])} (pid {ended.pid}) on {socket.gethostname()}"
                who += f" for {nodes[0]}" if len(nodes) == 1 else ""
                died = f"{who} {died}" + (f": {ended.complaint}" if ended.complaint else "")
                self._end_unless_connected(nodes, died, died, show_last_words=True)
            if self._one_machine:
                self._rendezvous.gone(ended.command.nodes)

    def _end_unless_connected(
        self, nodes: Sequence[str], words: str, cause: str, show_last_words: bool = False
    ) -> None:
        """End the run, unless the agents that a command brought are connected, and need it no more."""
        lost = {self._rendezvous.where(agent) for agent in self._lost}
        if self._wishes.launcher.outlived and self._rendezvous.has_agents(nodes) and not lost & set(nodes):
            self._detached.update(dict.fromkeys(nodes, Detached(words, cause, time.monotonic())))
        else:
            self._end(1, cause, show_last_words=show_last_words)

    def _end(
        self, status: int, reason: str, number: int = 0, show_last_words: bool = False, starved: bool = False
    ) -> None:
        """Begin the end of the run, unless it has begun."""
        if self._rendezvous.ending is not None:
            return
        if show_last_words:
            for line in self._processes.last_words:
                show(line)
        self._send_all(self._rendezvous.end(status, reason, number, starved))

    def _send_all(self, sends: Sequence[Send]) -> None:
        for send in sends:
            sockets.send_to(self._socket, send.to, send.message)

    # the client of a pool

    def _report_opening(self) -> None:
        broker = self._rendezvous.entrance()
        if self._leash is not None and broker is not None and not self._opened:
            self._opened = True
            curve = None if self._curve is None else _for_agents(self._curve)
            self._leash.report(Open(sum(node.workers for node in self._wishes.nodes), broker, curve))

    def _heed_client(self) -> None:
        """End the pool if its client has no more use for it."""
        if self._leash is None:
            return
        self._leash.look()
        if self._leash.ended:
            if self._leash.fileno() in self._poller:
                self._poller.unregister(self._leash.fileno())
            self._signalled = self._signalled or self._leash.lost  # then nobody may be left who reads the output
            self._end(0, "")

    def _report_end(self, ending: Ending) -> None:
        if self._leash is not None and not self._leash.ended:
            self._leash.ended = True
            self._leash.report(Fault(ending.reason, ending.status))

    # what others print

    def _queue(self, output: Output, agent: str) -> None:
        text = output.text
        if not self._rendezvous.is_agent(agent):
            raise ProtocolError(f"{agent!r}, which is no agent of this run, sent the driver output")
        if self._wishes.label:
            node = self._rendezvous.where(agent)
            label = f"[{node} {output.worker}] ".encode()
            text = b"".join(label + line for line in text.splitlines(keepends=True))
        text = self._lines[output.stream].add(output.worker, text)
        if text:
            self._writer.add(output.stream, text, agent)
        else:
            self._tell_written(agent)

    def _write(self, stream: int) -> None:
        try:
            self._writer.write(stream)
        except OSError as error:
            self._unwritten = f"cannot write the program's output: {error.strerror}"
            self._end(1, self._unwritten)

    def _tell_written(self, agent: str) -> None:
        if agent:
            sockets.send_to(self._socket, agent, OutputSeen(1))

    # ending

    def _see_off(self) -> None:
        """Wait for all agents to leave, within their time, and for the reader of the output.

        After a signal, that one has only as long as it reads without a pause.
        """
        deadline = time.monotonic() + _BYE
        while self._rendezvous.phase is not Phase.OVER and time.monotonic() < deadline:
            self._serve(0.05)
        for stream, lines in self._lines.items():
            for rest in lines.rest():
                self._writer.add(stream, rest, "")
        while self._writer.pending and (not self._signalled or self._writer.has_room()):
            self._serve(0.5)
        left = self._rendezvous.remaining()
        if left:
            _say(f"warning: no farewell within {_BYE:g} s from: {', '.join(left)}")

    def _clean_up(self) -> None:
        """End what the launcher started here, close everything, remove what is on disk."""
        self._remove_environment()
        self._context.destroy(linger=200)
        self._processes.end()
        if self._one_machine:
            children.kill_descendants()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _remove_environment(self) -> None:
        if self._environment:
            environment.remove(self._environment)
            self._environment = ""

    def _state(self, ending: Ending) -> JobState:
        if ending.status == 0:
            return JobState.COMPLETED
        if ending.starved:
            return JobState.OUT_OF_MEMORY
        if ending.status == 128 + signal.SIGTERM and ending.reason and self._is_late():
            return JobState.TIMEOUT
        return JobState.CANCELLED if ending.status in (130, 143) and ending.reason else JobState.FAILED

    def _write_record(self, state: JobState, ending: Ending | None) -> None:
        if not self._wishes.record:
            return
        record = Record(
            state=state,
            started=self._started,
            nodes=tuple(node.name for node in self._wishes.nodes),
            host=socket.gethostname(),
            pid=os.getpid(),
            job_id=self._wishes.job_id,
            ended=None if ending is None else time.time(),
            exit_status=None if ending is None else ending.status,
            reason="" if ending is None else ending.reason,
            attempt=self._attempt,
        )
        try:
            if not self._recorded:  # what is there is a former run's
                self._recorded = True
                records.begin(self._wishes.record, record)
            else:
                records.end(self._wishes.record, record)
        except OSError as error:
            if ending is None:  # once is enough
                _say(
                    f"warning: cannot write the record {self._wishes.record!r}: {error.strerror}; "
                    "SCOOP_HPC_STATE should name a directory that all nodes see"
                )


def agent_argv(patience: float, interface: str, parent: int, python: str = "") -> list[str]:
    """Return the command of an agent, but for the name of its node; *python* is another one than this, if any."""
    options = ["--patience", f"{patience:g}"]
    if interface:
        options += ["--interface", interface]
    if parent:
        options += ["--parent", str(parent)]
    return [*(installed_argv(python, _AGENT) if python else python_argv(_AGENT)), *options]


def _for_agents(curve: Curve) -> Curve:
    """Return what an agent needs to dial; the server's secret comes later, over the encrypted connection."""
    return Curve(curve.server_public, "", curve.client_public, curve.client_secret)


def _file_behind(descriptor: int) -> str:
    """Return the path of the regular file that *descriptor* is open on, empty if it is on none."""
    with contextlib.suppress(OSError):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isfile(path):
            return path
    return ""
