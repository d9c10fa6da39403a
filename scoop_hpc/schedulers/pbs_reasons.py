"""What PBS says when a job is refused or waits, in plain words, with the option of ours that has to do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoop_hpc.schedulers.pbs_status import IN_ITS_ARRAY, dependencies, read_jobs, waiting_for

_SIZE = "--nodes, --workers-per-node, --cpus-per-worker, --memory or --constraint"

_ADVICE = (  # what a command says, in lower case: what to do about it; the first that is found
    ("unknown queue", "change --queue"),
    ("queue is not enabled", "change --queue"),
    ("access to queue is denied", "change --queue"),
    ("violates queue and/or server resource limits", "ask for less by --walltime or --nodes, or change --queue"),
    ("would exceed", "wait until others of yours have ended, or change --queue"),
    ("array job exceeds", "make the --array smaller"),
    ("unknown resource", "change --constraint, --license or --directive"),
    ("resource_list.walltime", "change --walltime"),
    ("illegal attribute or resource value", "change --constraint or --directive"),
    ("illegal -k value", "this is Torque, or a PBS too old to write output in its place: scoop-hpc speaks neither"),
    ("illegal -n value", "change --name"),
    ("-lresource=", "a --directive with '-l' contradicts --nodes and such: use those, or --constraint"),
    ("cannot be used with select", "a --directive with '-l' contradicts --nodes and such: use those"),
    ("non-rerunable array", "PBS takes no array that it may not run again: leave the --directive out"),
    ("directive error", "change --directive"),
    ("cannot send environment", "change --env or --directive"),
    ("bad uid for job execution", "PBS takes no jobs from this user here; root may not submit"),
    ("not rerunnable", "it was submitted without --requeue: cancel it, and requeue it then"),
    ("qrerun: unauthorized request", "only operators may: cancel it, and requeue it then"),
    ("unauthorized request", "it is somebody else's job, or only operators may do this"),
    ("cannot connect to server", "try again later, or use --scheduler local"),
    ("couldn't connect", "try again later, or use --scheduler local"),
)

# a comment of the scheduler's, in lower case: what it means, what can be done; the first that is found counts
_COMMENTS = (
    ("can never run: not enough total nodes", "there are not that many such nodes", f"change {_SIZE}"),
    ("can never run: insufficient amount of resource", "no node, or not so many, have as much", f"change {_SIZE}"),
    ("can never run", "the cluster as it is can never give what it asks for", f"change {_SIZE}, or --queue"),
    ("queue not started", "its queue is stopped: nothing begins there", "change --queue, or ask the site's staff"),
    ("not enough free nodes", "not enough nodes are free", "wait; fewer --nodes may fit earlier"),
    ("insufficient amount of", "what it asks for is in use", "wait; less of it may fit earlier"),
    (
        "would conflict with reservation or top job",
        "a reservation, or a job before it, needs the nodes",
        "wait; a shorter --walltime may fit into the gap",
    ),
    ("cross dedicated time", "it would not end before dedicated time", "a shorter --walltime, or wait"),
    ("dedicated time", "the cluster is set aside for dedicated time", "wait"),
    ("primetime", "its queue runs at other hours", "wait, or change --queue"),
    (
        "limit",
        "a limit on jobs or resources, set by the site, is reached",
        "wait until others of yours have ended, or change --queue",
    ),
    ("job held", "it is held", "qrls JOB"),
)
_NOT_YET = ("PBS has not looked at it yet", "wait; if this lasts, the site's scheduler is off: ask the site's staff")

_HOLDS = {
    "u": ("it is held by its owner", "qrls JOB"),
    "o": ("it is held by an operator", "ask the site's staff"),
    "s": ("it is held by PBS or an administrator", "ask the site's staff"),
    "p": ("it is held, for its password is not valid", "ask the site's staff"),
}


def explain(text: str, job_id: str, reason: str) -> list[str]:
    """Return why a job waits, and what can be changed; *text* is what qstat shows of it, *reason* what it did before.

    >>> explain("Job Id: 7.head\\n    job_state = H\\n    Hold_Types = u\\n", "7.head", "")
    ['it is held by its owner', 'qrls 7.head']
    """
    attributes = next(iter(read_jobs(text).values()), {"job_state": "Q", "comment": reason})
    why, what = _explain(attributes)
    lines = [why]
    start = attributes.get("estimated.start_time")
    if start is not None:
        lines.append(f"PBS expects it to begin at {start}")
    return [*lines, what.replace("JOB", job_id)]


def _explain(attributes: Mapping[str, str]) -> tuple[str, str]:
    words = waiting_for(attributes)
    state = attributes.get("job_state")
    if state == "W":
        return f"its time has not come: it {words}", "wait, or cancel it and submit it again without --begin"
    if state == "H" and dependencies(attributes):
        return f"it {words}", "wait, or cancel it and submit it again without --after"
    if state == "H":
        holds = attributes.get("Hold_Types", "")
        return next((_HOLDS[hold] for hold in holds if hold in _HOLDS), (f"it is {words}", "qrls JOB"))
    if not words:
        return _NOT_YET
    if words == IN_ITS_ARRAY:
        return words, "wait; the array's limit, or free nodes, let only some of it run at once"
    for part, why, what in _COMMENTS:
        if part in words.lower():
            return f"{why} (PBS's reason: {words})", what
    return f"PBS gives a reason of its own: {words}", "ask the site's staff, with this line"


def advise(words: str) -> str:
    """Return a command's words, and the option of ours that has to do with them."""
    advice = [what for word, what in _ADVICE if word in words.lower()]
    plain = re.sub(r"; usage: .*|\b(qsub|qstat|qdel|qrerun|pbsnodes): ", "", words)
    return f"{plain} ({advice[0]})" if advice else plain
