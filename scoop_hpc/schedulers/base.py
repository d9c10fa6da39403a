"""The contract between the client and a scheduler: a phrase book, argv out and text in.

A phrase book runs nothing and reads no file or environment by itself. The life of a job, in the words of
`scoop_hpc.fields.spec.JobState`: PENDING (also after a requeue) -> RUNNING <-> SUSPENDED -> one of COMPLETED, FAILED,
CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL. A job that the scheduler has forgotten is in no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Protocol

from scoop_hpc.errors import JobSpecError, UnansweredError, about
from scoop_hpc.fields.option import Refused, Words
from scoop_hpc.fields.spec import OPTIONS, JobSpec, JobState, asked_for

# what is advised where a scheduler cannot be used; the registry knows whether there is another one here
OR_LOCAL = ", or use --scheduler local"
LOCAL_RUNS = "; --scheduler local runs jobs on this machine"

# of a scheduler's variables, those that say which cluster is meant and who one is [slurm(1), qsub(1B)]
_SITE = (
    *("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS"),
    *("PBS_DEFAULT", "PBS_SERVER", "PBS_EXEC", "PBS_HOME", "PBS_CONF_FILE", "PBS_DPREFIX"),
)
_OF_JOBS = (
    *("SLURM_", "SLURMD_", "SRUN_", "SALLOC_", "PBS_", "LSB_", "OAR_", "SGE_TASK_", "PE_"),
    *("SCOOP_HPC_LOCAL_", "SCOOP_HPC_JOB_"),
    # of one of the processes that an MPI started
    *("OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "PMI_RANK", "PMI_SIZE", "PMIX_RANK", "PMIX_NAMESPACE"),
    *("JSM_NAMESPACE_", "FLUX_JOB_", "FLUX_TASK_"),
)
_OF_GRID_ENGINE_JOBS = (  # submit(1), ENVIRONMENTAL VARIABLES
    *("JOB_ID", "JOB_NAME", "JOB_SCRIPT", "REQUEST", "QUEUE", "PE", "NSLOTS", "NHOSTS", "NQUEUES", "RESTARTED"),
    *("SGE_STDIN_PATH", "SGE_STDOUT_PATH", "SGE_STDERR_PATH", "SGE_CWD_PATH", "SGE_JOB_SPOOL_DIR"),
)
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]+")


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran: its exit status and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


# the reason of a job of which the scheduler knows only that SIGKILL ended it
KILLED_BY_SOMEBODY = "ended by SIGKILL: by qdel, or by somebody else's kill"
# the reason of a job of an array that was deleted, where the scheduler says the same of those that had ended before
DELETED_WITH_ITS_ARRAY = "deleted with its array, unless it had ended before: PBS does not tell"


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


@dataclass(frozen=True, slots=True)
class Site:
    """Which of a scheduler's clusters has a job: the name that its commands have for it, empty where none was given,
    and the variables that choose a cluster, as they were at the submission; None: not set."""

    cluster: str = ""
    variables: tuple[tuple[str, str | None], ...] = ()

    def agrees_with(self, other: Site) -> bool:
        """Return whether both may be the same cluster; a variable that only one of them has tells nothing."""
        own, theirs = dict(self.variables), dict(other.variables)
        return self.cluster == other.cluster and all(own[name] == theirs[name] for name in own if name in theirs)


def at_site(environ: Mapping[str, str], site: Site | None) -> dict[str, str]:
    """Return *environ* for the commands that ask *site*, whatever the shell of now would choose.

    >>> at_site({"SLURM_CLUSTERS": "b", "HOME": "/home/me"}, Site("a", (("SLURM_CLUSTERS", None),)))
    {'HOME': '/home/me'}
    """
    if site is None:
        return dict(environ)
    said = dict(site.variables)
    kept = {name: value for name, value in environ.items() if name not in said}
    return {**kept, **{name: value for name, value in said.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class JobKey:
    """What an id of a job means, however it is written: the job, and which one of an array's, None for the whole."""

    job: str
    index: int | None = None


Ask = Callable[[Sequence[str]], Completed]  # runs one of a scheduler's commands
Which = Callable[[str], str | None]  # finds a program: shutil.which
Heard = Callable[[str], None]  # is given a line of an answer that is about no job


def unheard(line: str) -> None:
    """Let a line go that is about no job."""


def unread(job_id: str, command: str, text: str) -> JobStatus:
    """Return a job of which *command* told what cannot be read.

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


class Scheduler(Protocol):
    """One scheduler's dialect."""

    name: str  # "slurm": also the name of its template, slurm.sh.j2

    commands: tuple[str, ...]  # the programs that must be on PATH

    words: Mapping[str, Words]  # by field of JobSpec: how this scheduler is told, or why it is refused

    passes_environment: bool  # whether a job has the variables of the shell that submitted it

    forgotten_is_fulfilled: (
        bool  # whether a dependency on a job that it has forgotten is no hindrance, however that ended
    )

    removes_unfulfillable: (
        bool  # whether a job that depends on a forgotten one, or on one that ended otherwise, is removed without a word
    )

    has_clusters: bool  # whether its commands take the name of a cluster

    def probe_argv(self) -> list[str] | None:
        """Return the command whose answer tells this scheduler from others with commands of the same names."""

    def recognises(self, done: Completed) -> bool:
        """Return whether the answer to `probe_argv`'s command is this scheduler's."""

    def setup_argv(self) -> list[str] | None:
        """Return the command whose answer tells whether this scheduler is set up here, None where none does."""

    def is_set_up(self, done: Completed) -> bool:
        """Return whether the answer to `setup_argv`'s command is that of a scheduler which is set up, if it is down."""

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with what it leaves open and only the site can tell, which *ask* asks; its output is given.

        Raise JobSpecError for what the site cannot do, SchedulerError if it does not answer.
        """

    def check(self, spec: JobSpec) -> None:
        """Raise JobSpecError for a field that this scheduler cannot express; see `refuse_unsaid`."""

    def job_variables(self, environ: Mapping[str, str], directives: Sequence[str], which: Which) -> dict[str, str]:
        """Return the variables that a job needs to find the scheduler's commands, where it would not have them.

        *environ* is that of the submission, *directives* are the user's.
        """

    def directive_word(self, text: str) -> str:
        """Return *text*, which is one line, as one word of a directive."""

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        """Return a file for the output of *spec*, its placeholders in the scheduler's words, all else literal."""

    def appends(self, spec: JobSpec, environ: Mapping[str, str], ask: Ask) -> bool:
        """Return whether a job that is submitted in *environ* leaves in its output file what is there already."""

    def submit_argv(self, script: str) -> list[str]:
        """Return the command that submits the file *script*."""

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        """Return *environ* without what would change the job *spec* behind the user's back.

        Variables of the job that this process is in, of any scheduler, are not passed on to another job.
        """

    def parse_job_id(self, done: Completed) -> str:
        """Return the job id that the submission printed; raise SchedulerError with its words when it failed.

        Raise UnansweredError where the job may have been taken all the same: no id can be read, or it failed and
        printed one.
        """

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Completed | None = None) -> Site:
        """Return the cluster that took *spec*, as the submission in *environ* said, or the one that it will be sent
        to."""

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        """Return one of the commands below, for the cluster of that name."""

    def test_argv(self, script: str) -> list[str] | None:
        """Return the command that asks what would become of *script*, None where there is none."""

    def parse_test(self, done: Completed) -> str:
        """Return what the scheduler thinks of the script; raise SchedulerError with its words if it would refuse it."""

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return *environ* for the commands below, without what would change their output."""

    def key(self, job_id: str) -> JobKey:
        """Return what *job_id*, as users and the scheduler write it, means; raise JobSpecError if it cannot be one."""

    def element_id(self, job_id: str, index: int) -> str:
        """Return the id of one job of the array *job_id*."""

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the commands to ask, in turn, until every job is known: one command for all jobs, never one each.

        The answer about an array has its jobs one by one.
        """

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        """Return the jobs in the answer to one of `status_argv`'s commands, perhaps others as well.

        A job of which the answer cannot be read is `unread`; lines that are about no job, such as a notice of the
        site's, are given to *pass_over*. Raise SchedulerError for an answer that is nothing but such lines.
        """

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Return the command that ends the jobs."""

    def parse_cancel(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be cancelled; a job that has ended is no error."""

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
        """Return the command that puts running jobs back into the queue, None where there is none."""

    def parse_requeue(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be put back."""

    def explain_argv(self, job_id: str) -> list[str]:
        """Return the command that tells all about one job that waits."""

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        """Return why the job of *status* does not run: sentences, those that say what can be changed last.

        *done* is the answer to `explain_argv`'s command, which may have failed.
        """


def refuse_unsaid(scheduler: Scheduler, spec: JobSpec) -> None:
    """Raise JobSpecError for the first field of *spec* that neither *scheduler* nor the script can express."""
    for field in asked_for(spec):
        option, value = OPTIONS[field], getattr(spec, field)
        said = option.said_to(scheduler.words)
        if isinstance(said, Refused):
            shown = f" {value[0]!r}" if isinstance(value, tuple) else f" {value!r}" if isinstance(value, str) else ""
            raise JobSpecError(
                f"the scheduler {scheduler.name!r} cannot express {option.shown}{shown}: {said.instead}", option.name
            )


def check_dependencies(scheduler: Scheduler, spec: JobSpec) -> None:
    """Raise JobSpecError for a job to wait for whose id cannot be one of *scheduler*."""
    for option, job_ids in (
        ("--after", spec.after),
        ("--after-any", spec.after_any),
        ("--after-failure", spec.after_failure),
    ):
        with about(option):
            for job_id in job_ids:
                scheduler.key(job_id)


def double_quoted(text: str) -> str:
    r"""Return *text* as one word for a reader with double quotes and backslashes, such as sbatch's of directives.

    >>> print(double_quoted("a b"), double_quoted('c"d'), double_quoted("e"))
    "a b" "c\"d" e
    """
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without(environ: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """Return *environ* without the variables that begin with one of *prefixes*, but those of the site."""
    return {name: value for name, value in environ.items() if name in _SITE or not name.startswith(prefixes)}


def outside_jobs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the variables of the job that this process is in, whichever scheduler's it is."""
    kept = without(environ, *_OF_JOBS)
    if "JOB_ID" in environ and "SGE_TASK_ID" in environ:  # Grid Engine's have no prefix of their own
        return {name: value for name, value in kept.items() if name not in _OF_GRID_ENGINE_JOBS}
    return kept


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


def perhaps_taken(command: str, done: Completed, job_id: str | None, look: str) -> UnansweredError:
    """Return the error of a submission of which nobody can tell whether it was one; *look* shows the user's jobs."""
    if done.status:
        what = f"{command} failed, but printed the job id {job_id}: {one_line(done)}"
    else:
        what = f"no job id in {command}'s output {short(done.stdout)}"
    return UnansweredError(
        f"{what}; it may have been taken all the same: look for it with {look} before you submit it again"
    )


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
    return "; ".join(list(dict.fromkeys(lines))[-_LINES:]) or f"exit status {done.status}"
