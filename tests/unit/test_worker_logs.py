"""Files for what workers print."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoop_hpc.protocol.names import ORIGIN, ProcessName, broker_name, worker_name
from scoop_hpc.run.streams.worker_logs import WorkerLogs


def test_each_worker_has_a_file_that_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "worker-3.1.log").write_text("of a former run\n")
    logs = WorkerLogs(str(tmp_path))
    assert logs.add(worker_name(3, 1), b"one\n")
    assert logs.add(worker_name(0, 2), b"two\n")
    assert logs.add(worker_name(3, 1), b"three\n")
    found = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert found == {"worker-3.1.log": "one\nthree\n", "worker-0.2.log": "two\n"}


@pytest.mark.parametrize("name", [ORIGIN, broker_name(3)])
def test_program_and_brokers_print_where_they_did(tmp_path: Path, name: ProcessName) -> None:
    assert not WorkerLogs(str(tmp_path)).add(name, b"text\n")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_goes_with_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    logs = WorkerLogs("/nowhere")
    assert not logs.add(worker_name(0, 1), b"text\n")
    assert not logs.add(worker_name(0, 2), b"text\n")
    assert capsys.readouterr().err.count("what workers print goes with the output") == 1
