"""Read the jobs in the answers of squeue and sacct: a line each, in these formats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from scoop_hpc.errors import HostlistError, SchedulerError
from scoop_hpc.hostlist import expand
from scoop_hpc.schedulers.answers import Heard, JobStatus, short, unread
from scoop_hpc.schedulers.job_state import JobState

# in the order of parse_line; exit_code is a wait status there, exit:signal in sacct's
SQUEUE_FORMAT = "JobArrayID:|,State:|,Reason:|,exit_code:|,NodeList:|"
SACCT_FORMAT = "JobID,State,Reason,ExitCode,NodeList"

_STATES = {  # squeue(1), JOB STATE CODES; slurm src/common/slurm_protocol_defs.c
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "EXPEDITING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "BOOT_FAIL": JobState.FAILED,
    "LAUNCH_FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
    "PREEMPTED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
}

_EXIT_CODE = re.compile(r"(?P<exit>[0-9]+):(?P<signal>[0-9]+)|(?P<wait>[0-9]+)")
_NOT_STARTED = 53  # what Slurm gives for a signal when it could not start the script, mostly for its output file
# JobLaunchFailure, launch failed requeued held, user env retrieval failed requeued held
# [slurm src/common/slurm_protocol_defs.c, job_state_reason_string]
_UNSTARTED = re.compile(r"launch[ _]?fail|env[ _]retrieval[ _]fail", re.IGNORECASE)
_NO_NODES = ("", "(null)", "None assigned", "Unknown")
_ELEMENTS = re.compile(r"([0-9]+)_\[([0-9,:-]+)(?:%[0-9]+)?\]")  # jobs of an array that never began
_PART = re.compile(r"([0-9]+)(?:-([0-9]+)(?::([0-9]+))?)?")
_ID = re.compile(r"[0-9]+(?:_[0-9]+)?(?:\+[0-9]+)?")
_ABOUT_A_JOB = re.compile(r"\s*([0-9]+(?:_(?:[0-9]+|\[[^\]|]*\]))?(?:\+[0-9]+)?)\s*\|")


def read_lines(command: str, lines: Iterable[str], pass_over: Heard, may_be_none: bool = False) -> list[JobStatus]:
    """Return the jobs in the *lines* of an answer; those that are about no job are given to *pass_over*.

    Raise SchedulerError where there are only such, unless there *may_be_none*.
    """
    jobs: list[JobStatus] = []
    odd = []
    for line in lines:
        about = _ABOUT_A_JOB.match(line)
        if about is None:
            odd.append(line)
            continue
        try:
            jobs += parse_line(command, line)
        except SchedulerError:
            jobs += [unread(job_id, command, line) for job_id in _ids_of(about[1])]
    if odd and not jobs and not may_be_none:
        raise SchedulerError(f"cannot read {command}'s answer, which names no job: {short(odd[0])}")
    for line in odd:
        pass_over(line)
    return jobs


def _ids_of(text: str) -> list[str]:
    """Return the ids in a column of ids; of an array's that cannot be read, the array's."""
    try:
        return _job_ids(text)
    except ValueError:
        return [text.partition("_")[0]]


def parse_line(command: str, line: str) -> list[JobStatus]:
    """Return the job that a line is about, or the jobs of an array; raise SchedulerError."""
    try:
        job_id, word, *parts, exit_code, nodelist = line.strip().removesuffix("|").split("|")
        reason = "|".join(parts)  # a site's plugin may say anything
        state = _STATES[word.split()[0]]  # also "CANCELLED by 1000"
        nodes = () if nodelist.strip() in _NO_NODES else tuple(expand(nodelist))
        exit_status = _parse_exit_status(state, exit_code)
        ids = _job_ids(job_id.strip())
    except (HostlistError, LookupError, ValueError) as error:
        raise SchedulerError(f"cannot read {command}'s line {line!r}: {error}") from error
    if state is JobState.CANCELLED:
        unstarted = f"it could not be started: {reason}" if _UNSTARTED.search(reason) else ""
        # any other reason is that of its waiting before
        reason = unstarted or (f"by user {word.split()[2]}" if " by " in word else "")
    reason = "" if reason == "None" else reason
    if state.ended and _read_exit_code(exit_code)[1] == _NOT_STARTED:
        reason = "not started: its node does not see the directory of --output, most likely"
    status = JobStatus(job_id, state, reason, nodes, exit_status)
    return [replace(status, job_id=each) for each in ids]


def _parse_exit_status(state: JobState, text: str) -> int | None:
    """Return an exit status as a shell has it; None before the end, or where Slurm gives a failure none (``0:0``)."""
    status, signal = _read_exit_code(text)
    if not state.ended:
        return None
    if signal == _NOT_STARTED:
        return None
    if signal:
        return 128 + signal
    return status if status or state is JobState.COMPLETED else None


def _read_exit_code(text: str) -> tuple[int, int]:
    """Return the exit status and the signal in squeue's or sacct's column for both."""
    match = _EXIT_CODE.fullmatch(text)
    if match is None:
        raise ValueError(f"no exit code in {text!r}")
    wait = int(match["wait"] or 0)
    return (wait >> 8, wait & 0x7F) if match["wait"] else (int(match["exit"]), int(match["signal"]))


def _job_ids(text: str) -> list[str]:
    """Return the ids in the column of ids: several, where jobs of an array were never begun.

    >>> _job_ids("70_[3-4,8%2]")
    ['70_3', '70_4', '70_8']
    """
    match = _ELEMENTS.fullmatch(text)
    if match is None:
        if not _ID.fullmatch(text):
            raise ValueError(f"no job id in {text!r}")
        return [text]
    ids = []
    for part in match[2].split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"no list of numbers in {text!r}")
        ids += [f"{match[1]}_{i}" for i in range(int(found[1]), int(found[2] or found[1]) + 1, int(found[3] or 1))]
    return ids
