"""Slurm's words for a job that is refused or waits, explained, with the option of ours that has to do with it."""

from __future__ import annotations

import re
from types import MappingProxyType

from scoop_hpc.schedulers.base import OR_LOCAL
from scoop_hpc.schedulers.slurm.limits import Names, explain_limit

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
    ("contact slurm controller", f"try again later{OR_LOCAL}"),
    ("configuration", f"set SLURM_CONF{OR_LOCAL}"),
)

_CHANGE_SIZE = "change --nodes, --workers-per-node, --cpus-per-worker or --memory"

_AGAIN = "cancel it and submit it again"
_STAFF = "ask the site's staff"
_LOWER = f"wait until others have ended, or change --account, --qos or --queue; {_STAFF} what the limit is"

# squeue(1), JOB REASON CODES; slurm doc/html/job_reason_codes.shtml: what each means, and what can be done
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
            f"{_AGAIN} without that",
        ),
        "Dependency": ("it waits for another job to end", f"wait, or {_AGAIN} without --after"),
        "BeginTime": (
            "its time has not come: --begin, or two minutes that Slurm lets pass before it runs a job again",
            "wait",
        ),
        "DeadLine": ("it cannot end before its deadline any more", f"{_AGAIN} with another --directive or --walltime"),
        "JobHeldUser": ("it is held by its owner", "scontrol release {job}"),
        "JobHeldAdmin": ("it is held by an administrator", _STAFF),
        "JobHoldMaxRequeue": (
            "it was run again as often as the site allows, and is held",
            "see why its runs failed: scoop-hpc logs {job}; then scontrol release {job}, or cancel it",
        ),
        "JobArrayTaskLimit": ("as many jobs of its array run as may at a time", "change the %LIMIT of --array"),
        "PartitionTimeLimit": ("its walltime is longer than its queue allows", "change --walltime or --queue"),
        "PartitionNodeLimit": ("it asks for more or fewer nodes than its queue allows", "change --nodes or --queue"),
        "PartitionConfig": ("its queue cannot give what it asks for", "change --nodes, --walltime or --queue"),
        "PartitionDown": ("its queue is closed: nothing begins there", f"change --queue, or {_STAFF}"),
        "PartitionInactive": ("its queue is closed: nothing begins there", f"change --queue, or {_STAFF}"),
        "ReqNodeNotAvail": (
            "nodes that it needs are down, or reserved, for a maintenance perhaps",
            f"a --walltime that ends before the reservation begins; or {_STAFF}",
        ),
        "NodeDown": ("a node that it needs is down", f"wait, or {_STAFF}"),
        "BadConstraints": ("no node is as it demands", "change --constraint, " + _CHANGE_SIZE[7:]),
        "Constraints": ("no node that is free now is as it demands", f"wait, or {_CHANGE_SIZE}, or --constraint"),
        "Reservation": ("it waits for its reservation to begin", "wait, or change --reservation"),
        "ReservationDeleted": ("its reservation is gone", f"{_AGAIN} without --reservation"),
        "ReservationInvalid": ("its reservation is not valid, and it is held", f"{_AGAIN} with another --reservation"),
        "InvalidAccount": ("its account is not valid", "change --account"),
        "InvalidQOS": ("its quality of service is not valid", "change --qos"),
        "AccountNotAllowed": ("its account may not use its queue", "change --account or --queue"),
        "QOSNotAllowed": ("its quality of service may not use its queue", "change --qos or --queue"),
        "QOSUsageThreshold": (
            "too much of its account's share is used up for its quality of service",
            f"change --qos or --account, or {_STAFF}",
        ),
        "QOSJobLimit": ("as many jobs of its quality of service run as may at a time", "wait, or change --qos"),
        "QOSResourceLimit": ("its quality of service is at a limit on resources", _LOWER),
        "QOSTimeLimit": ("its quality of service is at a limit on time", f"change --walltime or --qos, or {_STAFF}"),
        "AssociationJobLimit": ("as many jobs of its account run as may at a time", "wait, or change --account"),
        "AssociationResourceLimit": ("its account is at a limit on resources", _LOWER),
        "AssociationTimeLimit": (
            "the time of its account is used up, or its walltime is longer than the account allows",
            "change --account or --walltime, or ask those who manage the account",
        ),
        "AccountingPolicy": ("its account or its quality of service is at a limit", _LOWER),
        "MaxMemPerLimit": (
            "it asks for more memory than its queue allows for a CPU or a node",
            "change --memory, --memory-per-cpu or --queue",
        ),
        "MaxPoweredUpNodes": ("as many nodes are powered up as may be", "wait; fewer --nodes may fit earlier"),
        "Licenses": ("licences that it needs are in use", "wait, or change --license"),
        "BurstBufferResources": ("there is not enough room in the burst buffer", "wait, or change --directive"),
        "BurstBufferStageIn": ("its files are being copied into the burst buffer", "wait"),
        "BurstBufferOperation": (
            "the burst buffer could not do as it demands, and it is held",
            f"change --directive, or {_STAFF}, with this line",
        ),
        "MpiPortsBusy": ("the ports that its steps need are in use on its nodes", "wait"),
        "NvidiaImexChannels": ("all channels between GPUs of different nodes are in use", "wait"),
        "FedJobLock": ("the clusters of the federation have not agreed on where it runs", "wait"),
        "SchedDefer": ("it is to begin at once, which the site does not let jobs do", "change --directive"),
        "JobLaunchFailure": ("it could not be started", f"{_STAFF}, with this line"),
        "SystemFailure": ("Slurm, a file system or the network failed", f"{_STAFF}, with this line"),
        "Cleaning": ("what is left of its last run is being cleaned up", "wait"),
        "Prolog": ("the site's preparations for it go on", "wait"),
        "FrontEndDown": ("no node that could start it is up", f"wait, or {_STAFF}"),
        "PowerNotAvail": ("there is not enough power for it", "wait; fewer --nodes may fit earlier"),
        "PowerReserved": ("the power that it needs is reserved", "wait; a shorter --walltime may fit into the gap"),
        # of a job that ended, and waits to be run again
        "NonZeroExitCode": ("its last run failed, and it waits to be run again", "see scoop-hpc logs {job}"),
        "RaisedSignal": ("a signal ended its last run, and it waits to be run again", "see scoop-hpc logs {job}"),
        "TimeLimit": ("its last run used up its walltime, and it waits to be run again", "change --walltime"),
        "OutOfMemory": (
            "its last run used more memory than it had asked for, and it waits to be run again",
            f"{_AGAIN} with more --memory or --memory-per-cpu",
        ),
        "InactiveLimit": ("its last run was ended, for it did nothing, and it waits to be run again", _STAFF),
    }
)
_RELEASE = "scontrol release {job}, to try again"
_PHRASES = (  # sentences that Slurm says instead [slurm src/slurmctld, state_desc], in lower case; the first counts
    ("launch failed requeued held", "it could not be started, and is held", _RELEASE),
    ("launch failure limit exceeded", "it could not be started, several times, and is held", f"{_STAFF}; {_RELEASE}"),
    (
        "user env retrieval failed",
        "its node could not read your environment by a login shell, and it is held",
        f"see that your shell's start-up files are quick and ask nothing; {_RELEASE}",
    ),
    ("requeued in held state", "it is held, to be run again", _RELEASE),
    (
        "requeued in special exit state",
        "it is held, for its program ended in a way that the site treats specially",
        _RELEASE,
    ),
    (
        "nodes required for job are down",
        "nodes that it needs are down, or taken out of service, or reserved for jobs of a higher priority",
        f"wait, or change --queue or --constraint; fewer --nodes may fit earlier; or {_STAFF}",
    ),
    ("unavailablenodes", "nodes that it needs are down, or taken out of service", f"change --constraint, or {_STAFF}"),
    (
        "reserved for maintenance",
        "nodes that it needs are reserved for a maintenance",
        "wait until it is over; a --walltime that ends before it begins may fit",
    ),
    (
        "may be reserved for other job",
        "nodes that it needs are reserved for another job",
        "wait; a shorter --walltime may fit into the gap",
    ),
    ("has ended", "its reservation is over", f"{_AGAIN} without --reservation"),
    ("was deleted", "its reservation is gone", f"{_AGAIN} without --reservation"),
    ("is invalid", "its reservation is not valid, and it is held", f"{_AGAIN} with another --reservation"),
    ("license request", "there is no such licence any more, and it is held", f"{_AGAIN} with another --license"),
    ("memory resize", "its memory could not be changed", f"{_STAFF}, with this line"),
    ("job's qos not", "its quality of service may not use its queue", "change --qos or --queue"),
    ("not in group permitted", "your group may not use its queue", "change --queue"),
    ("stage-out in progress", "its files are being copied out of the burst buffer", "wait"),
    ("burst buffer", "the burst buffer could not do as it demands", f"change --directive, or {_STAFF}, with this line"),
    ("unable to load job", "Slurm has lost its script or its environment", _AGAIN),
    (
        "group max tres",
        "the minutes of its account or its quality of service are used up",
        "change --account, --qos or --walltime, or ask those who manage the account",
    ),
    (
        "group wall limit",
        "the hours of its account or its quality of service are used up",
        "change --account, --qos or --walltime, or ask those who manage the account",
    ),
    (
        "max tres",
        "its walltime times what it asks for is more than its account or its quality of service allows",
        f"change --walltime, --account or --qos, or {_CHANGE_SIZE[7:]}",
    ),
)
_START = re.compile(r"\bStartTime=(\d{4}-\S+)")


_NAME = re.compile(r"\b(Account|QOS)=(\S+)")


def explain(job_id: str, reason: str, job: str) -> list[str]:
    """Return why a job waits that has *reason*, and what can be changed; *job* is what scontrol shows of it.

    >>> explain("7", "PartitionDown", "")[0]
    "its queue is closed: nothing begins there (Slurm's reason: PartitionDown)"
    >>> explain("7", "(launch failed requeued held)", "")[1]
    'scontrol release 7, to try again'
    """
    names = dict(_NAME.findall(job))
    why, what = _meaning(reason, Names(names.get("QOS", ""), names.get("Account", "")))
    lines = [f"{why} (Slurm's reason: {reason or 'None'})"]
    start = _START.search(job)
    if start is not None:
        lines.append(f"Slurm expects it to begin at {start[1]}")
    return [*lines, what.format(job=job_id)]


def _meaning(reason: str, names: Names) -> tuple[str, str]:
    """Return what *reason* means, and what can be done; it has blanks or underscores, as Slurm's commands differ."""
    sentence = reason.replace("_", " ").lower()
    for part, why, what in _PHRASES:
        if part in sentence:
            return why, what
    word = re.split(r"[,:]", reason.strip("() "))[0].strip() or "None"  # "ReqNodeNotAvail, UnavailableNodes:n1"
    known = _REASONS.get(word) or explain_limit(word, names)
    if known is not None:
        return known
    if "Limit" in word:
        return "a limit, set by the site, is reached", _LOWER
    return "Slurm gives a reason of its own", f"see JOB REASON CODES in squeue(1), or {_STAFF}"


def advise(words: str) -> str:
    """Return a command's words without its decoration, and the option of ours that has to do with them."""
    plain = re.sub(r"\b[a-z_]+: (?:error|fatal): |Batch job submission failed: ", "", words)
    advice = [what for word, what in _ADVICE if word in plain.lower()]
    return f"{plain} ({advice[0]})" if advice else plain
