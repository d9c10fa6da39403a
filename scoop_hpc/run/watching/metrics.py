"""Metrics of a run in Prometheus' text format: in a file for a node exporter, or at a port.

The names are in ``docs/watching.rst``. Whoever asks at the port gets what was known at most a second ago: the driver's
own thread makes the metrics, and the server's threads only hand them out.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
from prometheus_client.registry import Collector as Source

from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError
from scoop_hpc.events import Event, RunBegan, RunOver
from scoop_hpc.protocol.histogram import BINS, EDGES
from scoop_hpc.report.record import FunctionRecord, NodeRecord, RunRecord
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.run.watching.collector import Collector

INTERVAL = 5.0  # seconds between two messages of an agent with its accounts
_PAUSE = 1.0  # seconds between two times that the metrics are made
_BUCKET = 4  # bins of a histogram that make one bucket, four times as wide as the one before


def families(record: RunRecord) -> Iterator[Metric]:
    """Yield the metrics of a run."""
    names = {"run": record.run, "job": record.job or "", "program": record.program}
    yield InfoMetricFamily("scoop_hpc_run", "The run.", value=names)
    yield _gauge("run_started_timestamp_seconds", "When the run began, since the epoch.", record.started)
    if record.status is not None:
        yield _gauge("run_seconds", "For how long the run has lasted, once it is over.", record.elapsed_s)
        yield _gauge("run_exit_status", "Exit status of the run, once it is over.", record.status)
    yield _gauge("workers", "Workers, as the run began.", record.totals.workers)
    yield CounterMetricFamily("scoop_hpc_workers_lost", "Workers that died.", value=len(record.lost_workers))
    nodes = GaugeMetricFamily("scoop_hpc_nodes", "Nodes, by state.", labels=["state"])
    for state in ("alive", "lost"):
        nodes.add_metric([state], sum(node.state == state for node in record.nodes))
    yield nodes
    yield from _of_nodes(record.nodes)
    busy = CounterMetricFamily("scoop_hpc_busy_seconds", "Time that workers were busy with tasks.", labels=["node"])
    for name in dict.fromkeys(worker.node for worker in record.workers):
        busy.add_metric([name], sum(worker.busy_s for worker in record.workers if worker.node == name))
    yield busy
    yield from _of_functions(record.functions)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"scoop_hpc_{name}", text, value=value)


def _of_nodes(nodes: Iterable[NodeRecord]) -> Iterator[Metric]:
    used = GaugeMetricFamily("scoop_hpc_memory_peak_bytes", "Memory of a node's processes at most.", labels=["node"])
    limit = GaugeMetricFamily("scoop_hpc_memory_limit_bytes", "Memory that they may have.", labels=["node"])
    for node in nodes:
        if node.memory_bytes:
            used.add_metric([node.name], node.memory_bytes)
        if node.memory_limit_bytes:
            limit.add_metric([node.name], node.memory_limit_bytes)
    yield used
    yield limit


def _of_functions(functions: Iterable[FunctionRecord]) -> Iterator[Metric]:
    text = "Time of tasks in their function, without waits for other tasks."
    seconds = HistogramMetricFamily("scoop_hpc_task_seconds", text, labels=["function"])
    failed = CounterMetricFamily("scoop_hpc_tasks_failed", "Tasks that have raised.", labels=["function"])
    text = "Calls after an exception, or lost with a worker."
    again = CounterMetricFamily("scoop_hpc_tasks_retried", text, labels=["function"])
    for function in functions:
        seconds.add_metric([function.name], _buckets(function), function.total_s)
        failed.add_metric([function.name], function.failed)
        again.add_metric([function.name], function.repeated)
    yield seconds
    yield failed
    yield again


def _buckets(function: FunctionRecord) -> list[tuple[str, float]]:
    """Return the cumulative counts of a function's durations, by the upper edges of buckets."""
    buckets: list[tuple[str, float]] = []
    for last in range(_BUCKET - 1, BINS - 1, _BUCKET):
        count = sum(size for number, size in function.durations if number <= last)
        buckets.append((f"{EDGES[last]:.3g}", count))
    return [*buckets, ("+Inf", function.count)]


class _Known(Source):
    """The metrics as they were made last."""

    def __init__(self) -> None:
        self.families: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        return self.families


class _Handler(WSGIRequestHandler):
    """Answers without a line for each request on the standard error."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base class calls it
        """Say nothing."""


class Metrics:
    """The observer of a driver that has the metrics made of what a *collector* knows."""

    def __init__(self, collector: Collector, clock: Callable[[], float]) -> None:
        self._collector = collector
        self._clock = clock
        self._made = float("-inf")
        self._known = _Known()
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self._known)

    def __call__(self, event: Event) -> None:
        """Make the metrics anew, if it is time."""
        is_over = isinstance(event, RunOver)
        if not is_over and not isinstance(event, (NodeAccounted, RunBegan)):
            return
        if is_over or self._clock() >= self._made + _PAUSE:
            self._known.families = list(families(self._collector.record()))
            self._made = self._clock()
            self.made(is_over)

    def made(self, is_over: bool) -> None:
        """Do something with the new metrics; the run may be over."""


class MetricsFile(Metrics):
    """Metrics in the file *path*, for the textfile collector of a node exporter; at the end they stay there."""

    def __init__(self, path: str, collector: Collector, clock: Callable[[], float]) -> None:
        super().__init__(collector, clock)
        self._path = path
        self._works = True

    def made(self, is_over: bool) -> None:
        if not self._works:
            return
        new = f"{self._path}.{os.getpid()}"  # a node exporter reads *.prom
        try:
            with open(new, "wb") as file:
                file.write(generate_latest(self.registry))
            os.replace(new, self._path)
        except OSError as error:
            self._works = False
            say(f"warning: cannot write the metrics {self._path!r}: {error.strerror}")
            with contextlib.suppress(OSError):
                os.unlink(new)


class MetricsServer(Metrics):
    """Metrics at a *port* of *host*, until the run is over; raises InputError if the port is not to be had."""

    def __init__(self, host: str, port: int, collector: Collector, clock: Callable[[], float]) -> None:
        super().__init__(collector, clock)
        try:
            self._server = ThreadingWSGIServer((host, port), _Handler)
        except OSError as error:
            where = f"{host}:{port}"
            raise InputError(f"--metrics {where}: {error.strerror}; give another port, or a file") from error
        self._server.set_app(make_wsgi_app(self.registry, disable_compression=True))
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunBegan):  # agents on this machine are forked before: no thread may be there then
            self._thread = threading.Thread(target=self._server.serve_forever, name="scoop-hpc metrics", daemon=True)
            self._thread.start()
        super().__call__(event)

    def made(self, is_over: bool) -> None:
        if is_over:
            if self._thread is not None:
                self._server.shutdown()
            self._server.server_close()
