"""The server: jobs, nodes and queues in one file, changed under a lock; and the scheduler, which is a function."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minipbs.requests import Refused, Request, parse_select, parse_time, settle_resources

Job = dict[str, Any]
_WAITING = ("Q", "H", "W")
OVER = ("F", "X")
LOCALHOST = "localhost:"  # before a path: of the node itself; other paths are of the host that qsub was called on
_JOB_ID = re.compile(r"([0-9]+)(\[([0-9]*)\])?(\..+)?")


class Server:
    """What the file holds; only within `opened`."""

    def __init__(self, root: Path, state: dict[str, Any]) -> None:
        self.root = root
        self.state = state
        self.jobs: dict[str, Job] = state["jobs"]
        self.settings: dict[str, Any] = json.loads((root / "settings.json").read_text())
        self.name: str = self.settings["server"]

    def controlled(self, name: str) -> bool:
        """Return whether a test has put the file *name* into the directory control."""
        return (self.root / "control" / name).exists()

    # submission

    def submit(self, request: Request, variables: dict[str, str], workdir: str) -> Job:
        """Take in a job."""
        number = self.state["next"]
        queue = self.settings["queues"].get(request.options.get("q", "workq").partition("@")[0])
        settled = settle_resources(request.resources)
        if request.options.get("u", self.settings["user"]) != self.settings["user"]:
            raise Refused("qsub: Bad UID for job execution", 175)
        self.state["next"] = number + 1
        self._check_queue(queue, settled)
        now = time.time()
        name = request.options.get("N", request.script_name)
        array = request.options.get("J")
        suffix = f"{number}.^array_index^" if array else str(number)
        umask = int(request.attributes.get("umask", "077"), 8)
        job: Job = {
            "id": f"{number}[].{self.name}" if array else f"{number}.{self.name}",
            "number": number,
            "name": name,
            "owner": self.settings["user"],
            "queue": request.options.get("q", "workq").partition("@")[0],
            "script": request.script,
            "command": list(request.command),
            "shell": request.options.get("S"),
            "variables": variables,
            "workdir": workdir,
            "output": _output(request.options.get("o", ""), workdir, f"{name}.o{suffix}"),
            "error": _output(request.options.get("e", ""), workdir, f"{name}.e{suffix}"),
            "join": request.options.get("j", "n"),
            "keep": request.options.get("k", "n"),
            "resources": settled,
            "umask": umask,
            "rerunable": request.options.get("r", "y") == "y",
            "depend": self._dependencies(request.attributes.get("depend", "")),
            "deleted": False,
            "hold": "u" if "h" in request.flags else "n",
            "priority": int(request.options.get("p", "0")),
            "account": request.options.get("A"),
            "project": request.options.get("P", "_pbs_project_default"),
            "mail": request.options.get("m", "a"),
            "arguments": " ".join(request.arguments),
            "array": array,
            "index": None,
            "ctime": now,
            "mtime": now,
            "qtime": now,
            "state": "H" if "h" in request.flags else "Q",
            "substate": 20 if "h" in request.flags else 10,
            "run_count": 0,
            "comment": "",
        }
        self.jobs[job["id"]] = job
        if array:
            self._make_subjobs(job, array)
        self.settle_dependencies()
        return job

    def _check_queue(self, queue: dict[str, Any] | None, settled: dict[str, str]) -> None:
        if queue is None:
            raise Refused("qsub: Unknown queue", 170)
        if not queue.get("enabled", True):
            raise Refused("qsub: Queue is not enabled", 173)
        limit = queue.get("resources_max.walltime")
        too_long = limit is not None and "walltime" in settled and parse_time(settled["walltime"]) > parse_time(limit)
        if too_long or int(settled["ncpus"]) > queue.get("resources_max.ncpus", 1 << 30):
            raise Refused("qsub: Job violates queue and/or server resource limits", 188)
        queued = [job for job in self.jobs.values() if job["state"] not in OVER and job["index"] is None]
        if len(queued) >= queue.get("max_queued", 1 << 30):
            raise Refused("qsub: would exceed queue generic's per-user limit", 38)

    def _make_subjobs(self, job: Job, array: str) -> None:
        bounds, _, most = array.partition("%")
        reach, _, step = bounds.partition(":")
        first, last = map(int, reach.split("-"))
        indices = range(first, last + 1, int(step or 1))
        if len(indices) > self.settings["max_array_size"]:
            del self.jobs[job["id"]]
            raise Refused("qsub: Array job exceeds server or queue size limit", 3)
        job["indices"] = list(indices)
        job["array"] = bounds
        job["most"] = int(most) if most else None
        for index in indices:
            subjob = {**job, "id": f"{job['number']}[{index}].{self.name}", "array": None, "index": index}
            subjob.update(parent=job["id"], depend=[], hold="n", state="Q", substate=10)
            self.jobs[subjob["id"]] = subjob

    def _dependencies(self, text: str) -> list[list[Any]]:
        found: list[list[Any]] = []
        for part in filter(None, text.split(",")):
            kind, *ids = part.split(":")
            full = [each if "." in each else f"{each}.{self.name}" for each in ids]
            found.append([kind, full])
        return found

    # looking for jobs

    def find(self, text: str, command: str) -> Job:
        """Return the job called *text*, which may lack the server's name."""
        match = _JOB_ID.fullmatch(text)
        if match is None:
            if command == "qstat":
                raise Refused(f"qstat: Unknown queue destination {text}", 170)
            raise Refused(f"{command}: illegally formed job identifier: {text}", 1)
        full = text if match[4] else f"{text}.{self.name}"
        if full not in self.jobs:
            raise Refused(f"{command}: Unknown Job Id {text if command == 'qdel' else full}", 153)
        return self.jobs[full]

    def subjobs(self, job: Job) -> list[Job]:
        """Return the subjobs of an array."""
        return [self.jobs[f"{job['number']}[{index}].{self.name}"] for index in job["indices"]]

    # the scheduler

    def schedule(self) -> None:
        """Start what can start, and note why the others do not."""
        if self.controlled("scheduler.off"):
            return
        for job in list(self.jobs.values()):
            if job["state"] != "Q" or job["array"] is not None or not self._may_run(job):
                continue
            if self.settings["queues"][job["queue"]].get("started", True) is False:
                self._comment(job, "Not Running: Queue not started.")
                continue
            placed = self._place(job)
            if isinstance(placed, str):
                self._comment(job, placed)
            else:
                self._start(job, placed)

    def _may_run(self, job: Job) -> bool:
        parent = self.jobs.get(job.get("parent", ""))
        if parent is None:
            return True
        running = [each for each in self.subjobs(parent) if each["state"] in ("R", "E")]
        return parent["state"] in ("Q", "B") and (parent["most"] is None or len(running) < parent["most"])

    def _comment(self, job: Job, comment: str) -> None:
        target = self.jobs[job["parent"]] if "parent" in job else job
        if target["state"] == "Q":
            target["comment"] = comment

    def _place(self, job: Job) -> Any:
        """Return where the chunks go as (host, ncpus, mpiprocs, threads), or why they go nowhere."""
        chunks = parse_select(job["resources"]["select"])
        words = job["resources"]["place"].split(":")
        hosts = self.settings["hosts"]
        total = {name: host["ncpus"] for name, host in hosts.items()}
        up = {name: ncpus for name, ncpus in total.items() if hosts[name]["state"] == "free"}
        asked, there = int(job["resources"]["ncpus"]), sum(total.values())
        if asked > there:
            return f"Can Never Run: Insufficient amount of resource: ncpus (R: {asked} A: {there} T: {there})"
        if "scatter" in words and len(chunks) > len(hosts):
            return "Can Never Run: Not enough total nodes available"
        if _fit(chunks, words, total, {}) is None:  # for ever, and PBS does not see it
            return "Not Running: Insufficient amount of resource: ncpus"
        used: dict[str, int] = {}
        for other in self.jobs.values():
            if other["state"] in ("R", "E"):
                for host, ncpus, *_ in other["exec"]:
                    used[host] = used.get(host, 0) + ncpus
                    if "excl" in other["resources"]["place"]:
                        used[host] = total[host]
        return _fit(chunks, words, up, used) or "Not Running: Not enough free nodes available"

    def _start(self, job: Job, placed: Sequence[Sequence[Any]]) -> None:
        now = time.time()
        vnodes = "+".join(f"({host}:ncpus={ncpus})" for host, ncpus, *_ in placed)
        job.update(
            exec=[list(chunk) for chunk in placed],
            state="R",
            substate=41,
            stime=now,
            mtime=now,
            run_count=job["run_count"] + 1,
            cookie=secrets.token_hex(16).upper(),
            comment=f"Job run at {_minute(now)} on {vnodes}",
        )
        job.pop("exit_status", None)
        parent = self.jobs.get(job.get("parent", ""))
        if parent is not None and parent["state"] == "Q":
            parent.update(state="B", substate=70, stime=now, comment=f"Job Array Began at {_minute(now)}")
        log = (self.root / "spool" / "moms.log").open("a")
        mom = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from minipbs.mom import main; main()"
        )
        subprocess.Popen(
            [sys.executable, "-I", "-c", mom, str(self.root), job["id"]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
        log.close()

    # the end

    def end(self, job: Job, exit_status: int | None, substate: int, words: str, staged: int | None = None) -> None:
        """Let a job be over."""
        now = time.time()
        job.update(state="F", substate=substate, mtime=now, history_timestamp=int(now))
        if exit_status is not None:
            job.update(exit_status=exit_status, obittime=now, stageout=staged)
        if job["comment"] and words:
            job["comment"] += words
        if "parent" in job:
            self._settle_array(self.jobs[job["parent"]])
        self._released_by(job)
        self.settle_dependencies()
        if not self.settings["history"]:
            for job_id in [each["id"] for each in self.jobs.values() if each["state"] == "F"]:
                del self.jobs[job_id]

    def _settle_array(self, parent: Job) -> None:
        subjobs = self.subjobs(parent)
        ended = [each for each in subjobs if each["state"] in OVER]
        if any(each.get("exit_status") for each in ended):
            parent["exit_status"] = 1
        if len(ended) < len(subjobs):
            for each in ended:
                each["state"] = "X"
                if not self.settings["history"]:  # nothing is kept of it but its state
                    for name in ("exec", "exit_status", "obittime", "stageout", "history_timestamp"):
                        each.pop(name, None)
                    each["comment"] = ""
            return
        for each in subjobs:
            each["state"] = "F"
        failed = any(each.get("exit_status") for each in (parent, *subjobs))
        deleted = all(each["substate"] == 91 for each in subjobs)
        substate = 91 if deleted else 93 if failed else 92
        ran = "stime" in parent
        words = " and terminated" if deleted else " and failed" if failed else " and finished"
        self.end(parent, int(failed) if ran else None, substate, words, 1)

    def _released_by(self, ended: Job) -> None:
        """Remember for those that wait how a job ended, should it be forgotten."""
        # a job that is deleted counts as not ok, and one that never ran as nothing at all for afterok
        self.state["ends"][ended["id"]] = ended.get("exit_status")

    def settle_dependencies(self) -> None:
        """Release the jobs whose dependencies are fulfilled, and remove those whose never will be."""
        for job in list(self.jobs.values()):
            if job["state"] not in _WAITING or not job["depend"]:
                continue
            verdicts = [self._verdict(kind, each) for kind, ids in job["depend"] for each in ids]
            if False in verdicts:
                job["hold"] = "s"
                for each in self.subjobs(job) if job["array"] else ():
                    each.update(state="F", substate=92, history_timestamp=int(time.time()))
                job["comment"] = ""
                self.end(job, None, 92, "")
            elif None in verdicts:
                job.update(state="H", substate=22, hold="s")
            else:
                job.update(depend=[], etime=time.time())
                if job["hold"] == "s":
                    job.update(state="Q", substate=10, hold="n")

    def _verdict(self, kind: str, job_id: str) -> bool | None:
        other = self.jobs.get(job_id)
        if other is None:
            if job_id not in self.state["ends"] or not self.settings["history"]:
                return False
        elif other["state"] not in OVER:
            return True if kind == "after" and other["state"] in ("R", "E", "B") else None
        status: int | None = self.state["ends"].get(job_id)
        return {
            "after": True,
            "afterany": True,
            "afterok": status == 0,
            "afternotok": status != 0,
        }[kind]


@contextmanager
def opened(root: Path) -> Iterator[Server]:
    """Hold the lock, and keep what was changed unless it went wrong."""
    with (root / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = root / "server.json"
        state = json.loads(path.read_text()) if path.exists() else {"next": 0, "jobs": {}, "ends": {}}
        server = Server(root, state)
        try:
            yield server
        finally:
            temporary = root / "server.json.new"
            temporary.write_text(json.dumps(state))
            os.replace(temporary, path)


def _fit(
    chunks: Sequence[dict[str, str]], words: Sequence[str], hosts: dict[str, int], used: dict[str, int]
) -> list[list[Any]] | None:
    free = {name: ncpus - used.get(name, 0) for name, ncpus in hosts.items()}
    if "excl" in words:
        free = {name: ncpus for name, ncpus in free.items() if not used.get(name)}
    candidates = [[name] for name in free] if "pack" in words else [list(free)]
    for names in candidates:
        left = dict(free)
        placed: list[list[Any]] = []
        for chunk in chunks:
            ncpus = int(chunk.get("ncpus", 1))
            taken = {host for host, *_ in placed}
            for name in names:
                if chunk.get("host", chunk.get("vnode", name)) != name or ("scatter" in words and name in taken):
                    continue
                if left[name] >= ncpus:
                    left[name] -= ncpus
                    mpiprocs = int(chunk.get("mpiprocs", 1))
                    threads = int(chunk.get("ompthreads", ncpus)) if mpiprocs else 0
                    placed.append([name, ncpus, mpiprocs, threads])
                    break
        if len(placed) == len(chunks):
            return placed
    return None


def _output(wanted: str, workdir: str, default: str) -> str:
    path = wanted.partition(":")[2] if re.match(r"[A-Za-z0-9.-]+:/", wanted) else wanted
    full = os.path.join(workdir, path or default)
    full = os.path.join(full, "") if os.path.isdir(full) else full
    return LOCALHOST + full if wanted.startswith(LOCALHOST) else full


def _minute(when: float) -> str:
    return time.strftime("%a %b %d at %H:%M", time.localtime(when))
