"""What the local scheduler reads in a script, and what it makes of a state that nobody looks after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.errors import JobSpecError, ScoopError
from scoop_hpc.jobscript import render
from scoop_hpc.jobspec import JobSpec, JobState
from scoop_hpc.localjobs import states
from scoop_hpc.localjobs.script import Request, parse_script
from scoop_hpc.localjobs.states import Home, State
from scoop_hpc.schedulers.registry import named

RUNNING = State("local-1", "pi", JobState.RUNNING, ("local1",), started=5.0)


@pytest.mark.parametrize(
    "text", ["two words", 'it\'s "quoted"', "$HOME `id`", "#LOCAL --nodes=9", "é ☃", "a\\b\\", "-x"]
)
def test_any_text_survives_from_the_spec_to_the_request(text: str) -> None:
    spec = JobSpec(
        ("pi.py",),
        f"/home/{text}",
        text,
        nodes=2,
        workers_per_node=3,
        cpus_per_worker=4,
        walltime=3600,
        queue=text,
        account=text,
        output=f"{text}.{{job_id}}",
    )
    request = parse_script(render(spec, named("local"), ["true"]), "/elsewhere", 8)
    assert request == Request(text, 2, 3, 4, 3600, request.output, f"/home/{text}")
    assert request.output.endswith(f"{text}.{{job_id}}")


def test_what_is_not_asked_for_has_a_default() -> None:
    assert parse_script("#!/bin/sh\n", "/here", 8) == Request("job", 1, 8, 1, None, "scoop-{job_id}.out", "/here/")


def test_whole_nodes_have_room_for_as_many_workers_as_cpus_allow() -> None:
    assert parse_script("#!/bin/sh\n#LOCAL --cpus-per-worker=3\n", "/", 8).slots == 2
    assert parse_script("#!/bin/sh\n#LOCAL --cpus-per-worker=9\n", "/", 8).slots == 1


def test_directives_end_with_the_comments() -> None:
    text = "#!/bin/sh\n\n# words\n#LOCAL --nodes=2 # --nodes=3\n#LOCALLY --nodes=4\ntrue\n#LOCAL --nodes=5\n"
    assert parse_script(text, "/", 8).nodes == 2


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
    ],
)
def test_a_script_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(JobSpecError, match=complaint):
        parse_script(text, "/", 8)


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
