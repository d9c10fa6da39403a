"""What another user may have written is refused by the command, in one line, before anything of it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose settings and state are below a directory that everybody may write to, as /tmp is."""
    tmp_path.chmod(0o1777)
    (tmp_path / "p.py").write_text("if __name__ == '__main__':\n    print('ran')\n")
    own = {"SCOOP_HPC_STATE": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return {**os.environ, **own}


def give_away(path: Path) -> str:
    """Let *path* be another user's, or, where only root could do that, open to all; return what is to be said of it."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
        return f"'{path}' belongs to another user (uid {NOBODY})"
    path.chmod(0o777)
    return f"everybody may write to '{path}'"


def submit(environ: dict[str, str], directory: Path, *words: str) -> tuple[int, str, str]:
    """Run ``scoop-hpc submit --scheduler local ... WORDS p.py``."""
    command = [sys.executable, "-m", "scoop_hpc", "submit", "--scheduler", "local", "--workers-per-node", "1"]
    command += ["--wait", *words, "p.py"]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def refused(environ: dict[str, str], directory: Path, *words: str) -> str:
    """Return the one line by which that is refused."""
    status, stdout, stderr = submit(environ, directory, *words)
    assert (status, stdout, len(stderr.splitlines())) == (2, "", 1), stderr
    return stderr


@pytest.mark.parametrize("place", ["scoop_hpc.toml", "config/scoop_hpc/config.toml"])
def test_settings_of_another_user_are_refused(environ: dict[str, str], tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[defaults]\nprologue = [\"touch '{tmp_path}/mark'\"]\n")
    assert submit(environ, tmp_path)[:2] == (0, "ran\n")
    (tmp_path / "mark").unlink()
    assert give_away(path) in refused(environ, tmp_path)
    assert not (tmp_path / "mark").exists()
    trusting = {**environ, "SCOOP_HPC_TRUST": str(path.parent)}
    assert submit(trusting, tmp_path)[:2] == (0, "ran\n")


def test_a_directory_for_settings_that_is_another_users_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config" / "scoop_hpc" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[defaults]\nname = 'x'\n")
    assert give_away(path.parent) in refused(environ, tmp_path)


@pytest.mark.parametrize("place", ["config/scoop_hpc/templates/local.sh.j2", "mine.sh.j2"])
def test_templates_of_another_user_are_refused(environ: dict[str, str], tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{% extends "scoop_hpc/local.sh.j2" %}\n')
    words = ["--template", place] if place.startswith("mine") else []
    assert submit(environ, tmp_path, *words)[:2] == (0, "ran\n")
    assert give_away(path) in refused(environ, tmp_path, *words)


@pytest.mark.parametrize("place", ["state", "state/jobs", "state/local"])
def test_state_in_another_users_directory_is_refused(environ: dict[str, str], tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, mode=0o700)
    said = give_away(tmp_path / place)
    (tmp_path / place).chmod(0o777)
    assert said in refused(environ, tmp_path)
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


def test_a_hostfile_of_another_user_does_not_say_where_ssh_goes(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("localhost 1\n")
    said = give_away(tmp_path / "hosts")
    for command in (["run", "--launcher=ssh"], ["--launcher=ssh"]):
        argv = [sys.executable, "-m", "scoop_hpc", *command, "--hostfile", "hosts", "p.py"]
        done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr
