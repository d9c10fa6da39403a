"""What Slurm keeps of a job whose first node is lost is ended by who is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from scoop_hpc.errors import SchedulerError
from scoop_hpc.jobs.leftover import end_leftover
from scoop_hpc.schedulers.answers import Completed
from scoop_hpc.schedulers.slurm import first_node

SHOW = ("scontrol", "--oneliner", "show", "job", "83")
JOB = {"SLURM_JOB_ID": "83"}


def shown(nodes: str = "node[002-004]", state: str = "RUNNING", requeue: int = 0, batch: int = 1) -> str:
    """Return what `scontrol --oneliner show job` of Slurm 22.05 prints, but for what is not looked at."""
    return (
        f"JobId=83 JobName=hold JobState={state} Reason=None Requeue={requeue} Restarts=0 BatchFlag={batch} Reboot=0 "
        f"AllocNode:Sid=head:0 ReqNodeList=(null) ExcNodeList=(null) NodeList={nodes} BatchHost=node001 NumNodes=3 "
        "NumCPUs=3\n"
    )


class Slurm:
    """Answers *show* in turn, the last again and again; *refused* commands fail."""

    def __init__(self, *show: str | SchedulerError, refused: Sequence[str] = ()) -> None:
        self._show = list(show)
        self._refused = refused
        self.commands: list[tuple[str, ...]] = []
        self.words = 0
        self.pauses: list[float] = []

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        self.commands.append(tuple(argv))
        if tuple(argv) != SHOW:
            return Completed(tuple(argv), int(argv[0] in self._refused), "", "")
        answer = self._show.pop(0) if len(self._show) > 1 else self._show[0]
        if isinstance(answer, SchedulerError):
            raise answer
        gone = "" if answer else "slurm_load_jobs error: Invalid job id specified\n"
        return Completed(tuple(argv), int(not answer), answer, gone)

    def say(self) -> None:
        self.words += 1

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) < 9

    def end(self, environ: Mapping[str, str] = JOB, nodes: int = 4, may_begin_again: bool = True) -> None:
        end_leftover(environ, nodes, self.run, self.pause, self.say, may_begin_again)


def test_job_is_ended_once_slurm_has_taken_its_first_node_away() -> None:
    slurm = Slurm(shown("node[001-004]"), SchedulerError("no answer"), shown())
    slurm.end()
    assert slurm.commands == [SHOW, SHOW, SHOW, ("scancel", "83")]
    assert slurm.words == 1


def test_job_that_may_run_again_is_put_back_into_its_queue() -> None:
    slurm = Slurm(shown(requeue=1))
    slurm.end()
    assert slurm.commands == [SHOW, ("scontrol", "requeue", "83")]


def test_job_that_has_nothing_to_begin_again_for_is_ended() -> None:
    slurm = Slurm(shown(requeue=1))
    slurm.end(may_begin_again=False)
    assert slurm.commands == [SHOW, ("scancel", "83")]


def test_job_that_slurm_does_not_put_back_is_ended() -> None:
    slurm = Slurm(shown(requeue=1), refused=("scontrol",))
    slurm.end()
    assert slurm.commands == [SHOW, ("scontrol", "requeue", "83"), ("scancel", "83")]


@pytest.mark.parametrize("last", ["", shown(state="COMPLETING"), shown(state="CANCELLED"), shown(batch=0)])
def test_job_that_has_ended_or_has_no_script_is_left_alone(last: str) -> None:
    slurm = Slurm(last)
    slurm.end()
    assert (slurm.commands, slurm.words) == ([SHOW], 0)


def test_agent_that_has_to_end_waits_no_more() -> None:
    slurm = Slurm(shown("node[001-004]"))
    slurm.end()
    assert (len(slurm.pauses), slurm.words) == (9, 0)


def test_thousand_agents_ask_no_more_than_one_would_each_second() -> None:
    slurm = Slurm(shown("node[001-004]"))
    slurm.end(nodes=1000)
    assert set(slurm.pauses) == {1000.0}


@pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_ID": ""}, {"SLURM_JOB_ID": "83;x"}])
def test_nobody_is_asked_where_there_is_no_job_of_slurm(environ: dict[str, str]) -> None:
    slurm = Slurm(shown())
    slurm.end(environ)
    assert not slurm.commands


def test_an_answer_that_cannot_be_read_ends_nothing() -> None:
    done = Completed(SHOW, 0, "JobId=83 JobState=RUNNING BatchFlag=1\n", "")
    assert first_node.goes_on(done)
    assert first_node.end_argv(done) is None
