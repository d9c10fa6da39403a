"""The limits among Slurm's reasons, read as the words they are made of [slurm src/common/job_state_reason.c].

``QOSMaxGRESPerUser`` is made of who limits (QOS), how (Max), what (GRES) and of whose jobs (PerUser). Newer versions
combine the same words in new ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

_LIMIT = re.compile(
    r"(?P<owner>QOS|Assoc)?(?P<kind>Grp|Max|Min)"
    r"(?P<resource>[A-Z](?:[a-z]+|[A-Z]+(?![a-z]))(?:(?<=Submit)Jobs?|(?<=Wall)Duration)?)"
    r"(?P<minutes>RunMinutes|RunMins|Minutes)?(?:Per(?P<scope>Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)


@dataclass(frozen=True, slots=True)
class _Resource:
    """A limited resource, as it follows "so" and "minutes of", and the options that ask for it."""

    amount: str
    unit: str
    options: tuple[str, ...]
    per_node: tuple[str, ...] = ()  # the options that decide how much of it is on each node; empty: the same ones


_CPUS = _Resource(
    "many CPUs",
    "CPU",
    ("--nodes", "--workers", "--workers-per-node", "--cpus-per-worker"),
    ("--workers-per-node", "--cpus-per-worker"),
)
_MEMORY = _Resource(
    "much memory", "memory", ("--memory", "--memory-per-cpu", "--nodes"), ("--memory", "--memory-per-cpu")
)
_GPUS = _Resource("many GPUs or other generic resources", "GPU", ("--gpus-per-node", "--nodes"), ("--gpus-per-node",))
_BILLED = ("--nodes", "--workers-per-node", "--memory", "--gpus-per-node")
_RESOURCES = MappingProxyType(
    {
        "Cpu": _CPUS,
        "CPU": _CPUS,
        "Mem": _MEMORY,
        "Memory": _MEMORY,
        "Node": _Resource("many nodes", "node", ("--nodes",)),
        "GRES": _GPUS,
        "License": _Resource("many licences", "licence", ("--license",)),
        "BB": _Resource("many burst buffers", "burst buffer", ("--directive",)),
        "Billing": _Resource("much of what is billed", "billing", _BILLED, _BILLED[1:]),
        "Energy": _Resource("much energy", "energy", ("--nodes", "--workers-per-node"), ("--workers-per-node",)),
        "Unknown": _Resource("much of a resource of the site's own", "resource", ("--directive",)),
    }
)
_WALL = ("Wall", "WallDuration")
_RUNNING = ("Job", "Jobs")
_SUBMITTED = ("Submit", "SubmitJob", "SubmitJobs")
_UNTIL_OTHERS_END = "wait until others of them have ended"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a job's quality of service and of its account; empty where they are not known."""

    qos: str = ""
    account: str = ""


def explain_limit(reason: str, names: Names) -> tuple[str, str] | None:
    """Return what a limit means and what can be done about it, None for a *reason* that is no limit.

    >>> for words in explain_limit("QOSMaxGRESPerUser", Names(qos="normal")): print(words)
    your jobs in its quality of service 'normal' may use only so many GPUs or other generic resources at a time
    wait until others of them have ended, or ask for less by --gpus-per-node or --nodes, or change --qos or --queue
    >>> print(explain_limit("AssocGrpCPUMinutesLimit", Names(account="physics"))[0])
    the CPU minutes of its account 'physics' are used up, or too few are left for its walltime
    """
    match = _LIMIT.fullmatch(reason)
    if match is None:
        return None
    owner, other = _owner(match["owner"], match["scope"], names)
    whose = _whose(match, owner)
    if match["resource"] in _RUNNING:
        return f"{whose} may only be so many at a time, and as many run", f"{_UNTIL_OTHERS_END}, or change {other}"
    if match["resource"] in _SUBMITTED:
        why = f"{whose} may only be so many in the queue, running and waiting, and there are as many"
        return why, f"{_UNTIL_OTHERS_END}, or change {other}"
    if match["resource"] in _WALL:
        return _explain_walltime(match, owner, other)
    if match["resource"] not in _RESOURCES:
        return None
    resource = _RESOURCES[match["resource"]]
    if match["minutes"]:
        return _explain_minutes(match, resource, owner, whose, other)
    return _explain_amount(match, resource, owner, whose, other)


def _explain_amount(match: re.Match[str], resource: _Resource, owner: str, whose: str, other: str) -> tuple[str, str]:
    less = _options(resource.options)
    if match["kind"] == "Min":
        why = f"a job in {owner} has to ask for at least so {resource.amount}, and this one asks for less"
        return why, f"cancel it and submit it again with more by {less}, or change {other}"
    if match["scope"] == "Node":
        why = f"a job in {owner} may use only so {resource.amount} on each node, and this one asks for more"
        less = _options(resource.per_node or resource.options)
        return why, f"cancel it and submit it again with less by {less}, or change {other}"
    if match["scope"] == "Job":
        why = f"a job in {owner} may use only so {resource.amount}, and this one asks for more"
        return why, f"cancel it and submit it again with less by {less}, or change {other}"
    why = f"{whose} may use only so {resource.amount} at a time"
    return why, f"{_UNTIL_OTHERS_END}, or ask for less by {less}, or change {other}"


def _explain_minutes(match: re.Match[str], resource: _Resource, owner: str, whose: str, other: str) -> tuple[str, str]:
    """Explain a limit on an amount times the time for which it is used."""
    minutes = f"{resource.unit} minutes"
    if match["minutes"] != "Minutes":  # RunMinutes: of the jobs that run, those that are still to come
        why = f"{whose} that run may have only so many {minutes} ahead of them"
        return why, f"wait until some of them have gone on or ended, or give a shorter --walltime, or change {other}"
    if match["kind"] == "Grp":
        return _used_up(f"the {minutes} of {owner} are used up, or too few are left for its walltime", other)
    why = f"a job in {owner} may take only so many {minutes}, and this one's walltime times what it asks for is more"
    less = _options(("--walltime", *resource.options))
    return why, f"cancel it and submit it again with less by {less}, or change {other}"


def _explain_walltime(match: re.Match[str], owner: str, other: str) -> tuple[str, str]:
    if match["kind"] == "Grp":
        return _used_up(f"the hours of {owner} are used up, or too few are left for its walltime", other)
    why = f"its walltime is longer than {owner} allows"
    return why, f"cancel it and submit it again with a shorter --walltime, or change {other}"


def _used_up(why: str, other: str) -> tuple[str, str]:
    """Return what can be done where what jobs have used counts, those of the past as well."""
    return (
        why,
        f"change {other}, or ask those who manage the account, or the site's staff, for more; a shorter --walltime may "
        "fit into what is left",
    )


def _owner(owner: str | None, scope: str | None, names: Names) -> tuple[str, str]:
    """Return who limits, and the options that choose another. Limits per user and per account are a QOS's."""
    if owner == "Assoc":
        return _named("its account", names.account), "--account or --queue"  # it may be the account's in a partition
    also = "--account, " if scope == "Account" else ""
    return _named("its quality of service", names.qos), f"{also}--qos or --queue"  # a partition may have a QOS


def _whose(match: re.Match[str], owner: str) -> str:
    """Return the jobs that are counted together."""
    if match["scope"] == "Account":
        return f"the jobs of its account in {owner}"
    if match["scope"] == "User" or (match["owner"] == "Assoc" and match["kind"] == "Max"):
        return f"your jobs in {owner}"
    return f"all jobs in {owner} together"


def _named(words: str, name: str) -> str:
    return f"{words} {name!r}" if name else words


def _options(options: tuple[str, ...]) -> str:
    return " or ".join((", ".join(options[:-1]), options[-1])) if len(options) > 1 else options[0]
