"""A job's mom: runs its script as the recorded one does, serves pbsdsh and pbs_tmrsh, and sees to the end.

The hosts of a job are all this machine. What goes for one host goes for the processes of the sessions that were
started for it: nothing else is found, and signalled, as recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipbs.requests import parse_time
from minipbs.server import LOCALHOST, Job, opened

_TICK = 0.02
_NO_SUCH_PROGRAM = 254
_WALLTIME = -29
_TASK_PATH = "/bin:/usr/bin"


@dataclass
class Task:
    """A process started for a pbsdsh or pbs_tmrsh, which is at the other end of *peer*."""

    number: int
    pid: int
    host: int
    peer: socket.socket


class Mom:
    """One job on its nodes."""

    def __init__(self, root: Path, job_id: str) -> None:
        self.root = root
        self.job_id = job_id
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.peers: dict[socket.socket, bytes] = {}
        self.tasks: dict[int, Task] = {}  # pid: task
        self.sessions: dict[int, int] = {}  # session: host
        self.counts: dict[int, int] = {}  # host: tasks so far
        self.top: int | None = None
        self.top_status: int | None = None
        self.deleted_at: float | None = None
        self.emptied_at = 0.0  # when the first host had a process of the job's last
        self.deleted_by = ""
        self.over_walltime = False
        self.rerun = False
        self.restarted = False

    # starting

    def run(self) -> None:
        """Run the job to its end."""
        with opened(self.root) as server:
            job = server.jobs[self.job_id]
            job["port"] = self.listener.getsockname()[1]
            self.job: Job = dict(job)
            self.settings = server.settings
        self._wait_for("hold-starting")
        self._prepare()
        self._start()
        self._serve()
        self._finish()

    def _wait_for(self, name: str) -> None:
        while (self.root / "control" / name).exists():
            time.sleep(_TICK)

    def _prepare(self) -> None:
        job = self.job
        self.hosts = list(dict.fromkeys(host for host, *_ in job["exec"]))
        self.lines = [(chunk[0], chunk) for chunk in job["exec"] for _ in range(chunk[2])]
        self.nodefile = self.root / "spool" / "aux" / self.job_id
        self.nodefile.write_text("".join(f"{host}\n" for host, _ in self.lines))
        self.temporary = self.root / "tmp" / f"pbs.{self.job_id}"
        self.temporary.mkdir(mode=0o700, exist_ok=True)
        self.home = str(self.root / "home")
        self.script = self.root / "spool" / "jobs" / f"{self.job_id}.SC"
        if job["script"] is not None:
            self.script.write_text(job["script"])
            self.script.chmod(0o700)
        os.umask(job["umask"])
        spool = self.root / "spool" / "spool"
        self.unreachable: set[str] = set()  # what only scp could write, which fails here
        self.places = {}  # stream: (where it is written, where it goes)
        for stream, letter, suffix in ((1, "o", "OU"), (2, "e", "ER")):
            wanted = job["output" if letter == "o" else "error"]
            wanted = wanted.replace("^array_index^", str(job["index"])) if job["index"] is not None else wanted
            if wanted.endswith("/"):
                wanted += f"{self.job_id}.{suffix}"
            here = self.settings["usecp"] or wanted.startswith(LOCALHOST)
            wanted = wanted[len(LOCALHOST) :] if wanted.startswith(LOCALHOST) else wanted
            if not here:
                self.unreachable.add(wanted)
            if letter in job["keep"] and "d" in job["keep"] and here:
                written = wanted
            elif letter in job["keep"] and "d" not in job["keep"]:
                written = wanted = os.path.join(self.home, os.path.basename(wanted))
            else:
                written = str(spool / f"{self.job_id}.{suffix}")
            self.places[stream] = (written, wanted)
        if job["join"] == "oe":
            self.places[2] = self.places[1]
        elif job["join"] == "eo":
            self.places[1] = self.places[2]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.streams = {stream: os.open(written, flags, 0o666) for stream, (written, _) in self.places.items()}

    def _environ(self, host: int, number: str, threads: int) -> dict[str, str]:
        """Return the variables that every process gets; which are all that a task gets."""
        job = self.job
        environ = {"TZ": os.environ.get("TZ", "UTC"), "PATH": _TASK_PATH, **job["variables"]}
        if host:
            environ["PBS_NODEFILE"] = str(self.nodefile)
        environ.update(
            HOME=self.home,
            PBS_JOBNAME=job["name"],
            PBS_JOBID=self.job_id,
            PBS_QUEUE=job["queue"],
            PBS_JOBCOOKIE=job["cookie"],
            PBS_NODENUM=str(host),
            PBS_TASKNUM=number,
            PBS_MOMPORT=str(job["port"]),
            OMP_NUM_THREADS=str(threads),
            NCPUS=str(threads),
            PBS_ENVIRONMENT="PBS_BATCH",
            ENVIRONMENT="BATCH",
            TMPDIR=str(self.temporary),
            PBS_JOBDIR=self.home,
        )
        if job["index"] is not None:
            environ.update(PBS_ARRAY_ID=job["parent"], PBS_ARRAY_INDEX=str(job["index"]))
        return environ

    def _start(self) -> None:
        job = self.job
        environ = self._environ(0, "1", job["exec"][0][3])
        environ.update(PBS_NODEFILE=str(self.nodefile), LOGNAME=job["owner"], USER=job["owner"], SHELL="/bin/bash")
        if job["script"] is None:
            self.top = self._fork(job["command"], job["command"][0], environ)
        else:
            shell = job["shell"] or "/bin/bash"
            reading, writing = os.pipe()
            os.write(writing, f"{self.script}\n".encode())
            os.close(writing)
            self.top = self._fork([f"-{os.path.basename(shell)}"], shell, environ, reading)
            os.close(reading)
        self.sessions[self.top] = 0
        self.started = time.monotonic()
        with opened(self.root) as server:
            server.jobs[self.job_id].update(substate=42, session=self.top, mtime=time.time())

    def _fork(self, argv: Sequence[str], program: str, environ: dict[str, str], stdin: int | None = None) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            os.chdir(self.home)
            os.dup2(os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin, 0)
            os.dup2(self.streams[1], 1)
            os.dup2(self.streams[2], 2)
            os.closerange(3, 256)
            for number in (signal.SIGPIPE, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.environ["PATH"] = _TASK_PATH  # a program is looked for where the mom looks
            os.execvpe(program, list(argv), environ)
        except OSError:
            os.write(2, b"P\xea=\x07c: No such file or directory\n")  # recorded: garbage instead of the name
        finally:
            os._exit(_NO_SUCH_PROGRAM)

    # serving

    def _serve(self) -> None:
        while not self._over():
            ready, _, _ = select.select([self.listener, *self.peers], [], [], _TICK)
            for source in ready:
                if source is self.listener:
                    peer, _ = self.listener.accept()
                    self.peers[peer] = b""
                else:
                    self._hear(source)
            self._reap()
            if (self.root / "control" / "mom.restarted").exists() and not self.restarted:
                self.restarted = True
                self._forget_peers()
            walltime = self.job["resources"].get("walltime")
            most = None if walltime is None else parse_time(walltime) + self.settings["overrun"]
            late = most is not None and time.monotonic() - self.started > most
            if late and not self.over_walltime:
                self.over_walltime = True
                used = int(time.monotonic() - self.started)
                limit = int(parse_time(walltime))
                words = f"=>> PBS: job killed: walltime {used} exceeded limit {limit}\n"
                os.write(self.streams[2], words.encode())
                self._terminate()

    def _forget_peers(self) -> None:
        """Be as a mom that was restarted with -p: the tasks go on, whoever waits for one hears no more of it."""
        for peer in self.peers:
            peer.close()
        self.peers.clear()

    def _over(self) -> bool:
        if self.top_status is not None and self.deleted_at is None:
            return True
        if self.deleted_at is None or (self.root / "control" / "hold-deleted").exists():
            return False
        now = time.monotonic()
        if processes([session for session, host in self.sessions.items() if host == 0]):
            self.emptied_at = now
        delays: dict[str, float] = self.settings
        late = now > self.deleted_at + delays["kill_delay"]
        return late or now > self.emptied_at + delays["lingering"]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 256 + os.WTERMSIG(status)
            if pid == self.top:
                self.top_status = code
                continue
            task = self.tasks.pop(pid, None)
            if task is not None:
                kill([pid], signal.SIGKILL)  # the rest of its session, without a TERM
                self._tell(task.peer, {"task": task.number, "exit": code})

    def _hear(self, peer: socket.socket) -> None:
        try:
            text = peer.recv(1 << 20)
        except OSError:
            text = b""
        if not text:
            peer.close()
            del self.peers[peer]
            return
        *lines, self.peers[peer] = (self.peers[peer] + text).split(b"\n")
        for line in lines:
            self._answer(peer, json.loads(line))

    def _answer(self, peer: socket.socket, asked: dict[str, Any]) -> None:
        if asked["cookie"] != self.job["cookie"]:
            self._tell(peer, {"error": "not connected (17002)"})
        elif asked["do"] == "lines":
            self._tell(peer, {"lines": [host for host, _ in self.lines]})
        elif asked["do"] == "spawn":
            self._spawn(peer, asked["line"], asked["argv"], asked["number"])
        elif asked["do"] == "signal":
            for task in list(self.tasks.values()):
                if task.peer is peer and task.number == asked["task"]:
                    kill([task.pid], asked["signal"])
        elif asked["do"] == "user signal":
            kill([session for session, host in self.sessions.items() if host == 0], asked["signal"])
        elif asked["do"] in ("delete", "rerun"):
            self.rerun = asked["do"] == "rerun"
            self.deleted_by = asked["by"]
            if asked["force"] or self.rerun:
                self.deleted_at = time.monotonic() - self.settings["kill_delay"]
                kill(list(self.sessions), signal.SIGKILL)
            elif self.deleted_at is None:
                self._terminate()
            self._tell(peer, {})

    def _terminate(self) -> None:
        """Send TERM to the sessions of the first host, and nothing to the others."""
        self.deleted_at = time.monotonic()
        kill([session for session, host in self.sessions.items() if host == 0], signal.SIGTERM)

    def _spawn(self, peer: socket.socket, line: int, argv: Sequence[str], number: int) -> None:
        name, chunk = self.lines[line % len(self.lines)]
        host = self.hosts.index(name)
        self.counts[host] = self.counts.get(host, 1 if host == 0 else 0) + 1
        label = f"{host * 0x20000000 + self.counts[host]:08X}"
        pid = self._fork(argv, argv[0], self._environ(host, label, chunk[3]))
        self.tasks[pid] = Task(number, pid, host, peer)
        self.sessions[pid] = host

    def _tell(self, peer: socket.socket, answer: dict[str, Any]) -> None:
        if peer in self.peers:
            with contextlib.suppress(OSError):  # a pbsdsh may be gone
                peer.sendall(json.dumps(answer).encode() + b"\n")

    # the end

    def _finish(self) -> None:
        deadline = time.monotonic() + 5
        while processes(list(self.sessions)) and time.monotonic() < deadline:
            kill(list(self.sessions), signal.SIGKILL)
            self._reap()
            time.sleep(_TICK / 4)
        self._reap()
        for stream in set(self.streams.values()):
            os.close(stream)
        if not self.rerun:
            with opened(self.root) as server:
                server.jobs[self.job_id].update(state="E", substate=53, mtime=time.time())
            self._wait_for("hold-exiting")
        staged = self._stage_out()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.nodefile.unlink()
        with contextlib.suppress(FileNotFoundError):
            self.script.unlink()
        with opened(self.root) as server:
            self._report(server, staged)
            server.schedule()

    def _stage_out(self) -> int:
        staged = 1
        for written, wanted in dict.fromkeys(self.places.values()):
            if written != wanted:
                try:
                    if wanted in self.unreachable:
                        raise ConnectionRefusedError("scp")
                    if wanted != os.devnull:
                        shutil.copyfile(written, wanted)
                except OSError:
                    shutil.copyfile(written, self.root / "spool" / "undelivered" / os.path.basename(written))
                    staged = 0
                os.unlink(written)
        return staged

    def _report(self, server: Any, staged: int) -> None:
        job = server.jobs[self.job_id]
        status = self.top_status
        if self.rerun:
            job.update(state="Q", substate=10, comment="")
            for name in ("exec", "stime", "session", "port"):
                job.pop(name, None)
        elif self.over_walltime:
            server.end(job, _WALLTIME, 93, " and exceeded resource walltime", staged)
        elif self.deleted_by:
            server.end(job, status, 91, f" and terminated by {self.deleted_by}", staged)
        else:
            server.end(job, status, 93 if status else 92, " and failed" if status else " and finished", staged)


def processes(sessions: Sequence[int]) -> list[int]:
    """Return the live processes of *sessions* [proc_pid_stat(5)]."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, _, _, sid = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(sid) in sessions and state not in "ZX":
                found.append(int(entry))
    return found


def kill(sessions: Sequence[int], number: int) -> None:
    """Send a signal to all processes of *sessions*."""
    for pid in processes(sessions):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    """Be the mom of a job."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Mom(Path(sys.argv[1]), sys.argv[2]).run()
