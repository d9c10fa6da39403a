"""What is known of a job comes back from its directory, and only its owner may look."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.files import private
from scoop_hpc.jobs import directories
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.record import Record
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState

SPEC = JobSpec(("é \udcff.py", "--nodes=7", "a\nb"), "/home/my dir", "my job", nodes=2, directives=("--qos=high",))
NOON = 1795348800.25


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_job_comes_back_as_it_was_written(tmp_path: Path) -> None:
    job = replace(directories.create(str(tmp_path), SPEC, "slurm", NOON), job_id="7")
    directories.write(job)
    assert directories.read(job.directory) == job


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    state = tmp_path / "state"
    job = directories.create(str(state), SPEC, "slurm", NOON)
    directories.write(job)
    assert {mode(job.directory), mode(str(state / "jobs"))} == {0o700}
    assert mode(os.path.join(job.directory, "job.json")) == 0o600


def test_directories_are_named_by_their_time_and_differ(tmp_path: Path) -> None:
    first, second = (directories.create(str(tmp_path), SPEC, "slurm", NOON).directory for _ in range(2))
    assert first != second
    assert os.path.basename(first).startswith("20261122T120000.250000Z-")


def test_newest_comes_first_and_what_was_never_submitted_not_at_all(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        job = directories.create(str(tmp_path), SPEC, "slurm", NOON + number)
        directories.write(replace(job, job_id=None if number == 2 else str(number)))
    directories.create(str(tmp_path), SPEC, "slurm", NOON + 4)
    assert [job.job_id for job in directories.newest_first(str(tmp_path), pytest.fail)] == ["3", "1"]


def test_a_submission_cut_off_gets_its_id_from_the_drivers_record(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), SPEC, "slurm", NOON)
    directories.write(job)
    records.write(job.record, Record(JobState.RUNNING, NOON, ("n1",), "n1", 7, job_id="12"))
    assert [job.job_id for job in directories.newest_first(str(tmp_path), pytest.fail)] == ["12"]


def test_a_directory_that_cannot_be_understood_hides_no_other_job(tmp_path: Path) -> None:
    old = directories.create(str(tmp_path), SPEC, "slurm", 1.0)
    directories.write(replace(old, job_id="1"))
    broken = directories.create(str(tmp_path), SPEC, "slurm", 2.0)
    Path(broken.directory, "job.json").write_text("")
    warnings: list[str] = []
    assert [job.job_id for job in directories.newest_first(str(tmp_path), warnings.append)] == ["1"]
    assert broken.directory in warnings[0]


def test_no_state_directory_means_no_jobs(tmp_path: Path) -> None:
    assert list(directories.newest_first(str(tmp_path / "none"), pytest.fail)) == []


def test_output_is_known_with_the_id(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), replace(SPEC, output="out.{job_id}"), "slurm", NOON)
    assert job.output() is None
    assert replace(job, job_id="7").output() == "/home/my dir/out.7"


def test_the_schedulers_last_word_is_kept(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), SPEC, "slurm", NOON)
    assert directories.read_ends(job) == {}
    for index in (None, 3):
        said = {index: JobStatus("7", JobState.TIMEOUT, "TimeLimit", ("n1", "n2"), 143)}
        directories.write_ends(job, said)
        assert directories.read_ends(job) == said


def test_every_field_of_a_job_comes_back(tmp_path: Path) -> None:
    spec = replace(
        SPEC,
        array=JobArray(0, 9, 3, 2),
        output="{job_id}.{array_index}",
        environment=(("A", "b c"), ("D", "")),
        modules=("gcc/12",),
        after=("5", "6"),
    )
    job = directories.create(str(tmp_path), spec, "slurm", NOON)
    directories.write(job)
    assert directories.read(job.directory) == job


def test_each_job_of_an_array_has_a_record_and_an_output(tmp_path: Path) -> None:
    spec = replace(SPEC, array=JobArray(0, 9), output="{job_id}.{array_index}")
    job = replace(directories.create(str(tmp_path), spec, "slurm", NOON), job_id="7")
    record = Record(JobState.COMPLETED, 1.0, ("n1",), "n1", 7)
    records.write(str(Path(job.directory, "record-3.json")), record)
    assert directories.read_record(job, 3) == record
    assert directories.read_record(job, 4) is None
    assert str(job.output(3)).endswith("/7.3")


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), SPEC, "slurm", NOON)
    directories.write(job)
    path = Path(job.directory, "job.json")
    about = json.loads(path.read_text())
    about["color"] = about["spec"]["color"] = "red"
    path.write_text(json.dumps(about))
    assert directories.read(job.directory) == job


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"spec": {}}', '{"spec": 7}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(ScoopError, match="job.json"):
        directories.read(str(tmp_path))


def test_a_state_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*Not a directory.*SCOOP_HPC_STATE"):
        directories.create(str(tmp_path / "file"), SPEC, "slurm", NOON)


def test_a_failed_write_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken"):
        private.write_text(str(tmp_path / "taken"), "text")
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"SCOOP_HPC_STATE": "/s"}, "/s"),
        ({"SCOOP_HPC_STATE": "/s", "XDG_STATE_HOME": "/x"}, "/s"),
        ({"XDG_STATE_HOME": "/x"}, "/x/scoop_hpc"),
        ({"XDG_STATE_HOME": "relative"}, os.path.expanduser("~/.local/state/scoop_hpc")),
        ({}, os.path.expanduser("~/.local/state/scoop_hpc")),
    ],
)
def test_where_state_is_kept(environ: dict[str, str], root: str) -> None:
    assert private.root(environ) == root


def test_a_job_whose_file_is_broken_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    jobs = []
    for number in range(3):
        job = replace(directories.create(str(tmp_path), SPEC, "slurm", NOON + number), job_id=str(number))
        directories.write(job)
        jobs.append(job)
    Path(jobs[0].directory, "job.json").write_bytes(b"\xff")
    Path(jobs[2].directory, "job.json").unlink()
    os.mkfifo(os.path.join(jobs[2].directory, "job.json"))
    warnings: list[str] = []
    assert list(directories.newest_first(str(tmp_path), warnings.append)) == [jobs[1]]
    assert "Is a FIFO" in warnings[0]
    assert "cannot understand" in warnings[1]


def test_a_record_that_is_no_text_is_an_error_of_its_own(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), SPEC, "slurm", NOON)
    Path(job.record).write_bytes(b"\xff")
    with pytest.raises(ScoopError, match="record.json': it is not UTF-8"):
        directories.read_record(job)


@pytest.mark.parametrize(
    ("error", "printed", "complaint"),
    [
        (None, "scoop-hpc: error: no conda on n1\n", "no conda on n1"),
        (None, "CondaError\nscoop-hpc: error: no conda on n1\nslurmstepd: done\n", "no conda on n1"),
        ("err", "scoop-hpc: error: no conda on n1\n", "no conda on n1"),
        (None, "scoop-hpc: error: early\n" + "a line\n" * 20, ""),
        (None, "my scoop-hpc: error: x\n", ""),
        (None, "", ""),
    ],
)
def test_the_last_error_in_a_jobs_output_is_its_complaint(
    tmp_path: Path, error: str | None, printed: str, complaint: str
) -> None:
    spec = replace(SPEC, directory=str(tmp_path), output="out", error=error)
    job = replace(directories.create(str(tmp_path / "state"), spec, "slurm", NOON), job_id="7")
    assert directories.last_complaint(job) == ""
    path = tmp_path / (error or "out")
    path.write_text(printed)
    os.utime(path, (NOON, NOON + 1))
    assert directories.last_complaint(job) == complaint
    os.utime(path, (NOON, NOON - 60))  # an earlier job's
    assert directories.last_complaint(job) == ""
    path.unlink()
    os.mkfifo(path)
    assert directories.last_complaint(job) == ""
