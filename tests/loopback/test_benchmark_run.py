"""`python -m benchmarks` from end to end, with tiny sizes and peers that are always there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from conftest import Runs

ROOT = Path(__file__).parents[2]
PEERS = ["scoop_hpc", "Executor", "multiprocessing", "raw", "raw-batched", "raw-broker", "raw-broker-batched"]


def test_a_quick_run_measures_prints_and_writes_and_leaves_nothing(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    temporary = Path(tempfile.mkdtemp())  # a short path: sockets have at most 107 bytes for theirs [unix(7)]
    request.addfinalizer(lambda: shutil.rmtree(temporary))
    options = ["--quick", "--repeat", "1", "--rows", "submit", "--peers", ",".join(PEERS), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "benchmarks.json").read_text())["rows"]
    assert row["title"] == "50 submits of a no-op, gathered"
    assert list(row["peers"]) == PEERS
    assert all(figures.get("median", 0) > 0 for figures in row["peers"].values()), row["peers"]
    assert ">= 4 x multiprocessing" in done.stdout
    assert list(temporary.iterdir()) == []
    assert not [process.pid for process in psutil.process_iter(["environ"]) if _is_from(process, temporary)]


@pytest.mark.parametrize("words", [("guilty", "30", "3"), ("again", "1"), ("first-broker", "8", "100", "0.1")])
def test_programs_about_losses_report(runs: Runs, words: tuple[str, ...]) -> None:
    done = runs.run("-n", "2", str(ROOT / "benchmarks" / "programs" / "losses.py"), *words)
    assert done.returncode == 0, done.stderr
    assert min(json.loads(done.stdout).values())


def _is_from(process: psutil.Process, temporary: Path) -> bool:
    """Return whether *process* was started with its temporary files under *temporary*."""
    environ = process.info["environ"] or {}
    return str(environ.get("TMPDIR", "")).startswith(str(temporary))
