"""Read the answers of schedulers' commands, into which sites' wrappers may print as well, for what they say of jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from re import Pattern

from scoop_hpc.errors import PerhapsSubmittedError, SchedulerError
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.signal_names import signal_name


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran: its exit status and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job as the scheduler sees it. ``exit_status`` is None until it ended, or where the scheduler cannot say."""

    job_id: str
    state: JobState
    reason: str = ""  # the scheduler's own word, such as Resources or NonZeroExitCode
    nodes: tuple[str, ...] = ()
    exit_status: int | None = None  # 128 + n for a signal n
    stuck: bool = False  # FAILED, and in the queue all the same, until somebody mends or cancels it
    unread: bool = False  # UNKNOWN, for what the scheduler told of it cannot be read
    # CANCELLED is a guess. SIGKILL ended it, from whomever: if its driver recorded a failure, that counts instead
    killed: bool = False
    # CANCELLED is a guess. It is said of a whole array, and this job may have ended before: any other word counts
    with_its_array: bool = False


@dataclass(frozen=True, slots=True)
class JobKey:
    """The meaning of a job's id, however it is written: the job, and which one of an array's, None for the whole."""

    job: str
    index: int | None = None


Heard = Callable[[str], None]  # is given a line of an answer that is about no job


def unheard(line: str) -> None:
    """Let a line go that is about no job."""


def unread(job_id: str, command: str, text: str) -> JobStatus:
    """Return a job about which *command* said *text*, which cannot be read.

    >>> unread("7", "squeue", "7|NEW|").reason
    "cannot read what squeue says of it: '7|NEW|'"
    """
    return JobStatus(job_id, JobState.UNKNOWN, f"cannot read what {command} says of it: {short(text)}", unread=True)


_LONGEST = 160  # characters of an odd line that are shown


def short(text: str) -> str:
    """Return *text* for the end of a message, its middle left out where it is long."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return repr(text)


_COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[@-Z\\^_=>])")


def without_colour(text: str) -> str:
    r"""Return *text* without the escape sequences by which terminals are told of colours and such [ECMA-48].

    >>> without_colour("\x1b[1;32m4711\x1b[0m\x1b]0;title\x07\x1b(B")
    '4711'
    """
    return _COLOUR.sub("", text)


def find_job_id(text: str, alone: Pattern[str], within: Sequence[Pattern[str]]) -> str | None:
    """Return the job id, the first group of a pattern, in what a submission printed; None if it cannot be told.

    The last line that is an id *alone* is it: sites' wrappers and plugins add lines of their own, mostly before it.
    Else it is what the patterns *within* find, if that is one id only.
    """
    lines = [line.strip() for line in text.splitlines()]
    matches = [match for match in map(alone.fullmatch, lines) if match]
    if matches:
        return matches[-1][1]
    found = {match[1] for pattern in within for line in lines for match in pattern.finditer(line)}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class SubmitCommand:
    """A command that submits jobs, and the patterns of its answers: see `find_job_id`.

    *name* is what messages call it; *look* is the command that lists one's jobs, for a submission without a clear
    answer.
    """

    name: str
    alone: Pattern[str]
    within: tuple[Pattern[str], ...]
    look: str

    def job_id(self, done: Completed, advise: Callable[[str], str] = str) -> str:
        """Return the id that the command printed.

        Raise SchedulerError with its words, such as *advise* makes them, where it refused the job; raise
        PerhapsSubmittedError where the job may exist: no id can be read, or the command failed and printed one, or was
        killed.
        """
        job_id = find_job_id(done.stdout, self.alone, self.within)
        if done.status > 0 and job_id is None:
            raise SchedulerError(f"{self.name} refused the job: {advise(one_line(done))}")
        if done.status or job_id is None:
            raise self._perhaps_submitted(done, job_id)
        return job_id

    def _perhaps_submitted(self, done: Completed, job_id: str | None) -> PerhapsSubmittedError:
        if done.status and job_id is not None:
            what = f"{self.name} failed, but printed the job id {job_id}: {one_line(done)}"
        elif done.status:
            what = f"{self.name} was ended before it told a job id: {one_line(done)}"
        else:
            what = f"no job id in {self.name}'s output {short(done.stdout)}"
        return PerhapsSubmittedError(f"{what}; {self.perhaps_taken}")

    @property
    def perhaps_taken(self) -> str:
        """The end of a message about a submission without a clear answer."""
        return f"it may have been taken all the same: look for it with {self.look} before you submit it again"


def complaints(lines: Iterable[str], fine: Sequence[str], own: Pattern[str]) -> list[str] | None:
    """Return the *lines* of a command that failed which are its *own* and not *fine*; None if nothing else explains it.

    An empty list says that all is well: a line that is fine is there, and what else there is, a site's wrapper printed.

    >>> complaints(["Notice", "qdel: Job has finished 7"], ["has finished"], re.compile("qdel:"))
    []
    """
    lines = list(lines)
    wrong = [line for line in lines if own.match(line) and not any(words in line for words in fine)]
    return wrong if wrong or any(words in line for line in lines for words in fine) else None


_LINES = 5  # of what a command said: the last ones are about the end


def one_line(done: Completed) -> str:
    """Return what a command that failed said, or its exit status, for the end of an error message."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(list(dict.fromkeys(lines))[-_LINES:]) or _describe(done.status)


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal_name(-status)}"


def find_version(done: Completed, pattern: Pattern[str]) -> str:
    """Return the group of *pattern* in what a command said when it was asked for its version; raise SchedulerError.

    Some say it on their standard error, or behind what a site's wrapper says.

    >>> find_version(Completed(("qstat",), 0, "welcome\\npbs_version = 23.06.06", ""), re.compile("pbs_version = (.+)"))
    '23.06.06'
    """
    text = done.stdout.strip() or done.stderr.strip()
    found = pattern.search(text)
    if found is None:
        raise SchedulerError(f"cannot read a version in {short(text or one_line(done))}")
    return found[1]
