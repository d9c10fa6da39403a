"""Slurm's adapter: sbatch, squeue, sacct, scancel [their man pages, section 1; Slurm 20.11 and later]."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence

from scoop_hpc.errors import JobSpecError, PerhapsSubmittedError, SchedulerError, UnansweredError, about
from scoop_hpc.fields.spec import JobSpec, default_output, whole_nodes, words_of
from scoop_hpc.schedulers.answers import (
    Completed,
    Heard,
    JobKey,
    JobStatus,
    SubmitCommand,
    complaints,
    one_line,
    unheard,
    without_colour,
)
from scoop_hpc.schedulers.base import Ask, Scheduler, Which
from scoop_hpc.schedulers.output_patterns import INDEX, JOB_ID, NAME, NOT_YET, USER, OutputPatterns
from scoop_hpc.schedulers.queues import Queue
from scoop_hpc.schedulers.site import Site
from scoop_hpc.schedulers.slurm import queues, reasons
from scoop_hpc.schedulers.slurm.allocation import SlurmReader
from scoop_hpc.schedulers.slurm.directives import CPUS, EXCLUSIVE, MEMORY, option_in, ruled_out, value_in
from scoop_hpc.schedulers.slurm.options import SBATCH
from scoop_hpc.schedulers.slurm.reasons import advise
from scoop_hpc.schedulers.slurm.status import SACCT_FORMAT, SQUEUE_FORMAT, read_lines

# sbatch(1), INPUT ENVIRONMENT VARIABLES: they beat the script, so those for what the script says are dropped. Each is
# SBATCH_ and an option's name in capitals, but these
_VARIABLES = {"time": "TIMELIMIT", "mem": "MEM_PER_NODE"}
_FIELD_VARIABLES = {
    "queue": "PARTITION",
    "account": "ACCOUNT",
    "walltime": "TIMELIMIT",
    "constraint": "CONSTRAINT",
    "qos": "QOS",
    "reservation": "RESERVATION",
    "signal": "SIGNAL",
}
_ALWAYS = ("JOB_NAME", "OUTPUT", "ERROR", "ARRAY_INX", "EXCLUSIVE", "OVERCOMMIT", "WAIT", "REQUEUE")

_OURS = {  # directives of the user's that would make submit wait, or status and logs look in the wrong place
    "array": "use --array",
    "chdir": "use --chdir",
    "output": "use --output",
    "error": "use --error",
    "wait": "use --wait",
    "test-only": "use --dry-run",
}

# of sbatch when its request may have reached the controller [slurm src/common/slurm_errno.c]
_UNANSWERED = ("timed out", "Zero Bytes were transmitted or received", "Message receive failure")
# of any command where there is no slurm.conf, nor who has one [slurm src/common/read_config.c, fetch_config.c]
_NOT_SET_UP = ("configuration", "slurm.conf")
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")  # what shells find programs on where nobody says

_JOB_ID = re.compile(r"([0-9]+)(?:_([0-9]+))?(?:\+[0-9]+)?")
_SBATCH = SubmitCommand(
    "sbatch",
    re.compile(r"(?:Submitted batch job )?([0-9]+)(?:;\S+| on cluster \S+)?"),
    (
        re.compile(r"\bSubmitted batch job ([0-9]+)\b"),
        re.compile(r"^([0-9]+)(?:;\S+)? +(?:[(\[#:,-].*|.*\b(?:job|submitted|queued|partition)\b.*)", re.IGNORECASE),
    ),
    look="squeue",
)

_OF_COMMANDS = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_")  # variables that change what they print
_OF_SCANCEL = re.compile("scancel: ")  # how a line of its own begins
_OF_REQUEUE = re.compile(r"[0-9][0-9_,\[\]%-]*: |scontrol: |slurm_\w+ ")

_PATTERNS = OutputPatterns(  # sbatch(1), FILENAME PATTERN; b, r and S since 24.11
    "Slurm",
    re.compile(r"%[0-9]*([AJNSabjnrstux])"),
    {"j": JOB_ID, "A": JOB_ID, "a": INDEX, "x": NAME, "u": USER},
    {
        "J": "is a job's step: write {job_id}",
        "N": f"is the first node's name, and {NOT_YET}",
        "n": "is a step's: leave it out",
        "s": "is a step's: leave it out",
        "t": "is a step's: leave it out",
        "b": "is something else to older versions of Slurm: write {array_index}",
        "r": f"counts restarts, and {NOT_YET}",
        "S": "is something else to older versions of Slurm: leave it out",
    },
    untold_in_arrays={"j": "in an array a number of its own for each job: write %A, the array's, and %a"},
    doubled="%",
    relatives={"J": JOB_ID},  # LSF's
)


class SlurmScheduler(Scheduler):
    """Slurm's adapter."""

    name = "slurm"
    reader = SlurmReader()
    commands = ("sbatch", "squeue", "scancel")
    words = words_of("slurm")
    own_options = SBATCH
    output_patterns = _PATTERNS
    passes_environment = True
    forgotten_is_fulfilled = True
    has_clusters = True
    never_began = (
        "its run never began: somebody cancelled it, or Slurm did, which could not start it; with "
        "SBATCH_EXPORT=NONE your login shell has to succeed on the node, whose slurmd logs what failed"
    )

    def setup_argv(self) -> list[str] | None:
        return ["scontrol", "ping"]

    def is_set_up(self, done: Completed) -> bool:
        return not (done.status and any(words in done.stderr for words in _NOT_SET_UP))

    def check(self, spec: JobSpec) -> None:
        super().check(spec)
        for option, file in (("--output", spec.output or default_output(spec)), ("--error", spec.error)):
            if file is not None:
                with about(option):
                    self.file_pattern(spec, file)
        for directive in spec.directives:
            with about("--directive"):
                _check_directive(directive)
        ruled = self.ruled_out(spec)
        for option, ours in ((MEMORY, _memory_option(spec)), (CPUS, _cpus_option(spec)), (EXCLUSIVE, _exclusive(spec))):
            if ours and option in ruled:
                raise JobSpecError(
                    f"{ours} and the directive {ruled[option]!r} exclude each other: give one",
                    ours.split()[0],
                    "--directive",
                )

    def ruled_out(self, spec: JobSpec) -> Mapping[str, str]:
        """Return which options cannot be in a script beside the directives of *spec*; for the template."""
        return ruled_out(spec.directives)

    def job_variables(self, environ: Mapping[str, str], directives: Sequence[str], which: Which) -> dict[str, str]:
        """Give a job that gets no environment a PATH on which srun is [sbatch(1), --export]."""
        given = [value_in(each) for each in directives if option_in(each) == "export"]
        export = given[-1] if given else environ.get("SBATCH_EXPORT", "")
        srun = which("srun")
        if export.split(",")[0] != "NIL" or srun is None:
            return {}
        return {"PATH": ":".join(dict.fromkeys([os.path.dirname(os.path.abspath(srun)), *_PATH]))}

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        """Return an absolute path: Slurm takes ``%`` and a backslash for its own in the directory, too."""
        path = os.path.join(spec.directory, file.replace("{name}", spec.name))
        if "\\" in path:
            raise JobSpecError(f"Slurm drops the backslash of the output file {path!r}: put it elsewhere by --output")
        pattern = _literally(file).replace("{job_id}", "%j" if spec.array is None else "%A")
        pattern = pattern.replace("{array_index}", "%a").replace("{name}", _literally(spec.name))
        return os.path.join(_literally(spec.directory), pattern)

    def appends(self, spec: JobSpec, environ: Mapping[str, str], ask: Ask) -> bool:
        for directive in spec.directives:
            if option_in(directive) == "open-mode":
                return _appends(re.split("[= ]", directive, maxsplit=1)[-1])
        mode = self.submit_environ(environ, spec).get("SBATCH_OPEN_MODE")
        if mode:
            return _appends(mode)
        try:
            done = ask(["scontrol", "show", "config"])
        except SchedulerError:  # the job may be submitted without; few sites have it append [slurm.conf(5)]
            return False
        return re.search(r"^JobFileAppend\s*=\s*1$", done.stdout, re.MULTILINE) is not None

    def submit_argv(self, script: str) -> list[str]:
        return ["sbatch", "--parsable", script]

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        said = {f"SBATCH_{name}" for name in (*_ALWAYS, *_said(spec))}
        if _clusters(spec):
            said.add("SLURM_CLUSTERS")
        return {name: value for name, value in environ.items() if name not in said}

    def parse_job_id(self, done: Completed) -> str:
        if done.status and _is_unanswered(done):
            raise PerhapsSubmittedError(f"sbatch got no answer: {advise(one_line(done))}; {_SBATCH.perhaps_taken}")
        return _SBATCH.job_id(done, advise)

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Completed | None = None) -> Site:
        asked = _clusters(spec) or environ.get("SLURM_CLUSTERS") or environ.get("SBATCH_CLUSTERS") or ""
        took = "" if done is None else _cluster_that_took(done, self.parse_job_id(done))
        # of several that were asked for, only sbatch can tell which it was
        cluster = took or (asked if done is None or re.fullmatch(r"[^,\s]+", asked) and asked != "all" else "")
        # the file that a job is given is of its node
        conf = () if environ.get("SLURM_JOB_ID") else (("SLURM_CONF", environ.get("SLURM_CONF") or None),)
        return Site(cluster, (("SLURM_CLUSTERS", None), *conf))

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        return [argv[0], f"--clusters={cluster}", *argv[1:]]

    def test_argv(self, script: str) -> list[str] | None:
        return ["sbatch", "--test-only", script]

    def parse_test(self, done: Completed) -> str:
        if done.status and _is_unanswered(done):
            raise UnansweredError(f"sbatch got no answer: {advise(one_line(done))}")
        if done.status:
            raise SchedulerError(f"sbatch would refuse the job: {advise(one_line(done))}")
        return re.sub(r"\bsbatch: ", "", one_line(done))

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        # the whole list of an array's jobs, not the first 64 characters of it [squeue(1), ENVIRONMENT VARIABLES]
        kept = {
            name: value
            for name, value in environ.items()
            if name in SlurmReader.site_variables or not name.startswith(_OF_COMMANDS)
        }
        return {**kept, "SLURM_BITSTR_LEN": "0"}

    def key(self, job_id: str) -> JobKey:
        match = _JOB_ID.fullmatch(job_id)
        if match is None:
            raise JobSpecError(f"{job_id!r} is no job id of Slurm: write a number, or NUMBER_INDEX for one of an array")
        return JobKey(match[1], None if match[2] is None else int(match[2]))

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        ids = ",".join(self.checked(job_ids))
        squeue = ["squeue", "--noheader", "--states=all", "--array", f"--jobs={ids}", f"--Format={SQUEUE_FORMAT}"]
        sacct = ["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={ids}", f"--format={SACCT_FORMAT}"]
        return [squeue, sacct]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        # squeue(1) of one job that is forgotten; sacct(1) where a site keeps no accounts
        forgotten = "Invalid job id specified" in done.stderr or "accounting storage is disabled" in done.stderr
        if done.status and not forgotten:
            raise SchedulerError(f"{done.argv[0]} failed: {advise(one_line(done))}")
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("CLUSTER:")]
        return read_lines(done.argv[0], lines, pass_over, may_be_none=bool(done.status))

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["scancel", *self.checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        ended = ("Invalid job id specified", "already completing or completed")
        if done.status and complaints(done.stderr.splitlines(), ended, _OF_SCANCEL) != []:
            raise SchedulerError(f"scancel failed: {advise(one_line(done))}")

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
        return ["scontrol", "requeue", ",".join(self.checked(job_ids))]

    def parse_requeue(self, done: Completed) -> None:
        fine = ("No error", "Job is pending execution")  # of an array, a line for each group of its jobs
        if done.status and complaints(done.stderr.splitlines(), fine, _OF_REQUEUE) != []:
            raise SchedulerError(f"scontrol cannot requeue the job: {advise(one_line(done))}")

    def explain_argv(self, job_id: str) -> list[str] | None:
        return ["scontrol", "--oneliner", "show", "job", *self.checked([job_id])]

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        lines = reasons.explain(status.job_id, status.reason, done.stdout)
        where = [word for word in done.argv if word.startswith("--clusters=")]
        return [re.sub(r"\bscontrol (?=[a-z])", f"scontrol {where[0]} ", line) for line in lines] if where else lines

    def version_argv(self) -> list[str] | None:
        return ["sbatch", "--version"]

    def parse_version(self, done: Completed) -> str:
        if done.status:
            raise SchedulerError(f"sbatch failed: {advise(one_line(done))}")
        return queues.read_version(done)

    def queues_argv(self, user: str) -> list[str] | None:
        return ["sinfo", "--noheader", f"--format={queues.SINFO_FORMAT}"]

    def parse_queues(self, done: Completed) -> list[Queue]:
        if done.status:
            raise SchedulerError(f"sinfo failed: {advise(one_line(done))}")
        return queues.read(done.stdout)


def _memory_option(spec: JobSpec) -> str:
    if spec.memory_per_node is not None:
        return "--memory"
    return "" if spec.memory_per_cpu is None else "--memory-per-cpu"


def _cpus_option(spec: JobSpec) -> str:
    return f"--cpus-per-worker {spec.cpus_per_worker}" if spec.cpus_per_worker > 1 else ""


def _exclusive(spec: JobSpec) -> str:
    return "--exclusive" if spec.exclusive else ""


def _check_directive(directive: str) -> None:
    option = option_in(directive)
    if not option:
        raise JobSpecError(f"the directive {directive!r} is no option of sbatch: write such as '--qos=high'")
    for ours, advice in _OURS.items():
        if ours.startswith(option):  # sbatch takes any beginning that is nobody else's
            raise JobSpecError(f"the directive {directive!r} would mislead scoop-hpc: {advice}")


def _is_unanswered(done: Completed) -> bool:
    return any(words in done.stderr for words in _UNANSWERED)


def _cluster_that_took(done: Completed, job_id: str) -> str:
    """Return the cluster that sbatch names beside the job's id, an empty text where it names none [sbatch(1),
    --parsable]."""
    match = re.search(rf"\b{job_id}(?:;| on cluster )([^\s;]+)", without_colour(done.stdout))
    return "" if match is None else match[1]


def _clusters(spec: JobSpec) -> str:
    """Return the clusters that a directive of the user's names; sbatch takes the last."""
    found = ""
    for directive in spec.directives:
        if "clusters".startswith(option_in(directive)) and option_in(directive) not in ("", "c"):
            found = value_in(directive)
    return found


def _literally(path: str) -> str:
    return path.replace("%", "%%")


def _said(spec: JobSpec) -> list[str]:
    """Return what the script of *spec* says, in the words of sbatch's variables."""
    said = [variable for field, variable in _FIELD_VARIABLES.items() if getattr(spec, field)]
    if spec.memory_per_node is not None or spec.memory_per_cpu is not None or whole_nodes(spec):
        said += ["MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"]
    if spec.gpus_per_node is not None:
        said += ["GPUS", "GPUS_PER_NODE", "GPUS_PER_TASK", "GRES"]
    for directive in spec.directives:
        option = option_in(directive)
        said.append(_VARIABLES.get(option, option.upper().replace("-", "_")))
    return said


def _appends(mode: str) -> bool:
    """Return whether *mode*, or what it is the beginning of, is ``append`` [sbatch(1), --open-mode]."""
    return mode.strip("\"' ").lower().startswith("a")
