"""What the driver reads of the output of a launcher's commands."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import zmq
from conftest import until
from msgspec.structs import replace

from scoop_hpc.launchers.base import Command, FailedLaunch
from scoop_hpc.launchers.mpi import Mpiexec, MpiLauncher
from scoop_hpc.launchers.srun import SrunLauncher
from scoop_hpc.run.processes import Ended, Processes

PROGRAM = "import time; print('cannot start n1: it is down', flush=True); time.sleep(600)"


def test_what_was_read_since_it_was_polled_is_not_waited_for() -> None:
    poller = zmq.Poller()
    processes = Processes(poller, False)
    argv = (sys.executable, "-c", PROGRAM)
    pid = processes.start(
        Command(argv, dict(os.environ), ("n1", "n2"), failed_launch="cannot start (?P<node>..): (?P<words>.*)")
    )
    ((descriptor, _),) = poller.poll(60_000)
    every: list[FailedLaunch] = []

    def has_failed() -> bool:  # a line may come in two pieces
        every.extend(processes.failed_launches())
        return bool(every)

    until(has_failed)
    (failed,) = every
    assert (failed.pid, failed.node, failed.words) == (pid, "n1", "it is down")
    assert not processes.hear(descriptor)  # as the driver does, which has been told of it before
    assert processes.failed_launches() == []
    os.kill(pid, signal.SIGKILL)
    until(lambda: [ended.pid for ended in processes.reap()] == [pid])


@pytest.mark.parametrize(
    ("said", "unanswered"),
    [("Unable to confirm allocation for job 7: Socket timed out", "Socket timed out"), ("Invalid job id", "")],
)
def test_what_srun_has_said_of_a_silent_slurm_is_known(said: str, unanswered: str) -> None:
    processes = Processes(zmq.Poller(), False)
    (command,) = SrunLauncher().commands(["agent"], ["n1"], dict(os.environ))
    shell = ("sh", "-c", 'echo "srun: error: $1"; echo "srun: Check SLURM_JOB_ID"; exit 1', "srun", said)
    processes.start(replace(command, argv=shell))
    assert [(each.unanswered, each.last_line) for each in ends(processes)] == [(unanswered, "srun: Check SLURM_JOB_ID")]


OF_OPEN_MPI = """
--------------------------------------------------------------------------
prterun noticed that process rank 2 with PID 414 on node node003 exited on
signal 9 (Killed).
--------------------------------------------------------------------------
"""
OF_MPICH = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 543 RUNNING AT node003
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
===================================================================================
"""
OF_INTEL = """
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   RANK 2 PID 543 RUNNING AT node003
=   KILLED BY SIGNAL: 9 (Killed)
"""


@pytest.mark.parametrize(
    ("printed", "first_death"),
    [
        (OF_OPEN_MPI, "process rank 2 with PID 414 on node node003 exited on signal 9 (Killed)"),
        (OF_MPICH, "PID 543 RUNNING AT node003: EXIT CODE: 9"),
        (OF_INTEL, "RANK 2 PID 543 RUNNING AT node003: KILLED BY SIGNAL: 9 (Killed)"),
        ("nothing of the kind", ""),
    ],
    ids=["Open MPI", "MPICH", "Intel MPI", "none"],
)
def test_process_for_whose_end_mpiexec_ends_all_is_known(printed: str, first_death: str) -> None:
    processes = Processes(zmq.Poller(), False)
    shell = ("sh", "-c", 'echo "$1" "$1"; exit 137', "mpiexec", printed)
    (command,) = MpiLauncher(Mpiexec(shell), ["n1"]).commands(["agent"], ["n1"], dict(os.environ))
    processes.start(command)
    assert [each.first_death for each in ends(processes)] == [first_death]


def ends(processes: Processes) -> list[Ended]:
    """Return the commands that have ended, once one has."""
    ended: list[Ended] = []

    def has_ended() -> bool:
        ended.extend(processes.reap())
        return bool(ended)

    until(has_ended)
    return ended
