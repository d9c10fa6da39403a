"""Metrics in Prometheus' text format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scoop_hpc.events import NodeJoined, RunBegan, RunOver, RunStarting
from scoop_hpc.protocol.messages import Accounts, FunctionAccount, WorkerAccount
from scoop_hpc.protocol.names import NodeIndex, worker_name
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.run.watching.collector import Collector
from scoop_hpc.run.watching.metrics import Metrics, MetricsFile

ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def accounted(count: int) -> NodeAccounted:
    functions = (FunctionAccount('say "hi"\n', count, 2, 3, 8.0, 2.0, ((40, count - 1), (87, 1))),)
    workers = (WorkerAccount(worker_name(0, 1), 8.0, 9.0, 15.0, 1.0), WorkerAccount(worker_name(0, 2), 0.0, 0.0))
    return NodeAccounted("n1", NodeIndex(0), Accounts(functions, workers, (), 1, 5, 10))


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the values in *text*, by names and labels, as Prometheus' own parser reads them."""
    return {
        (sample.name.removeprefix("scoop_hpc_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def begun(clock: Clock) -> Collector:
    collector = Collector("r", "41", "run.py", clock, lambda: 1e9)
    for event in (RunStarting(1, "run.py"), NodeJoined("n1", "n1", 7, 4, 2), RunBegan(1, 2), accounted(5)):
        collector(event)
    return collector


def test_metrics_have_what_is_known_of_nodes_workers_and_functions() -> None:
    clock = Clock()
    metrics = Metrics(begun(clock), clock)
    metrics(accounted(5))
    found = samples(generate_latest(metrics.registry).decode())
    function = 'say "hi"\n'
    assert found["run_info", ("41", "run.py", "r")] == 1
    assert (found["workers", ()], found["nodes", ("alive",)], found["nodes", ("lost",)]) == (2, 1, 0)
    assert (found["memory_peak_bytes", ("n1",)], found["memory_limit_bytes", ("n1",)]) == (5, 10)
    assert found["busy_seconds_total", ("n1",)] == 9
    assert (found["task_seconds_count", (function,)], found["task_seconds_sum", (function,)]) == (5, 8)
    assert (found["tasks_failed_total", (function,)], found["tasks_retried_total", (function,)]) == (2, 3)
    buckets = [value for (name, labels), value in found.items() if name == "task_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-2:] == [4, 5]  # the last but one does not have what took 12 days


def documented() -> set[str]:
    """Return the names of metrics in the table of the manual."""
    return set(re.findall(r"^``scoop_hpc_(\w+)``", (ROOT / "docs" / "watching.rst").read_text(), flags=re.MULTILINE))


def test_documented_names_are_those_of_a_run_at_its_end() -> None:
    clock = Clock()
    collector = begun(clock)
    metrics = Metrics(collector, clock)
    over = RunOver("COMPLETED", 0, "")
    collector(over)
    metrics(over)
    told = {name for name, _ in samples(generate_latest(metrics.registry).decode())}
    of_histograms = {f"{name}{suffix}" for name in documented() for suffix in ("_bucket", "_count", "_sum")}
    assert told - documented() <= of_histograms
    assert documented() - told == {"task_seconds"}


def test_metrics_are_made_once_a_second_and_at_the_end() -> None:
    clock = Clock()
    made: list[bool] = []

    class Noted(Metrics):
        def made(self, is_over: bool) -> None:
            made.append(is_over)

    metrics = Noted(begun(clock), clock)
    for clock.now in (0.0, 0.5, 1.5, 1.6):
        metrics(accounted(5))
    metrics(RunOver("COMPLETED", 0, ""))
    assert made == [False, False, True]


def test_file_is_whole_whenever_it_is_read(tmp_path: Path) -> None:
    clock = Clock()
    metrics = MetricsFile(str(tmp_path / "run.prom"), begun(clock), clock)
    metrics(accounted(5))
    metrics(RunOver("COMPLETED", 0, ""))
    assert [each.name for each in tmp_path.iterdir()] == ["run.prom"]
    assert samples((tmp_path / "run.prom").read_text())["workers", ()] == 2


def test_file_that_cannot_be_written_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    metrics = MetricsFile("/nowhere/run.prom", begun(clock), clock)
    for clock.now in (0.0, 2.0, 4.0):
        metrics(accounted(5))
    assert capsys.readouterr().err == (
        "scoop-hpc: warning: cannot write the metrics '/nowhere/run.prom': No such file or directory\n"
    )
