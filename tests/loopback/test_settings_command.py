"""Settings of files, variables and programs, in processes of their own: a job has them, an error is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose settings are in tmp_path/config."""
    (tmp_path / "config" / "scoop_hpc").mkdir(parents=True)
    (tmp_path / "p.py").write_text(
        "#SCOOP --scheduler local --workers-per-node 1 --env A=program\n"
        "import os\n"
        "if __name__ == '__main__':\n    print(os.environ['A'], os.environ.get('B'))\n"
    )
    own = {"SCOOP_HPC_STATE": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return {**os.environ, **own}


def scoop_hpc(environ: dict[str, str], directory: Path, *words: str) -> tuple[int, str, str]:
    """Run ``scoop-hpc WORDS``."""
    command = [sys.executable, "-m", "scoop_hpc", *words]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_a_job_is_what_its_program_and_the_files_say(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config/scoop_hpc/config.toml").write_text('[defaults]\noutput = "of-{job_id}.txt"\nenv = "A=file"\n')
    assert scoop_hpc(environ, tmp_path, "submit", "--wait", "p.py")[:2] == (0, "program None\n")
    assert [path.read_text() for path in tmp_path.glob("of-*.txt")] == ["program None\n"]
    asked = {**environ, "SCOOP_HPC_ENV": "A=variable B='two words'"}
    assert scoop_hpc(asked, tmp_path, "submit", "--wait", "p.py")[:2] == (0, "variable two words\n")


@pytest.mark.parametrize("words", [["submit", "p.py"], ["render", "p.py"], ["config", "show"]])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[defaults]\nqueu = 'x'\n", "scoop_hpc.toml, line 2: there is no setting 'queu': did you mean 'queue'?"),
        ("[defaults]\nmemory = 8\n", "scoop_hpc.toml, line 2: cannot read the memory '8': write a whole number and"),
        ("[defaults]\nqueue = normal\n", "scoop_hpc.toml, line 2: 'queue = normal' is not TOML (Invalid value)"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(
    environ: dict[str, str], tmp_path: Path, words: list[str], text: str, complaint: str
) -> None:
    (tmp_path / "scoop_hpc.toml").write_text(text)
    status, stdout, stderr = scoop_hpc(environ, tmp_path, *words)
    assert (status, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert stderr.startswith(f"scoop-hpc: error: {complaint}")
    assert not (tmp_path / "state").exists()


def test_an_unknown_cluster_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "scoop_hpc.toml").write_text("[clusters.big]\nqueue = 'x'\n")
    status, stdout, stderr = scoop_hpc(environ, tmp_path, "submit", "--profile", "bgi", "p.py")
    assert (status, stdout) == (2, "")
    assert stderr == "scoop-hpc: error: --profile: there is no cluster 'bgi': did you mean 'big'?\n"


def test_show_is_read_by_programs(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "scoop_hpc.toml").write_text("[clusters.big]\nqueue = 'x'\n")
    status, stdout, stderr = scoop_hpc(environ, tmp_path, "config", "show", "--json", "--profile", "big")
    assert (status, stderr) == (0, "")
    assert json.loads(stdout) == {
        "cluster": "big",
        "why": "--profile names it",
        "settings": [{"setting": "queue", "value": "x", "origin": {"place": "scoop_hpc.toml", "line": 2}}],
        "waiting": [],
    }
