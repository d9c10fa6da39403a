"""What a shell is told of the jobs that a command may be about, and of other things that are known by names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.cli.main import scoop_hpc
from scoop_hpc.cli.shell.completion import answer
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs import directories
from scoop_hpc.schedulers.registry import SCHEDULERS
from scoop_hpc.schedulers.site import Site

PROGRAM = JobSpec(("p.py",), "/home/me", name="sweep")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SCOOP_HPC_STATE", str(tmp_path))
    return str(tmp_path)


def submit(state: str, job_id: str | None, now: float, cluster: str = "") -> None:
    site = Site(cluster) if cluster else None
    directories.write(replace(directories.create(state, PROGRAM, "slurm", now), job_id=job_id, site=site))


def proposed(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert answer(scoop_hpc, "bash_complete")
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    "command",
    [
        *("status", "logs", "wait", "cancel", "requeue", "explain", "report", "top", "web", "drain", "join"),
        *("submit --join", "submit --after", "render --after-any", "submit --after-failure"),
    ],
)
def test_jobs_are_proposed_the_newest_first(
    command: str, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(state, "41", 1.0)
    submit(state, "7", 2.0)
    submit(state, None, 3.0)
    submit(state, "42", 4.0, "big")
    assert proposed(f"scoop-hpc {command} ", monkeypatch, capsys) == ["plain,42@big", "plain,7", "plain,41"]
    assert proposed(f"scoop-hpc {command} 4", monkeypatch, capsys) == ["plain,42@big", "plain,41"]


def test_what_cannot_be_understood_is_left_out_in_silence(
    state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(state, "41", 1.0)
    broken = os.path.join(state, "jobs", "20260101T000000.000000Z-00000000")
    os.mkdir(broken)
    Path(broken, "job.json").write_text("{")
    assert proposed("scoop-hpc status ", monkeypatch, capsys) == ["plain,41"]
    os.chmod(os.path.join(state, "jobs"), 0o777)  # others may write there: no command takes it
    assert proposed("scoop-hpc status ", monkeypatch, capsys) == ["file,"]


@pytest.mark.parametrize("command", ["submit", "render", "template new", "doctor", "bench"])
def test_schedulers_are_proposed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = proposed(f"scoop-hpc {command} --scheduler ", monkeypatch, capsys)
    assert set(every) >= {"plain,slurm", "plain,pbs", "plain,sge", "plain,local"}
    assert proposed(f"scoop-hpc {command} --scheduler sl", monkeypatch, capsys) == ["plain,slurm"]


def test_schedulers_that_packages_bring_are_proposed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = {**SCHEDULERS, "nqs": SCHEDULERS["slurm"]}
    monkeypatch.setattr("scoop_hpc.cli.options.job.SCHEDULERS", theirs)
    assert proposed("scoop-hpc submit --scheduler n", monkeypatch, capsys) == ["plain,nqs"]


def test_templates_are_proposed_with_those_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "scoop_hpc" / "templates").mkdir(parents=True)
    (tmp_path / "scoop_hpc" / "templates" / "sweep.sh.j2").touch()
    found = proposed("scoop-hpc template show s", monkeypatch, capsys)
    assert {"plain,slurm", "plain,sge", "plain,sweep", "plain,scoop_hpc/slurm"} <= set(found)
    (tmp_path / "scoop_hpc" / "templates").chmod(0o0)
    assert proposed("scoop-hpc template show nosuch", monkeypatch, capsys) == ["file,nosuch"]


@pytest.mark.parametrize("command", ["submit", "render", "config show"])
def test_clusters_of_the_settings_are_proposed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    Path("scoop_hpc.toml").write_text("[clusters.big]\n[clusters.small]\n")
    assert proposed(f"scoop-hpc {command} --profile ", monkeypatch, capsys) == ["plain,big", "plain,small"]
    Path("scoop_hpc.toml").write_text("[clusters.")
    assert proposed(f"scoop-hpc {command} --profile ", monkeypatch, capsys) == ["file,"]


@pytest.mark.parametrize("command", ["run", "join", "submit"])
def test_network_interfaces_are_proposed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("socket.if_nameindex", lambda: [(1, "lo"), (2, "ib0")])
    assert proposed(f"scoop-hpc {command} --interface i", monkeypatch, capsys) == ["plain,ib0"]
