"""What the local scheduler reads in a script, and what it makes of a state that nobody looks after."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from scoop_hpc.errors import InputError, JobSpecError, ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import DEFAULT_ARRAY_OUTPUT, DEFAULT_OUTPUT, JobSpec, output_path
from scoop_hpc.files import private
from scoop_hpc.jobs.script import render
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local import commands, states
from scoop_hpc.schedulers.local import request as requests
from scoop_hpc.schedulers.local.dependencies import Outlook, consider
from scoop_hpc.schedulers.local.request import Dependency, Request
from scoop_hpc.schedulers.local.script import parse_script
from scoop_hpc.schedulers.local.states import Home, State
from scoop_hpc.schedulers.registry import named

RUNNING = State("local-1", "pi", JobState.RUNNING, ("local1",), started=5.0)
REQUEST = Request("pi", "/here", (1,), 1, None, "out")
NOON = datetime(2030, 1, 31, 12).timestamp()


@pytest.mark.parametrize(
    "text", ["two words", 'it\'s "quoted"', "$HOME `id`", "#LOCAL --nodes=9", "é ☃", "a\\b\\", "-x", "{job_id}"]
)
def test_any_text_survives_from_the_spec_to_the_request(text: str) -> None:
    spec = JobSpec(
        ("pi.py",),
        f"/home/{text}",
        text,
        nodes=3,
        workers=7,
        cpus_per_worker=4,
        walltime=3600,
        queue=text,
        account=text,
        output="{name}.{job_id}_{array_index}",
        error="{array_index}",
        array=JobArray(1, 9, 2, 3),
        after=("local-1",),
        after_any=("local-2_3", "local-2_4"),
        after_failure=("local-5",),
        begin="2030-01-31T08:00:00",
        signal=60,
    )
    dependencies = (
        ("afterok", "local-1"),
        ("afterany", "local-2_3"),
        ("afterany", "local-2_4"),
        ("afternotok", "local-5"),
    )
    request = parse_script(render(spec, named("local"), ["true"]), "/elsewhere", 8)
    assert request == Request(
        text,
        f"/home/{text}",
        (3, 2, 2),
        4,
        3600,
        "{name}.{job_id}_{array_index}",
        "{array_index}",
        JobArray(1, 9, 2, 3),
        3,
        tuple(Dependency(*words) for words in dependencies),
        "2030-01-31T08:00:00",
        60,
    )
    assert requests.from_json(requests.to_json(request)) == request
    for pattern in (request.output, request.error):
        assert pattern is not None
        assert request.file(pattern, "local-7", 3) == output_path(replace(spec, output=pattern), "local-7", 3)


def test_what_is_not_asked_for_has_a_default() -> None:
    assert parse_script("#!/bin/sh\n", "/here", 8) == Request("job", "/here/", (8,), 1, None, DEFAULT_OUTPUT)
    assert parse_script("#!/bin/sh\n#LOCAL --array=1-2\n", "/here", 8).output == DEFAULT_ARRAY_OUTPUT


def test_whole_nodes_have_room_for_as_many_workers_as_cpus_allow() -> None:
    assert parse_script("#!/bin/sh\n#LOCAL --cpus-per-worker=3\n", "/", 8).slots == (2,)
    assert parse_script("#!/bin/sh\n#LOCAL --cpus-per-worker=9 --nodes=2\n", "/", 8).slots == (1, 1)


@pytest.mark.parametrize(
    ("directives", "at_once"),
    [
        ("--array=0-99 --workers=1", 8),
        ("--array=0-99 --workers=3", 2),
        ("--array=0-99 --nodes=2 --workers-per-node=1 --cpus-per-worker=2", 2),
        ("--array=0-99 --workers=9", 1),
        ("--array=0-99", 1),
        ("--array=0-99%20 --workers=9", 20),
    ],
)
def test_an_array_takes_no_more_than_the_machine_has_unless_it_says_so(directives: str, at_once: int) -> None:
    assert parse_script(f"#!/bin/sh\n#LOCAL {directives}\n", "/", 8).at_once == at_once


def test_directives_end_with_the_comments() -> None:
    text = "#!/bin/sh\n\n# words\n#LOCAL --nodes=2 # --nodes=3\n#LOCALLY --nodes=4\ntrue\n#LOCAL --nodes=5\n"
    assert parse_script(text, "/", 8).nodes == ("local1", "local2")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("true\n", "#!"),
        ("#!/bin/sh\n#LOCAL --colour=red\n", "--colour"),
        ("#!/bin/sh\n#LOCAL --node=2\n", "--node"),
        ("#!/bin/sh\n#LOCAL --nodes\n", "--nodes"),
        ("#!/bin/sh\n#LOCAL --nodes=-1\n", "-1"),
        ("#!/bin/sh\n#LOCAL --walltime=soon\n", "soon"),
        ("#!/bin/sh\n#LOCAL --job-name='a\n", "No closing quotation"),
        ("#!/bin/sh\n#LOCAL --workers=1 --nodes=2\n", "--workers 1"),
        ("#!/bin/sh\n#LOCAL --workers=2 --workers-per-node=2\n", "exclude each other"),
        ("#!/bin/sh\n#LOCAL --array=9-1\n", "9-1"),
        ("#!/bin/sh\n#LOCAL --dependency=afterok\n", "afterok"),
        ("#!/bin/sh\n#LOCAL --dependency=afterok:local-1,\n", "''"),
        ("#!/bin/sh\n#LOCAL --dependency=afterwards:local-1\n", "afterwards"),
        ("#!/bin/sh\n#LOCAL --dependency=afterok:17\n", "afterok:17"),
        ("#!/bin/sh\n#LOCAL --begin=soon\n", "soon"),
        ("#!/bin/sh\n#LOCAL --signal=5\n", "--signal 5"),
        ("#!/bin/sh\n#LOCAL --signal=60 --walltime=1\n", "--signal 60"),
    ],
)
def test_a_script_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(JobSpecError, match=complaint):
        parse_script(text, "/", 8)


def waiting_for(kind: str, *job_ids: str) -> Request:
    return replace(REQUEST, dependencies=tuple(Dependency(kind, job_id) for job_id in job_ids))


def test_a_job_that_depends_on_nothing_begins() -> None:
    assert consider(REQUEST, {}, NOON) == Outlook()


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("afterok", JobState.COMPLETED),
        ("afterany", JobState.COMPLETED),
        ("afterany", JobState.CANCELLED),
        ("afternotok", JobState.FAILED),
        ("afternotok", JobState.TIMEOUT),
    ],
)
def test_a_job_begins_once_another_has_ended_as_it_should(kind: str, state: JobState) -> None:
    assert consider(waiting_for(kind, "local-1"), {"local-1": state}, NOON) == Outlook()


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("afterok", JobState.FAILED, "it was to begin once local-1 had succeeded, but that ended FAILED"),
        ("afterok", JobState.CANCELLED, "it was to begin once local-1 had succeeded, but that ended CANCELLED"),
        ("afternotok", JobState.COMPLETED, "it was to begin once local-1 had failed, but that ended COMPLETED"),
        ("afterany", None, "it was to begin once local-1 had ended, but that is not known any more"),
    ],
)
def test_a_job_never_begins_once_another_has_ended_otherwise(kind: str, state: JobState, reason: str) -> None:
    request = replace(waiting_for(kind, "local-2", "local-1"), begin="2031-01-01T00:00:00")
    assert consider(request, {"local-1": state, "local-2": JobState.RUNNING}, NOON) == Outlook(reason, never=True)


def test_a_job_waits_for_all_that_it_depends_on() -> None:
    request = replace(REQUEST, dependencies=(*waiting_for("afterok", "local-1", "local-2", "local-4").dependencies,))
    request = replace(request, dependencies=(*request.dependencies, Dependency("afterany", "local-3")))
    states = {
        "local-1": JobState.PENDING,
        "local-2": JobState.COMPLETED,
        "local-3": JobState.RUNNING,
        "local-4": JobState.RUNNING,
    }
    assert consider(request, states, NOON) == Outlook("it waits for local-1, local-4 to succeed and local-3 to end")


def test_a_job_waits_for_its_time() -> None:
    request = replace(REQUEST, begin="2030-01-31T12:00:01")
    assert consider(request, {}, NOON).reason == "its time has not come: it begins at 2030-01-31T12:00:01"
    assert consider(request, {}, NOON + 1) == Outlook()


def test_a_job_whose_supervisor_lives_is_running(tmp_path: Path) -> None:
    home = states.create(str(tmp_path))
    home.write(RUNNING)
    with home.supervised():
        assert home.current() == RUNNING


def test_a_job_whose_supervisor_is_gone_has_failed(tmp_path: Path) -> None:
    home = states.create(str(tmp_path))
    home.write(RUNNING)
    current = home.current()
    assert current is not None
    assert current.state is JobState.FAILED
    assert "supervisor was killed, or the machine went down" in current.reason


def test_a_job_that_has_ended_needs_no_supervisor(tmp_path: Path) -> None:
    home = states.create(str(tmp_path))
    ended = replace(RUNNING, state=JobState.TIMEOUT, exit_status=143, ended=9.0)
    home.write(ended)
    assert home.current() == ended


ARRAY = State("local-1", "pi", JobState.RUNNING, array=JobArray(0, 4, 2))


def array(tmp_path: Path, whole: State = ARRAY) -> Home:
    home = states.create(str(tmp_path))
    home.write(whole)
    return home


def stand(home: Home) -> list[tuple[str, JobState]]:
    return [(job.job_id, job.state) for job in states.standing(home)]


def test_the_jobs_of_an_array_stand_one_by_one(tmp_path: Path) -> None:
    home = array(tmp_path)
    (tmp_path / "local" / "1" / "0").mkdir()
    home.element(0).write(State("local-1_0", "pi", JobState.COMPLETED, exit_status=0))
    home.element(2).cancel()
    with home.supervised():
        assert stand(home) == [
            ("local-1_0", JobState.COMPLETED),
            ("local-1_2", JobState.CANCELLED),
            ("local-1_4", JobState.PENDING),
        ]
        assert states.standing(home)[2].reason == "as many jobs of its array run as may at a time"
        assert states.state_of(str(tmp_path), "local-1") is JobState.RUNNING
        assert states.state_of(str(tmp_path), "local-1_2") is JobState.CANCELLED


def test_jobs_of_an_array_wait_as_it_waits(tmp_path: Path) -> None:
    home = array(tmp_path, replace(ARRAY, state=JobState.PENDING, reason="it waits"))
    with home.supervised():
        assert {(job.state, job.reason) for job in states.standing(home)} == {(JobState.PENDING, "it waits")}


def test_jobs_of_an_array_that_never_began_end_with_it(tmp_path: Path) -> None:
    for state, of_job in (
        (JobState.CANCELLED, JobState.CANCELLED),
        (JobState.FAILED, JobState.FAILED),
        (JobState.COMPLETED, JobState.FAILED),
        (JobState.RUNNING, JobState.FAILED),  # its supervisor was killed
    ):
        home = array(tmp_path, replace(ARRAY, state=state))
        assert {job.state for job in states.standing(home)} == {of_job}
        assert all(job.reason for job in states.standing(home)) or state is JobState.CANCELLED


def test_what_is_no_job_of_an_array_is_not_found(tmp_path: Path) -> None:
    home = array(tmp_path)
    assert states.find(str(tmp_path), "local-1_4") == home.element(4)
    assert states.find(str(tmp_path), "local-1_04") == home.element(4)
    assert home.element(4).job_id == "local-1_4"
    for job_id in ("local-1_1", "local-1_6", "local-2_0"):
        assert states.find(str(tmp_path), job_id) is None
        assert states.state_of(str(tmp_path), job_id) is None
    states.create(str(tmp_path)).write(replace(RUNNING, job_id="local-2"))
    assert states.find(str(tmp_path), "local-2_0") is None


def test_to_cancel_an_array_is_to_cancel_its_jobs(tmp_path: Path) -> None:
    home = array(tmp_path)
    home.element(2).cancel()
    assert [home.element(index).is_cancelled() for index in (0, 2, 4)] == [False, True, False]
    home.cancel()
    assert all(home.element(index).is_cancelled() for index in (0, 2, 4))


def test_jobs_are_numbered(tmp_path: Path) -> None:
    assert [states.create(str(tmp_path)).job_id for _ in range(3)] == ["local-1", "local-2", "local-3"]


@pytest.mark.parametrize("job_id", ["local-2", "local-", "local-x", "local-../1", "1", "", "slurm-1"])
def test_an_unknown_job_is_not_found(tmp_path: Path, job_id: str) -> None:
    states.create(str(tmp_path))
    assert states.find(str(tmp_path), "local-1") == Home(str(tmp_path / "local" / "1"))
    assert states.find(str(tmp_path), job_id) is None


@pytest.mark.parametrize("text", ["", "[]", '{"state": "GONE"}', '{"state": "RUNNING", "nodes": []}'])
def test_a_broken_state_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ScoopError, match="state.json"):
        Home(str(tmp_path)).read()


def test_on_a_full_disk_the_room_of_the_last_state_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = states.create(str(tmp_path))
    home.write(replace(RUNNING, reason="long " * 100))

    def write_nothing(path: str, text: str) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(private, "write_text", write_nothing)
    home.write(replace(RUNNING, state=JobState.COMPLETED))
    assert home.read() == replace(RUNNING, state=JobState.COMPLETED)
    with pytest.raises(InputError, match="the disk is full"):
        states.create(str(tmp_path)).write(RUNNING)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"array": null, "slots": 1}'])
def test_a_broken_request_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "request.json").write_text(text)
    with pytest.raises(ScoopError, match="request.json"):
        Home(str(tmp_path)).read_request()


def test_a_job_whose_files_are_damaged_costs_no_other_its_answer(tmp_path: Path) -> None:
    whole = Home(str(tmp_path / "local" / "1"))
    for index in (1, 2):
        Path(whole.element(index).path).mkdir(parents=True)
    whole.write(State("local-1", "pi", JobState.COMPLETED, array=JobArray(1, 2)))
    whole.element(1).write(State("local-1_1", "pi", JobState.COMPLETED, exit_status=0))
    Path(whole.element(2).path, "state.json").write_text('{"job_id": ')
    damaged = Home(str(tmp_path / "local" / "2"))
    Path(damaged.path).mkdir()
    Path(damaged.path, "state.json").write_text("[]")
    jobs = commands.status(["local-1", "local-2"], str(tmp_path))
    assert [(job.job_id, job.state) for job in jobs] == [
        ("local-1_1", JobState.COMPLETED),
        ("local-1_2", JobState.UNKNOWN),
        ("local-2", JobState.UNKNOWN),
    ]
    assert all("cannot read " in job.reason for job in jobs[1:])
