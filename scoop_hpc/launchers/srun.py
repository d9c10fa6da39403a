"""Slurm's srun: all agents in one job step.

Every flag has its reason [srun(1)]: ``--ntasks`` because an inherited count wins otherwise, ``--overlap`` and
``--mem=0`` so that the step shares the job with the user's own steps, ``--cpu-bind=none`` because an agent's children
use all CPUs of the job there, ``--mpi=none`` so that no PMI reaches the workers, ``--export=ALL`` because a job
submitted with ``--export=NONE`` has steps without even a PATH, ``--input=none`` because srun eats the job script's
input, ``--wait=0`` and ``--kill-on-bad-exit=0`` so that no agent ends the others, ``--no-kill`` so that no lost node
does, where the run goes on without it. The job itself must have been submitted with that, too.

That is not enough where a node boots again before Slurm takes it for down: ``slurmd`` reports without the step, srun
has no connection to there either, and ends the step on all nodes, ``--no-kill`` or not [seen with Slurm 22.05]. So the
driver ends srun when it misses a node, in a way in which it cannot end its tasks: see `Processes.end_alone`.

Nor does it help where srun cannot start a task at all: it names the node, ends the step on all others, and exits within
7 s [seen with Slurm 22.05; src/api/step_launch.c, slurm_step_launch]. `driving.launches` starts another one then. So it
does where slurmctld is silent, as while it starts anew: srun waits 10 s for it, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command, Forwarding
from scoop_hpc.launchers.granted_memory import kept_memory

_FLAGS = (
    "--ntasks-per-node=1",
    "--overlap",
    "--mem=0",
    "--cpu-bind=none",
    "--mpi=none",
    "--export=ALL",
    "--input=none",
    "--wait=0",
    "--kill-on-bad-exit=0",
)

# what srun needs of Slurm's variables: of the rest it takes some 85 options [srun(1), INPUT ENVIRONMENT VARIABLES], and
# the job itself sets several of them
_KEPT = ("SLURM_JOB_ID", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTER_NAME")


# a connection that failed, 3 s after its start for a machine that is off, 10 s for a slurmd that is gone, 20 s for one
# that hangs; or a slurmd that refused
_FAILED_LAUNCH = r"srun: error: Task launch for .* failed on node (?P<node>\S+): (?P<words>.+)"

# before it has a step [src/srun/libsrun: allocate.c, existing_allocation; launch.c, launch_common_create_job_step]
_SILENCE = "timed out|Unable to contact slurm controller|Zero Bytes were transmitted|Message receive failure"
_UNANSWERED = rf"srun: error: Unable to (?:confirm allocation|create step) for job \S+: (?P<words>.*(?:{_SILENCE}).*)"


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the variables that srun would take for options, but for what agents want to know."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or not name.startswith(("SLURM_", "SRUN_"))}
    return {**kept, **kept_memory(environ)}


class SrunLauncher:
    """Starts all agents by one srun, on the nodes of the plan."""

    name = "srun"
    one_machine = False
    forwarding = Forwarding.LAUNCHER
    relays = True
    outlived = True

    def __init__(self, options: Sequence[str] = (), outlives_nodes: bool = True) -> None:
        self._options = (*(["--no-kill"] if outlives_nodes else []), *options)  # more for srun

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        count = len(nodes)
        argv = (
            "srun",
            f"--nodes={count}",
            f"--ntasks={count}",
            f"--nodelist={fold(nodes)}",
            *_FLAGS,
            "--job-name=scoop_hpc",
            *self._options,
            *agent,
            "--node-variable",
            "SLURMD_NODENAME",
        )
        environ = clean_environ(environ)
        return [
            Command(
                argv,
                environ,
                tuple(nodes),
                may_end_all=True,
                failed_launch=_FAILED_LAUNCH,
                unanswered=_UNANSWERED,
            )
        ]
