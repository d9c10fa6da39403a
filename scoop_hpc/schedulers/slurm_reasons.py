"""What Slurm says when a job is refused or waits, in plain words, with the option of ours that has to do with it."""

from __future__ import annotations

import re
from types import MappingProxyType

_ADVICE = (  # what a command says, in lower case: what to do about it; the first that is found
    ("memory specification", "change --memory"),
    ("invalid account", "change --account or --queue"),
    ("partition name", "change --queue"),
    ("requested time limit", "change --walltime"),
    ("--time specification", "change --walltime"),
    ("qos specification", "change --qos"),
    ("feature specification", "change --constraint"),
    ("generic resource", "change --gpus-per-node"),
    ("license specification", "change --license"),
    ("reservation is invalid", "change --reservation"),
    ("--begin specification", "change --begin"),
    ("--signal specification", "change --signal"),
    ("array specification", "change --array"),
    ("dependency problem", "change --after, --after-any or --after-failure"),
    ("disabled", "submit with --requeue"),
    ("accounting/qos policy", "ask for less by --nodes or --walltime, or change --queue"),
    ("node count", "change --nodes or --queue"),
    ("more processors requested", "change --nodes, --workers-per-node or --cpus-per-worker"),
    ("node configuration", "change --nodes, --workers-per-node or --cpus-per-worker"),
    ("unrecognized option", "change --directive"),
    ("contact slurm controller", "try again later, or use --scheduler local"),
    ("configuration", "set SLURM_CONF, or use --scheduler local"),
)

_CHANGE_SIZE = "change --nodes, --workers-per-node, --cpus-per-worker or --memory"

# squeue(1), JOB REASON CODES: what each means, and what can be done; a beginning of the word is enough
_REASONS = MappingProxyType(
    {
        "None": ("it has just been submitted, or is about to begin", "wait"),
        "Priority": ("jobs of a higher priority are before it", "wait; a shorter --walltime may fit into a gap"),
        "Resources": (
            "it is next, but what it asks for is not free yet",
            "wait; fewer --nodes or a shorter --walltime may fit earlier",
        ),
        "DependencyNeverSatisfied": (
            "a job that it depends on did not end as --after or --after-failure demands, so it will never begin",
            "cancel it and submit it again without that",
        ),
        "Dependency": ("it waits for another job to end", "wait, or cancel it and submit it again without --after"),
        "BeginTime": (
            "its time has not come: --begin, or two minutes that Slurm lets pass before it runs a job again",
            "wait",
        ),
        "JobHeldUser": ("it is held by its owner", "scontrol release {job}"),
        "JobHeldAdmin": ("it is held by an administrator", "ask the site's staff"),
        "JobArrayTaskLimit": ("as many jobs of its array run as may at a time", "change the %LIMIT of --array"),
        "PartitionTimeLimit": ("its walltime is longer than its queue allows", "change --walltime or --queue"),
        "PartitionNodeLimit": ("it asks for more or fewer nodes than its queue allows", "change --nodes or --queue"),
        "PartitionConfig": ("its queue cannot give what it asks for", "change --nodes, --walltime or --queue"),
        "PartitionDown": ("its queue is closed: nothing begins there", "change --queue, or ask the site's staff"),
        "PartitionInactive": ("its queue is closed: nothing begins there", "change --queue, or ask the site's staff"),
        "ReqNodeNotAvail": (
            "nodes that it needs are down, or reserved, for a maintenance perhaps",
            "a --walltime that ends before the reservation begins; or ask the site's staff",
        ),
        "NodeDown": ("a node that it needs is down", "wait, or ask the site's staff"),
        "BadConstraints": ("no node is as it demands", "change --constraint, " + _CHANGE_SIZE[7:]),
        "Reservation": ("it waits for its reservation to begin", "wait, or change --reservation"),
        "ReservationDeleted": ("its reservation is gone", "cancel it and submit it again without --reservation"),
        "InvalidAccount": ("its account is not valid", "change --account"),
        "InvalidQOS": ("its quality of service is not valid", "change --qos"),
        "AccountNotAllowed": ("its account may not use its queue", "change --account or --queue"),
        "QOSNotAllowed": ("its quality of service may not use its queue", "change --qos or --queue"),
        "Licenses": ("licences that it needs are in use", "wait, or change --licenses"),
        "JobLaunchFailure": ("it could not be started", "see the site's staff, with this line"),
        "launch_failed_requeued_held": ("it could not be started, and is held", "scontrol release {job}, to try again"),
        "Cleaning": ("what is left of its last run is being cleaned up", "wait"),
        "Prolog": ("the site's preparations for it go on", "wait"),
        "FrontEndDown": ("no node that could start it is up", "wait, or ask the site's staff"),
    }
)
_WHATS = (  # in the name of a limit: what it is of, and what to change
    ("Wall", "walltime", "change --walltime"),
    ("Node", "nodes", "change --nodes"),
    ("Cpu", "CPUs", "change --nodes or --workers-per-node"),
    ("CPU", "CPUs", "change --nodes or --workers-per-node"),
    ("Mem", "memory", "change --memory"),
    ("GRES", "GPUs and such", "change --gpus-per-node"),
    ("Jobs", "jobs at a time", "wait until others of yours have ended"),
    ("Submit", "jobs in the queue", "wait until others of yours have ended"),
    ("Usage", "CPU time used", "ask the site's staff, or change --account"),
    ("Billing", "what is billed", "ask the site's staff, or change --account"),
)
_START = re.compile(r"\bStartTime=(\d{4}-\S+)")


def explain(job_id: str, reason: str, job: str) -> list[str]:
    """Return why a job waits that has *reason*, and what can be changed; *job* is what scontrol shows of it.

    >>> explain("7", "PartitionDown", "")[0]
    "its queue is closed: nothing begins there (Slurm's reason: PartitionDown)"
    """
    word = reason.split(",")[0].strip() or "None"  # "ReqNodeNotAvail, UnavailableNodes:n1"
    why, what = _REASONS.get(word) or _limit(word)
    lines = [f"{why} (Slurm's reason: {reason or 'None'})"]
    start = _START.search(job)
    if start is not None:
        lines.append(f"Slurm expects it to begin at {start[1]}")
    return [*lines, what.format(job=job_id)]


def _limit(word: str) -> tuple[str, str]:
    if word.endswith("Limit") or "Limit" in word:
        for part, what, change in _WHATS:
            if part in word:
                return f"a limit on {what}, set by the site, is reached", change
        return "a limit, set by the site, is reached", "ask the site's staff, or change --queue, --qos or --account"
    return "Slurm gives a reason of its own", "see JOB REASON CODES in squeue(1)"


def advise(words: str) -> str:
    """Return a command's words without its decoration, and the option of ours that has to do with them."""
    plain = re.sub(r"\b[a-z_]+: (?:error|fatal): |Batch job submission failed: ", "", words)
    advice = [what for word, what in _ADVICE if word in plain.lower()]
    return f"{plain} ({advice[0]})" if advice else plain
