"""What a program is told of the worker that it is in."""

from __future__ import annotations

import os
import socket

import pytest

from scoop_hpc import worker
from scoop_hpc.cpus import cpu_numbers


def test_outside_of_a_run_there_is_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SCOOP_HPC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = worker.info()
    assert found == worker.WorkerInfo("0.0", socket.gethostname(), 0, 0, 1, cpu_numbers(), ())


def test_a_worker_is_what_its_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORKER": "3.1", "NODE": "n4", "RANK": "13", "LOCAL_RANK": "1", "SIZE": "16"}.items():
        monkeypatch.setenv(f"SCOOP_HPC_{name}", value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert worker.info() == worker.WorkerInfo("3.1", "n4", 13, 1, 16, cpu_numbers(), ("2", "3"))
