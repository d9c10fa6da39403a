"""Odd lines in schedulers' answers cost no job its answer: notices of sites' wrappers, colours, words around ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scoop_hpc.errors import JobSpecError, PerhapsSubmittedError, SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.schedulers.answers import Completed, JobStatus, short
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.registry import SCHEDULERS

DATA = Path(__file__).parents[1] / "data"
ODD = (
    "Notice: maintenance on Tuesday",
    "=== Welcome to the cluster ===",
    "*** your project has 7 hours left ***",
    "failed to contact the wiki, exit_status 3",
    "jobnumber of the day: 13",
    "job 701 would have liked to begin | but did not | 0 | n1",
    "a|b|c|d|e|",
    "|RUNNING|None|0|n1|",
    "{'json': [1, 2",
    "< 50 % of the file system is free",
    "<<< maintenance >>>",
    "perl: warning: Setting locale failed.",
    "Job Id is what qstat wants",
    "key = value",
    "\u2603 caf\u00e9 \ufeff",
    "Job <7> & others",
    "=" * 20,
    "x" * 5000,
)


@dataclass(frozen=True)
class Recorded:
    """An answer of a real scheduler to one of its commands."""

    scheduler: str
    argv: tuple[str, ...]
    file: str

    def parse(self, stdout: str, pass_over: Callable[[str], None] = lambda line: None) -> list[JobStatus]:
        return SCHEDULERS[self.scheduler].parse_status(Completed(self.argv, 0, stdout, ""), pass_over)

    @property
    def text(self) -> str:
        return (DATA / self.file).read_text()


def recorded() -> list[Recorded]:
    """Return every recorded answer about how jobs stand."""
    found = []
    for path in sorted(DATA.glob("*/*/*/*")):
        file = path.relative_to(DATA)
        scheduler, folder = file.parts[0], file.parts[2]
        if (scheduler, folder, path.suffix) == ("slurm", "status", ".out"):
            found.append(Recorded("slurm", (path.stem.partition("-")[0],), str(file)))
        if (scheduler, folder, path.suffix) == ("pbs", "status", ".txt"):
            found.append(Recorded("pbs", ("qstat", "-f"), str(file)))
        if scheduler == "sge" and folder in ("qstat", "qacct") and path.suffix == ".out":
            found.append(Recorded("sge", (folder,), str(file)))
    return found


RECORDED = recorded()


def with_odd_lines(text: str, chance: random.Random) -> tuple[str, list[str]]:
    """Return *text* with a few odd lines anywhere in it, and these."""
    lines = text.splitlines()
    odd = [chance.choice(ODD) for _ in range(chance.randint(1, 5))]
    for line in odd:
        lines.insert(chance.randint(0, len(lines)), line)
    return "\n".join(lines) + "\n", odd


def test_all_recorded_answers_are_tried() -> None:
    assert {(each.scheduler, each.argv[0]) for each in RECORDED} == {
        ("slurm", "squeue"),
        ("slurm", "sacct"),
        ("pbs", "qstat"),
        ("sge", "qstat"),
        ("sge", "qacct"),
    }
    assert len(RECORDED) > 25


@pytest.mark.parametrize("answer", RECORDED, ids=lambda answer: answer.file)
def test_odd_lines_at_any_place_change_no_answer(answer: Recorded) -> None:
    told = answer.parse(answer.text)
    chance = random.Random(answer.file)
    for _ in range(40):
        text, _ = with_odd_lines(answer.text, chance)
        if told:
            assert answer.parse(text) == told, text


@pytest.mark.parametrize("answer", RECORDED, ids=lambda answer: answer.file)
@pytest.mark.parametrize("before", [True, False])
def test_a_notice_around_an_answer_is_passed_over_and_said(answer: Recorded, before: bool) -> None:
    told = answer.parse(answer.text)
    heard: list[str] = []
    text = answer.text.rstrip("\n") + "\n"
    assert answer.parse(f"{ODD[0]}\n{text}" if before else f"{text}\n{ODD[0]}\n", heard.append) == told
    assert heard == [ODD[0]]


@pytest.mark.parametrize("answer", RECORDED, ids=lambda answer: answer.file)
def test_nothing_is_said_of_an_answer_without_odd_lines(answer: Recorded) -> None:
    heard: list[str] = []
    answer.parse(answer.text, heard.append)
    assert heard == []


def submitted(name: str, stdout: str, status: int = 0) -> str:
    scheduler: Scheduler = SCHEDULERS[name]
    return scheduler.parse_job_id(Completed(("submit",), status, stdout, "oh" if status else ""))


@pytest.mark.parametrize(
    ("scheduler", "stdout", "job_id"),
    [
        ("slurm", "Submitted batch job 123 (project pi, 7 hours left)\n", "123"),
        ("slurm", "[site] Submitted batch job 123 to partition short\n4 nodes are down\n", "123"),
        ("slurm", "123 (estimated cost: 4)\n", "123"),
        ("slurm", "123;big - submitted\n", "123"),
        ("slurm", "7 nodes are down\n123\n2 more words\n", "123"),
        ("pbs", "Job 123.head.site submitted to workq\n", "123.head.site"),
        ("pbs", "submitted: 123[].head.\n", "123[].head"),
        ("pbs", "kernel 5.14.0-1.el9\n123.head\nbye 1.5\n", "123.head"),
        ("sge", 'INFO: your job 123 ("pi") has been submitted -- good luck\n', "123"),
        ("sge", "123 submitted to all.q\n", "123"),
        ("sge", "123.1-9:1 (array)\n", "123"),
        ("local", "hello\nlocal-7\nbye\n", "local-7"),
        ("local", "sitecustomize: local-7\n", "local-7"),
    ],
)
def test_words_around_a_job_id_do_not_hide_it(scheduler: str, stdout: str, job_id: str) -> None:
    assert submitted(scheduler, stdout) == job_id


UNREADABLE = {
    "slurm": ["", "welcome\n", "4 nodes are down\n", "123 submitted\n124 submitted\n"],
    "pbs": ["", "welcome\n", "123\n", "1.head and 2.head\n"],
    "sge": ["", "welcome\n", "4 nodes are down\n", "1 submitted\n2 submitted\n"],
    "local": ["", "local-\n", "local-1 local-2\n"],
}


@pytest.mark.parametrize(("scheduler", "answers"), UNREADABLE.items())
def test_a_job_whose_id_cannot_be_read_may_exist_all_the_same(scheduler: str, answers: Sequence[str]) -> None:
    for stdout in answers:
        with pytest.raises(PerhapsSubmittedError) as caught:
            submitted(scheduler, stdout)
        assert repr(stdout) in str(caught.value)
        assert "it may have been taken all the same: look for it with" in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "job_id"), [("slurm", "123"), ("pbs", "1.h"), ("sge", "12"), ("local", "local-1")]
)
def test_a_submission_that_failed_and_printed_an_id_is_no_refusal(scheduler: str, job_id: str) -> None:
    with pytest.raises(
        PerhapsSubmittedError, match=f"failed, but printed the job id {job_id}: oh; it may have been taken"
    ):
        submitted(scheduler, f"{job_id}\n", 1)
    with pytest.raises(SchedulerError):
        submitted(scheduler, "", 1)


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge", "local"])
@pytest.mark.parametrize(("said", "words"), [("", "killed by SIGKILL"), ("oh", "oh")])
def test_a_submission_that_was_killed_is_no_refusal(scheduler: str, said: str, words: str) -> None:
    with pytest.raises(PerhapsSubmittedError, match=f"ended before it told a job id: {words}; it may have been taken"):
        SCHEDULERS[scheduler].parse_job_id(Completed(("submit",), -9, "", said))


def test_a_long_line_is_shown_without_its_middle() -> None:
    assert short("a" * 100 + "b" * 900 + "c" * 100) == repr("a" * 80 + " ... " + "c" * 80)


# the answers to other commands


NOTICE = "Notice: maintenance on Tuesday\n"


@pytest.mark.parametrize(
    ("scheduler", "stdout", "stderr"),
    [
        ("slurm", "", f"{NOTICE}scancel: error: Kill job error on job id 7: Invalid job id specified\n"),
        ("pbs", NOTICE, f"{NOTICE}qdel: Unknown Job Id 7.head\n"),
        ("sge", NOTICE, 'denied: job "7" does not exist\n'),
    ],
)
def test_a_notice_makes_no_failure_of_cancelling_what_has_ended(scheduler: str, stdout: str, stderr: str) -> None:
    SCHEDULERS[scheduler].parse_cancel(Completed(("cancel",), 1, stdout, stderr))
    with pytest.raises(SchedulerError):
        SCHEDULERS[scheduler].parse_cancel(Completed(("cancel",), 1, stdout, NOTICE))


@pytest.mark.parametrize(
    ("scheduler", "stdout", "stderr", "status"),
    [
        ("slurm", "", f"{NOTICE}7_0: No error\n7_1: Job is pending execution\n", 1),
        ("sge", f"{NOTICE}Pushed rescheduling of job 11 on host node003\n", "", 0),
    ],
)
def test_a_notice_makes_no_failure_of_a_requeue(scheduler: str, stdout: str, stderr: str, status: int) -> None:
    SCHEDULERS[scheduler].parse_requeue(Completed(("requeue",), status, stdout, stderr))
    with pytest.raises(SchedulerError):
        SCHEDULERS[scheduler].parse_requeue(Completed(("requeue",), status or 1, NOTICE, NOTICE))


def test_a_notice_hides_no_job_that_qstat_has_forgotten() -> None:
    stderr = f"{NOTICE}qstat: Unknown Job Id 8.head\n"
    assert SCHEDULERS["pbs"].parse_status(Completed(("qstat", "-f", "8"), 153, "", stderr)) == []
    text = "Job Id: 7.head\n    job_state = R\n"
    (job,) = SCHEDULERS["pbs"].parse_status(Completed(("qstat", "-f", "7", "8"), 153, f"{NOTICE}{text}", stderr))
    assert job.job_id == "7.head"


@pytest.mark.parametrize(
    ("scheduler", "banner"), [("pbs", "pbs_version = 23.06.06\n"), ("sge", "SGE 8.1.9\nusage: qstat\n")]
)
def test_a_notice_hides_no_scheduler(scheduler: str, banner: str) -> None:
    assert SCHEDULERS[scheduler].recognises(Completed(("qstat",), 0, f"{NOTICE}{banner}", ""))
    assert not SCHEDULERS[scheduler].recognises(Completed(("qstat",), 0, NOTICE, ""))


def test_a_notice_is_no_parallel_environment_and_no_queue() -> None:
    answers = {
        "qconf -spl": f"{NOTICE}mpi\n",
        "qconf -sp": f"{NOTICE}{(DATA / 'sge/8.1.9/qconf/qconf-sp-mpi.out').read_text()}",
        "qselect -pe": f"{NOTICE}all.q@node001\n",
    }

    def ask(argv: Sequence[str]) -> Completed:
        return Completed(tuple(argv), 0, answers[" ".join(argv[:2])], "")

    spec = JobSpec(("pi.py",), "/home/me", "pi", nodes=None, workers=8)
    assert SCHEDULERS["sge"].prepare(spec, ask).parallel_environment == "mpi"
    answers["qselect -pe"] = NOTICE
    with pytest.raises(JobSpecError, match="no queue has the parallel environment"):
        SCHEDULERS["sge"].prepare(spec, ask)


def test_a_notice_is_not_what_a_scheduler_thinks_of_a_script() -> None:
    stdout = f"{NOTICE}verification: found suitable queue(s)\n{NOTICE}"
    assert SCHEDULERS["sge"].parse_test(Completed(("qsub",), 0, stdout, "")) == "found suitable queue(s)"
