"""Grid Engine's adapter: qsub, qstat, qacct, qdel, qmod, qconf [their man pages, section 1, and sge_types(5)].

It speaks to Son of Grid Engine 8.1.9, and to what the others share with it: Sun's 6.2, Univa's and Altair's, Open
Cluster Scheduler.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from scoop_hpc.errors import JobSpecError, SchedulerError, about
from scoop_hpc.fields.spec import JobSpec, default_output, with_default_output, words_of
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
from scoop_hpc.schedulers.base import Ask, Scheduler, refuse_unsaid
from scoop_hpc.schedulers.output_patterns import HOME, INDEX, JOB_ID, NAME, NOT_YET, USER, OutputPatterns
from scoop_hpc.schedulers.queues import Queue
from scoop_hpc.schedulers.sge import environments, queues, reasons
from scoop_hpc.schedulers.sge.allocation import SgeReader
from scoop_hpc.schedulers.sge.options import QSUB_OF_SGE
from scoop_hpc.schedulers.sge.reasons import advise
from scoop_hpc.schedulers.sge.status import read_accounts, read_listing

_OURS = {  # directives of the user's that would make status and logs look in the wrong place, or the run miscount
    "-t": "use --array",
    "-tc": "use --array",
    "-o": "use --output",
    "-e": "use --error",
    "-j": "use --error",
    "-N": "use --name",
    "-pe": "use --pe",
    "-cwd": "submit from that directory",
    "-wd": "submit from that directory",
    "-S": "the script is bash's",
    "-C": "leave it out",
    "-b": "leave it out",
    "-sync": "use --wait",
    "-terse": "leave it out",
    "-now": "leave it out",
}

# what qstat -help begins with: "SGE 8.1.9", "GE 6.2u5", "OGS/GE 2011.11p1", "UGE 8.6", "AGE 2023.1", "OCS 9.0"
_BANNER = re.compile(r"^\s*(?:(?:OGS/|[SUAO])?GE\s|[OG]CS\s|.*\bGrid Engine\b|.*\bCluster Scheduler\b)", re.MULTILINE)
_JOB_ID = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_QSUB = SubmitCommand(
    "qsub",
    re.compile(r"([0-9]+)(?:\.[0-9]+-[0-9]+:[0-9]+)?"),
    (
        re.compile(r"[Yy]our job(?:-array)? ([0-9]+)[. ].*has been submitted"),
        re.compile(
            r"^([0-9]+)(?:\.[0-9]+-[0-9]+:[0-9]+)? +(?:[(\[#:,-].*|.*\b(?:job|submitted|queue)\b.*)", re.IGNORECASE
        ),
    ),
    look="qstat",
)
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=$-]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+=,-]")
_PSEUDO = re.compile(r"\$(?:HOME|USER|JOB_ID|JOB_NAME|HOSTNAME|TASK_ID)\b")  # submit(1), -o
_PE_NAME = re.compile(r"[^\s/:@\\*?]+")  # sge_types(5), object_name
_INSTANCE = re.compile(r"^\s*\S+@\S+\s*$", re.MULTILINE)  # of a queue
_VERIFIED = re.compile(r"verification: (found .*)")
_OF_QDEL = re.compile(r".*\b(?:denied|error|critical|unable|cannot|can't|not)\b", re.IGNORECASE)
_OF_QMOD = re.compile(r".*\b(?:job|queue|denied|error|critical|unable)\b", re.IGNORECASE)
_NO_ACCOUNTS = ("not found", "no jobs running since startup", "No such file or directory", "Permission denied")
_RECENT = 3  # days: the accounts of all days take minutes to read at a large site
_PATTERNS = OutputPatterns(  # submit(1), -o
    "Grid Engine",
    re.compile(r"\$(JOB_ID|TASK_ID|JOB_NAME|USER|HOME|HOSTNAME|HOST)\b"),
    {"JOB_ID": JOB_ID, "TASK_ID": INDEX, "JOB_NAME": NAME, "USER": USER, "HOME": HOME},
    dict.fromkeys(("HOSTNAME", "HOST"), f"is the first node's name, and {NOT_YET}"),
)


class SgeScheduler(Scheduler):
    """Grid Engine's adapter; *owner* returns the name of the user whose jobs are asked for."""

    name = "sge"
    reader = SgeReader()
    commands = ("qsub", "qstat", "qdel", "qconf")
    words = words_of("sge")
    own_options = QSUB_OF_SGE
    output_patterns = _PATTERNS
    ignores_unknown = True
    site_variables = ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT")

    def __init__(self, owner: Callable[[], str]) -> None:
        self._owner = owner

    def probe_argv(self) -> list[str] | None:
        return ["qstat", "-help"]

    def recognises(self, done: Completed) -> bool:
        return _BANNER.search(done.stdout.strip() or done.stderr) is not None

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        """Return *spec* with a name that Grid Engine takes, and the parallel environment that fits."""
        refuse_unsaid(self, spec)
        spec = replace(with_default_output(spec), name=_usable_name(spec.name))
        wanted = spec.parallel_environment
        if wanted is None and _is_serial(spec):
            return spec
        lines = [line.strip() for line in _answer(ask(["qconf", "-spl"])).splitlines()]
        names = [line for line in lines if _PE_NAME.fullmatch(line)]  # what else there is, a site's wrapper printed
        known = [
            environments.parse_environment(_answer(ask(["qconf", "-sp", name])))
            for name in environments.named(wanted, names)
        ]
        fitting = environments.usable(spec, known)
        queue = [] if spec.queue is None else ["-q", spec.queue]
        for each in fitting:
            if _INSTANCE.search(ask(["qselect", "-pe", each.name, *queue]).stdout):
                per_node = spec.workers_per_node
                if spec.workers is None and per_node is None:
                    per_node = each.per_host // spec.cpus_per_worker
                return replace(spec, parallel_environment=each.name, workers_per_node=per_node)
        if queue and not _INSTANCE.search(ask(["qselect", *queue]).stdout):
            raise JobSpecError(
                f"no host has the queue {spec.queue!r}: qconf -sql lists those that there are; change --queue",
                "--queue",
            )
        where = f"the queue {spec.queue!r} does not have" if spec.queue is not None else "no queue has"
        which = " or ".join(repr(each.name) for each in fitting)
        raise JobSpecError(
            f"{where} the parallel environment {which}: change --queue or --pe, or ask for other numbers of workers",
            "--queue",
            "--pe",
        )

    def check(self, spec: JobSpec) -> None:
        super().check(spec)
        for option, file in (("--output", spec.output), ("--error", spec.error)):
            with about(option):
                self.file_pattern(spec, file or default_output(spec))
        if spec.name != _usable_name(spec.name):
            raise JobSpecError(
                f"Grid Engine takes no job name {spec.name!r}: write letters, digits, _ . + = , -", "--name"
            )
        for job_id in spec.after_any:
            if self.key(job_id).index is not None:
                raise JobSpecError(
                    f"--after-any {job_id}: Grid Engine waits for whole jobs, write the number alone", "--after-any"
                )
        if spec.array is not None and spec.array.first < 1:
            raise JobSpecError(
                f"the array begins with {spec.array.first}: Grid Engine's begin with 1 or more", "--array"
            )
        if spec.signal is not None and spec.walltime is None:
            raise JobSpecError("--signal counts from the end, which is not known: give --walltime as well", "--signal")
        if spec.parallel_environment is None and not _is_serial(spec):
            raise JobSpecError(
                "a job of several slots needs a parallel environment: give --pe", "--workers", "--workers-per-node"
            )
        for option, text in (("prologue", "\n".join(spec.prologue)), ("setup", "\n".join(spec.setup))):
            if (line := next((each for each in text.split("\n") if each.startswith("#$")), None)) is not None:
                raise JobSpecError(
                    f"the {option} {line!r} would be a directive: give it as --directive, without #$", f"--{option}"
                )
        for directive in spec.directives:
            with about("--directive"):
                _check_directive(directive)

    def directive_word(self, text: str) -> str:
        """Return *text* within double quotes if need be: within them, all but a quote and ``#`` is itself."""
        if _PLAIN.fullmatch(text):
            return text
        unsayable = [character for character in "#\"'" if character in text]
        if unsayable:
            raise JobSpecError(f"Grid Engine cannot read {unsayable[0]} in {text!r}: write it without")
        return f'"{text}"'

    def slots(self, spec: JobSpec) -> int:
        """Return how many slots *spec* asks for; for the template."""
        return environments.slots(spec)

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        path = os.path.join(spec.directory, file)
        pseudo = _PSEUDO.search(path)
        if pseudo is not None or "," in path:
            what = pseudo[0] if pseudo is not None else ","
            raise JobSpecError(f"Grid Engine means something else by {what} in the output file {path!r}: change it")
        path = path.replace("{job_id}", "$JOB_ID").replace("{array_index}", "$TASK_ID").replace("{name}", spec.name)
        return f":{path}" if ":" in path else path  # else what is before the colon is a host

    def appends(self, spec: JobSpec, environ: Mapping[str, str], ask: Ask) -> bool:
        return True

    def submit_argv(self, script: str) -> list[str]:
        return ["qsub", "-terse", script]

    def parse_job_id(self, done: Completed) -> str:
        return _QSUB.job_id(done, advise)

    def test_argv(self, script: str) -> list[str] | None:
        return ["qsub", "-w", "v", script]

    def parse_test(self, done: Completed) -> str:
        found = _VERIFIED.search(done.stdout)
        if done.status or found is None:
            never = "no suitable queues" in done.stdout + done.stderr
            what = "take the job, but it could never begin" if never else "refuse the job"
            raise SchedulerError(f"qsub would {what}: {advise(one_line(done))}")
        return found[1].strip()

    def key(self, job_id: str) -> JobKey:
        match = _JOB_ID.fullmatch(job_id)
        if match is None:
            raise JobSpecError(
                f"{job_id!r} is no job id of Grid Engine: write a number, or NUMBER.INDEX for one of an array"
            )
        return JobKey(match[1], None if match[2] is None else int(match[2]))

    def element_id(self, job_id: str, index: int) -> str:
        return f"{job_id}.{index}"

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        jobs = list(dict.fromkeys(self.key(job_id).job for job_id in job_ids))
        listing = ["qstat", "-u", "$user", "-g", "t", "-xml"]  # qstat(1): $user stands for the caller's name
        if len(jobs) == 1:
            return [listing, ["qacct", "-j", jobs[0]]]
        mine = ["qacct", "-o", self._owner()]
        return [listing, [*mine, "-d", str(_RECENT), "-j"], [*mine, "-j"]]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        if done.argv[0] == "qstat":
            if done.status:
                raise SchedulerError(f"qstat failed: {advise(one_line(done))}")
            return read_listing(done.stdout, pass_over)
        if done.status and not any(words in done.stderr + done.stdout for words in _NO_ACCOUNTS):
            raise SchedulerError(f"qacct failed: {advise(one_line(done))}")
        return [] if done.status else read_accounts(done.stdout, pass_over)

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *self.checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip(". \t")]
        done_with = ("does not exist", "is already in deletion", "has registered", "has deleted")
        problems = complaints(lines, done_with, _OF_QDEL)
        if done.status and problems != []:
            raise SchedulerError(f"qdel failed: {advise('; '.join(problems or lines) or one_line(done))}")

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
        return ["qmod", "-rj", *self.checked(job_ids)]

    def parse_requeue(self, done: Completed) -> None:
        """Raise SchedulerError if a job was not put back: qmod ends with 0 all the same."""
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        problems = complaints(lines, ["Pushed rescheduling"], _OF_QMOD)
        problems = lines if problems is None else problems
        if any("not rerunable" in line for line in problems):
            raise SchedulerError(f"{problems[0]} Only a job submitted with --requeue goes back into the queue")
        if done.status or problems:
            raise SchedulerError(f"qmod cannot requeue the job: {advise('; '.join(problems) or one_line(done))}")

    def explain_argv(self, job_id: str) -> list[str] | None:
        return ["/bin/sh", "-c", reasons.PASSES, "scoop-hpc", self.key(job_id).job]

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        if "select error" in done.stderr or "unable to send message" in done.stderr:
            raise SchedulerError(f"Grid Engine does not answer: {advise(one_line(done))}")
        return reasons.explain(self.key(status.job_id).job, done.stdout)

    def version_argv(self) -> list[str] | None:
        return ["qstat", "-help"]

    def parse_version(self, done: Completed) -> str:
        return queues.read_version(done)

    def queues_argv(self, user: str) -> list[str] | None:
        return ["qstat", "-F", "h_rt", "-U", user]

    def parse_queues(self, done: Completed) -> list[Queue]:
        return queues.read(_answer(done))


def _answer(done: Completed) -> str:
    if done.status:
        raise SchedulerError(f"{done.argv[0]} failed: {advise(one_line(done))}")
    return done.stdout


def _is_serial(spec: JobSpec) -> bool:
    """Return whether *spec* asks for one slot: that needs no parallel environment."""
    said = spec.workers is not None or spec.workers_per_node is not None
    return said and environments.slots(spec) == 1


def _usable_name(name: str) -> str:
    """Return *name* with ``_`` for what Grid Engine does not take in one [sge_types(5), object_name].

    >>> _usable_name("my pi:2"), _usable_name("3d")
    ('my_pi_2', '_3d')
    """
    usable = _NOT_IN_NAMES.sub("_", name)
    return f"_{usable}" if usable[0].isdigit() or usable[0] in ".-+" else usable


def _check_directive(directive: str) -> None:
    if "#" in directive:
        raise JobSpecError(f"Grid Engine drops what follows # in the directive {directive!r}: write it without")
    try:
        first = (shlex.split(directive) or [""])[0]
    except ValueError as error:
        raise JobSpecError(f"cannot read the directive {directive!r}: {error}") from error
    if not re.fullmatch(r"-[A-Za-z_]+", first):
        raise JobSpecError(f"the directive {directive!r} is no option of qsub: write such as '-l gpu=1'")
    if first in _OURS:
        raise JobSpecError(f"the directive {directive!r} would mislead scoop-hpc: {_OURS[first]}")
