"""Slurm's phrase book: sbatch, squeue, sacct, scancel [their man pages, section 1; Slurm 20.11 and later]."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Callable, Optional

from scoop_hpc.allocation import Allocation
from scoop_hpc.errors import HostlistError, JobSpecError, SchedulerError
from scoop_hpc.hostlist import expand
from scoop_hpc.jobspec import DEFAULT_OUTPUT, JobSpec, JobState
from scoop_hpc.schedulers import slurm_allocation
from scoop_hpc.schedulers.base import Completed, JobStatus, double_quoted, one_line, outside_jobs, without

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

_ADVICE = (  # what a command says, in lower case: what to do about it; the first that is found
    ("memory specification", "change --memory"),
    ("invalid account", "change --account or --queue"),
    ("partition name", "change --queue"),
    ("requested time limit", "change --walltime"),
    ("--time specification", "change --walltime"),
    ("qos specification", "change --directive '--qos=...'"),
    ("accounting/qos policy", "ask for less by --nodes or --walltime, or change --queue"),
    ("node count", "change --nodes or --queue"),
    ("more processors requested", "change --nodes, --workers-per-node or --cpus-per-worker"),
    ("node configuration", "change --nodes, --workers-per-node or --cpus-per-worker"),
    ("unrecognized option", "change --directive"),
    ("contact slurm controller", "try again later, or use --scheduler local"),
    ("configuration", "set SLURM_CONF, or use --scheduler local"),
)

# sbatch(1), INPUT ENVIRONMENT VARIABLES: they beat the script, so those for what the script says are dropped. Each is
# SBATCH_ and an option's name in capitals, but these
_VARIABLES = {"time": "TIMELIMIT", "mem": "MEM_PER_NODE"}
_SHORT = {
    "A": "account",
    "C": "constraint",
    "D": "chdir",
    "M": "clusters",
    "J": "job-name",
    "a": "array",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
}
_ALWAYS = ("JOB_NAME", "OUTPUT", "ERROR", "ARRAY_INX", "EXCLUSIVE", "OVERCOMMIT", "WAIT", "REQUEUE", "CLUSTERS")

_OURS = {  # directives of the user's that would make status and logs look in the wrong place
    "array": "an array is many jobs: submit each by itself",
    "chdir": "submit from that directory",
    "clusters": "submit on a login node of that cluster",
    "output": "use --output",
}

_JOB_ID = re.compile(r"[0-9]+(?:[_+][0-9]+)?")
_SUBMITTED = re.compile(r"(?:Submitted batch job )?([0-9]+)(?:;\S+| on cluster \S+)?")
_EXIT_CODE = re.compile(r"(?P<exit>[0-9]+):(?P<signal>[0-9]+)|(?P<wait>[0-9]+)")
_NOT_STARTED = 53  # what Slurm gives for a signal when it could not start the script, mostly for its output file
_NO_NODES = ("", "(null)", "None assigned", "Unknown")

# in the order of _parse_line; exit_code is a wait status there, exit:signal in sacct's
_SQUEUE_FORMAT = "JobArrayID:|,State:|,Reason:|,exit_code:|,NodeList:|"
_SACCT_FORMAT = "JobID,State,Reason,ExitCode,NodeList"


class SlurmScheduler:
    """Slurm's dialect."""

    name = "slurm"
    commands: tuple[str, ...] = ("sbatch", "squeue", "scancel")

    def check(self, spec: JobSpec) -> None:
        self.output_pattern(spec)
        for directive in spec.directives:
            option = _option(directive)
            if not option:
                raise JobSpecError(f"the directive {directive!r} is no option of sbatch: write such as '--qos=high'")
            for ours, advice in _OURS.items():
                if ours.startswith(option):  # sbatch takes any beginning that is nobody else's
                    raise JobSpecError(f"the directive {directive!r} would mislead scoop-hpc: {advice}")

    def directive_word(self, text: str) -> str:
        return double_quoted(text)

    def output_pattern(self, spec: JobSpec) -> str:
        """Return an absolute path: Slurm takes ``%`` and a backslash for its own in the directory, too."""
        output = spec.output or DEFAULT_OUTPUT
        path = os.path.join(spec.directory, output)
        if "\\" in path:
            raise JobSpecError(f"Slurm drops the backslash of the output file {path!r}: put it elsewhere by --output")
        return os.path.join(_literally(spec.directory), _literally(output).replace("{job_id}", "%j"))

    def submit_argv(self, script: str) -> list[str]:
        return ["sbatch", "--parsable", script]

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        said = {f"SBATCH_{name}" for name in (*_ALWAYS, *_said(spec))}
        return {name: value for name, value in outside_jobs(environ).items() if name not in said}

    def parse_job_id(self, done: Completed) -> str:
        if done.status:
            raise SchedulerError(f"sbatch refused the job: {_advise(one_line(done))}")
        for line in reversed(done.stdout.splitlines()):  # sites' wrappers add lines of their own before it
            match = _SUBMITTED.fullmatch(line.strip())
            if match:
                return match[1]
        raise SchedulerError(f"no job id in sbatch's output {done.stdout!r}: look for the job with squeue")

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return without(environ, "SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_")

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        ids = ",".join(_checked(job_ids))
        squeue = ["squeue", "--noheader", "--states=all", f"--jobs={ids}", f"--Format={_SQUEUE_FORMAT}"]
        sacct = ["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={ids}", f"--format={_SACCT_FORMAT}"]
        return [squeue, sacct]

    def parse_status(self, done: Completed) -> dict[str, JobStatus]:
        if done.status:
            # squeue(1) of one job that is forgotten; sacct(1) where a site keeps no accounts
            if "Invalid job id specified" in done.stderr or "accounting storage is disabled" in done.stderr:
                return {}
            raise SchedulerError(f"{done.argv[0]} failed: {_advise(one_line(done))}")
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("CLUSTER:")]
        jobs = [_parse_line(done.argv[0], line) for line in lines]
        return {job.job_id: job for job in jobs}

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["scancel", *_checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        ended = ("Invalid job id specified", "already completing or completed")
        problems = [line for line in done.stderr.splitlines() if not any(words in line for words in ended)]
        if done.status and (problems or not done.stderr):
            raise SchedulerError(f"scancel failed: {_advise(one_line(done))}")

    def read_allocation(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Optional[Allocation]:
        return slurm_allocation.read_allocation(environ)


def _literally(path: str) -> str:
    return path.replace("%", "%%")


def _said(spec: JobSpec) -> list[str]:
    """Return what the script of *spec* says, in the words of sbatch's variables."""
    fields = {
        "PARTITION": spec.queue,
        "ACCOUNT": spec.account,
        "TIMELIMIT": spec.walltime,
    }
    said = [name for name, value in fields.items() if value is not None]
    if spec.memory_per_node is not None or spec.workers_per_node is None:
        said += ["MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"]
    for directive in spec.directives:
        option = _option(directive)
        said.append(_VARIABLES.get(option, option.upper().replace("-", "_")))
    return said


def _option(directive: str) -> str:
    """Return the long name of the one option in *directive*, the short one where none is known; empty for none."""
    try:
        first, *others = shlex.split(directive) or [""]
    except ValueError as error:
        raise JobSpecError(f"cannot read the directive {directive!r}: {error}") from error
    if first.startswith("-") and any(other.startswith("-") for other in others):
        raise JobSpecError(f"the directive {directive!r} holds several options: give each one a --directive of its own")
    match = re.match(r"--([a-z][a-z0-9-]*)|-([A-Za-z])", first)
    if match is None:
        return ""
    return match[1] or _SHORT.get(match[2], match[2])


def _checked(job_ids: Sequence[str]) -> Sequence[str]:
    for job_id in job_ids:
        if not _JOB_ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of Slurm: write a number")
    return job_ids


def _parse_line(command: str, line: str) -> JobStatus:
    try:
        job_id, word, reason, exit_code, nodelist = line.rstrip("\n").removesuffix("|").split("|")
        state = _STATES[word.split()[0]]  # also "CANCELLED by 1000"
        nodes = () if nodelist.strip() in _NO_NODES else tuple(expand(nodelist))
        exit_status = _parse_exit_status(state, exit_code)
    except (HostlistError, LookupError, ValueError) as error:
        raise SchedulerError(f"cannot read {command}'s line {line!r}: {error}") from error
    return JobStatus(job_id, state, "" if reason == "None" else reason, nodes, exit_status)


def _parse_exit_status(state: JobState, text: str) -> Optional[int]:
    """Return an exit status as a shell has it; None before the end, or where Slurm gives a failure none (``0:0``)."""
    match = _EXIT_CODE.fullmatch(text)
    if match is None:
        raise ValueError(f"no exit code in {text!r}")
    wait = int(match["wait"] or 0)
    status, signal = (wait >> 8, wait & 0x7F) if match["wait"] else (int(match["exit"]), int(match["signal"]))
    if not state.ended:
        return None
    if signal == _NOT_STARTED:
        return None
    if signal:
        return 128 + signal
    return status if status or state is JobState.COMPLETED else None


def _advise(words: str) -> str:
    """Return a command's words without its decoration, and the option of ours that has to do with them."""
    plain = re.sub(r"\b[a-z_]+: (?:error|fatal): |Batch job submission failed: ", "", words)
    advice = [what for word, what in _ADVICE if word in plain.lower()]
    return f"{plain} ({advice[0]})" if advice else plain
