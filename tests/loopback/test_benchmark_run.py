"""`python -m benchmarks` from end to end, with tiny sizes and peers that are always there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Runs

from benchmarks.peers import PROGRAMS, search_path

ROOT = Path(__file__).parents[2]
PEERS = ["scoop_hpc", "Executor", "multiprocessing", "raw", "raw-batched", "raw-broker", "raw-broker-batched"]


def test_a_quick_run_measures_prints_and_writes_and_leaves_nothing(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    temporary = Path(tempfile.mkdtemp())  # a short path: sockets have at most 107 bytes for theirs [unix(7)]
    request.addfinalizer(lambda: shutil.rmtree(temporary))
    done = _quick("submit", PEERS, tmp_path, temporary)
    (row,) = _rows(done, tmp_path)
    assert row["title"] == "50 submits of a no-op, gathered"
    assert list(row["peers"]) == PEERS
    assert all(figures.get("median", 0) > 0 for figures in row["peers"].values()), row["peers"]
    assert ">= 4 x multiprocessing" in done.stdout
    assert list(temporary.iterdir()) == []
    assert not [process.pid for process in psutil.process_iter(["environ"]) if _is_from(process, temporary)]


def test_rows_about_a_first_time_nesting_cpu_rest_and_growth_have_figures(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    temporary = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(temporary))
    peers = ["scoop_hpc", "serial", "greenlets", "raw-batched"]
    done = _quick("first,burn-task,sleep-cpu,idle,growth", peers, tmp_path, temporary)
    rows = {row["name"]: row for row in _rows(done, tmp_path)}
    assert {name: list(row["peers"]) for name, row in rows.items()} == {
        "burn-task": ["serial", "scoop_hpc"],
        "sleep-cpu": ["scoop_hpc", "raw-batched"],
        "first-fib": ["scoop_hpc", "greenlets"],
        "first-tree": ["scoop_hpc", "greenlets"],
        "first-map": ["scoop_hpc"],
        "first-map-reduce": ["scoop_hpc"],
        "idle": ["scoop_hpc"],
        "growth-submit": ["scoop_hpc"],
        "growth-map": ["scoop_hpc"],
    }
    for name, row in rows.items():
        assert all("median" in figures for figures in row["peers"].values()), (name, row["peers"])
    assert "<= 1.5 x greenlets" in done.stdout
    assert "of a core for all 8 processes" in rows["idle"]["peers"]["scoop_hpc"]["note"]
    assert re.search(r"MB: program \d+, broker \d+, worker \d+$", rows["growth-map"]["peers"]["scoop_hpc"]["note"])


def test_arrays_go_between_two_nodes_by_a_run(runs: Runs) -> None:
    runs.environ |= {
        "PYTHONPATH": search_path(ROOT),
        "SCOOP_HPC_LOCAL_JOB_ID": "local-links",
        "SCOOP_HPC_LOCAL_NODES": "n0:1,n1:1",
    }
    done = runs.run(str(PROGRAMS / "links_program.py"), "8x80000", "4x400000")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["seconds"]) == 2


def test_arrays_go_between_two_processes_by_raw_zeromq(tmp_path: Path) -> None:
    argv = [sys.executable, str(PROGRAMS / "links_raw.py"), str(tmp_path / "address"), "8x80000", "4x400000"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": search_path(ROOT)}
    with subprocess.Popen(argv, env={**environ, "SLURM_PROCID": "1"}) as other:
        try:
            done = subprocess.run(
                argv,
                env={**environ, "SLURM_PROCID": "0"},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert len(json.loads(done.stdout)["seconds"]) == 2
            assert other.wait(60) == 0
        finally:
            other.kill()


def _quick(rows: str, peers: list[str], out: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    """Measure *rows* with tiny sizes; temporary files are below *temporary*."""
    options = ["--quick", "--repeat", "1", "--rows", rows, "--peers", ",".join(peers), "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def _rows(done: subprocess.CompletedProcess[str], out: Path) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads((out / "benchmarks.json").read_text())["rows"]
    return rows


@pytest.mark.parametrize("words", [("guilty", "30", "3"), ("again", "1"), ("first-broker", "8", "100", "0.1")])
def test_programs_about_losses_report(runs: Runs, words: tuple[str, ...]) -> None:
    done = runs.run("-n", "2", str(ROOT / "benchmarks" / "programs" / "losses.py"), *words)
    assert done.returncode == 0, done.stderr
    assert min(json.loads(done.stdout).values())


def _is_from(process: psutil.Process, temporary: Path) -> bool:
    """Return whether *process* was started with its temporary files under *temporary*."""
    environ = process.info["environ"] or {}
    return str(environ.get("TMPDIR", "")).startswith(str(temporary))
