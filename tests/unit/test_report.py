"""What a run was worth: its record, where the time went, what to change."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from scoop_hpc.cli.look.reports import as_known
from scoop_hpc.cli.reporting import say_what_it_was_worth
from scoop_hpc.errors import InputError
from scoop_hpc.events import (
    AgentLeft,
    NodeJoined,
    NodeLost,
    RunBegan,
    RunEnding,
    RunOver,
    RunStarting,
    WorkerLost,
)
from scoop_hpc.protocol.messages import Accounts, FailedTask, FunctionAccount, WorkerAccount
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, worker_name
from scoop_hpc.report import record, text
from scoop_hpc.report.analysis import analyse, compare
from scoop_hpc.report.html import page
from scoop_hpc.report.record import (
    FailureRecord,
    FunctionRecord,
    NodeRecord,
    RunRecord,
    Totals,
    WorkerRecord,
    function_record,
)
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.run.watching.collector import Collector
from scoop_hpc.run.watching.report_file import ReportFile
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState

NODE = NodeIndex(0)


def run(
    *workers: WorkerRecord, elapsed: float = 100.0, functions: tuple[FunctionRecord, ...] = (), done: int = 100
) -> RunRecord:
    """Return the record of a run with these *workers* on one node."""
    count = sum(worker.name != ORIGIN for worker in workers) or 1
    failed = sum(function.failed for function in functions)
    return RunRecord(
        record.VERSION,
        "r",
        "41",
        "run.py",
        "COMPLETED",
        0,
        "",
        1e9,
        elapsed,
        Totals(done, failed, 0, count, 1),
        (NodeRecord("n1", 0, "alive", count),),
        workers,
        functions,
    )


def worker(number: int, began: float | None, ended: float | None, own: float, busy: float = 0.0) -> WorkerRecord:
    return WorkerRecord(f"0.{number}", "n1", own, max(own, busy), began, ended)


def function(name: str = "simulate", longest: float = 2.0, failed: int = 0, total: float = 100.0) -> FunctionRecord:
    return FunctionRecord(name, 100, failed, 0, total / 100, total / 100, longest, longest, total)


def parts(what: RunRecord) -> dict[str, float]:
    return {part.name: round(part.seconds, 6) for part in analyse(what).parts if part.seconds}


def test_all_time_is_in_one_part() -> None:
    first, second = worker(1, 10, 60, 40, 45), worker(2, 20, 90, 60)
    #          start     own       busy without own   to the last task   to the end
    assert parts(run(first, second)) == {"start": 30, "own": 100, "overhead": 5, "tail": 30, "after": 20, "waiting": 15}


def test_origin_is_no_worker_unless_it_is_alone() -> None:
    origin = WorkerRecord(ORIGIN, "n1", 50.0, 50.0, 0.0, 100.0)
    assert parts(run(origin, worker(1, 0, 100, 80))) == {"own": 80, "waiting": 20}
    assert parts(run(origin)) == {"own": 50, "waiting": 50}


def test_worker_without_a_task_is_one_that_did_not_start() -> None:
    assert parts(run(worker(1, 0, 100, 100), worker(2, None, None, 0))) == {"own": 100, "start": 100}


def test_worker_that_died_and_the_one_in_its_place_are_counted_once() -> None:
    what = run(worker(1, 0, 40, 40), worker(2, 50, 100, 50))
    what = replace(what, totals=replace(what.totals, workers=1))
    assert sum(part.share for part in analyse(what).parts) == pytest.approx(1)
    assert parts(what) == {"own": 90, "waiting": 10}


@pytest.mark.parametrize("elapsed", [0.0, 1e-9, 50.0])
def test_shares_never_exceed_the_whole(elapsed: float) -> None:
    what = run(worker(1, 10, 60, 40, 45), worker(2, 20, 90, 60), elapsed=elapsed)
    shares = [part.share for part in analyse(what).parts]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1 if elapsed else 0)


def test_run_that_goes_on_has_no_end_yet() -> None:
    """A worker's last task is the last that it told of: what it does since then, nobody knows here."""
    first, second = worker(1, 10, 60, 40, 45), worker(2, 20, 90, 60)
    going = replace(run(first, second), state="RUNNING", status=None, is_final=False)
    assert parts(going) == {"start": 30, "own": 100, "overhead": 5, "open": 65}
    assert advice(going) == ""
    assert "  32 %  waiting, or in tasks not ended" in "\n".join(text.page(going))
    lines = list(text.comparison(going, run(first, second), ("41", "42")))
    assert [line.split()[-4:] for line in lines if "not ended" in line or "at the end" in line] == [
        ["0", "%", "15", "%"],
        ["32", "%", "0", "%"],
    ]


def test_tasks_that_were_under_way_as_a_run_was_ended_are_not_taken_for_idleness() -> None:
    what = replace(run(worker(1, 0, 10, 10), worker(2, 0, 10, 10)), state="TIMEOUT", reason="received SIGTERM")
    assert parts(what) == {"own": 20, "open": 180}
    assert advice(what) == "the walltime was too short: give a larger --walltime"


def test_time_of_workers_after_their_node_was_lost_is_no_imbalance() -> None:
    nodes = (NodeRecord("n1", 0, "alive", 1), NodeRecord("n2", 1, "lost", 1, "its agent left"))
    dead = replace(worker(2, 0, 40, 40), node="n2")
    what = replace(run(worker(1, 0, 90, 90), dead), nodes=nodes)
    assert parts(what) == {"own": 130, "lost": 50, "after": 20}
    assert "waited for the last tasks" not in advice(what)
    assert "   25 %  workers lost with their node     ##########" in text.page(what)
    going = replace(what, is_final=False)
    assert "lost" not in parts(going)


def advice(what: RunRecord) -> str:
    return "; ".join(analyse(what).advice)


def test_good_run_gets_no_advice() -> None:
    assert advice(run(worker(1, 0, 100, 99), worker(2, 0, 100, 99), functions=(function(),))) == ""


def test_too_many_workers_are_said_with_the_number_that_is_enough() -> None:
    what = run(*(worker(number, 0, 100, 20) for number in range(1, 17)))
    assert "enough for 4 of 16 workers: give --workers 4, or submit" in advice(what)
    several = replace(what, totals=replace(what.totals, nodes=8))
    assert "give --workers 4, or --nodes 2, or submit" in advice(several)


def test_as_many_nodes_as_there_are_is_no_advice() -> None:
    what = run(*(worker(number, 0, 100, 60) for number in range(1, 5)))
    two = replace(what, totals=replace(what.totals, nodes=2))
    assert "enough for 3 of 4 workers: give --workers 3, or submit" in advice(two)


def test_imbalance_names_the_longest_function() -> None:
    what = run(worker(1, 0, 100, 100), worker(2, 0, 50, 50), functions=(function(), function("last", 50.0)))
    assert "last tasks (last() took up to 50 s): submit the longest first" in advice(what)
    assert "by a smaller chunksize" in advice(what)


def test_short_tasks_should_go_in_groups_and_long_ones_send_less() -> None:
    workers = worker(1, 0, 100, 50, 100), worker(2, 0, 100, 50, 100)
    assert "tasks are short (10 us on average): use map" in advice(
        run(*workers, functions=(function(total=0.001),), done=100)
    )
    assert "send less" in advice(run(*workers, functions=(function(),), done=100))


@pytest.mark.parametrize(
    ("used", "limit", "said"),
    [(90 * 2**30, 100 * 2**30, "90 of 100 GiB of memory (90 %)"), (414 * 2**20, 460 * 2**20, "414 of 460 MiB")],
)
def test_memory_close_to_the_limit_is_said(used: int, limit: int, said: str) -> None:
    node = NodeRecord("n1", 0, "alive", 1, "", used, limit)
    full = replace(run(worker(1, 0, 100, 99)), nodes=(node,))
    assert f"node n1 came to {said}" in advice(full)
    assert advice(full).endswith(": give a larger --memory or --memory-per-cpu, or a smaller --workers-per-node")
    assert advice(replace(full, job=None)).endswith(": give a smaller --workers-per-node")


def test_failed_tasks_lead_to_the_command_that_shows_them() -> None:
    what = run(worker(1, 0, 100, 99), functions=(function(failed=3),))
    assert advice(what) == "3 tasks failed, in simulate(): scoop-hpc logs 41 --failed"
    assert advice(replace(what, job=None)) == (
        "3 tasks failed, in simulate(): keep a report, as by --report FILE, for scoop-hpc logs FILE --failed"
    )


@pytest.mark.parametrize(("state", "option"), [("TIMEOUT", "--walltime"), ("OUT_OF_MEMORY", "--memory")])
def test_what_a_job_had_too_little_of_is_said(state: str, option: str) -> None:
    assert f"give a larger {option}" in advice(replace(run(worker(1, 0, 100, 99)), state=state))


def test_lost_nodes_are_named() -> None:
    what = replace(run(worker(1, 0, 100, 99)), nodes=(NodeRecord("n7", 1, "lost", 2, "its agent left"),))
    assert "lost nodes: n7;" in advice(what)
    assert "--directive='--exclude=n7' of Slurm" in advice(what)
    assert "  node n7: its agent left" in text.page(what)


def test_comparison_has_speed_up_and_efficiency() -> None:
    four = run(*(worker(number, 0, 100, 100) for number in range(1, 5)))
    many = run(*(worker(number, 0, 10, 10) for number in range(1, 65)), elapsed=10.0)
    assert (compare(four, many).speedup, compare(four, many).efficiency) == (10.0, 0.625)
    lines = list(text.comparison(four, many, ("41", "42")))
    assert "Speed-up 10.00 with 64 workers instead of 4: efficiency 62 %, seen from 41" in lines


def test_paragraph_says_it_all() -> None:
    what = run(worker(1, 0, 90, 80, 85), functions=(function(failed=3),))
    assert text.paragraph(what) == (
        "1 worker on 1 node for 100 s: 80 % of their time in tasks, 10 % the program, after the last task, "
        "5 % waiting for tasks, 5 % transfer, packing, the runtime. 100 tasks, 3 failed. Most time took simulate() "
        "(100 times 1 s, 99 % within 2 s). 3 tasks failed, in simulate(): scoop-hpc logs 41 --failed."
    )


FAILED = FailureRecord("f", 7, "'<b>'", "E: <script>", "Traceback\n  <script>\n", "n1", "0.1", 2, 1e9)


def test_failure_is_shown_with_place_and_attempt() -> None:
    assert list(text.failure(FAILED)) == [
        "f('<b>'): item 7, worker 0.1 on n1, attempt 2",
        "  Traceback",
        "    <script>",
    ]
    (first, *_) = text.failure(replace(FAILED, position=None, attempt=1))
    assert first == "f('<b>'): worker 0.1 on n1, attempt 1"


def test_a_failure_that_came_once_is_said_so() -> None:
    what = replace(run(worker(1, 0, 100, 99), functions=(function(failed=3),)), failures=(FAILED, FAILED))
    assert "  2 times E in f()" in text.page(what)
    assert "  once E in f()" in text.page(replace(what, failures=(FAILED,)))


KNOWN = "what follows was known after 100 s"


@pytest.mark.parametrize(
    ("said", "state", "status", "reason"),
    [
        (JobStatus("41", JobState.RUNNING), "RUNNING", None, ""),
        (
            JobStatus("41", JobState.FAILED, "the driver ended without a word", exit_status=137),
            "FAILED",
            137,
            f"the driver ended without a word; {KNOWN}",
        ),
        (JobStatus("41", JobState.NODE_FAIL), "NODE_FAIL", None, f"ended without a word; {KNOWN}"),
    ],
)
def test_run_that_could_not_say_its_end_has_that_of_its_job(
    said: JobStatus, state: str, status: int | None, reason: str
) -> None:
    found = replace(run(worker(1, 0, 50, 50)), state="RUNNING", status=None, is_final=False)
    known = as_known(found, said)
    assert (known.state, known.status, known.reason, known.is_final) == (state, status, reason, False)


def test_run_that_was_ended_by_its_walltime_is_known_so() -> None:
    found = replace(run(worker(1, 0, 50, 50)), state="CANCELLED", status=143, reason="received SIGTERM")
    known = as_known(found, JobStatus("41", JobState.TIMEOUT))
    assert (known.state, known.status, known.reason) == ("TIMEOUT", 143, "received SIGTERM")


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]


def test_page_is_one_file_in_which_a_program_s_words_are_only_words() -> None:
    bins = ((3, 1), (5, 99))
    functions = (function("<script>alert(1)</script>", failed=1), replace(function("g"), durations=bins))
    what = replace(run(worker(1, 0, 90, 80), worker(2, None, None, 0), functions=functions), failures=(FAILED,))
    tags = Tags(page([what], ["41"]))
    assert {"svg", "rect", "table", "details"} <= set(tags.found)
    assert "script" not in tags.found
    assert tags.links == []


def test_page_of_two_runs_compares_them() -> None:
    what = run(worker(1, 0, 90, 80))
    assert "Speed-up 2.00" in page([what, replace(what, elapsed_s=50.0)], ["41", "42"])
    assert "did not do the same" not in page([what, what], ["41", "42"])
    other = replace(what, totals=replace(what.totals, done=7))
    assert "They did not do the same" in page([what, other], ["41", "42"])


def test_page_tells_what_was_lost() -> None:
    nodes = (NodeRecord("n1", 0, "alive", 1), NodeRecord("n2", 1, "lost", 1, "its <agent> left", is_complete=False))
    what = replace(run(worker(1, 0, 100, 99)), nodes=nodes, lost_workers=("worker 0.3 died",) * 22)
    shown = page([what], ["41"])
    assert "100 tasks, 0 failed, 1 of 2 nodes lost, the last accounts of 1 node are missing." in shown
    assert "<li>node n2: its &lt;agent&gt; left</li>" in shown
    assert (shown.count("<li>worker 0.3 died</li>"), shown.count("<li>and 2 more workers</li>")) == (20, 1)


def test_page_of_ten_thousand_workers_shows_some() -> None:
    what = run(*(worker(number, 0, 90, 80) for number in range(1, 10_001)))
    shown = page([what], ["41"])
    assert shown.count('class="lane"') <= 200
    assert "9800 workers in between are left out" in shown


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def accounted(count: int = 4, failures: int = 0, index: int = 0) -> NodeAccounted:
    failed = FailedTask("half", 1, "13", "E", "T", worker_name(0, 1), 1, 1e9)
    functions = (FunctionAccount("half", count, failures, 1, 8.0, 2.0, ((40, count),)),)
    workers = (WorkerAccount(worker_name(0, 1), 8.0, 9.0, 15.0, 1.0),)
    return NodeAccounted("n1", NodeIndex(index), Accounts(functions, workers, (failed,) * failures, 1, 5, 10))


def collected(clock: Clock) -> Collector:
    """Return a collector of a run that began at 10 and has accounts of 30."""
    collector = Collector("r", None, "run.py", clock, lambda: 1e9)
    clock.now = 10.0
    collector(RunStarting(1, "run.py"))
    collector(NodeJoined("n1", "n1", 7, 4, 2))
    collector(RunBegan(1, 2))
    clock.now = 30.0
    collector(accounted())
    return collector


def test_collector_knows_the_run_and_when_its_workers_had_tasks() -> None:
    clock = Clock()
    collector = collected(clock)
    clock.now = 31.0
    collector(RunEnding(0, ""))
    collector(AgentLeft("n1"))
    clock.now = 40.0  # until all is tidied up
    collector(RunOver("COMPLETED", 0, ""))
    what = collector.record()
    assert (what.state, what.status, what.elapsed_s) == ("COMPLETED", 0, 21.0)
    assert what.totals == Totals(4, 0, 2, 2, 1)
    assert what.workers == (WorkerRecord("0.1", "n1", 8.0, 9.0, 5.0, 19.0),)
    assert what.functions == (function_record(accounted().accounts.functions[0]),)
    assert what.nodes == (NodeRecord("n1", 0, "alive", 2, "", 5, 10),)


def test_last_word_of_a_node_counts_and_one_that_came_back_is_added() -> None:
    collector = collected(Clock())
    collector(accounted(6))
    assert collector.record().totals.done == 6
    collector(NodeLost("n1", "its agent left"))
    assert collector.record().nodes[0].state == "lost"
    collector(NodeJoined("n1", "n1", 8, 4, 2))
    collector(accounted(3, index=4))
    what = collector.record()
    assert (what.totals.done, what.nodes[0].state, what.nodes[0].broker) == (9, "alive", 4)


def test_node_whose_last_accounts_are_missing_is_told_apart() -> None:
    collector = collected(Clock())
    for name in ("n2", "n3", "n4"):
        collector(NodeJoined(name, name, 7, 4, 2))
    assert all(node.is_complete for node in collector.record().nodes)  # the run goes on
    collector(NodeLost("n2", "it is silent"))
    collector(NodeJoined("n2", "n2", 8, 4, 2))
    for name in ("n1", "n2", "n4"):
        collector(AgentLeft(name))
    collector(NodeLost("n4", "its agent left"))
    collector(RunOver("COMPLETED", 0, ""))
    assert [node.name for node in collector.record().nodes if not node.is_complete] == ["n2", "n3"]
    summary = "4 tasks, 0 failed, 2 repeated, 1 of 4 nodes lost, the last accounts of 2 nodes are missing."
    assert any(line.endswith(summary) for line in text.page(collector.record()))


def test_no_accounts_are_missing_of_a_run_that_has_not_begun() -> None:
    collector = Collector("r", None, "run.py", Clock(), lambda: 1e9)
    collector(NodeJoined("n1", "n1", 7, 4, 2))
    collector(RunOver("FAILED", 1, "no word from n2"))
    assert all(node.is_complete for node in collector.record().nodes)


def test_ten_thousand_failures_are_counted_and_a_thousand_described() -> None:
    collector = collected(Clock())
    for number in range(1, 101):
        collector(replace(accounted(), accounts=accounted(100 * number, 100).accounts))
        collector(WorkerLost(f"worker 0.{number} died"))
    collector(accounted(10_000, 0))
    collector._nodes["n1"].accounts[NODE] = (accounted(10_000).accounts, 30.0)
    what = collector.record()
    assert len(what.failures) == 1000
    assert len(what.lost_workers) == 100


def test_report_survives_its_file_and_has_no_half_of_one_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    clock = Clock()
    collector = collected(clock)
    file = ReportFile(str(path), collector)
    file(accounted())
    assert not path.exists()  # the run is young
    clock.now = 80.0
    file(accounted())
    assert record.read(str(path)) == collector.record()
    file(RunOver("COMPLETED", 0, ""))
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_report_that_cannot_be_written_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    file = ReportFile("/nowhere/report.json", collected(Clock()))
    for _ in range(3):
        file(RunOver("COMPLETED", 0, ""))
    assert capsys.readouterr().err == (
        "scoop-hpc: warning: cannot write the report '/nowhere/report.json': No such file or directory\n"
    )


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": "x"}', "\udcff"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="is no report of a run"):
        record.read(str(path))


@pytest.mark.parametrize(("elapsed", "said"), [(59.0, False), (61.0, True)])
def test_long_run_ends_with_a_paragraph(elapsed: float, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    collector = collected(clock)
    clock.now = 10.0 + elapsed
    collector(RunEnding(0, ""))
    say_what_it_was_worth(collector)
    lines = capsys.readouterr().err.splitlines()
    assert ([line for line in lines if line.startswith("scoop-hpc: 2 workers on 1 node for 61 s: ")] != []) == said
    assert all(len(line) <= 100 for line in lines)


def test_run_that_never_began_was_worth_nothing_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    collector = Collector("a", None, "run.py", clock, lambda: 0.0)
    clock.now += 100.0
    collector(RunEnding(2, "too few processes"))
    assert not say_what_it_was_worth(collector)
    assert capsys.readouterr().err == ""
