"""The driver: starts the agents, brings them together, owns the exit status.

::

    launcher's commands (srun, or agents here) <--exits, last words-- driver <--meet--> agents
                                                                         '--> stdout, stderr

It polls sockets, processes, signals and streams in one thread, tells `DriverState` what happens, and carries out what
that decides. When the run is over, every agent has left or is past its time, and what was started here is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence

import zmq

from scoop_hpc import events
from scoop_hpc.complaints import show
from scoop_hpc.errors import InputError, LaunchError, ProtocolError, ScoopError
from scoop_hpc.events import Observers
from scoop_hpc.files.kernel import read_text
from scoop_hpc.jobs.door import Door, door_beside, write_door
from scoop_hpc.jobs.record import Recorder
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import Curve, Fault, Message, Open, Output, OutputSeen
from scoop_hpc.protocol.names import AgentName
from scoop_hpc.run import children, environment, proc
from scoop_hpc.run.children import TRACE
from scoop_hpc.run.client_pipes import ClientPipes
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving.actions import (
    Action,
    EndAlone,
    LookAtMemory,
    Probe,
    RemoveEnvironment,
    Report,
    Send,
    ShowLastWords,
    ShowNode,
    ShowReason,
    ShowTraceback,
    Start,
    StartAgain,
    Warn,
)
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan, dialling_part
from scoop_hpc.run.driving.witnesses import CommandEnd
from scoop_hpc.run.oom_kills import OomKills
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.run.processes import Processes
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.starting import prepare
from scoop_hpc.run.streams.lines import Lines
from scoop_hpc.run.streams.worker_logs import WorkerLogs
from scoop_hpc.run.streams.writer import PIECE, Writer, has_room
from scoop_hpc.run.watching.look import Look
from scoop_hpc.run.watching.progress import Display
from scoop_hpc.run.watching.trace import TraceFile
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import limits, sockets
from scoop_hpc.transport.directory import choose_private, make_private
from scoop_hpc.transport.line import Heard
from scoop_hpc.transport.probe import Probe as Asked
from scoop_hpc.transport.steady import SteadyRouter

_FILES = 16  # that are open at most, besides a pipe and a connection for each node
_LONGEST_POLL = 0.5  # seconds
_RESTING_POLL = 2.0  # the same, where there is nothing to tell agents: the client of a pool may die without a word


class Driver:
    """One run."""

    def __init__(
        self,
        request: RunRequest,
        signals: SignalFd,
        client: ClientPipes | None = None,
        observers: Observers | None = None,
        policy: DriverPolicy | None = None,
        display: Display | None = None,
        trace: TraceFile | None = None,
    ) -> None:
        self._request = request
        self._signals = signals
        self._client = client  # of a pool
        self._observers = Observers() if observers is None else observers
        self._one_machine = request.launcher.one_machine
        self._curve = None if self._one_machine else keys.make_keys()
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._processes = Processes(self._poller, self._one_machine)
        self._writer = Writer(self._poller, self._tell_written)
        self._lines = {stream: Lines(os.isatty(stream)) for stream in (1, 2)}
        self._worker_logs = WorkerLogs(request.worker_logs) if request.worker_logs else None
        self._trace = trace
        if trace is not None:
            self._observers.add(trace)
        self._display = display  # of the progress
        if display is not None:
            self._observers.add(display)
            self._lines.update(dict.fromkeys(display.streams, Lines(terminal=True)))
        self._authenticator: keys.Authenticator | None = None
        self._directory = choose_private(os.environ.get("TMPDIR", "")) if self._one_machine else ""
        self._environment = ""  # file that agents have to read yet
        self._door = ""  # file by which nodes join, or leave
        self._commands_for: Callable[[Sequence[str]], Sequence[Command]] = lambda names: ()  # some of the nodes
        self._input = b""  # that each of the launcher's commands reads
        self.shown_last = ""  # the reason of the end, if nothing was shown after it
        self._holds_traceback = False  # of the program: it is queued
        self._one_log = os.path.sameopenfile(1, 2)
        self._told = time.monotonic()  # the agents, of what has arrived
        self._heard = self._told  # one of them
        self._open: set[int] = set()  # connections, by file descriptor
        self._connections: dict[int, AgentName] = {}  # of these, those whose agents are known
        self._hosts: dict[AgentName, str] = {}  # addresses that agents have come from
        self._probes: dict[int, tuple[AgentName, Asked]] = {}  # by file descriptor
        self._oom_kills = OomKills(read_text)  # which the agents on one machine share
        attempt = os.urandom(8).hex()
        if request.record:
            nodes = tuple(node.name for node in request.nodes)
            self._observers.add(Recorder(request.record, attempt, nodes, request.job_id, os.getpid()))
        self._look = Look(request, attempt, self._show) if request.look else None
        if self._look is not None:
            self._observers.add(self._look.snapshots)
        self._state = DriverState(self._plan(attempt), policy, self._observers)

    def _plan(self, attempt: str) -> RunPlan:
        request = self._request
        left = None if request.ends_at is None else request.ends_at - time.time()
        shared, below = self._shared_streams(), () if self._display is None else self._display.streams
        return RunPlan(
            nodes=request.nodes,
            program=request.program,
            curve=self._curve,
            directory=self._directory or None,
            inherit=tuple(stream for stream in shared if stream not in below),
            python="" if request.container else "{}.{}".format(*sys.version_info),
            driver_process=proc.identity(os.getpid()),
            driver_pid=os.getpid(),
            host=socket.gethostname(),
            record=request.record or None,
            attempt=attempt,
            complaints=_file_behind(2) or None,
            pool=request.pool,
            one_machine=self._one_machine,
            outlived=request.launcher.outlived,
            warn=request.warn,
            patience=request.patience,
            min_nodes=request.min_nodes,
            ends_on_loss=request.ends_on_loss,
            grace=request.grace,
            ends_at=None if left is None else time.monotonic() + left,
            progress=None if self._display is None else self._display.interval,
            terminals=tuple(stream for stream in shared if stream in below),
            accounts=request.accounts,
        )

    def run(self) -> Ending:
        """Run the program to its end; return how it ended."""
        try:
            self._run()
        except ScoopError as error:
            # as of agents: what this process lacks to start, such as open files, can be changed by who starts it
            status = 2 if isinstance(error, (InputError, LaunchError)) else 1
            self._do(self._state.fail(status, str(error)))
        except BaseException:
            self._do(self._state.fail(1, "the driver failed"))
            raise
        finally:
            self._clean_up()
            ending = self._state.ending or Ending(1, "the driver failed")
            job_state = self._state.job_state(time.monotonic())
            self._observers.tell(events.RunOver(job_state.value, ending.status, ending.reason))
            if self._look is not None:
                self._look.close()
        return ending

    def _run(self) -> None:
        self._check_limits()
        if self._look is not None:
            self._look.open()
        if self._curve is None:
            address = f"ipc://{self._directory}/driver"
            self._launch([address])  # first: they remove the directory should this process be killed
            self._meet(address)
        else:
            self._launch(self._meet_others(self._curve))
        while self._state.phase is not Phase.OVER:
            self._serve()
        self._drain()
        self._do(self._state.sum_up())

    def _check_limits(self) -> None:
        """Refuse here what would fail in the midst of starting; on one machine, for agents and workers as well."""
        limits.raise_limits()
        nodes = self._request.nodes
        limits.check_files(_FILES + (1 if self._one_machine else 2) * len(nodes), "raise that")
        count = limits.THREADS
        if self._one_machine:
            count += 2 * limits.THREADS * len(nodes) + limits.WORKER_THREADS * sum(node.workers or 0 for node in nodes)
        limits.check_processes(count, "raise that, or ask for fewer workers with -n")

    def _shared_streams(self) -> tuple[int, ...]:
        """Let the origin have its input, and a terminal for prompts and colours; what else it prints comes by lines."""
        if not self._one_machine or self._request.pool is not None:
            return ()
        return (0, *(stream for stream in (1, 2) if os.isatty(stream) and not self._request.label))

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
        return [sockets.url(address, port) for address in self._request.own_addresses()]

    def _open_socket(self) -> None:
        self._socket = sockets.make(self._context, zmq.ROUTER, silence=sockets.silence_within(self._request.grace))
        self._agents = SteadyRouter(self._socket)
        self._watch = sockets.Watch(self._socket, listens=True)
        for source in (self._socket, self._watch.socket, self._signals.fileno()):
            self._poller.register(source, zmq.POLLIN)
        if self._client is not None:
            self._poller.register(self._client.fileno(), zmq.POLLIN)

    def _launch(self, addresses: Sequence[str]) -> None:
        """Start the launcher's commands. Keys, and the name of a directory to be made, travel in their environment, or
        in the text or file that takes its place."""
        if self._one_machine:
            children.adopt_orphans()  # should an agent die, what its workers started comes to this process
        dialling = dialling_part(self._curve)
        if self._look is not None:
            self._open_door(addresses, dialling)
        starting = prepare(self._request, addresses, dialling, os.environ, _file_behind(2), time.time())
        self._input, self._environment = starting.text, starting.file
        self._commands_for = starting.commands_for
        self._do(self._state.start(starting.commands, time.monotonic()))

    def _open_door(self, addresses: Sequence[str], dialling: Curve | None) -> None:
        """Leave word, for this user, of how other allocations join the run, and nodes are told to leave it."""
        request = self._request
        options = os.environ.get(request.options_variable, "") if request.options_variable else ""
        door = Door(
            host=socket.gethostname(),
            addresses=tuple(addresses),
            curve=dialling,
            grace=request.grace,
            directory=os.fsdecode(request.program.directory),
            options=options,
            container=request.container,
        )
        self._door = door_beside(request.look)
        try:
            write_door(self._door, door)
        except InputError as error:
            self._show(f"scoop-hpc: warning: no node can join this run, or be told to leave it: {error}")

    # serving

    def _serve(self) -> None:
        """Wait until something happens, or is due, and take it in."""
        due = min((time for time in self._deadlines() if time is not None), default=None)
        longest = _RESTING_POLL if self._told > self._heard else _LONGEST_POLL
        wait = longest if due is None else min(max(0.0, due - time.monotonic()), longest)
        for ready, _ in self._poller.poll(math.ceil(wait * 1000)):
            if ready is self._socket:
                self._serve_agents()
            elif ready is self._watch.socket:
                self._note_connections()
            elif self._authenticator is not None and ready is self._authenticator.socket:
                self._authenticator.step()
            elif ready == self._signals.fileno():
                self._take_signals()
            elif self._client is not None and ready == self._client.fileno():
                self._client.hear()
            elif ready in self._processes:
                self._processes.hear(ready)
                self._take_failed_launches()
            elif ready in self._writer:
                self._write(ready)
            elif ready in self._probes:
                self._take_answer(ready)
        now = time.monotonic()
        if now >= self._told + _LONGEST_POLL:
            self._told = now
            self._agents.tell()
        self._do(self._state.pass_time(now))
        self._heed_client()
        if self._look is not None:
            self._do(self._state.watch(self._look.serve()))
        if self._display is not None:
            self._add(2, self._display.show(), "")

    def _deadlines(self) -> tuple[float | None, ...]:
        looks = None if self._look is None else self._look.deadline()
        return self._state.deadline(), looks, None if self._display is None else self._display.deadline()

    def _serve_agents(self) -> None:
        for _ in range(100):
            try:
                sender, *rest = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._heard = time.monotonic()
            name = AgentName(sender.bytes.decode(errors="backslashreplace"))
            descriptor = int(sender.get(zmq.SRCFD))
            if self._connections.get(descriptor) != name:
                self._note_connections()  # the loss of who had this descriptor before, if it was not noted yet
                if descriptor in self._open:  # else it came before the loss of its connection
                    self._connections[descriptor] = name
                    self._hosts[name] = _peer_address(sender)
                    self._state.connected(name)
            now = time.monotonic()
            try:
                heard = self._agents.take(name, [frame.bytes for frame in rest])
            except ProtocolError as error:
                self._do(self._state.refuse(name, error, now))
            else:
                self._hear(heard, now)

    def _hear(self, heard: Heard, now: float) -> None:
        """Take in what an agent says, or what is known of its way to here."""
        name, message = AgentName(heard.sender), heard.message
        if heard.is_connected:
            self._do(self._state.has_way(name, bool(self._agents.relay_of(name))))
        elif heard.is_connected is not None:
            self._do(self._state.disconnected(name, now))
        try:
            if isinstance(message, ProtocolError):
                raise message
            if isinstance(message, Output) and not self._state.is_given_up(name):
                self._queue(message, name)
            elif message is not None:
                if self._state.phase is Phase.JOINING:  # a launcher says first that it ends agents, then it does
                    self._take_failed_launches()
                self._do(self._state.handle(message, name, now))
        except ProtocolError as error:
            self._do(self._state.refuse(name, error, now))

    def _note_connections(self) -> None:
        for made, descriptor in self._watch.news():
            agent = self._connections.pop(descriptor, None)
            (self._open.add if made else self._open.discard)(descriptor)
            if agent is not None and agent not in self._connections.values():  # else it has come by another one since
                self._lose_connection(agent, time.monotonic())

    def _lose_connection(self, agent: AgentName, now: float) -> None:
        """Take the end of a connection: unless it has a relay now, *agent* has no way, nor have those behind it."""
        if not self._agents.relay_of(agent):
            self._do(self._state.disconnected(agent, now))
        for other in self._agents.behind(agent):
            self._do(self._state.disconnected(AgentName(other), now))

    def _take_signals(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._reap()
            else:
                self._do(self._state.signalled(number, time.monotonic()))

    def _reap(self) -> None:
        """Take the ends of the launcher's commands."""
        every = self._processes.reap()
        self._take_failed_launches()
        for ended in every:
            killed = self._one_machine and ended.status == -signal.SIGKILL
            end = CommandEnd(
                ended.command,
                ended.pid,
                ended.status,
                said=ended.complaint or ended.last_line,
                complaint=ended.complaint,
                unanswered=ended.unanswered,
                first_death=ended.first_death,
                out_of_memory=killed and self._oom_kills.have_come(),
            )
            self._do(self._state.command_ended(end, time.monotonic()))
            if self._one_machine:  # what a lost agent's tasks had started is this process's child now
                children.kill_descendants(spared=self._processes.running())

    def _take_failed_launches(self) -> None:
        for failed in self._processes.failed_launches():
            self._do(self._state.launch_failed(failed))

    def _heed_client(self) -> None:
        """End the pool if its client has no more use for it."""
        if self._client is None:
            return
        self._client.look()
        if self._client.ended:
            if self._client.fileno() in self._poller:
                self._poller.unregister(self._client.fileno())
            self._do(self._state.client_left(time.monotonic(), self._client.lost))

    # acting

    def _do(self, actions: Sequence[Action]) -> None:
        """Carry out *actions*."""
        for message, sends in itertools.groupby(actions, key=_message_of):  # what is for many goes to relays once
            if message is not None:
                self._agents.send([send.to for send in sends if isinstance(send, Send)], message)
                continue
            self._do_others(sends)

    def _do_others(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(command):
                    self._start(command)
                case StartAgain(nodes):
                    for command in self._commands_for(nodes):
                        self._start(command)
                case EndAlone(pid):
                    self._processes.end_alone(pid)
                case Report(message):
                    self._report(message)
                case Warn(text):
                    self._show(f"scoop-hpc: warning: {text}")
                case ShowReason(reason):
                    self._show_reason(reason)
                case ShowTraceback(text):
                    self._show_traceback(text)
                case ShowLastWords():
                    for line in self._processes.last_words:
                        self._show(line)
                case ShowNode(index, seen):
                    if self._look is not None:
                        self._look.snapshots.see(index, seen)
                case RemoveEnvironment():
                    self._remove_environment()
                case LookAtMemory():
                    self._oom_kills.look()
                case Probe(agent, endpoint):
                    self._probe(agent, endpoint)

    def _start(self, command: Command) -> None:
        if self._state.ending is not None:  # the one before could not be started
            return
        try:
            if self._request.agent_main is not None:
                pid = self._processes.fork(command, self._request.agent_main)
            else:
                pid = self._processes.start(command, self._input)
        except LaunchError as error:
            self._do(self._state.command_failed(str(error), time.monotonic()))
        else:
            self._state.command_started(command, pid, time.monotonic())

    def _probe(self, agent: AgentName, endpoint: str) -> None:
        """Ask an agent's machine whether its broker listens; who has not answered the last time is not waited for."""
        for descriptor in [descriptor for descriptor, (asked, _) in self._probes.items() if asked == agent]:
            self._end_probe(descriptor)
        with contextlib.suppress(OSError, ValueError):  # no route to there; an address without a port
            asked = Asked(sockets.url(self._hosts[agent], int(endpoint.rpartition(":")[2])))
            self._probes[asked.fileno()] = agent, asked
            self._poller.register(asked.fileno(), zmq.POLLOUT)

    def _take_answer(self, descriptor: int) -> None:
        agent, asked = self._probes[descriptor]
        is_refused, is_heard = asked.is_refused(), asked.is_heard()
        self._end_probe(descriptor)
        if is_refused:
            self._do(self._state.refused(agent, time.monotonic()))
        elif is_heard:
            self._state.answered(agent, time.monotonic())

    def _end_probe(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        self._probes.pop(descriptor)[1].close()

    def _report(self, message: Open | Fault) -> None:
        if self._client is not None:
            self._client.report(message)
            self._client.ended = self._client.ended or isinstance(message, Fault)  # whatever it says after that

    # what others print

    def _queue(self, output: Output, agent: AgentName) -> None:
        text = output.text
        if not self._state.is_agent(agent):
            raise ProtocolError(f"{agent!r}, which is no agent of this run, sent the driver output")
        if output.stream == TRACE:
            if self._trace is not None:
                self._trace.add(text)
            self._tell_written(agent)
            return
        if self._worker_logs is not None and self._worker_logs.add(output.worker, text):
            self._tell_written(agent)
            return
        if self._request.label:
            label = f"[{self._state.where(agent)} {output.worker}] ".encode()
            text = b"".join(label + line for line in text.splitlines(keepends=True))
        text, stream = self._lines[output.stream].add(output.worker, text), output.stream
        if text and self._display is not None and stream in self._display.streams:
            text, stream = self._display.above(text), 2
        self._add(stream, text, agent)

    def _add(self, stream: int, text: bytes, agent: str) -> None:
        """Have *text* written, which has come from an *agent*, or is the driver's own."""
        if text:
            self._writer.add(stream, text, agent)
        else:
            self._tell_written(agent)

    def _show(self, line: str) -> None:
        """Show the user a *line* of our own."""
        if self._display is not None and self._display.is_drawn:
            self._add(2, self._display.above(f"{line}\n".encode(errors="backslashreplace")), "")
        else:
            self.shown_last = ""
            show(line)

    def _show_reason(self, reason: str) -> None:
        """Show why the run ends, for a log that ends with this process; a reader who is slow is not waited for."""
        is_drawn = self._display is not None and self._display.is_drawn
        if not is_drawn and not self._holds_traceback and has_room(2):
            self._show(f"scoop-hpc: error: {reason}")
            self.shown_last = reason

    def _show_traceback(self, text: str) -> None:
        """Show the program's traceback; a slow reader gets it later, and the reason of the end after it."""
        content, is_drawn = text.encode(errors="backslashreplace"), self._display is not None and self._display.is_drawn
        if not is_drawn and len(content) < PIECE and has_room(2):
            self._show(text.rstrip("\n"))
            return
        self._holds_traceback = True
        self._add(2, self._display.above(content) if is_drawn and self._display is not None else content, "")

    def _write(self, stream: int) -> None:
        if stream == 2 or self._one_log:  # this may have been queued before the reason of the end was shown
            self.shown_last = ""
        try:
            self._writer.write(stream)
        except OSError as error:
            reason = f"cannot write the program's output: {error.strerror}"
            self._do(self._state.output_failed(reason, time.monotonic()))

    def _tell_written(self, agent: str) -> None:
        if agent:
            self._agents.send([agent], OutputSeen(1))

    # ending

    def _drain(self) -> None:
        """Write the rest of the output; after a signal, only as long as its reader reads without a pause."""
        if self._display is not None:
            self._add(2, self._display.close(), "")
        for stream, lines in self._lines.items():
            for rest in lines.rest():
                self._add(stream, rest, "")
        while self._writer.pending and (not self._state.is_abandoned or self._writer.has_room()):
            self._serve()

    def _clean_up(self) -> None:
        """End what the launcher started here, close everything, remove what is on disk."""
        if self._display is not None and self._display.is_drawn:  # something has failed here
            with contextlib.suppress(OSError):
                os.write(2, self._display.close())
        self._remove_environment()
        if self._door:
            environment.remove(self._door)
        for descriptor in list(self._probes):
            self._end_probe(descriptor)
        self._context.destroy(linger=200)
        self._processes.end()
        if self._one_machine:
            children.kill_descendants()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _remove_environment(self) -> None:
        if self._environment:
            environment.remove(self._environment)
            self._environment = ""


def _message_of(action: Action) -> Message | None:
    return action.message if isinstance(action, Send) else None


def _peer_address(frame: zmq.Frame) -> str:
    """Return the address that a message has come from, of IPv4 as such [zmq_msg_gets(3)]; empty of a local socket."""
    try:
        return str(frame.get("Peer-Address")).removeprefix("::ffff:")
    except zmq.ZMQError:
        return ""


def _file_behind(descriptor: int) -> str:
    """Return the path of the regular file that *descriptor* is open on, empty if it is on none."""
    with contextlib.suppress(OSError):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isfile(path):
            return path
    return ""
