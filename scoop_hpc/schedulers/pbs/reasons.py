"""PBS's words for a job that is refused or waits, explained, with the option of ours that has to do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.base import OR_LOCAL
from scoop_hpc.schedulers.pbs.nodes import Never, never, of_queue, read_nodes
from scoop_hpc.schedulers.pbs.status import IN_ITS_ARRAY, dependencies, read_jobs, waiting_for

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
    ("error (15002)", "it does not know an attribute: change --directive, or give --on-node-loss fail to an old PBS"),
    ("directive error", "change --directive"),
    ("cannot send environment", "change --env or --directive"),
    ("bad uid for job execution", "PBS takes no jobs from this user here; root may not submit"),
    ("not rerunnable", "it was submitted without --requeue: cancel it, and requeue it then"),
    ("qrerun: unauthorized request", "only operators may: cancel it, and requeue it then"),
    ("unauthorized request", "it is somebody else's job, or only operators may do this"),
    ("cannot connect to server", f"try again later{OR_LOCAL}"),
    ("couldn't connect", f"try again later{OR_LOCAL}"),
)

_GAP = "wait; a shorter --walltime may fit into the gap"

# a comment of the scheduler's, in lower case: what it means, what can be done; the first that is found counts
_COMMENTS = (
    ("can never run: not enough total nodes", "there are not that many such nodes", f"change {_SIZE}"),
    ("can never run: insufficient amount of resource", "no node, or not so many, have as much", f"change {_SIZE}"),
    ("can never run", "the cluster as it is can never give what it asks for", f"change {_SIZE}, or --queue"),
    ("can't fit in the largest placement set", "no set of nodes that belong together is as large", f"change {_SIZE}"),
    (
        "number of concurrent running subjobs limit",
        "as many jobs of its array run as may at a time",
        "the %LIMIT of --array",
    ),
    ("per-project", "a limit of its project, set by the site, is reached", "wait, or change --account"),
    ("zero shares", "its account has no share of the machine", "change --account, or ask the site's staff"),
    ("mission cpu share", "the share of its account is used up", "change --account, or ask the site's staff"),
    ("total mission share", "the share of its account is used up", "change --account, or ask the site's staff"),
    ("requested pack placement", "it is to run on one node, and does not fit", f"change {_SIZE}"),
    ("requesting an exclusive node", "it is to have nodes for itself that others use", "wait, or --no-exclusive"),
    ("cross into", "it would not end before its queue's hours are over", "a shorter --walltime, or wait"),
    ("multi-node job", "its nodes do not take jobs of several nodes", "fewer --nodes, or change --queue"),
    (
        "ineligible type",
        "nodes of its queue are not of a kind that runs jobs",
        "change --queue, or ask the site's staff",
    ),
    ("no pbs license", "PBS has no licence for the node", "ask the site's staff"),
    ("cpusets", "its nodes have no room for one more job", "wait"),
    ("not eligible for advance reservation", "its nodes take no reservations", "change --reservation"),
    ("not an execution queue", "its queue only passes jobs on to others", "change --queue"),
    ("cannot provision", "no node can be set up as it demands", "change --constraint or --directive"),
    ("provision", "its nodes are to be set up anew, which would be in the way of others", "wait"),
    ("scheduling error", "PBS's scheduler failed", "ask the site's staff, with this line"),
    ("pbs error", "PBS tried to start it, and could not", "ask the site's staff, with this line"),
    ("invalid job", "PBS's scheduler cannot make sense of it", "ask the site's staff, with this line"),
    ("not in queued state", "PBS's scheduler has passed it over: it was changing its state", "wait"),
    ("strict sorted order", "jobs before it in the queue come first", "wait; a shorter --walltime may fit into a gap"),
    ("would conflict with reservation", "a reservation, or a job before it, needs the nodes", _GAP),
    ("top job", "a job before it needs the nodes", _GAP),
    ("confirmed reservation", "a reservation needs the nodes", _GAP),
    (
        "interfere with a reservation",
        "a reservation needs the nodes",
        _GAP,
    ),
    ("threshold", "its priority is below what the site lets begin", "wait, or ask the site's staff"),
    ("right type of nodes", "no nodes of the right kind are free", "wait, or change --constraint"),
    ("nodes not available", "the nodes that it needs are not free", "wait; fewer --nodes may fit earlier"),
    ("no available resources on nodes", "what it asks for is in use", "wait; less of it may fit earlier"),
    ("too few free resources", "what it asks for is in use", "wait; less of it may fit earlier"),
    ("ineligible state", "nodes that it needs are down or offline", "wait, or ask the site's staff"),
    ("preempt", "jobs that it could displace do not make room enough", "wait; less of it may fit earlier"),
    ("does not exist", "what it names does not exist", "change --queue, --constraint or --directive"),
    ("failed to run", "PBS tried to start it, and could not", "ask the site's staff, with this line"),
    ("queue not started", "its queue is stopped: nothing begins there", "change --queue, or ask the site's staff"),
    ("not enough total nodes", "there are not that many such nodes", f"change {_SIZE}"),
    ("not enough free nodes", "not enough nodes are free", "wait; fewer --nodes may fit earlier"),
    ("insufficient amount of", "what it asks for is in use", "wait; less of it may fit earlier"),
    ("cross dedicated time", "it would not end before dedicated time", "a shorter --walltime, or wait"),
    ("finish before dedicated", "it would not end before dedicated time", "a shorter --walltime, or wait"),
    ("dedicated time", "the cluster is set aside for dedicated time", "wait"),
    ("primetime", "its queue runs at other hours", "wait, or change --queue"),
    (
        "limit",
        "a limit on jobs or resources, set by the site, is reached",
        "wait until others of yours have ended, or change --queue",
    ),
    ("job held", "it is held", "qrls JOB"),
)
_NODES = "== nodes\n"
PASSES = 'qstat -f "$1"; echo "== nodes"; pbsnodes -av -F json'  # the answers that `explain` reads
_NOT_YET = ("PBS has not looked at it yet", "wait; if this lasts, the site's scheduler is off: ask the site's staff")

_HOLDS = {
    "u": ("it is held by its owner", "qrls JOB"),
    "o": ("it is held by an operator", "ask the site's staff"),
    "s": ("it is held by PBS or an administrator", "ask the site's staff"),
    "p": ("it is held, for its password is not valid", "ask the site's staff"),
}


def explain(answers: str, job_id: str, reason: str) -> list[str]:
    """Return why a job waits, and what can be changed.

    *answers* are those to `PASSES`: what qstat shows of it, and the nodes; *reason* is what qstat told before.

    >>> explain("Job Id: 7.head\\n    job_state = H\\n    Hold_Types = u\\n", "7.head", "")
    ['it is held by its owner', 'qrls 7.head']
    """
    text, _, nodes = answers.partition(_NODES)
    attributes = next(iter(read_jobs(text).values()), {"job_state": "Q", "comment": reason})
    hopeless = _hopeless(attributes, nodes)
    if hopeless is not None:
        words = waiting_for(attributes)
        return [f"{hopeless.why} (PBS's reason: {words})" if words else hopeless.why, hopeless.what]
    why, what = _explain(attributes)
    lines = [why]
    start = attributes.get("estimated.start_time")
    if start is not None:
        lines.append(f"PBS expects it to begin at {start}")
    return [*lines, what.replace("JOB", job_id)]


def _hopeless(attributes: Mapping[str, str], nodes: str) -> Never | None:
    """Return why no nodes could run a job that waits, None if they could or that cannot be told."""
    if attributes.get("job_state") != "Q" or "estimated.start_time" in attributes:
        return None
    try:
        usable = of_queue(read_nodes(nodes), attributes.get("queue", ""))
    except SchedulerError:
        return None  # a site that shows its nodes to nobody, or whose pbsnodes writes no JSON: PBS's words have to do
    return never(attributes.get("Resource_List.select", ""), attributes.get("Resource_List.place", ""), usable)


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
