"""The commands, each as one function of its words."""

from __future__ import annotations

import getopt
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minipbs import listing, tm
from minipbs.requests import Refused, read_request, read_variables
from minipbs.server import OVER, Job, Server, opened

_NO_HISTORY = "PBS is not configured to maintain job history"
_HAS_FINISHED = "Job has finished"


def main(name: str, root: str, words: Sequence[str]) -> None:
    """Be the command *name*."""
    home = Path(root)
    with (home / "calls").open("a") as file:
        file.write(" ".join([name, *words]).replace("\n", "\\n") + "\n")
    _trouble(name, home / "control")
    status = 0
    if list(words) == ["--version"]:
        print(f"pbs_version = {json.loads((home / 'settings.json').read_text())['version']}")
        sys.exit(0)
    try:
        status = _COMMANDS[name](home, words)
    except Refused as refused:
        sys.stdout.flush()
        sys.stderr.write(refused.text)
        status = refused.status
    sys.stdout.flush()
    os._exit(status)


def _trouble(name: str, control: Path) -> None:
    """Hang, or fail, if a test wants it."""
    if (control / f"{name}.hang").exists():
        time.sleep(600)
    for path in sorted(control.glob(f"{name}.fail*")):
        status, _, text = path.read_text().partition("\n")
        if path.suffix != ".fail":
            path.unlink()
        sys.stderr.write(text)
        sys.exit(int(status))


def _qsub(root: Path, words: Sequence[str]) -> int:
    def read_script(path: str | None) -> str:
        try:
            return sys.stdin.read() if path is None else Path(path).read_bytes().decode()
        except OSError as error:
            raise Refused(f"qsub: script file:: {error.strerror}", 1) from error

    request = read_request(words, read_script)
    passed = read_variables(request, os.environ)
    environ = os.environ
    with opened(root) as server:
        user = server.settings["user"]
        variables = {
            "PBS_O_HOME": str(root / "home"),
            "PBS_O_LOGNAME": user,
            "PBS_O_PATH": environ.get("PATH", ""),
            "PBS_O_MAIL": f"/var/mail/{user}",
            "PBS_O_SHELL": "/bin/bash",
            "PBS_O_WORKDIR": os.getcwd(),
            "PBS_O_SYSTEM": "Linux",
            **passed,
            "PBS_O_QUEUE": "workq",
            "PBS_O_HOST": server.name,
        }
        job = server.submit(request, variables, os.getcwd())
        server.schedule()
    if "z" not in request.flags:
        print(job["id"], flush=True)
    return _block(root, job) if request.attributes.get("block") == "true" else 0


def _block(root: Path, job: Job) -> int:
    while True:
        with opened(root) as server:
            now = server.jobs.get(job["id"])
            if now is None or now["state"] == "F":
                return int(server.state["ends"].get(job["id"]) or 0)
        time.sleep(0.05)


def _qstat(root: Path, words: Sequence[str]) -> int:
    options, ids = _options("qstat", words, "fxtwansQqBHF:u:")
    history = "-x" in options or "-H" in options
    with opened(root) as server:
        server.schedule()
        if "-B" in options or "-Q" in options:
            return _about_server(server, options)
        jobs: list[Job] = []
        complaints: list[tuple[str, int]] = []
        if history and not server.settings["history"]:
            for job_id in ids or [""]:
                full = job_id if "." in job_id or not job_id else f"{job_id}.{server.name}"
                complaints.append((f"qstat: {_NO_HISTORY} {full}", 0))
        else:
            jobs, complaints = _wanted(server, ids, history, "-t" in options)
        if options.get("-F") == "json":
            text = listing.as_json(server, jobs)
        elif "-f" in options:
            text = "".join(listing.as_text(server, job, "-w" not in options) for job in jobs)
        else:
            text = listing.as_table(server, jobs)
    sys.stdout.write(text)
    for complaint, _ in complaints:
        print(complaint, file=sys.stderr)
    return complaints[-1][1] if complaints else 0


def _wanted(
    server: Server, ids: Sequence[str], history: bool, subjobs: bool
) -> tuple[list[Job], list[tuple[str, int]]]:
    complaints: list[tuple[str, int]] = []
    if not ids:
        return [job for job in server.jobs.values() if _shown(job, history, subjobs)], complaints
    jobs: list[Job] = []
    for job_id in ids:
        try:
            job = server.find(job_id, "qstat")
        except Refused as refused:
            complaints.append((refused.text.rstrip("\n"), refused.status))
            continue
        if job["state"] == "F" and not history:
            text = f"{_HAS_FINISHED}, use -x or -H to obtain historical job information"
            complaints.append((f"qstat: {job['id']} {text}", 35))
            continue
        jobs.append(job)
        if subjobs and job["array"]:
            jobs += server.subjobs(job)
    return jobs, complaints


def _shown(job: Job, history: bool, subjobs: bool) -> bool:
    return (history or job["state"] not in OVER or job["state"] == "X") and (job["index"] is None or subjobs)


def _about_server(server: Server, options: dict[str, str]) -> int:
    answer = listing.head(server)
    if "-Q" in options:
        answer["Queue"] = {
            name: {
                "queue_type": "Execution",
                "total_jobs": sum(job["queue"] == name and job["state"] not in OVER for job in server.jobs.values()),
                "enabled": str(queue.get("enabled", True)),
                "started": str(queue.get("started", True)),
            }
            for name, queue in server.settings["queues"].items()
        }
    else:
        answer["Server"] = {
            server.name: {"server_state": "Active", "job_history_enable": str(server.settings["history"])}
        }
    sys.stdout.write(listing.dump(answer))
    return 0


def _for_each(command: str, act: Callable[[Server, Job], None]) -> Callable[[Path, Sequence[str]], int]:
    def run(root: Path, words: Sequence[str]) -> int:
        _, ids = _options(command, words, "W:xs:h:")
        status = 0
        for job_id in ids:
            try:
                with opened(root) as server:
                    act(server, server.find(job_id, command))
                    server.schedule()
            except Refused as refused:
                sys.stderr.write(refused.text)
                status = refused.status
        return status

    return run


def _qdel(root: Path, words: Sequence[str]) -> int:
    options, _ = _options("qdel", words, "W:x")
    force = options.get("-W") == "force"

    def delete(server: Server, job: Job) -> None:
        if job["state"] in OVER:
            if "-x" in options:
                del server.jobs[job["id"]]
                return
            raise Refused(f"qdel: {_HAS_FINISHED} {job['id']}", 35)
        by = f"{server.settings['user']}@{server.name}"
        job["deleted"] = True
        for each in server.subjobs(job) if job["array"] else [job]:
            if each["state"] in ("R", "E"):
                _tell_mom(each, do="delete", by=by, force=force)
            elif each["state"] not in OVER:
                server.end(each, None, 91, " and terminated")

    return _for_each("qdel", delete)(root, words)


def _tell_mom(job: Job, **what: Any) -> None:
    """Tell a job's mom; one that starts just now hears of it when it listens."""
    if "port" not in job:
        raise Refused(f"qdel: Request invalid for state of job {job['id']}", 168)
    with socket.create_connection(("127.0.0.1", job["port"])) as mom:
        mom.sendall(json.dumps({**what, "cookie": job["cookie"]}).encode() + b"\n")


def _qsig(root: Path, words: Sequence[str]) -> int:
    options, _ = _options("qsig", words, "s:")
    name = options.get("-s", "TERM")

    def send(server: Server, job: Job) -> None:
        if name in ("suspend", "resume"):
            raise Refused(f"qsig: Unauthorized Request  {job['id']}", 159)
        number = int(name) if name.isdigit() else int(getattr(signal, "SIG" + name.removeprefix("SIG")))
        _tell_mom(job, do="user signal", signal=number)

    return _for_each("qsig", send)(root, words)


def _rerun(server: Server, job: Job) -> None:
    if not server.settings["operator"]:
        raise Refused(f"qrerun: Unauthorized Request  {job['id']}", 159)
    if not job["rerunable"]:
        raise Refused(f"qrerun: job is not rerunnable {job['id']}", 190)
    if job["state"] != "R":
        raise Refused(f"qrerun: Request invalid for state of job {job['id']}", 168)
    _tell_mom(job, do="rerun", by="", force=True)


def _hold(server: Server, job: Job) -> None:
    job["hold"] = "u"
    if job["state"] == "Q":
        job.update(state="H", substate=20)


def _release(server: Server, job: Job) -> None:
    job["hold"] = "n"
    if job["state"] == "H" and not job["depend"]:
        job.update(state="Q", substate=10)
        for each in server.subjobs(job) if job["array"] else ():
            each.update(hold="n")


def _qselect(root: Path, words: Sequence[str]) -> int:
    options, _ = _options("qselect", words, "u:s:N:x")
    with opened(root) as server:
        for job in server.jobs.values():
            named = options.get("-N") in (None, job["name"])
            if _shown(job, "-x" in options, False) and named and job["state"] in str(options.get("-s", job["state"])):
                print(job["id"])
    return 0


def _pbsnodes(root: Path, words: Sequence[str]) -> int:
    with opened(root) as server:
        nodes = {}
        for name, host in server.settings["hosts"].items():
            available = {"arch": "linux", "host": name, "mem": "24684096kb", "ncpus": host["ncpus"], "vnode": name}
            nodes[name] = {
                "Mom": name,
                "ntype": "PBS",
                "state": host["state"],
                "pcpus": 2,
                "resources_available": available,
                "resources_assigned": {},
                **({"queue": host["queue"]} if "queue" in host else {}),
                "resv_enable": "True",
                "sharing": "default_shared",
            }
        sys.stdout.write(listing.dump({**listing.head(server), "nodes": nodes}))
    return 0


def _options(command: str, words: Sequence[str], letters: str) -> tuple[dict[str, str], list[str]]:
    try:
        options, rest = getopt.gnu_getopt(list(words), letters)
    except getopt.GetoptError as error:
        raise Refused(f"{command}: invalid option -- '{error.opt}'", 2) from error
    return dict(options), rest


_COMMANDS: dict[str, Callable[[Path, Sequence[str]], int]] = {
    "qsub": _qsub,
    "qstat": _qstat,
    "qdel": _qdel,
    "qsig": _qsig,
    "qrerun": _for_each("qrerun", _rerun),
    "qhold": _for_each("qhold", _hold),
    "qrls": _for_each("qrls", _release),
    "qselect": _qselect,
    "pbsnodes": _pbsnodes,
    "pbsdsh": lambda root, words: tm.pbsdsh(words, os.environ),
    "pbs_tmrsh": lambda root, words: tm.pbs_tmrsh(words, os.environ),
}
