"""What qstat prints of a job: one list of attributes, in three layouts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from minipbs.server import LOCALHOST, OVER, Job, Server

Value = str | dict[str, str]
Attributes = list[tuple[str, Value]]

_NUMBERS = ["Priority", "session_id", "substate", "run_count", "Stageout_status", "Exit_status", "array_index"]
_NUMBERS += ["history_timestamp", "max_run_subjobs"]
_WIDTH = 79


def attributes(server: Server, job: Job) -> Attributes:
    """Return what qstat -f shows of *job*, in its order."""
    if job["index"] is not None and job["state"] in OVER and server.jobs[job["parent"]]["deleted"]:
        return _rewritten(server, job)
    owner = f"{job['owner']}@{server.name}"
    started = "exec" in job
    array = job["array"] is not None
    shown: list[tuple[str, Any]] = [("Job_Name", job["name"]), ("Job_Owner", owner)]
    if started and job["substate"] != 41:
        used = {"cpupercent": "0", "cput": "00:00:00", "mem": "0kb", "ncpus": str(sum(c[1] for c in job["exec"]))}
        spent = (job.get("obittime") or time.time()) - job["stime"]
        shown.append(("resources_used", {**used, "vmem": "0kb", "walltime": _elapsed(spent)}))
    shown += [("job_state", job["state"]), ("queue", job["queue"]), ("server", server.name)]
    if job["index"] is None or not started:
        shown.append(("Checkpoint", "u"))
    shown.append(("ctime", time.ctime(job["ctime"])))
    if job["depend"] or _dependents(server, job):
        shown.append(("depend", ",".join(filter(None, (_depend(server, job), _dependents(server, job))))))
    index = "^array_index^" if job["index"] is None or not started else str(job["index"])
    shown.append(("Error_Path", _located(server, job["error"].replace("^array_index^", index))))
    if started:
        shown += [("exec_host", exec_host(job)), ("exec_vnode", _exec_vnode(job))]
    if job["index"] is None or not started:
        shown.append(("Hold_Types", job["hold"]))
    shown += [("Join_Path", job["join"]), ("Keep_Files", job["keep"]), ("Mail_Points", job["mail"])]
    shown.append(("mtime", time.ctime(job["mtime"])))
    shown.append(("Output_Path", _located(server, job["output"].replace("^array_index^", index))))
    shown += [("Priority", str(job["priority"])), ("qtime", time.ctime(job["qtime"]))]
    shown += [("Rerunable", str(job["rerunable"])), ("Resource_List", job["resources"])]
    if job.get("stime"):
        shown.append(("stime", time.ctime(job["stime"])))
    if job.get("obittime"):
        shown.append(("obittime", time.ctime(job["obittime"])))
    if started and job.get("session") and job["state"] in ("R", "E", "F"):
        shown.append(("session_id", str(job["session"])))
    if job["shell"]:
        shown.append(("Shell_Path_List", job["shell"]))
    if started:
        shown.append(("jobdir", str(server.root / "home")))
    shown += [("substate", str(job["substate"])), ("Variable_List", job["variables"])]
    comment = job["comment"] or server.jobs.get(job.get("parent", ""), {}).get("comment", "")
    if comment:
        shown.append(("comment", comment))
    if not job["depend"]:
        shown.append(("etime", time.ctime(job.get("etime", job["qtime"]))))
    if job["run_count"]:
        shown.append(("run_count", str(job["run_count"])))
    status = job.get("exit_status")
    if job["index"] is not None and not started:
        status = server.jobs[job["parent"]].get("exit_status")  # as recorded: a sibling's
    if status is not None:
        if job.get("stageout", 1) is not None:
            shown.append(("Stageout_status", str(job.get("stageout", 1))))
        shown.append(("Exit_status", str(status)))
    if job["index"] is None or not started:
        shown.append(("Submit_arguments", job["arguments"]))
    if array:
        shown += _array(server, job)
    elif job["index"] is not None and started:
        shown += [("array_id", job["parent"]), ("array_index", str(job["index"]))]
    if "history_timestamp" in job:
        shown.append(("history_timestamp", str(job["history_timestamp"])))
    if job["account"]:
        shown.append(("Account_Name", job["account"]))
    if job["index"] is None or started:
        shown += [("project", job["project"]), ("Submit_Host", server.name)]
    return shown


def _located(server: Server, path: str) -> str:
    return path if path.startswith(LOCALHOST) else f"{server.name}:{path}"


def _rewritten(server: Server, job: Job) -> Attributes:
    """Return what is left of a subjob that does not run when its array was deleted, ended well or not begun: what goes
    for the array [src/server/stat_job.c]."""
    parent = server.jobs[job["parent"]]
    plain = {**job, "state": job["state"], "substate": 91, "comment": "Subjob finished"}
    for name in ("exec", "obittime", "history_timestamp", "session"):
        plain.pop(name, None)
    if "stime" in parent:
        plain["stime"] = parent["stime"]
    return attributes(server, {**plain, "index": None, "exit_status": parent.get("exit_status")})


def _array(server: Server, job: Job) -> list[tuple[str, Any]]:
    subjobs = server.subjobs(job)
    over = job["state"] == "F"
    counts = {"Queued": "QHW", "Running": "R", "Exiting": "E", "Expired": "XF"}
    text = " ".join(
        f"{name}:{0 if over else sum(each['state'] in states for each in subjobs)}" for name, states in counts.items()
    )
    shown = [("array", "True"), ("array_state_count", text), ("array_indices_submitted", job["array"])]
    remaining = [each["index"] for each in subjobs if each["state"] in "QHW"]
    shown.append(("array_indices_remaining", _ranges(remaining, job["indices"]) or "-"))
    if job["most"]:
        shown.append(("max_run_subjobs", str(job["most"])))
    return shown


def _ranges(remaining: Sequence[int], indices: Sequence[int]) -> str:
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    groups: list[list[int]] = []
    for index in remaining:
        if groups and index == groups[-1][-1] + step:
            groups[-1].append(index)
        else:
            groups.append([index])
    suffix = f":{step}" if step > 1 else ""
    return ",".join(str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}{suffix}" for g in groups)


def _depend(server: Server, job: Job) -> str:
    return ",".join(f"{kind}:" + ":".join(f"{each}@{server.name}" for each in ids) for kind, ids in job["depend"])


def _dependents(server: Server, job: Job) -> str:
    """Return the jobs that wait for *job*, which it names, too."""
    return ",".join(
        f"{kind.replace('after', 'before')}:{other['id']}@{server.name}"
        for other in server.jobs.values()
        for kind, ids in other["depend"]
        if job["id"] in ids and other["state"] == "H" and job["state"] not in "FX"
    )


def exec_host(job: Job) -> str:
    """Return the text of ``exec_host``."""
    seen: dict[str, int] = {}
    parts = []
    for host, ncpus, *_ in job["exec"]:
        parts.append(f"{host}/{seen.get(host, 0)}" + (f"*{ncpus}" if ncpus != 1 else ""))
        seen[host] = seen.get(host, 0) + 1
    return "+".join(parts)


def _exec_vnode(job: Job) -> str:
    return "+".join(f"({host}:ncpus={ncpus})" for host, ncpus, *_ in job["exec"])


def _elapsed(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def as_json(server: Server, jobs: Sequence[Job]) -> str:
    """Return what ``qstat -f -F json`` prints: numbers look like numbers, and without jobs there is no ``Jobs``."""
    answer: dict[str, Any] = head(server)
    if jobs:
        answer["Jobs"] = {job["id"]: {name: _json(name, v) for name, v in attributes(server, job)} for job in jobs}
    return dump(answer)


def head(server: Server) -> dict[str, Any]:
    """Return how every answer in JSON begins."""
    version = server.settings["version"]
    return {"timestamp": int(time.time()), "pbs_version": version, "pbs_server": server.name}


def dump(answer: dict[str, Any]) -> str:
    """Return *answer* as the release lays it out: with blanks, and no newline at the end."""
    text = json.dumps(answer, indent=4, ensure_ascii=False)
    return re.sub(r'^( *"(?:[^"\\]|\\.)*":) ', r"\1", text, flags=re.MULTILINE)


def _json(name: str, value: Value) -> Any:
    if isinstance(value, dict):
        return {key: _number(each) for key, each in value.items()}
    return _number(value) if name in _NUMBERS else value


def _number(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        number = float(text)
        return int(number) if number.is_integer() else number
    return text


def as_text(server: Server, job: Job, fold: bool = True) -> str:
    """Return what ``qstat -f`` prints of one job."""
    return text_of(job["id"], attributes(server, job), fold)


def text_of(job_id: str, shown: Attributes, fold: bool = True) -> str:
    """Return the text of a job with these attributes."""
    lines = [f"Job Id: {job_id}"]
    for name, value in shown:
        if isinstance(value, dict) and name == "Variable_List":
            listed = ",".join(f"{key}={each}" for key, each in value.items())
            lines.append(folded(f"    {name} = {listed}", fold))
        elif isinstance(value, dict):
            lines += [folded(f"    {name}.{key} = {each}", fold) for key, each in value.items()]
        else:
            lines.append(folded(f"    {name} = {value}", fold))
    return "\n".join(lines) + "\n\n"


def folded(line: str, fold: bool = True) -> str:
    """Return *line* with breaks, each followed by a tab: after commas, or in the middle of what is too long."""
    if not fold:
        return line
    lines = [""]
    width = _WIDTH
    for part in re.findall(r"[^,]*,|[^,]+$", line):
        if "," in lines[-1] and len(lines[-1]) + len(part) >= width:
            lines.append("")
            width = _WIDTH - 9
        rest = part
        while len(lines[-1]) + len(rest) >= width:
            room = width - len(lines[-1])
            lines[-1] += rest[:room]
            rest = rest[room:]
            lines.append("")
            width = _WIDTH - 9
        lines[-1] += rest
    return "\n\t".join(lines)


def as_table(server: Server, jobs: Sequence[Job]) -> str:
    """Return what plain ``qstat`` prints."""
    if not jobs:
        return ""
    lines = [
        "Job id            Name             User              Time Use S Queue",
        "----------------  ---------------- ----------------  -------- - -----",
    ]
    for job in jobs:
        used = "00:00:00" if "exec" in job and job["substate"] != 41 else "0"
        head = f"{job['id'][:16]:<16}  {job['name'][:16]:<16} {job['owner'][:16]:<16}  {used:>8}"
        lines.append(f"{head} {job['state']} {job['queue']:<16}")
    return "\n".join(lines) + "\n"
