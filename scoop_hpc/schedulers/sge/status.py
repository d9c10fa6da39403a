"""Read what Grid Engine's qstat and qacct say of jobs [qstat(1), qacct(1), sge_status(5)]."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.answers import Heard, JobStatus, short, unheard, unread
from scoop_hpc.schedulers.job_state import JobState

# qstat(1), OUTPUT FORMATS: a state is several letters; of these the first that is in it says how the job stands. A job
# that is being deleted still runs; "z" has ended, how is for qacct to say
_LETTERS: tuple[tuple[str, JobState | None], ...] = (
    ("z", None),
    ("d", JobState.RUNNING),
    ("E", JobState.FAILED),
    ("s", JobState.SUSPENDED),
    ("S", JobState.SUSPENDED),
    ("T", JobState.SUSPENDED),
    ("P", JobState.SUSPENDED),
    ("q", JobState.PENDING),
    ("w", JobState.PENDING),
    ("r", JobState.RUNNING),
    ("t", JobState.RUNNING),
)
_KNOWN = frozenset("hR").union(letter for letter, _ in _LETTERS)
_REASONS = (  # of a state and a letter in it
    (JobState.FAILED, "E", "put into an error state: explain tells why"),
    (JobState.PENDING, "h", "held"),
    (JobState.PENDING, "R", "waits to run again"),
    (JobState.RUNNING, "d", "being deleted"),
)

_FAILED = {  # sge_status(5), "Failed" states: those that are not the job's own failure
    18: JobState.NODE_FAIL,  # shepherd returned error
    19: JobState.NODE_FAIL,  # before writing exit_status: "probably program or machine crash"
    20: JobState.NODE_FAIL,  # found unexpected error file
    21: JobState.NODE_FAIL,  # in recognizing job
    22: JobState.NODE_FAIL,  # the execution daemon lost the job
    # migrating and rescheduling: the job is back in the queue, and if it is not there any more, somebody deleted it
    24: JobState.CANCELLED,
    25: JobState.CANCELLED,
    37: JobState.TIMEOUT,  # qmaster enforced h_rt, h_cpu, or h_vmem limit
}
_KILLED = 128 + 9
_KILLED_BY_SOMEBODY = "ended by SIGKILL: by qdel, or by somebody else's kill"
_BY_SIGNAL = 100  # "assumedly after job": it ran, and a signal ended it
_NEARLY = 0.95  # of the memory limit: how much was in use is looked at now and then only

_XML_LINE = re.compile(r"\s*<[/?!A-Za-z]")
_COLUMNS = re.compile(r"(?=\w{1,12} {1,12}(?<=^.{13})|\w{13,} )(\w+) +(.*)")
_PAIR = re.compile(r"(\w+)(?: +(.*))?$")
# what `qacct -o` adds at the end [qacct(1), OUTPUT FORMAT]: all that the owner has used
_TOTALS = re.compile(r"^OWNER +WALLCLOCK [^\n]*\n={40,}[^\n]*\n[^\n]*\n?\Z", re.MULTILINE)
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?", re.ASCII)
_NUMBER = re.compile(r"\s*([0-9.]+)\s*([KMGTkmgt]?)")
_POWERS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def read_listing(text: str, pass_over: Heard = unheard) -> list[JobStatus]:
    """Return the jobs of ``qstat -xml -g t``: an entry for each slot of a running one, for many elements of an array.

    Lines that are no XML, such as a notice of the site's, are given to *pass_over*; raise SchedulerError for an answer
    of nothing else.

    >>> read_listing("<job_info><queue_info/><job_info><job_list><JB_job_number>7</JB_job_number><state>qw</state>"
    ...              "<tasks>3-5:2</tasks></job_list></job_info></job_info>")[1].job_id
    '7.5'
    """
    lines = text.splitlines()
    root = _read_xml("\n".join(line for line in lines if _XML_LINE.match(line)), text)
    for line in lines:
        if line.strip() and not _XML_LINE.match(line):
            pass_over(line)
    if next(root.iter("job_list"), None) is not None and not any(map(_is_number, root.iter("JB_job_number"))):
        raise SchedulerError(f"cannot read qstat's answer {short(text)}: no job has a number in it")
    jobs: dict[str, JobStatus] = {}
    for entry in root.iter("job_list"):
        for job in _read_entry(entry, pass_over):
            before = jobs.get(job.job_id)
            nodes = dict.fromkeys((*(before.nodes if before else ()), *job.nodes))
            if entry.findtext("master") == "MASTER":
                nodes = dict.fromkeys((*job.nodes, *nodes))
            jobs[job.job_id] = replace(job, nodes=tuple(nodes))
    return list(jobs.values())


def _is_number(element: ElementTree.Element) -> bool:
    return re.fullmatch("[0-9]+", element.text or "") is not None


def _read_xml(xml: str, text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise SchedulerError(f"cannot read qstat's answer {short(text)}: {error}") from error


def _read_entry(entry: ElementTree.Element, pass_over: Heard) -> Iterator[JobStatus]:
    number, letters = entry.findtext("JB_job_number", ""), entry.findtext("state", "")
    tasks = entry.findtext("tasks", "")
    state = _state_of(letters)
    if re.fullmatch("[0-9]+", number) is None:
        pass_over(ElementTree.tostring(entry, "unicode"))
        return
    try:
        ids = list(_ids(number, tasks))
    except SchedulerError:
        yield unread(number, "qstat", f"tasks {tasks}")
        return
    if not set(letters) <= _KNOWN or state is _NO_STATE:
        yield from (unread(job_id, "qstat", f"state {letters}") for job_id in ids)
        return
    if not isinstance(state, JobState):
        return
    reason = "; ".join(words for of, letter, words in _REASONS if of is state and letter in letters)
    queue = entry.findtext("queue_name", "")
    nodes = (queue.rpartition("@")[2],) if "@" in queue else ()
    for job_id in ids:
        yield JobStatus(job_id, state, reason, nodes, stuck=state is JobState.FAILED)


_NO_STATE = object()


def _state_of(letters: str) -> object:
    """Return the JobState that *letters* mean, None for a job of the past, _NO_STATE where they mean nothing."""
    return next((state for letter, state in _LETTERS if letter in letters), _NO_STATE)


def _ids(number: str, tasks: str) -> Iterable[str]:
    """Return the ids of the elements *tasks*, such as ``3-9:2`` or ``4,7-8:1``, of the job *number*.

    >>> list(_ids("53", "1,3-5:2")), list(_ids("53", ""))
    (['53.1', '53.3', '53.5'], ['53'])
    """
    if not tasks:
        return [number]
    matches = [_RANGE.fullmatch(part.strip()) for part in tasks.split(",")]
    if not all(matches):
        raise SchedulerError(f"cannot read the elements {tasks!r} of the array {number} in qstat's answer")
    return (
        f"{number}.{index}"
        for match in matches
        if match
        for index in range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    )


def read_accounts(text: str, pass_over: Heard = unheard) -> list[JobStatus]:
    """Return the jobs of ``qacct -j``, whose answer has records for a job's tasks on other nodes before the job's own.

    The same holds for a job that was put back into the queue: its last record is the one of its end. Lines that are no
    part of a record are given to *pass_over*.
    """
    jobs: dict[str, JobStatus] = {}
    hosts: dict[str, list[str]] = {}
    for record in _records(text, pass_over):
        job = _read_record(record)
        hosts.setdefault(job.job_id, []).insert(0, record.get("hostname", ""))
        jobs[job.job_id] = job
    return [replace(job, nodes=tuple(dict.fromkeys(hosts[job.job_id]))) for job in jobs.values()]


def _records(text: str, pass_over: Heard) -> Iterator[dict[str, str]]:
    for block in re.split(r"^={40,}[ \t]*$", _TOTALS.sub("", text), flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if line.strip()]
        columns = [match for match in map(_COLUMNS.match, lines) if match]
        has_columns = {"jobnumber", "failed"} <= {match[1] for match in columns}  # then what has none is not qacct's
        pairs = columns if has_columns else [match for match in map(_PAIR.match, lines) if match]
        record: dict[str, str] = {}
        for match in pairs:
            record.setdefault(match[1], (match[2] or "").strip())
        read = {id(match.string) for match in pairs}
        for line in lines:
            if id(line) not in read:
                pass_over(line)
        if record.get("jobnumber", "").isdigit():
            yield record


@dataclass(frozen=True, slots=True)
class _End:
    """A job's end in Grid Engine's numbers."""

    failed: int
    words: str
    exit_status: int


def _read_record(record: Mapping[str, str]) -> JobStatus:
    try:
        number, words = record["failed"].split(maxsplit=1) if " " in record["failed"] else (record["failed"], "")
        end = _End(int(number), words.strip(" :"), int(record["exit_status"].split()[0]))
    except (LookupError, ValueError):
        told = ", ".join(f"{name} {record.get(name)}" for name in ("failed", "exit_status"))
        return unread(_account_id(record), "qacct", told)
    state, reason = _judge(end, record)
    # of a job that did not run, Grid Engine gives 0; what Grid Engine killed has no status of its own
    known = end.exit_status if end.failed in (0, _BY_SIGNAL, 37) or end.exit_status else None
    return JobStatus(_account_id(record), state, reason, (), known, killed=reason == _KILLED_BY_SOMEBODY)


def _account_id(record: Mapping[str, str]) -> str:
    job, task = record["jobnumber"], record.get("taskid", "")
    return f"{job}.{task}" if task.isdigit() and task != "0" else job


def _judge(end: _End, record: Mapping[str, str]) -> tuple[JobState, str]:
    """Return the state, and the reason in words."""
    if end.failed == 0:
        return (JobState.FAILED, "") if end.exit_status else (JobState.COMPLETED, "")
    reason = f"failed {end.failed}: {end.words}"
    if end.failed not in (37, _BY_SIGNAL):
        return _FAILED.get(end.failed, JobState.FAILED), reason
    limits = dict(re.findall(r"([a-z_]+)=([^,\s]+)", record.get("category", "")))
    if _at_limit(record, limits):
        return JobState.OUT_OF_MEMORY, f"maxvmem {record['maxvmem']} of h_vmem={limits['h_vmem']} a slot"
    if end.failed in _FAILED or _over_time(record, limits):
        return JobState.TIMEOUT, reason
    by = record.get("deleted_by", "NONE")
    if by not in ("NONE", ""):
        return JobState.CANCELLED, f"deleted by {by}"
    if end.exit_status == _KILLED:
        return JobState.CANCELLED, _KILLED_BY_SOMEBODY
    return JobState.FAILED, reason


def _at_limit(record: Mapping[str, str], limits: Mapping[str, str]) -> bool:
    used, limit = _number(record.get("maxvmem", "")), _number(limits.get("h_vmem", ""))
    slots = int(record["slots"]) if record.get("slots", "").isdigit() else 1
    return bool(limit) and used >= _NEARLY * limit * slots


def _over_time(record: Mapping[str, str], limits: Mapping[str, str]) -> bool:
    """Return whether the job ran as long as it might: some execds kill by themselves what is over its time."""
    parts = [int(part) for part in limits.get("h_rt", "0").split(":") if part.isdigit()]
    limit = sum(part * 60**place for place, part in enumerate(reversed(parts)))
    return bool(limit) and _number(record.get("ru_wallclock", "")) >= limit


def _number(text: str) -> float:
    """Return the number at the beginning of *text*, with its unit; 0 if there is none.

    >>> _number("3.5MB"), _number("2G"), _number("77s")
    (3670016.0, 2147483648.0, 77.0)
    """
    match = _NUMBER.match(text)
    try:
        return float(match[1]) * _POWERS[match[2].upper()] if match else 0.0
    except ValueError:
        return 0.0
