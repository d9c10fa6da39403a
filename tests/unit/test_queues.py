"""Queues of a site, in the answers of Slurm 22.05.8, Grid Engine 8.1.9 and PBS."""

from __future__ import annotations

import pytest

from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.answers import Completed
from scoop_hpc.schedulers.queues import Queue
from scoop_hpc.schedulers.registry import SCHEDULERS

SINFO = """\
Welcome to the cluster
normal*|up|1-00:00:00|1-infinite|1/2/1/4
debug|up|15:00|1-2|0/4/0/4
endless|up|infinite|infinite|0/0/4/4
old|drain|2:00:00|1-infinite|0/4/0/4
"""
QSTAT_OF_SGE = """\
queuename                      qtype resv/used/tot. load_avg arch          states
---------------------------------------------------------------------------------
all.q@exec001                  BIP   0/1/4          1.52     lx-amd64
\tqf:h_rt=infinity
     36 0.55500 a.sh       root         r     11/26/2026 00:10:11     1
---------------------------------------------------------------------------------
all.q@exec002                  BIP   0/0/4          9.52     lx-amd64      a
\tqf:h_rt=infinity
---------------------------------------------------------------------------------
all.q@exec003                  BIP   0/0/4          -NA-     -NA-          au
\tqf:h_rt=infinity
---------------------------------------------------------------------------------
short.q@exec001                BP    0/0/4          1.52     lx-amd64      d
\tqf:h_rt=01:00:00

############################################################################
 - PENDING JOBS - PENDING JOBS - PENDING JOBS - PENDING JOBS - PENDING JOBS
############################################################################
     37 0.55500 b@c.sh     root         qw    11/26/2026 00:10:11     1
"""
# the form is that of qstat -Q -f -F json in the manual of PBS 2021.1
QSTAT_OF_PBS = """\
{"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "s", "Queue": {
 "workq": {"queue_type": "Execution", "total_jobs": 0, "resources_max": {"walltime": "24:00:00"}, "enabled": "True",
           "started": "True"},
 "stopped": {"queue_type": "Execution", "enabled": "True", "started": "False"}}}
"""


def queues(name: str, text: str, status: int = 0) -> list[Queue]:
    """Return the queues in what a scheduler's command printed."""
    scheduler = SCHEDULERS[name]
    return scheduler.parse_queues(Completed(tuple(scheduler.queues_argv("me") or ()), status, text, ""))


def test_slurm_s_partitions_are_read_among_notices() -> None:
    assert queues("slurm", SINFO) == [
        Queue("normal", is_default=True, nodes=3, walltime=86400),
        Queue("debug", nodes=4, most_nodes=2, walltime=900),
        Queue("endless", nodes=0),
        Queue("old", is_open=False, nodes=4, walltime=7200),
    ]


def test_grid_engine_s_queues_are_those_of_hosts_that_are_up() -> None:
    assert queues("sge", QSTAT_OF_SGE) == [
        Queue("all.q", nodes=2),
        Queue("short.q", is_open=False, nodes=0, walltime=3600),
    ]


def test_pbs_s_queues_take_jobs_if_they_are_enabled_and_started() -> None:
    assert queues("pbs", QSTAT_OF_PBS) == [Queue("workq", walltime=86400), Queue("stopped", is_open=False)]


@pytest.mark.parametrize("name", ["slurm", "sge", "pbs"])
def test_a_user_who_may_use_no_queue_has_none(name: str) -> None:
    assert queues(name, '{"Queue": {}}\n' if name == "pbs" else "") == []


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("slurm", "who knows\n", 0),
        ("slurm", "", 1),
        ("sge", "", 1),
        ("pbs", "", 0),
        ("pbs", '{"Queue": {"q": {}}}', 0),
        ("pbs", '{"Queue": 7}', 0),
        ("pbs", "", 1),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error(name: str, text: str, status: int) -> None:
    with pytest.raises(SchedulerError):
        queues(name, text, status)
