"""The joiner: the process in another allocation that brings its nodes into a run, and takes them out again.

::

    launcher's commands, or agents here <--exits-- joiner --Join, Leave--> <--Joined, Shutdown-- driver
               '--meet: as the agents of any node of the run----------------------------------------^

It starts the agents, which the driver welcomes as it does nodes that are late. What they print goes to the run's
output. What to do when is decided by `JoinerState`.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Sequence

import zmq

from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError
from scoop_hpc.jobs.door import Door
from scoop_hpc.protocol.messages import VERSION, Join, Joined, JoiningNode, Refused
from scoop_hpc.run import children, environment
from scoop_hpc.run.party.dial import TOLD, Line, unexpected
from scoop_hpc.run.party.joiner_state import Action, EndAgents, JoinerState, Phase, Say, Tell
from scoop_hpc.run.processes import Processes
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.signal_fd import SignalFd
from scoop_hpc.run.starting import prepare
from scoop_hpc.transport import limits, sockets

_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # what ends an allocation
_LONGEST_POLL = 0.5  # seconds
_PAUSE = 0.5  # seconds until a run is asked again that has not begun


class Joiner:
    """The nodes of *request*, which join the run behind *door*."""

    def __init__(self, request: RunRequest, door: Door, signals: SignalFd) -> None:
        self._request = request
        self._door = door
        self._signals = signals
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._processes = Processes(self._poller, request.launcher.one_machine)
        self._environment = ""  # file that agents have to read
        self._complaint = ""  # of the last agent that had one
        self._has_failed = False  # a command of the launcher, and so an agent
        left = None if request.ends_at is None else request.ends_at - time.time()
        self._state = JoinerState(None if left is None else time.monotonic() + left)

    def run(self) -> int:
        """Let the nodes join, and see them through; return the exit status. Raises ScoopError."""
        try:
            line = Line(self._context, self._door)
            party = self._join(line)
            self._poller.register(line.socket, zmq.POLLIN)
            self._poller.register(self._signals.fileno(), zmq.POLLIN)
            self._start(party)
            while self._state.phase is not Phase.OVER:
                self._serve(line)
        finally:
            self._context.destroy(linger=200)
            self._processes.end()
            if self._request.launcher.one_machine:
                children.kill_descendants()
            if self._environment:
                environment.remove(self._environment)
        return self._state.status

    def _join(self, line: Line) -> int:
        """Ask the driver, again while the run has not begun; return the number of the party."""
        request = self._request
        nodes = tuple(JoiningNode(node.name, node.workers) for node in request.nodes)
        join = Join(VERSION, request.job_id or "", socket.gethostname(), os.getpid(), nodes)
        began = time.monotonic()
        until = began + request.patience
        has_told = False

        def tell(what: str) -> None:
            nonlocal has_told
            if not has_told:
                has_told = True
                say(f"warning: waiting for {what}, {max(0.0, until - time.monotonic()):.0f} s more (--patience)")

        while True:
            answer = line.ask(join, request.patience, tell)
            match answer:
                case Joined(party):
                    return party
                case Refused(reason, is_early):
                    if not is_early or time.monotonic() >= until:
                        raise InputError(f"cannot join the run on {self._door.host}: {reason}")
                    if time.monotonic() >= began + TOLD:
                        tell(f"the run on {self._door.host} to begin")
                    time.sleep(_PAUSE)
                case _:
                    raise unexpected(answer)

    def _start(self, party: int) -> None:
        request, door = self._request, self._door
        limits.raise_limits()
        if request.launcher.one_machine:
            children.adopt_orphans()
        environ = {**os.environ, **({request.options_variable: door.options} if door.options else {})}
        starting = prepare(request, door.addresses, door.curve, environ, "", time.time(), party)
        self._environment = starting.file
        for command in starting.commands:
            if request.agent_main is not None:
                self._processes.fork(command, request.agent_main)
            else:
                self._processes.start(command, starting.text)

    # serving

    def _serve(self, line: Line) -> None:
        due = self._state.deadline()
        wait = _LONGEST_POLL if due is None else min(max(0.0, due - time.monotonic()), _LONGEST_POLL)
        for ready, _ in self._poller.poll(math.ceil(wait * 1000)):
            if ready is line.socket:
                message = sockets.receive(line.socket)
                if message is not None and not isinstance(message, Joined):  # a second answer to the same question
                    self._do(self._state.hear(message, time.monotonic()), line)
            elif ready in self._processes:
                self._processes.hear(ready)
        for number in self._signals.take():
            if number in _LEAVE:
                self._do(self._state.signalled(number, time.monotonic()), line)
        self._reap()
        self._do(self._state.pass_time(time.monotonic()), line)

    def _reap(self) -> None:
        for ended in self._processes.reap():
            self._complaint = ended.complaint or ended.last_line or self._complaint
            self._has_failed = self._has_failed or ended.status != 0
            if self._request.launcher.one_machine:
                children.kill_descendants(spared=self._processes.running())
        if not self._processes.running():
            self._state.agents_ended(None if not self._has_failed else self._complaint, time.monotonic())

    def _do(self, actions: Sequence[Action], line: Line) -> None:
        for action in actions:
            match action:
                case Say(message):
                    sockets.send(line.socket, message)
                case Tell(text):
                    say(text)
                case EndAgents():
                    self._processes.end()
