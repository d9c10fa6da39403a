"""PBS's adapter: qsub, qstat, qdel, qrerun, pbsnodes [their man pages, 1B and 8B; PBS Pro and OpenPBS]."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scoop_hpc.errors import JobSpecError, SchedulerError, about
from scoop_hpc.fields.spec import JobSpec, words_of
from scoop_hpc.schedulers.answers import (
    Completed,
    Heard,
    JobKey,
    JobStatus,
    SubmitCommand,
    complaints,
    one_line,
    unheard,
)
from scoop_hpc.schedulers.base import Ask, Scheduler
from scoop_hpc.schedulers.output_patterns import INDEX, JOB_ID, NAME, OutputPatterns
from scoop_hpc.schedulers.pbs import chunks, queues, reasons
from scoop_hpc.schedulers.pbs import status as pbs_status
from scoop_hpc.schedulers.pbs.allocation import PbsReader
from scoop_hpc.schedulers.pbs.options import QSUB_OF_PBS
from scoop_hpc.schedulers.pbs.reasons import advise
from scoop_hpc.schedulers.queues import Queue

_JOB_ID = re.compile(r"([0-9]+)(?:\[([0-9]*)\])?(?:\.[A-Za-z0-9][A-Za-z0-9_.-]*)?")
_QSUB = SubmitCommand(
    "qsub",
    re.compile(r"([0-9]+(?:\[\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*)"),
    (re.compile(r"(?<![\w.-])([0-9]+(?:\[\])?\.[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9])"),),
    look="qstat",
)
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,230}")  # openpbs src/lib/Libcmds/ck_job_name.c
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=^\[\]-]+")
_VERSION = re.compile(
    r"^\s*(?:pbs_version = |Version: [0-9])", re.IGNORECASE | re.MULTILINE
)  # the second is Torque's, which qsub finds out

# what qstat says of jobs that are none any more: forgotten; in its history, for which -x is needed; it keeps no history
_GONE = ("Unknown Job Id", "Job has finished", "not configured to maintain job history")
_ENDED = (*_GONE, "Request invalid for state of job")  # the last: it is about to end

_OF_QSTAT, _OF_QDEL = re.compile("qstat:"), re.compile("qdel:")  # how a line of their own begins

_OURS = {  # options that would make status and logs look in the wrong place
    "o": "use --output",
    "e": "use --error",
    "j": "use --error",
    "k": "leave it out",
    "J": "use --array",
    "N": "use --name",
    "C": "leave it out",
    "I": "an interactive job is no script",
    "z": "without its id nothing is known of the job",
    "R": "it removes the output",
}
_IN_CHUNKS = {  # what qsub refuses beside select
    "ncpus": "use --cpus-per-worker",
    "mem": "use --memory",
    "nodes": "use --nodes",
    "ngpus": "use --gpus-per-node",
    "mpiprocs": "use --workers-per-node",
    "ompthreads": "use --cpus-per-worker",
    "host": "use --constraint",
    "vnode": "use --constraint",
    "arch": "use --constraint",
}
_SAID = {  # resources that the script asks for: PBS heeds the first of several -l for one, and says nothing of others
    "select": "use --nodes, --workers-per-node, --cpus-per-worker, --memory or --constraint",
    "place": "use --nodes or --exclusive",
}

_IN_SCRIPT = {"{job_id}": '"${PBS_JOBID%%[!0-9]*}"', "{array_index}": '"$PBS_ARRAY_INDEX"'}  # placeholders of files
_MAIL = {"begin": "b", "end": "e", "fail": "a"}

_TORQUE = OutputPatterns(
    "Torque",
    re.compile(r"\$\{?(PBS_JOBID|PBS_JOBNAME|PBS_ARRAYID|PBS_ARRAY_INDEX)\b\}?"),
    {"PBS_JOBID": JOB_ID, "PBS_JOBNAME": NAME, "PBS_ARRAYID": INDEX, "PBS_ARRAY_INDEX": INDEX},
)


class PbsScheduler(Scheduler):
    """The adapter of PBS Pro and OpenPBS."""

    name = "pbs"
    reader = PbsReader()
    commands = ("qsub", "qstat", "qdel")
    words = words_of("pbs")
    own_options = QSUB_OF_PBS
    output_patterns = OutputPatterns("PBS", re.compile(r"\^(array_index)\^"), {"array_index": INDEX})  # qsub(1B), -o
    foreign_patterns = (_TORQUE,)
    removes_unfulfillable = True
    site_variables = ("PBS_SERVER", "PBS_DEFAULT")

    def probe_argv(self) -> list[str] | None:
        return ["qstat", "--version"]

    def recognises(self, done: Completed) -> bool:
        return _VERSION.search(done.stdout.strip() or done.stderr) is not None

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with the name of its output that PBS gives it, and with workers for whole nodes."""
        if spec.output is None:
            spec = replace(spec, output=_own_output(spec))
        if spec.workers is not None or spec.workers_per_node is not None:
            return spec
        done = ask(["pbsnodes", "-av", "-F", "json"])
        if done.status:
            raise SchedulerError(f"pbsnodes failed: {advise(one_line(done))}")
        cpus = chunks.cpus_of_nodes(done.stdout, spec.queue or "")
        if cpus < spec.cpus_per_worker:
            raise JobSpecError(
                f"no node has the CPUs for --cpus-per-worker {spec.cpus_per_worker}: they have {cpus}",
                "--cpus-per-worker",
            )
        return replace(spec, workers_per_node=cpus // spec.cpus_per_worker, exclusive=True)

    def check(self, spec: JobSpec) -> None:
        super().check(spec)
        chunks.check(spec)
        if not _NAME.fullmatch(spec.name):
            raise JobSpecError(
                f"PBS takes no name {spec.name!r}: give by --name up to 230 letters, digits and any of '-_+.'",
                "--name",
            )
        if spec.queue is not None and spec.reservation is not None:
            raise JobSpecError(
                "PBS has a reservation's own queue: give --reservation without --queue", "--reservation", "--queue"
            )
        if spec.array is not None and len(spec.array.indices) == 1:
            raise JobSpecError(f"PBS takes no array of one job, {spec.array.first}: leave --array out", "--array")
        if spec.mail_user is not None and not spec.mail_user.isascii():
            raise JobSpecError(f"PBS takes no --mail-user {spec.mail_user!r}: give an address in ASCII", "--mail-user")
        said = {**_SAID, **({"walltime": "it is given by --walltime"} if spec.walltime is not None else {})}
        for directive in spec.directives:
            with about("--directive"):
                _check_directive(directive, said)

    def directive_word(self, text: str) -> str:
        r"""Return *text* in quotes that all versions read alike: a backslash within double ones some take for itself.

        >>> print(PbsScheduler().directive_word("a b"), PbsScheduler().directive_word("it's"))
        'a b' "it's"
        """
        if _PLAIN.fullmatch(text):
            return text
        if "'" not in text:
            return f"'{text}'"
        if '"' not in text and "\\" not in text:
            return f'"{text}"'
        raise JobSpecError(f"PBS cannot read {text!r}, for its quotes: write it without a single quote")

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        """Return an absolute path as a word of bash: the script opens its output itself, under any name.

        >>> spec = JobSpec(("pi.py",), "/home/me", "pi")
        >>> print(PbsScheduler().file_pattern(spec, "a b/{name}.{job_id}"))
        /home/me/'a b/'pi."${PBS_JOBID%%[!0-9]*}"
        """
        words = {**_IN_SCRIPT, "{name}": shlex.quote(spec.name)}
        parts = re.split(f"({'|'.join(map(re.escape, words))})", file)
        named = "".join(words.get(part) or shlex.quote(part) for part in parts if part)
        return named if os.path.isabs(file) else shlex.quote(os.path.join(spec.directory, "")) + named

    # what the template says in words that need a calculation

    def select(self, spec: JobSpec) -> str:
        """Return the chunks that *spec* asks for."""
        return chunks.select(spec)

    def place(self, spec: JobSpec) -> str:
        """Return how these are placed."""
        return chunks.place(spec)

    def begin(self, spec: JobSpec) -> str:
        """Return the time to begin as ``-a`` has it: ``CCYYMMDDhhmm.SS``."""
        digits = re.sub("[^0-9]", "", spec.begin or "")
        return f"{digits[:12]}.{digits[12:]}"

    def mail_points(self, spec: JobSpec) -> str:
        """Return the events as ``-m`` has them."""
        return "".join(letter for event, letter in _MAIL.items() if event in spec.mail_events)

    def license(self, text: str) -> str:
        """Return a licence as ``-l`` has it."""
        name, _, count = text.partition(":")
        return f"{name}={count or 1}"

    # submitting

    def submit_argv(self, script: str) -> list[str]:
        return ["qsub", script]

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        # another word for #PBS [qsub(1B), -C]
        return {name: value for name, value in environ.items() if name != "PBS_DPREFIX"}

    def parse_job_id(self, done: Completed) -> str:
        said = done.stderr.partition("\nusage: ")[0]  # the reason is the first line, its usage has seven
        return _QSUB.job_id(replace(done, stderr=said), advise)

    # asking

    def key(self, job_id: str) -> JobKey:
        match = _JOB_ID.fullmatch(job_id)
        if match is None:
            raise JobSpecError(f"{job_id!r} is no job id of PBS: write such as '7', '7.server', '7[]' or '7[2]'")
        return JobKey(match[1], int(match[2]) if match[2] else None)

    def element_id(self, job_id: str, index: int) -> str:
        return job_id.replace("[]", f"[{index}]")

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the command that knows live jobs, and the one that knows ended ones where a site keeps history."""
        ids = self.checked(job_ids)
        arrays = ["-t"] if any("[]" in job_id for job_id in ids) else []
        return [["qstat", "-f", *arrays, *ids], ["qstat", "-x", "-f", *arrays, *ids]]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        if done.status and complaints(done.stderr.splitlines(), _GONE, _OF_QSTAT) != []:
            raise SchedulerError(f"qstat failed: {advise(one_line(done))}")
        numbers = frozenset(match[1] for match in map(_JOB_ID.fullmatch, done.argv[1:]) if match)
        return pbs_status.parse_status(done.stdout, numbers, pass_over, may_be_none=bool(done.status))

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *self.checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        if done.status and complaints(done.stderr.splitlines(), _ENDED, _OF_QDEL) != []:
            raise SchedulerError(f"qdel failed: {advise(one_line(done))}")

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
        return ["qrerun", *self.checked(job_ids)]

    def parse_requeue(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"PBS does not run the job again: {advise(one_line(done))}")

    def explain_argv(self, job_id: str) -> list[str] | None:
        return ["/bin/sh", "-c", reasons.PASSES, "scoop-hpc", *self.checked([job_id])]

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        return reasons.explain(done.stdout, status.job_id, status.reason)

    def version_argv(self) -> list[str] | None:
        return ["qstat", "--version"]

    def parse_version(self, done: Completed) -> str:
        return queues.read_version(done)

    def queues_argv(self, user: str) -> list[str] | None:
        return ["qstat", "-Q", "-f", "-F", "json"]

    def parse_queues(self, done: Completed) -> list[Queue]:
        if done.status:
            raise SchedulerError(f"qstat failed: {advise(one_line(done))}")
        return queues.read(done.stdout)


def _own_output(spec: JobSpec) -> str:
    """Return the file that PBS would choose where none is said [qsub(1B), -o]."""
    return f"{spec.name}.o{{job_id}}" + ("" if spec.array is None else ".{array_index}")


def _check_directive(directive: str, said: Mapping[str, str]) -> None:
    try:
        words = shlex.split(directive)
    except ValueError as error:
        raise JobSpecError(f"cannot read the directive {directive!r}: {error}") from error
    options = [word for word in words if re.match("-[A-Za-z]", word)]
    if not words or words[0] not in options and not re.match("-[A-Za-z]", words[0]):
        raise JobSpecError(f"the directive {directive!r} is no option of qsub: write such as '-p 10'")
    for option in options:
        if option[1] in _OURS:
            raise JobSpecError(f"the directive {directive!r} would mislead scoop-hpc: {_OURS[option[1]]}")
    for name in _names(words, "-l"):
        if name in _IN_CHUNKS:
            raise JobSpecError(
                f"PBS takes no {name} beside select, as in the directive {directive!r}: {_IN_CHUNKS[name]}"
            )
        if name in said:
            raise JobSpecError(f"PBS would not heed the directive {directive!r}: {said[name]}")
    if "block" in _names(words, "-W"):
        raise JobSpecError(f"with the directive {directive!r} qsub would wait: leave it out, and use submit --wait")
    if "#" in words:
        raise JobSpecError(f"the directive {directive!r} holds a comment, which PBS takes none of: leave it out")


def _names(words: Sequence[str], option: str) -> list[str]:
    """Return what an option's values set.

    >>> _names(["-l", "walltime=60,place=free", "-p", "5", "-lx=1"], "-l")
    ['walltime', 'place', 'x']
    """
    values = [value for word, value in zip(words, words[1:]) if word == option]
    values += [word[len(option) :] for word in words if word.startswith(option) and word != option]
    return [part.partition("=")[0] for value in values for part in value.split(",")]
