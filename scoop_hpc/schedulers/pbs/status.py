"""Read the jobs in the answer of ``qstat -f`` [qstat(1B), pbs_job_attributes(7B); OpenPBS src/include/job.h].

Its text is right in every version; its JSON is not: until the release 23.06.06, a variable set to ``inf`` or ``+5``
makes it unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.answers import Heard, JobStatus, short, unheard, unread
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.signal_names import signal_name

_STATES: Mapping[str, JobState | None] = MappingProxyType(  # qstat(1B); None: it has ended
    {
        "Q": JobState.PENDING,
        "H": JobState.PENDING,
        "W": JobState.PENDING,
        "T": JobState.PENDING,
        "M": JobState.PENDING,
        "R": JobState.RUNNING,
        "E": JobState.RUNNING,
        "B": JobState.RUNNING,
        "S": JobState.SUSPENDED,
        "U": JobState.SUSPENDED,
        "F": None,
        "X": None,
    }
)

# Exit_status of a job that PBS ended, or never began [job.h]; other negative ones: it could not be started
_ENDED_BY_PBS = MappingProxyType(
    {
        -24: (JobState.FAILED, "it used more CPUs than it had asked for"),
        -25: (JobState.FAILED, "it used more CPUs than it had asked for"),
        -26: (JobState.OUT_OF_MEMORY, "exceeded resource vmem"),
        -27: (JobState.OUT_OF_MEMORY, "exceeded resource mem"),
        -28: (JobState.TIMEOUT, "exceeded resource cput"),
        -29: (JobState.TIMEOUT, "exceeded resource walltime"),
    }
)
_EXCEEDED = MappingProxyType(  # in the comment, and so in versions that have no such Exit_status
    {
        "walltime": JobState.TIMEOUT,
        "cput": JobState.TIMEOUT,
        "mem": JobState.OUT_OF_MEMORY,
        "vmem": JobState.OUT_OF_MEMORY,
    }
)
_SIGNALLED = 256  # plus the signal that killed the top process
_DELETED = 91  # substate
_TELLING = ("job_state", "substate", "Exit_status", "exec_host")  # the attributes that say how a job stands
_REWRITTEN = "Subjob "  # finished, failed, terminated: the comment on jobs of a deleted array [src/server/stat_job.c]
# of a job of an array that was deleted: the same is said of those that had ended before
_DELETED_WITH_ITS_ARRAY = "deleted with its array, unless it had ended before: PBS does not tell"
IN_ITS_ARRAY = "its turn in the array has not come"

_VARIABLES = "Variable_List"
_HEADER = re.compile(r"Job Id: (([0-9]+)\S*)\s*")
_ATTRIBUTE = re.compile(r" {4}([A-Za-z_][A-Za-z0-9_.]*) = (.*)")
_RESOURCE = re.compile(r" and exceeded resource (\w+)")
_DELETER = re.compile(r" and terminated by (\S+)")


def read_jobs(
    text: str, numbers: frozenset[str] = frozenset(), pass_over: Heard = unheard
) -> dict[str, dict[str, str]]:
    r"""Return the attributes of each job in what ``qstat -f`` printed, by its id.

    Long lines are folded, with a tab before each continuation. A variable's value may have several lines, which may
    look like anything: it is no job that is not among *numbers*, those that were asked for, if any; and no attribute
    that stands elsewhere as well. Lines that are in no job are given to *pass_over*.

    >>> read_jobs("Job Id: 7.head\n    job_state = R\n    exec_host = n1/0*2+\n\tn2/0*2\n\n")
    {'7.head': {'job_state': 'R', 'exec_host': 'n1/0*2+n2/0*2'}}
    """
    jobs: dict[str, dict[str, str]] = {}
    attributes: dict[str, str] = {}
    last = ""  # the attribute whose value goes on
    outside: list[str] = []  # lines that are in no job, if no more of it follows
    is_between = True
    settled: frozenset[str] = frozenset()  # the attributes that stand before the variables, and these
    for line in text.split("\n"):
        header = _HEADER.fullmatch(line)
        match = _ATTRIBUTE.fullmatch(line)
        if header is not None and is_between and (not numbers or header[2] in numbers):
            for odd in outside:
                pass_over(odd)
            attributes = jobs.setdefault(header[1], {})
            last, outside, is_between, settled = "", [], False, frozenset()
        elif not line.strip():
            is_between = True
        elif match is not None and jobs:
            last, outside, is_between = match[1], [], False
            if match[1] in settled:
                last = ""  # in a variable's value
            else:
                attributes[match[1]] = match[2]  # behind the variables, the last one counts
                settled = settled if _VARIABLES in settled else frozenset(attributes)
        elif line.startswith("\t") and jobs:
            outside, is_between = [], False
            if last:
                attributes[last] += line[1:]
        elif is_between or not jobs:
            outside.append(line)
    for odd in outside:
        pass_over(odd)
    return jobs


def parse_status(
    text: str, numbers: frozenset[str] = frozenset(), pass_over: Heard = unheard, may_be_none: bool = False
) -> list[JobStatus]:
    """Return the jobs in what ``qstat -f`` printed, those of an array one by one; see `read_jobs`.

    Raise SchedulerError for a text without jobs, unless there *may_be_none*. Of some jobs of an array, nothing is said
    but what goes for the array: those that have not begun, those that never will, and where no history is kept those
    that have ended. Their Exit_status is a sibling's, so how they ended is left to who knows.
    """
    jobs = read_jobs(text, numbers, pass_over)
    if text.strip() and not jobs and not may_be_none:
        raise SchedulerError(f"cannot read qstat's output {short(text)}: no 'Job Id:' in it")
    told = [(job_id, each) for job_id, each in jobs.items() if each.get("array") != "True"]
    return [_status(job_id, each) for job_id, each in told if not _is_hearsay(job_id, each)]


def _is_hearsay(job_id: str, attributes: Mapping[str, str]) -> bool:
    """Return whether the end of one job of an array is told by the attributes of the array only."""
    ended = attributes.get("job_state") in _STATES and _STATES[attributes["job_state"]] is None
    own = "exec_host" in attributes or attributes.get("substate") == str(_DELETED) or "stime" not in attributes
    return ended and "[" in job_id and not own


def _status(job_id: str, attributes: Mapping[str, str]) -> JobStatus:
    try:
        state = _STATES[attributes["job_state"]]
        nodes = hosts(attributes.get("exec_host", ""))
        if state is not None:
            reason = waiting_for(attributes) if state is JobState.PENDING else ""
            return JobStatus(job_id, state, reason, nodes)
        if not nodes and attributes.get("comment", "").startswith(_REWRITTEN):
            return JobStatus(job_id, JobState.CANCELLED, _DELETED_WITH_ITS_ARRAY, with_its_array=True)
        said = attributes.get("Exit_status") if nodes or "[" not in job_id else None  # else a sibling's
        code = None if said is None else int(said)
        ended, reason = _how_it_ended(code, int(attributes["substate"]), attributes.get("comment", ""))
    except (LookupError, ValueError):
        told = {name: attributes[name] for name in _TELLING if name in attributes}
        return unread(job_id, "qstat", ", ".join(f"{name} = {value}" for name, value in told.items()))
    return JobStatus(job_id, ended, reason, nodes, _exit_status(code))


def _how_it_ended(code: int | None, substate: int, comment: str) -> tuple[JobState, str]:
    exceeded = _RESOURCE.search(comment)
    if exceeded is not None and exceeded[1] in _EXCEEDED:
        return _EXCEEDED[exceeded[1]], f"exceeded resource {exceeded[1]}"
    if code is not None and code in _ENDED_BY_PBS:
        return _ENDED_BY_PBS[code]
    deleter = _DELETER.search(comment)
    if deleter is not None:
        return JobState.CANCELLED, f"by {deleter[1]}"
    if substate == _DELETED:
        return JobState.CANCELLED, "deleted" if code is not None else "deleted before it began"
    if code is None:  # the only trace of it: no comment, no time at which it began
        return JobState.CANCELLED, "removed by PBS: a job that it depends on did not end as demanded, or is unknown"
    if code < 0:
        return JobState.NODE_FAIL, f"PBS could not start it, or lost its node (Exit_status {code})"
    if code > _SIGNALLED:
        return JobState.FAILED, f"killed by {signal_name(code - _SIGNALLED)}"
    return (JobState.FAILED if code else JobState.COMPLETED), ""


def _exit_status(code: int | None) -> int | None:
    """Return an exit status as a shell has it; None where PBS has one of its own."""
    if code is None or code < 0:
        return None
    return 128 + code - _SIGNALLED if code > _SIGNALLED else code


def waiting_for(attributes: Mapping[str, str]) -> str:
    """Return what a job waits for, in PBS's own words as far as it has any."""
    state = attributes.get("job_state")
    if state == "W":
        return f"waits until {attributes.get('Execution_Time', 'its time')}"
    if state == "M":
        return "moved to another server"
    if state == "H" and dependencies(attributes):
        return f"waits for {dependencies(attributes)}"
    if state == "H":
        return f"held (Hold_Types {attributes.get('Hold_Types', '?')})"
    comment = attributes.get("comment", "").strip()
    return IN_ITS_ARRAY if comment.startswith("Job Array Began") else comment


def dependencies(attributes: Mapping[str, str]) -> str:
    """Return what a job depends on; jobs that depend on it stand beside that.

    >>> dependencies({"depend": "beforeok:9.head@head,afterany:7.head@head:8.head@head"})
    'afterany:7.head@head:8.head@head'
    """
    each = attributes.get("depend", "").split(",")
    return ",".join(part for part in each if not part.startswith("before"))


def hosts(exec_host: str) -> tuple[str, ...]:
    """Return the hosts in an ``exec_host``, each once.

    >>> hosts("n1/0*2+n1/1*2+n2/0")
    ('n1', 'n2')
    """
    return tuple(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+") if part))
