"""Several copies of one command: ``srun -n 4 scoop-hpc run prog.py`` would run the program four times, on everything.

Who starts them numbers them, in variables. A shell in an interactive step (``srun --pty -n 8 bash``) has the number of
the step's tasks, too, but is the only one at the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

_NUMBERED = (  # who starts copies, their number, and which one this is
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),  # [srun(1), OUTPUT ENVIRONMENT VARIABLES]
    ("mpiexec", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # Open MPI
    ("mpiexec", "PMI_SIZE", "PMI_RANK"),  # MPICH, Intel MPI
    ("mpiexec", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),  # MVAPICH
    ("mpiexec", "PALS_SIZE", "PALS_RANKID"),  # Cray
)
_PTY = "SLURM_PTY_PORT"  # of a step with --pty


@dataclass(frozen=True)
class Copy:
    """One of *count* copies that *launcher* has started, the first of which speaks for all."""

    launcher: str
    count: int
    speaks: bool

    def complaint(self, program: str) -> str:
        """Return what is wrong with that."""
        return (
            f"{self.launcher} has started {self.count} copies of this command, each of which would run {program!r} on "
            f"all nodes: leave {self.launcher} out, scoop-hpc starts what runs on the nodes"
        )


def find_copy(environ: Mapping[str, str], at_terminal: bool) -> Optional[Copy]:
    """Return which of several copies this process is, None if it is the only one.

    >>> find_copy({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, at_terminal=False)
    Copy(launcher='srun', count=2, speaks=True)
    """
    for launcher, size, rank in _NUMBERED:
        count = environ.get(size, "")
        if not (count.isascii() and count.isdigit() and int(count) > 1):
            continue
        if launcher == "srun" and environ.get(_PTY) and at_terminal:
            continue
        return Copy(launcher, int(count), speaks=environ.get(rank, "0") == "0")
    return None
