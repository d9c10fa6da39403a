"""A scheduler's own patterns in the names of output files are understood, or refused by name: never literal."""

from __future__ import annotations

import pytest

from scoop_hpc.errors import JobSpecError
from scoop_hpc.fields.array import parse_array
from scoop_hpc.fields.spec import JobSpec, output_path
from scoop_hpc.schedulers.output_patterns import OutputOption
from scoop_hpc.schedulers.registry import SCHEDULERS, in_our_words


def words(scheduler: str, text: str, is_array: bool = False) -> str:
    return in_our_words(SCHEDULERS[scheduler], OutputOption("--output", text, is_array, "me", "/home/me"))


@pytest.mark.parametrize(
    ("scheduler", "text", "is_array", "ours"),
    [
        ("slurm", "logs/%x-%j.out", False, "logs/{name}-{job_id}.out"),
        ("slurm", "%A_%a", True, "{job_id}_{array_index}"),
        ("slurm", "%A", False, "{job_id}"),
        ("slurm", "/scratch/%u/%8x", False, "/scratch/me/{name}"),
        ("slurm", "100%.out", False, "100%.out"),
        ("slurm", "%d%%j%%%j", False, "%d%j%{job_id}"),  # %d is no pattern, as 22.05 showed
        ("slurm", "{name}.{job_id}", False, "{name}.{job_id}"),
        ("sge", "$HOME/$JOB_NAME.o$JOB_ID", False, "/home/me/{name}.o{job_id}"),
        ("sge", "$USER/$JOB_ID.$TASK_ID", True, "me/{job_id}.{array_index}"),
        ("sge", "$JOB_IDS", False, "$JOB_IDS"),
        ("pbs", "out.^array_index^", True, "out.{array_index}"),
        ("local", "100%.out", False, "100%.out"),
    ],
)
def test_a_scheduler_s_own_patterns_are_ours(scheduler: str, text: str, is_array: bool, ours: str) -> None:
    assert words(scheduler, text, is_array) == ours


@pytest.mark.parametrize(
    ("scheduler", "text", "is_array", "said"),
    [
        ("slurm", "%N.out", False, "'%N', which is the first node's name"),
        ("slurm", "%J", False, "write {job_id}"),
        ("slurm", "%04j", False, "'%04j', with a width: write {job_id}"),
        ("slurm", "%j_%a", True, "a number of its own for each job: write %A"),
        ("slurm", "%a", False, "'%a', an index: that is for a job with --array"),
        ("slurm", "%r", False, "'%r', which counts restarts"),
        ("sge", "$HOSTNAME", False, "'$HOSTNAME', which is the first node's name"),
        ("sge", "%j", False, "'%j', Slurm's pattern, which sge would take literally: write {job_id}"),
        ("pbs", "%x", False, "'%x', Slurm's pattern, which pbs would take literally: write {name}"),
        ("pbs", "${PBS_JOBID}", False, "'${PBS_JOBID}', Torque's pattern, which pbs would take literally"),
        ("slurm", "$TASK_ID", True, "'$TASK_ID', Grid Engine's pattern"),
        ("slurm", "^array_index^", True, "'^array_index^', PBS's pattern"),
        ("local", "%x-%j.out", False, "'%x', Slurm's pattern, which local would take literally: write {name}"),
        ("local", "$HOME/x", False, "write /home/me"),
        ("local", "%J", False, "write {job_id}"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_write(
    scheduler: str, text: str, is_array: bool, said: str
) -> None:
    with pytest.raises(JobSpecError) as caught:
        words(scheduler, text, is_array)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "text", "array", "pattern", "path"),
    [
        ("slurm", "%x-%j.out", None, "/home/me/pi-%j.out", "/home/me/pi-7.out"),
        ("slurm", "100%%/%A_%a", "1-3", "/home/me/100%%/%A_%a", "/home/me/100%/7_2"),
        ("sge", "$JOB_NAME.o$JOB_ID.$TASK_ID", "1-3", "/home/me/pi.o$JOB_ID.$TASK_ID", "/home/me/pi.o7.2"),
        ("pbs", "x^array_index^", "1-3", '/home/me/x"$PBS_ARRAY_INDEX"', "/home/me/x2"),
    ],
)
def test_the_scheduler_writes_the_file_that_logs_reads(
    scheduler: str, text: str, array: str | None, pattern: str, path: str
) -> None:
    spec = JobSpec(
        ("pi.py",),
        "/home/me",
        "pi",
        output=words(scheduler, text, array is not None),
        array=None if array is None else parse_array(array),
    )
    assert SCHEDULERS[scheduler].file_pattern(spec, spec.output or "") == pattern
    assert output_path(spec, "7", None if array is None else 2) == path
