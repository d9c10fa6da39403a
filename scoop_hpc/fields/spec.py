"""The table of all job options: JobSpec, what a user asks a scheduler for."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError
from scoop_hpc.fields.array import JobArray, parse_array
from scoop_hpc.fields.checks import (
    CENTURY,
    GRACE,
    LAUNCHERS,
    LOG_LEVELS,
    LONGEST_GRACE,
    MAIL_EVENTS,
    ON_NODE_LOSS,
    PLACEHOLDER,
    PROGRESS,
    RUNTIMES,
    check_binding,
    check_directory,
    check_event,
    check_file,
    check_gpus_per_worker,
    check_launcher,
    check_line,
    check_log_level,
    check_niceness,
    check_on_node_loss,
    check_patience,
    check_progress,
    check_runtime,
    check_variable,
    is_port,
)
from scoop_hpc.fields.option import REQUIRED, Group, Option, Refused, Words, option, options
from scoop_hpc.fields.units import (
    parse_events,
    parse_gpus,
    parse_memory,
    parse_niceness,
    parse_patience,
    parse_walltime,
)
from scoop_hpc.shares.share import BINDINGS

DEFAULT_OUTPUT = "scoop-{job_id}.out"
DEFAULT_ARRAY_OUTPUT = "scoop-{job_id}_{array_index}.out"


def _parse_signal(text: str) -> int:
    return parse_walltime(text, "time of --signal")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job: what to run and what to ask for. ``None`` leaves a field to the scheduler's default.

    Its fields are the table of all job options: a row says all of an option but its line in the templates.

    Workers are asked for by *workers*, in all, or by *workers_per_node*; by neither, whole nodes are, and a worker runs
    on every CPU that is granted. *nodes* is None where *workers* may be on any number of them. A JobSpec that no
    scheduler could be told of cannot be made: JobSpecError.
    """

    program: tuple[str, ...]  # the program's file, or the name of a module, then its arguments
    directory: str = option(
        REQUIRED,
        Group.RUN,
        "Directory to run in; default: the current one.",
        name="--chdir",
        metavar="DIR",
        check=check_directory,
        script="``cd``, or as a directive",
    )
    name: str = option(
        REQUIRED,
        Group.OUTPUT,
        "Name of the job; default: the program's.",
        check=check_line,
        slurm="``--job-name``",
        pbs="``-N``",
        sge="``-N``, with ``_`` for what cannot be in it",
        local="``--job-name``",
    )
    nodes: int | None = option(
        1,
        Group.RESOURCES,
        "Nodes to ask for; default: 1, or any number with --workers.",
        most=2**20,
        slurm="``--nodes``",
        pbs="``-l select=``, ``-l place=scatter``",
        sge="``-pe`` of a fixed number of slots per host, or ``$pe_slots`` for one node",
        local="``--nodes``",
    )
    workers: int | None = option(  # in all
        None,
        Group.RESOURCES,
        "Workers in all, spread as the scheduler likes.",
        most=2**26,
        replaces=("--workers-per-node", "--nodes"),
        slurm="``--ntasks``",
        pbs="``:mpiprocs=``",
        sge="``-pe``: ``$round_robin`` or ``$fill_up``",
        local="``--workers``",
    )
    workers_per_node: int | None = option(
        None,
        Group.RESOURCES,
        "Default: whole nodes, a worker per CPU.",
        most=2**16,
        replaces=("--workers",),
        slurm="``--ntasks-per-node``; without: ``--exclusive``",
        pbs="``:mpiprocs=``; without: as many as a node has CPUs, as pbsnodes tells, and ``excl``",
        sge="``-pe`` of that number per host; without: the only one of a fixed number",
        local="``--workers-per-node``",
    )
    cpus_per_worker: int = option(
        1,
        Group.RESOURCES,
        "CPUs of each worker.",
        shows_default=True,
        most=2**16,
        slurm="``--cpus-per-task``",
        pbs="``:ncpus=``, ``:ompthreads=``",
        sge="slots, and a variable that the run reads",
        local="``--cpus-per-worker``",
    )
    gpus_per_node: int | None = option(
        None,
        Group.RESOURCES,
        "GPUs on each node, such as 2 or a100:2.",
        metavar="[TYPE:]N",
        read=parse_gpus,
        most=2**10,
        slurm="``--gpus-per-node``",
        pbs="``:ngpus=``",
        sge=Refused("the name is the site's (qconf -sc), such as --directive '-l gpu=1', for each slot"),
    )
    gpu_type: str | None = option(
        None,
        Group.RESOURCES,
        "Type of these.",
        name="--gpus-per-node",
        part="TYPE:N",
        check=check_line,
        slurm="``--gpus-per-node=TYPE:N``",
        pbs=Refused("say what nodes must have by --constraint, such as gpu_model=a100"),
        sge=Refused("the name is the site's (qconf -sc), such as --directive '-l gpu_model=a100'"),
    )
    gpus_per_worker: str | None = option(  # a number, or "all"
        None,
        Group.RESOURCES,
        "GPUs that each worker sees, or all; default: its share.",
        metavar="N|all",
        check=check_gpus_per_worker,
        script="the run's own",
    )
    bind: str | None = option(
        None,
        Group.RESOURCES,
        "Bind each worker to its share of the node's CPUs; default: none.",
        choices=BINDINGS,
        check=check_binding,
        script="the run's own",
    )
    memory_per_node: int | None = option(  # bytes
        None,
        Group.RESOURCES,
        "Memory on each node, such as 8G.",
        name="--memory",
        metavar="SIZE",
        read=parse_memory,
        most=2**50,
        replaces=("--memory-per-cpu",),
        slurm="``--mem``",
        pbs="``:mem=``",
        sge=Refused("its memory is counted by slots, use --memory-per-cpu"),
        local=Refused("nothing here sets memory aside, leave it out"),
    )
    memory_per_cpu: int | None = option(  # bytes
        None,
        Group.RESOURCES,
        "Memory for each CPU, such as 2G.",
        metavar="SIZE",
        read=parse_memory,
        most=2**50,
        replaces=("--memory",),
        slurm="``--mem-per-cpu``",
        pbs="``:mem=``, times the CPUs",
        sge="``-l h_vmem``, for a slot is a CPU",
        local=Refused("nothing here sets memory aside, leave it out"),
    )
    walltime: int | None = option(  # seconds
        None,
        Group.RESOURCES,
        "Minutes, H:MM:SS, D-HH:MM:SS, or 90s, 45m, 2h, 1d.",
        metavar="TIME",
        read=parse_walltime,
        most=CENTURY,
        slurm="``--time``",
        pbs="``-l walltime=``",
        sge="``-l h_rt``",
        local="``--walltime``",
    )
    output: str | None = option(  # None: see `default_output`
        None,
        Group.OUTPUT,
        f"File for what the job prints; default: {DEFAULT_OUTPUT}",
        metavar="FILE",
        check=check_file,
        slurm="``--output``",
        pbs="the script's own redirection",
        sge="``-o``; appended to",
        local="``--output``",
    )
    error: str | None = option(  # None: the output's
        None,
        Group.OUTPUT,
        "File for its standard error; default: the output's.",
        metavar="FILE",
        check=check_file,
        slurm="``--error``",
        pbs="the script's own redirection",
        sge="``-e``; without: ``-j y``",
        local="``--error``",
    )
    progress: str | None = option(
        None,
        Group.OUTPUT,
        "How to show in the output what is done; default: auto, lines now and then.",
        choices=PROGRESS,
        check=check_progress,
        script="what starts the workers",
    )
    trace: str | None = option(
        None,
        Group.OUTPUT,
        "File for a trace of all tasks, for Perfetto or Chrome.",
        metavar="FILE",
        check=check_file,
        script="what starts the workers",
    )
    worker_logs: str | None = option(
        None,
        Group.OUTPUT,
        "Directory for a file of what each worker prints.",
        metavar="DIR",
        check=check_file,
        script="what starts the workers",
    )
    metrics: str | None = option(
        None,
        Group.OUTPUT,
        "File, or port, for metrics in the format of Prometheus.",
        metavar="FILE|[HOST:]PORT",
        check=check_file,
        script="what starts the workers",
    )
    label: bool = option(
        False,
        Group.OUTPUT,
        "Put node and worker before each line that a worker prints.",
        script="the run's own",
    )
    log_level: str | None = option(
        None,
        Group.OUTPUT,
        "Log in the output what happens in the run, from this level on.",
        choices=LOG_LEVELS,
        check=check_log_level,
        script="the run's own",
    )
    profile_workers: bool = option(
        False,
        Group.OUTPUT,
        "Let each worker write what cProfile finds to the directory profile.",
        script="the run's own: ``--profile``",
    )
    array: JobArray | None = option(
        None,
        Group.RUN,
        "A job for each number, LIMIT at a time.",
        metavar="FIRST-LAST[:STEP][%LIMIT]",
        read=parse_array,
        slurm="``--array``",
        pbs="``-J``",
        sge="``-t``, ``-tc``",
        local="``--array``",
    )
    after: tuple[str, ...] = option(  # ids of jobs
        (),
        Group.RUN,
        "Begin when JOB has succeeded; repeatable.",
        metavar="JOB",
        check=check_line,
        slurm="``--dependency=afterok:``",
        pbs="``-W depend=afterok:``",
        sge=Refused("-hold_jid waits for any end, so use --after-any, and let the program look whether it succeeded"),
        local="``--dependency=afterok:``",
    )
    after_any: tuple[str, ...] = option(  # ids of jobs
        (),
        Group.RUN,
        "Begin when JOB has ended; repeatable.",
        metavar="JOB",
        check=check_line,
        slurm="``--dependency=afterany:``",
        pbs="``-W depend=afterany:``",
        sge="``-hold_jid``",
        local="``--dependency=afterany:``",
    )
    after_failure: tuple[str, ...] = option(  # ids of jobs
        (),
        Group.RUN,
        "Begin when JOB has failed; repeatable.",
        metavar="JOB",
        check=check_line,
        slurm="``--dependency=afternotok:``",
        pbs="``-W depend=afternotok:``",
        sge=Refused("-hold_jid waits for any end, so use --after-any, and let the program look whether it failed"),
        local="``--dependency=afternotok:``",
    )
    begin: str | None = option(  # ISO 8601, local time, to the second
        None,
        Group.RUN,
        "Begin not before: HH:MM, YYYY-MM-DDTHH:MM, or +2h.",
        metavar="TIME",
        check=check_line,
        slurm="``--begin``",
        pbs="``-a``",
        sge="``-a``",
        local="``--begin``",
    )
    signal: int | None = option(  # seconds before the end
        None,
        Group.RUN,
        "Send SIGUSR1 this long before the walltime is over, such as 90s.",
        metavar="TIME",
        read=_parse_signal,
        most=CENTURY,
        slurm="``--signal=B:USR1@``",
        pbs=Refused("it warns of nothing but its end, leave it out"),
        sge="the script's own timer: ``s_rt`` and ``-notify`` would reach every process",
        local="``--signal``",
    )
    on_node_loss: str = option(
        "continue",
        Group.RUN,
        "What becomes of the run when a node is lost.",
        shows_default=True,
        choices=ON_NODE_LOSS,
        check=check_on_node_loss,
        slurm="the run's own; to go on, ``--no-kill`` as well",
        pbs="the run's own; to go on, ``-W tolerate_node_failures=all`` as well",
        sge="the run's own",
        local="the run's own",
    )
    min_nodes: int | None = option(
        None,
        Group.RUN,
        "Begin with N nodes, and end with fewer; default: all, half of them.",
        metavar="N",
        most=2**20,
        script="the run's own",
    )
    grace: int = option(  # seconds
        GRACE,
        Group.RUN,
        "Seconds without a connection between two nodes until one is given up.",
        metavar="SECONDS",
        shows_default=True,
        most=LONGEST_GRACE,
        script="the run's own",
    )
    patience: float | None = option(  # seconds
        None,
        Group.RUN,
        "Seconds for all nodes to report; default: 60, and 0.1 for each.",
        metavar="SECONDS",
        read=parse_patience,
        check=check_patience,
        script="the run's own",
    )
    interface: str | None = option(
        None,
        Group.RUN,
        "The network interface that nodes reach each other by.",
        metavar="NAME",
        check=check_line,
        script="the run's own",
    )
    nice: int | None = option(
        None,
        Group.RUN,
        "Niceness of the workers, as of nice(1).",
        metavar="N",
        read=parse_niceness,
        check=check_niceness,
        script="the run's own",
    )
    requeue: bool = option(
        False,
        Group.RUN,
        "Let the scheduler run the job again after a node failed.",
        slurm="``--requeue``, ``--no-requeue``",
        pbs="``-r y``, ``-r n``; an array has ``-r y`` always",
        sge="``-r y``, ``-r n``",
        local=Refused("no node fails here but all at once, leave it out"),
    )
    mail_user: str | None = option(
        None,
        Group.RUN,
        "Whom to write to.",
        metavar="ADDRESS",
        check=check_line,
        slurm="``--mail-user``",
        pbs="``-M``",
        sge="``-M``",
    )
    mail_events: tuple[str, ...] = option(
        (),
        Group.RUN,
        f"When: of {','.join(MAIL_EVENTS)}; default: end,fail.",
        metavar="LIST",
        read=parse_events,
        check=check_event,
        needs="--mail-user",
        slurm="``--mail-type``",
        pbs="``-m``",
        sge="``-m``",
    )
    queue: str | None = option(
        None,
        Group.QUEUE,
        "Queue, in Slurm's words partition.",
        check=check_line,
        slurm="``--partition``",
        pbs="``-q``",
        sge="``-q``",
        local="only recorded",
    )
    account: str | None = option(
        None,
        Group.QUEUE,
        "Account that the job is charged to.",
        check=check_line,
        slurm="``--account``",
        pbs="``-A``",
        sge="``-P``",
        local="only recorded",
    )
    qos: str | None = option(
        None,
        Group.QUEUE,
        "Quality of service.",
        check=check_line,
        slurm="``--qos``",
        pbs=Refused("sites have queues for it, use --queue"),
        sge=Refused("it has none, use --queue or --directive '-p ...'"),
    )
    reservation: str | None = option(
        None,
        Group.QUEUE,
        "Reservation to run in.",
        check=check_line,
        slurm="``--reservation``",
        pbs="``-q``, its queue",
        sge="``-ar``",
    )
    constraint: str | None = option(  # in the scheduler's words
        None,
        Group.QUEUE,
        "What nodes must have, in the scheduler's words.",
        check=check_line,
        slurm="``--constraint``",
        pbs="in the chunk",
        sge="``-l``",
    )
    exclusive: bool = option(
        False,
        Group.QUEUE,
        "Share the nodes with nobody.",
        slurm="``--exclusive``",
        pbs="``-l place=scatter:excl``",
        sge=Refused("the name is the site's (qconf -sc), such as --directive '-l exclusive=true'"),
        local=Refused("this machine is shared with whatever else runs on it, leave it out"),
    )
    parallel_environment: str | None = option(
        None,
        Group.QUEUE,
        "Parallel environment of Grid Engine; default: one that fits.",
        name="--pe",
        check=check_line,
        slurm=Refused("Slurm has none, leave it out"),
        pbs=Refused("PBS has none, leave it out"),
        sge="``-pe``",
    )
    licenses: tuple[str, ...] = option(  # such as "matlab:2"
        (),
        Group.QUEUE,
        "Licences to take; repeatable.",
        name="--license",
        metavar="NAME[:N]",
        check=check_line,
        slurm="``--licenses``",
        pbs="``-l NAME=N``",
        sge=Refused("the name is the site's (qconf -sc), such as --directive '-l matlab=1', for each slot"),
    )
    setup: tuple[str, ...] = option(  # lines, verbatim
        (),
        Group.ENVIRONMENT,
        "Shell line before modules, conda, venv; repeatable.",
        metavar="LINE",
        script="as it is, before modules, conda and venv",
    )
    modules: tuple[str, ...] = option(
        (),
        Group.ENVIRONMENT,
        "Environment module to load; repeatable.",
        name="--module",
        metavar="NAME",
        check=check_line,
        script="``module load``",
    )
    conda: str | None = option(  # name or path
        None,
        Group.ENVIRONMENT,
        "Conda environment to activate, by name or path.",
        metavar="ENV",
        check=check_line,
        replaces=("--venv",),
        script="``conda activate``",
    )
    venv: str | None = option(  # path
        None,
        Group.ENVIRONMENT,
        "Virtual environment whose Python runs the program.",
        metavar="DIR",
        check=check_line,
        replaces=("--conda",),
        script="its ``python``",
    )
    container: str | None = option(  # image
        None,
        Group.ENVIRONMENT,
        "Container image that the workers run in.",
        metavar="IMAGE",
        check=check_line,
        script="what starts the workers",
    )
    container_runtime: str | None = option(
        None,
        Group.ENVIRONMENT,
        "What runs it; default: apptainer.",
        choices=RUNTIMES,
        check=check_runtime,
        needs="--container",
        script="what starts the workers",
    )
    container_options: tuple[str, ...] = option(
        (),
        Group.ENVIRONMENT,
        "More for what runs it, such as --bind=/data; repeatable.",
        name="--container-option",
        metavar="TEXT",
        check=check_line,
        needs="--container",
        script="what starts the workers",
    )
    launcher: str | None = option(
        None,
        Group.ENVIRONMENT,
        "How agents are started; default: as fits.",
        choices=LAUNCHERS,
        check=check_launcher,
        script="an option of its last line",
    )
    mpiexec: str | None = option(  # command
        None,
        Group.ENVIRONMENT,
        "What --launcher mpi uses; default: that of mpi4py's MPI.",
        metavar="CMD",
        check=check_line,
        needs="--launcher",
        script="an option of its last line",
    )
    environment: tuple[tuple[str, str], ...] = option(  # names and values
        (),
        Group.ENVIRONMENT,
        "Variable for the job; repeatable.",
        name="--env",
        metavar="NAME[=VALUE]",
        check=check_variable,
        script="``export``",
    )
    prologue: tuple[str, ...] = option(  # lines, verbatim
        (),
        Group.ENVIRONMENT,
        "Shell line before the run; repeatable.",
        metavar="LINE",
        script="as it is",
    )
    directives: tuple[str, ...] = option(  # without the prefix
        (),
        Group.VERBATIM,
        "More for the scheduler, verbatim; repeatable.",
        name="--directive",
        metavar="TEXT",
        check=check_line,
        slurm="verbatim",
        pbs="verbatim",
        sge="verbatim",
    )

    is_module: bool = False  # the program is named as to `python -m`

    def __post_init__(self) -> None:
        _check_program(self.program)
        for each in OPTIONS.values():
            each.refuse_invalid(getattr(self, each.field))
        _check_workers(self)
        _check_pairs(self)
        _check_array_outputs(self)


# by field, in the order in which they are listed
OPTIONS: Mapping[str, Option] = MappingProxyType(options(JobSpec))


def option_of(field: str) -> str:
    """Return the option that sets a field of JobSpec.

    >>> option_of("cpus_per_worker"), option_of("modules")
    ('--cpus-per-worker', '--module')
    """
    return OPTIONS[field].shown


def words_of(scheduler: str) -> Mapping[str, Words]:
    """Return how a scheduler is told of each field, by the rows' words for its name.

    >>> words_of("slurm")["queue"], words_of("sge")["memory_per_node"]
    ('``--partition``', Refused(instead='its memory is counted by slots, use --memory-per-cpu'))
    """
    return {field: each.words[scheduler] for field, each in OPTIONS.items() if scheduler in each.words}


def asked_for(spec: JobSpec) -> list[str]:
    """Return the names of the fields of *spec* that are not their defaults: what a scheduler has to be told.

    >>> asked_for(JobSpec(("pi.py",), "/home/me", "pi", nodes=2, exclusive=True))
    ['nodes', 'exclusive']
    """
    plain = JobSpec(spec.program, spec.directory, spec.name, is_module=spec.is_module)
    return [field.name for field in fields(JobSpec) if getattr(spec, field.name) != getattr(plain, field.name)]


def whole_nodes(spec: JobSpec) -> bool:
    """Return whether *spec* asks for whole nodes: whatever they have."""
    return spec.exclusive or (spec.workers is None and spec.workers_per_node is None)


def output_path(spec: JobSpec, job_id: str, index: int | None = None) -> str:
    """Return the absolute path of a job's output, its placeholders filled in.

    ``{job_id}`` is the number in the scheduler's id.

    >>> output_path(JobSpec(("pi.py",), "/home/me", "pi", output="{name}.o{job_id}"), "12.server")
    '/home/me/pi.o12'
    """
    text = spec.output or default_output(spec)
    number = re.match(r"\d+", job_id)
    stand_for = {
        "{job_id}": number[0] if number else job_id,
        "{array_index}": "{array_index}" if index is None else str(index),
        "{name}": spec.name,
    }
    filled = PLACEHOLDER.sub(lambda match: stand_for.get(match[0], match[0]), text)
    return os.path.join(spec.directory, filled)


def default_output(spec: JobSpec) -> str:
    """Return the name of the output file that a job has without --output."""
    return DEFAULT_OUTPUT if spec.array is None else DEFAULT_ARRAY_OUTPUT


def with_default_output(spec: JobSpec) -> JobSpec:
    """Return *spec* with an output file."""
    return spec if spec.output is not None else replace(spec, output=default_output(spec))


def _check_program(program: tuple[str, ...]) -> None:
    if not program or not program[0]:
        raise JobSpecError(f"there is no program to run in {program!r}: name a Python file")
    for word in program:
        if "\0" in word:
            raise JobSpecError(f"the program's argument {word!r} holds a NUL, which no command line can")


def _check_workers(spec: JobSpec) -> None:
    if spec.workers is not None and spec.workers_per_node is not None:
        raise JobSpecError(
            "--workers and --workers-per-node exclude each other: give the number in all, or of each node",
            "--workers",
            "--workers-per-node",
        )
    if spec.nodes is None and spec.workers is None:
        raise JobSpecError("the number of nodes is missing: give --nodes, or --workers", "--nodes")
    if spec.workers is not None and spec.nodes is not None and spec.workers < spec.nodes:
        raise JobSpecError(
            f"--workers {spec.workers} leaves some of --nodes {spec.nodes} without any: ask for fewer nodes",
            "--workers",
            "--nodes",
        )
    if spec.min_nodes is not None and spec.nodes is not None and spec.min_nodes > spec.nodes:
        raise JobSpecError(
            f"--min-nodes {spec.min_nodes} is more than --nodes {spec.nodes}: give at most that",
            "--min-nodes",
            "--nodes",
        )
    if spec.memory_per_node is not None and spec.memory_per_cpu is not None:
        raise JobSpecError("--memory and --memory-per-cpu exclude each other: give one", "--memory", "--memory-per-cpu")


def _check_pairs(spec: JobSpec) -> None:
    """Refuse fields that contradict each other, or that need another one."""
    if spec.mail_events and spec.mail_user is None:
        events = ",".join(spec.mail_events)
        raise JobSpecError(f"--mail-events {events}: to whom? give --mail-user as well", "--mail-events")
    if spec.gpu_type is not None and spec.gpus_per_node is None:
        raise JobSpecError(
            f"GPUs of the type {spec.gpu_type!r}: how many? give --gpus-per-node {spec.gpu_type}:N", "--gpus-per-node"
        )
    if spec.conda is not None and spec.venv is not None:
        raise JobSpecError("--conda and --venv exclude each other: give one", "--conda", "--venv")
    if spec.container_runtime is not None and spec.container is None:
        raise JobSpecError(
            f"--container-runtime {spec.container_runtime}: of which image? give --container as well",
            "--container-runtime",
        )
    if spec.container_options and spec.container is None:
        raise JobSpecError(
            f"--container-option {spec.container_options[0]!r}: of which image? give --container as well",
            "--container-option",
        )
    if spec.mpiexec is not None and spec.launcher != "mpi":
        raise JobSpecError(f"--mpiexec {spec.mpiexec!r}: that is for --launcher mpi; add it", "--mpiexec", "--launcher")
    if spec.signal is not None and spec.walltime is not None and spec.signal >= spec.walltime:
        raise JobSpecError(
            f"--signal {spec.signal} s before the end is before the beginning: the walltime is {spec.walltime} s",
            "--signal",
            "--walltime",
        )


def _check_array_outputs(spec: JobSpec) -> None:
    """Refuse one file for all jobs of an array, and a file per job where there is no array."""
    metrics = None if spec.metrics is None or is_port(spec.metrics) else spec.metrics
    files = {"output": spec.output, "error": spec.error, "trace": spec.trace, "metrics": metrics}
    for what, text in {**files, "worker-logs": spec.worker_logs}.items():
        has_index = text is not None and "{array_index}" in text
        if text is not None and spec.array is not None and not has_index:
            raise JobSpecError(
                f"the {what} {text!r} would be one file for all jobs of the array: put {{array_index}} into it",
                f"--{what}",
                "--array",
            )
        if spec.array is None and has_index:
            raise JobSpecError(
                f"the {what} {text!r} holds {{array_index}}: that is for a job with --array", f"--{what}"
            )
