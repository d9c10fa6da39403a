"""The base class of the schedulers' adapters: argv out and text in."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from scoop_hpc.errors import JobSpecError, SchedulerError, about
from scoop_hpc.fields.option import Refused, Words
from scoop_hpc.fields.spec import OPTIONS, JobSpec, asked_for, with_default_output
from scoop_hpc.schedulers.answers import Completed, Heard, JobKey, JobStatus, one_line, short, unheard
from scoop_hpc.schedulers.output_patterns import OutputPatterns
from scoop_hpc.schedulers.own_options import OwnOptions
from scoop_hpc.schedulers.queues import Queue
from scoop_hpc.schedulers.reader import Reader
from scoop_hpc.schedulers.site import Site

# what is advised where a scheduler cannot be used; the registry knows whether there is another one here
OR_LOCAL = ", or use --scheduler local"
LOCAL_RUNS = "; --scheduler local runs jobs on this machine"

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]+")

Ask = Callable[[Sequence[str]], Completed]  # runs one of a scheduler's commands
Which = Callable[[str], str | None]  # finds a program: shutil.which


class Scheduler(ABC):
    """The adapter of one scheduler: it says which commands are to be run, and reads what they answer.

    It runs nothing, and reads no file or environment by itself. What a scheduler lacks, its adapter leaves as it is
    here; abstract are only the hooks that every one has: to submit, to ask, to cancel. This is the life of a job:

    **Choosing.** Without ``--scheduler``, the first scheduler is meant whose `commands` are all on PATH. `probe_argv`
    and `recognises` tell it from another with commands of the same names, `setup_argv` and `is_set_up` from one whose
    commands came with a package and have no server.

    **Submitting.** The options become a `JobSpec`: `output_patterns` translates the scheduler's own placeholders in
    ``--output``, `job_variables` adds what a job needs of the environment. `prepare` fills in what only the site can
    tell, for which it may ask; `check` refuses what the scheduler cannot express. The script is rendered from
    `template`, which sees the JobSpec as ``job``, the files as `file_pattern` writes them, and the adapter itself as
    ``scheduler``; each word of a directive goes through `directive_word`. With ``--dry-run``, `test_argv` asks what
    would become of the script, and `parse_test` reads the answer. Else `submit_argv` submits it, in the environment
    that `submit_environ` returns; `parse_job_id` finds the id in the answer, and `site` the cluster that took the job.

    **Asking.** From now on, a job is an id and a site. Each command below runs in the environment that `query_environ`
    returns, and is `directed` to the job's cluster. `status_argv` asks how jobs stand, `parse_status` reads it: PENDING
    (also after a requeue) -> RUNNING <-> SUSPENDED -> one of COMPLETED, FAILED, CANCELLED, TIMEOUT,
    OUT_OF_MEMORY, NODE_FAIL; one that the scheduler has forgotten is in no answer at all. Ids are compared by their
    `key`; `element_id` writes that of one job of an array.

    **Acting.** `cancel_argv` and `parse_cancel` end jobs; `requeue_argv` and `parse_requeue` put running ones back into
    the queue; `explain_argv` and `explain` say why one waits.

    **Looking at the site.** ``scoop-hpc doctor`` runs `version_argv` and `queues_argv`, in the environment that
    `query_environ` returns; `parse_version` and `parse_queues` read what they answer.

    **Running.** On the nodes, the script becomes a run. `reader` tells it which job it is in, on which nodes, and which
    launcher starts a process there.
    """

    name: ClassVar[str]  # "slurm": also the name of its template, slurm.sh.j2

    # it reads the environment of its jobs; None: scoop_hpc has a reader of this name already
    reader: ClassVar[Reader | None] = None

    commands: ClassVar[tuple[str, ...]]  # the programs that must be on PATH

    words: ClassVar[Mapping[str, Words]]  # by field of JobSpec: how it is told, or why not; what is missing is refused

    own_options: ClassVar[OwnOptions | None] = None  # of its submit command: who types one is told ours

    output_patterns: ClassVar[OutputPatterns | None] = None  # what it puts itself into the names of output files

    foreign_patterns: ClassVar[tuple[OutputPatterns, ...]] = ()  # relatives': it takes them literally

    passes_environment: ClassVar[bool] = False  # a job has the variables of the shell that submitted it

    # a dependency on a job that it has forgotten is no hindrance, however that job ended
    forgotten_is_fulfilled: ClassVar[bool] = False

    # a dependency on a job that it does not know is passed over, as on one that ended a moment ago
    ignores_unknown: ClassVar[bool] = False

    # a job that depends on a forgotten one, or on one that ended otherwise, is removed without a word
    removes_unfulfillable: ClassVar[bool] = False

    has_clusters: ClassVar[bool] = False  # its commands take the name of a cluster

    site_variables: ClassVar[tuple[str, ...]] = ()  # they choose the cluster that its commands speak to

    # what is said of a job that was cancelled and left no record
    never_began: ClassVar[str] = (
        "its run never began: somebody cancelled it, or the scheduler did, which could not start it"
    )

    # choosing

    def probe_argv(self) -> list[str] | None:
        """Return the command whose answer tells this scheduler from others with commands of the same names."""
        return None

    def recognises(self, done: Completed) -> bool:
        """Return whether the answer to `probe_argv`'s command is this scheduler's."""
        return True

    def setup_argv(self) -> list[str] | None:
        """Return the command whose answer tells whether this scheduler is set up here, None where none does."""
        return None

    def is_set_up(self, done: Completed) -> bool:
        """Return whether the answer to `setup_argv`'s command is that of a scheduler which is set up, if it is down."""
        return True

    # submitting

    def job_variables(self, environ: Mapping[str, str], directives: Sequence[str], which: Which) -> dict[str, str]:
        """Return the variables that a job needs to find the scheduler's commands, where it would not have them.

        *environ* is that of the submission, *directives* are the user's.
        """
        return {}

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with what it leaves open and only the site can tell, which *ask* asks; its output is given.

        Raise JobSpecError for what the site cannot do, SchedulerError if it does not answer.
        """
        return with_default_output(spec)

    def check(self, spec: JobSpec) -> None:
        """Raise JobSpecError for a field that this scheduler cannot express, or a dependency that is no job's id."""
        refuse_unsaid(self, spec)
        for field in ("after", "after_any", "after_failure"):
            with about(OPTIONS[field].name):
                self.checked(getattr(spec, field))

    def template(self) -> str | None:
        """Return the path of its template's file, NAME.sh.j2; None where it is among scoop_hpc's own, in templates/."""
        return None

    def directive_word(self, text: str) -> str:
        """Return *text*, which is one line, as one word of a directive."""
        return double_quoted(text)

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        """Return a file for the output of *spec*, its placeholders in the scheduler's words, all else literal."""
        return file

    def appends(self, spec: JobSpec, environ: Mapping[str, str], ask: Ask) -> bool:
        """Return whether a job that is submitted in *environ* leaves in its output file what is there already."""
        return False

    @abstractmethod
    def submit_argv(self, script: str) -> list[str]:
        """Return the command that submits the file *script*."""

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        """Return *environ* without what would change the job *spec* behind the user's back.

        The variables of the job that this process is in, of any scheduler, are left out of *environ* already.
        """
        return dict(environ)

    @abstractmethod
    def parse_job_id(self, done: Completed) -> str:
        """Return the job id that the submission printed; raise SchedulerError with its words when it failed.

        Raise PerhapsSubmittedError where the job may have been taken all the same: no id can be read, or it failed and
        printed one. `scoop_hpc.schedulers.answers.SubmitCommand` does so.
        """

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Completed | None = None) -> Site:
        """Return the cluster that took *spec*, as the submission in *environ* said, or the one that it will be sent
        to."""
        return Site(variables=tuple((name, environ.get(name) or None) for name in self.site_variables))

    def test_argv(self, script: str) -> list[str] | None:
        """Return the command that asks what would become of *script*, None where there is none."""
        return None

    def parse_test(self, done: Completed) -> str:
        """Return what the scheduler thinks of the script; raise SchedulerError with its words if it would refuse it."""
        return ""

    # asking

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return *environ* for the commands below, without what would change their output."""
        return dict(environ)

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        """Return one of the commands, for the cluster of that name."""
        return list(argv)

    @abstractmethod
    def key(self, job_id: str) -> JobKey:
        """Return what *job_id*, as users and the scheduler write it, means; raise JobSpecError if it cannot be one."""

    def owns(self, job_id: str) -> bool:
        """Return whether *job_id* can be no other scheduler's, whichever is the one that is meant here."""
        return False

    def checked(self, job_ids: Sequence[str]) -> list[str]:
        """Return *job_ids*; raise JobSpecError for one that cannot be this scheduler's."""
        for job_id in job_ids:
            self.key(job_id)
        return list(job_ids)

    def element_id(self, job_id: str, index: int) -> str:
        """Return the id of one job of the array *job_id*."""
        return f"{job_id}_{index}"

    @abstractmethod
    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the commands to ask, in turn, until every job is known: one command for all jobs, never one each.

        The answer about an array has its jobs one by one.
        """

    @abstractmethod
    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        """Return the jobs in the answer to one of `status_argv`'s commands, perhaps others as well.

        A job of which the answer cannot be read is `unread`; lines that are about no job, such as a notice of the
        site's, are given to *pass_over*. Raise SchedulerError for an answer that is nothing but such lines.
        """

    # acting

    @abstractmethod
    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Return the command that ends the jobs."""

    def parse_cancel(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be cancelled; a job that has ended is no error."""
        if done.status:
            raise SchedulerError(f"{done.argv[0]} failed: {one_line(done)}")

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
        """Return the command that puts running jobs back into the queue, None where there is none."""
        return None

    def parse_requeue(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be put back."""
        if done.status:
            raise SchedulerError(f"{done.argv[0]} failed: {one_line(done)}")

    def explain_argv(self, job_id: str) -> list[str] | None:
        """Return the command that tells all about one job that waits, None where its status is all that there is."""
        return None

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        """Return why the job of *status* does not run: sentences, those that say what can be changed last.

        *done* is the answer to `explain_argv`'s command, which may have failed; an empty one where there is none.
        """
        return [status.reason or "it is about to begin"]

    # looking at the site

    def version_argv(self) -> list[str] | None:
        """Return the command that tells this scheduler's version, None where none does."""
        return None

    def parse_version(self, done: Completed) -> str:
        """Return the scheduler's name and version; raise SchedulerError if the answer is none."""
        raise SchedulerError(f"cannot read a version in {short(done.stdout)}")

    def queues_argv(self, user: str) -> list[str] | None:
        """Return the command that tells which queues *user* may send jobs to, None where there is none."""
        return None

    def parse_queues(self, done: Completed) -> list[Queue]:
        """Return the queues in the answer to `queues_argv`'s command; raise SchedulerError if it cannot be read."""
        raise SchedulerError(f"cannot read queues in {short(done.stdout)}")


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


def double_quoted(text: str) -> str:
    r"""Return *text* as one word for a reader with double quotes and backslashes, such as sbatch's of directives.

    >>> print(double_quoted("a b"), double_quoted('c"d'), double_quoted("e"))
    "a b" "c\"d" e
    """
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
