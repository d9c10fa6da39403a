"""PBS's phrase book: qsub, qstat, qdel, qrerun, pbsnodes [their man pages, 1B and 8B; PBS Pro and OpenPBS]."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Optional

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.jobspec import JobSpec
from scoop_hpc.schedulers import pbs_chunks, pbs_reasons, pbs_status
from scoop_hpc.schedulers.base import Ask, Completed, JobKey, JobStatus, Site, one_line, outside_jobs, refuse_unsaid
from scoop_hpc.schedulers.pbs_reasons import advise

_JOB_ID = re.compile(r"([0-9]+)(?:\[([0-9]*)\])?(?:\.[A-Za-z0-9][A-Za-z0-9_.-]*)?")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,230}")  # openpbs src/lib/Libcmds/ck_job_name.c
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=^\[\]-]+")
_VERSION = re.compile(r"pbs_version = |Version: [0-9]", re.IGNORECASE)  # the second is Torque's, which qsub finds out

# what qstat says of jobs that are none any more: forgotten; in its history, for which -x is needed; it keeps no history
_GONE = ("Unknown Job Id", "Job has finished", "not configured to maintain job history")
_ENDED = (*_GONE, "Request invalid for state of job")  # the last: it is about to end

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
_SAID = {  # resources that the script asks for: PBS heeds the first of several -l for one, and says nothing of others
    "select": "use --nodes, --workers-per-node, --cpus-per-worker, --memory or --constraint",
    "place": "use --nodes or --exclusive",
}

_EXPRESSES = MappingProxyType(
    {
        "name": "``-N``",
        "nodes": "``-l select=``, ``-l place=scatter``",
        "workers": "``:mpiprocs=``",
        "workers_per_node": "``:mpiprocs=``; without: as many as a node has CPUs, as pbsnodes tells, and ``excl``",
        "cpus_per_worker": "``:ncpus=``, ``:ompthreads=``",
        "memory_per_node": "``:mem=``",
        "memory_per_cpu": "``:mem=``, times the CPUs",
        "gpus_per_node": "``:ngpus=``",
        "walltime": "``-l walltime=``",
        "queue": "``-q``",
        "account": "``-A``",
        "output": "``-o``",
        "error": "``-e``; without: ``-j oe``",
        "mail_user": "``-M``",
        "mail_events": "``-m``",
        "array": "``-J``",
        "after": "``-W depend=afterok:``",
        "after_any": "``-W depend=afterany:``",
        "after_failure": "``-W depend=afternotok:``",
        "exclusive": "``-l place=scatter:excl``",
        "constraint": "in the chunk",
        "reservation": "``-q``, its queue",
        "licenses": "``-l NAME=N``",
        "begin": "``-a``",
        "requeue": "``-r y``, ``-r n``",
        "directives": "verbatim",
    }
)
_INSTEAD = MappingProxyType(
    {
        "qos": "sites have queues for it, use --queue",
        "signal": "it warns of nothing but its end, leave it out",
        "parallel_environment": "PBS has none, leave it out",
    }
)
_MAIL = {"begin": "b", "end": "e", "fail": "a"}


class PbsScheduler:
    """The dialect of PBS Pro and OpenPBS."""

    name = "pbs"
    commands: tuple[str, ...] = ("qsub", "qstat", "qdel")
    expresses: Mapping[str, str] = _EXPRESSES
    instead: Mapping[str, str] = _INSTEAD
    passes_environment = False
    forgotten_is_fulfilled = False
    removes_unfulfillable = True
    has_clusters = False

    def probe_argv(self) -> Optional[list[str]]:
        return ["qstat", "--version"]

    def recognises(self, done: Completed) -> bool:
        return _VERSION.match(done.stdout.lstrip() or done.stderr.lstrip()) is not None

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with the name of its output that PBS gives it, and with workers for whole nodes."""
        if spec.output is None:
            spec = replace(spec, output=_own_output(spec, "o"))
        if spec.workers is not None or spec.workers_per_node is not None:
            return spec
        done = ask(["pbsnodes", "-av", "-F", "json"])
        if done.status:
            raise SchedulerError(f"pbsnodes failed: {advise(one_line(done))}")
        cpus = pbs_chunks.cpus_of_nodes(done.stdout, spec.queue or "")
        if cpus < spec.cpus_per_worker:
            raise JobSpecError(f"no node has the CPUs for --cpus-per-worker {spec.cpus_per_worker}: they have {cpus}")
        return replace(spec, workers_per_node=cpus // spec.cpus_per_worker, exclusive=True)

    def check(self, spec: JobSpec) -> None:
        refuse_unsaid(self, spec)
        pbs_chunks.check(spec)
        if not _NAME.fullmatch(spec.name):
            raise JobSpecError(
                f"PBS takes no name {spec.name!r}: give by --name up to 230 letters, digits and any of '-_+.'"
            )
        if spec.queue is not None and spec.reservation is not None:
            raise JobSpecError("PBS has a reservation's own queue: give --reservation without --queue")
        if spec.array is not None and len(spec.array.indices) == 1:
            raise JobSpecError(f"PBS takes no array of one job, {spec.array.first}: leave --array out")
        for file in (spec.output, spec.error):
            if file is not None:
                self.file_pattern(spec, file)
        _checked([*spec.after, *spec.after_any, *spec.after_failure])
        said = {**_SAID, **({"walltime": "it is given by --walltime"} if spec.walltime is not None else {})}
        for directive in spec.directives:
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
        """Return an absolute path, or *file* itself if that is the one that PBS chooses."""
        named = file.replace("{name}", spec.name)
        if named in (_own_output(spec, "o"), _own_output(spec, "e")):
            return named
        if "{job_id}" in file:
            raise JobSpecError(
                f"PBS puts {{job_id}} into its own NAME.o{{job_id}} only, not into the file {file!r}: leave --output "
                "and --error out, or name them without"
            )
        path = os.path.join(spec.directory, named.replace("{array_index}", "^array_index^"))
        if ":" in path:
            raise JobSpecError(f"PBS takes what is before the ':' of the file {path!r} for a host: name another")
        return path

    # what the template says in words that need a calculation

    def select(self, spec: JobSpec) -> str:
        """Return the chunks that *spec* asks for."""
        return pbs_chunks.select(spec)

    def place(self, spec: JobSpec) -> str:
        """Return how these are placed."""
        return pbs_chunks.place(spec)

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
        kept = outside_jobs(environ)
        kept.pop("PBS_DPREFIX", None)  # another word for #PBS [qsub(1B), -C]
        return kept

    def parse_job_id(self, done: Completed) -> str:
        if done.status:
            raise SchedulerError(f"qsub refused the job: {advise(one_line(done))}")
        for line in reversed(done.stdout.splitlines()):  # sites' wrappers add lines of their own before it
            if "." in line and _JOB_ID.fullmatch(line.strip()):
                return line.strip()
        raise SchedulerError(f"no job id in qsub's output {done.stdout!r}: look for the job with qstat")

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Optional[Completed] = None) -> Site:
        return Site(variables=tuple((name, environ.get(name) or None) for name in ("PBS_SERVER", "PBS_DEFAULT")))

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        return list(argv)

    def test_argv(self, script: str) -> Optional[list[str]]:
        return None

    def parse_test(self, done: Completed) -> str:
        return ""

    # asking

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return dict(environ)

    def key(self, job_id: str) -> JobKey:
        match = _JOB_ID.fullmatch(_checked([job_id])[0])
        assert match is not None
        return JobKey(match[1], int(match[2]) if match[2] else None)

    def element_id(self, job_id: str, index: int) -> str:
        return job_id.replace("[]", f"[{index}]")

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the command that knows live jobs, and the one that knows ended ones where a site keeps history."""
        ids = _checked(job_ids)
        arrays = ["-t"] if any("[]" in job_id for job_id in ids) else []
        return [["qstat", "-f", *arrays, *ids], ["qstat", "-x", "-f", *arrays, *ids]]

    def parse_status(self, done: Completed) -> list[JobStatus]:
        problems = [line for line in done.stderr.splitlines() if not any(words in line for words in _GONE)]
        if done.status and (problems or not done.stderr):
            raise SchedulerError(f"qstat failed: {advise(one_line(done))}")
        return pbs_status.parse_status(done.stdout)

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *_checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        problems = [line for line in done.stderr.splitlines() if not any(words in line for words in _ENDED)]
        if done.status and (problems or not done.stderr):
            raise SchedulerError(f"qdel failed: {advise(one_line(done))}")

    def requeue_argv(self, job_ids: Sequence[str]) -> Optional[list[str]]:
        return ["qrerun", *_checked(job_ids)]

    def parse_requeue(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"PBS does not run the job again: {advise(one_line(done))}")

    def explain_argv(self, job_id: str) -> list[str]:
        return ["qstat", "-f", *_checked([job_id])]

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        return pbs_reasons.explain(done.stdout, status.job_id, status.reason)


def _own_output(spec: JobSpec, letter: str) -> str:
    """Return the file that PBS chooses where none is said [qsub(1B), -o]."""
    return f"{spec.name}.{letter}{{job_id}}" + ("" if spec.array is None else ".{array_index}")


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


def _checked(job_ids: Sequence[str]) -> Sequence[str]:
    for job_id in job_ids:
        if not _JOB_ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of PBS: write such as '7', '7.server', '7[]' or '7[2]'")
    return job_ids
