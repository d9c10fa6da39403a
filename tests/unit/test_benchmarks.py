"""The pure parts of the benchmarks: figures, verdicts, tables, and what a measurement makes of a program's output."""

from __future__ import annotations

import doctest
import json
import os
import runpy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command_line
from benchmarks import figures, links, nodes, table
from benchmarks.figures import BEFORE, EXECUTOR, EXECUTOR_BEFORE, OURS, Figures, Target, judge, ratio
from benchmarks.measure import MeasurementError, last_report, reason
from benchmarks.peers import PEERS, PROGRAMS, Peer
from benchmarks.rows import ROWS, Row, efficiency, microseconds, milliseconds, tasks_per_second_and_worker
from benchmarks.suite import Suite, words

RATE = Row(
    name="rate",
    title="{count:,} things with {workers} workers",
    workload="submit_nothing",
    parameters={"count": 5_000},
    quick={"count": 5},
    unit="tasks/s",
    more_is_better=True,
    figure=lambda report: float(report["count"] / report["seconds"]),
    peers=(OURS, "serial"),
    targets=(Target(100), Target(4, "serial")),
)


def measured(**medians: float) -> dict[str, dict[str, Figures]]:
    return {"rate": {peer: Figures((median,)) for peer, median in medians.items()}}


def suite(reports: Sequence[Mapping[str, Any]], told: list[str] | None = None, repeat: int = 3) -> Suite:
    """Return a suite whose measurements give *reports*, one after the other; an error among them is raised."""
    left = iter(reports)

    def measure(argv: Sequence[str], timeout: float) -> Mapping[str, Any]:
        report = next(left)
        if "error" in report:
            raise MeasurementError(report["error"])
        return report

    return Suite(measure, ([] if told is None else told).append, repeat=repeat, timeout=1)


def test_doctests_of_the_figures_hold() -> None:
    assert doctest.testmod(figures).failed == 0


def test_median_counts_and_not_the_mean() -> None:
    taken = Figures((1.0, 100.0, 3.0))
    assert (taken.median, taken.least, taken.most) == (3.0, 1.0, 100.0)


def test_figures_without_values_need_a_failure() -> None:
    with pytest.raises(ValueError, match="need values, or a failure"):
        Figures()


@pytest.mark.parametrize(
    ("value", "other", "more_is_better", "wanted"),
    [(200, 100, True, 2), (200, 100, False, 0.5), (0, 100, False, float("inf")), (-5, 0, False, 1), (0, 100, True, 0)],
)
def test_ratio_above_one_is_better(value: float, other: float, more_is_better: bool, wanted: float) -> None:
    assert ratio(value, other, more_is_better) == wanted


def test_target_is_reached_at_its_value_and_not_below() -> None:
    assert judge(Target(100), "rate", True, measured(scoop_hpc=100)).reached
    assert not judge(Target(100), "rate", True, measured(scoop_hpc=99.99)).reached
    assert judge(Target(100), "rate", False, measured(scoop_hpc=99.99)).reached
    assert judge(Target(100), "rate", True, measured(scoop_hpc=99.99)).text() == "not reached (0.99 x)"


def test_target_may_be_several_times_a_peer() -> None:
    verdict = judge(Target(4, "serial"), "rate", True, measured(scoop_hpc=100, serial=20))
    assert verdict.text() == "reached (1.25 x)"


def test_target_may_be_another_row() -> None:
    both = {"one": {OURS: Figures((10.0,))}, "two": {OURS: Figures((19.0,))}}
    target = Target(1.8, OURS, "one")
    assert judge(target, "two", True, both).ratio == pytest.approx(19 / 18)
    assert target.text("leaves/s", True) == ">= 1.8 x scoop_hpc in one"


def test_target_of_the_executor_is_not_reached_by_a_run() -> None:
    target = Target(100, whose=EXECUTOR)
    assert not judge(target, "rate", True, {"rate": {OURS: Figures((100.0,)), EXECUTOR: Figures((99.0,))}}).reached
    assert judge(target, "rate", True, {"rate": {OURS: Figures((1.0,))}}).text() == "unknown: Executor was not measured"


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ({}, "unknown: scoop_hpc was not measured"),
        ({OURS: Figures(failure="failed: no")}, "unknown: scoop_hpc failed: no"),
        ({OURS: Figures((1.0,))}, "unknown: serial was not measured"),
        ({OURS: Figures((1.0,)), "serial": Figures(failure="timed out")}, "unknown: serial: timed out"),
    ],
)
def test_what_was_not_measured_is_not_reached(results: dict[str, Figures], text: str) -> None:
    verdict = judge(Target(1, "serial"), "rate", True, {"rate": results})
    assert not verdict.reached
    assert verdict.text() == text


def test_efficiency_counts_the_workers_that_the_peer_had() -> None:
    assert efficiency({"busy": 4.0, "workers": 2, "seconds": 2.5}) == pytest.approx(0.8)


def test_a_program_that_counts_its_tasks_is_believed() -> None:
    assert tasks_per_second_and_worker({"tasks": 30, "count": 7, "workers": 2, "seconds": 0.5}) == 30


def test_microseconds_are_those_of_one_task() -> None:
    assert microseconds({"count": 2_000, "seconds": 0.02}) == pytest.approx(10)


def test_milliseconds_are_those_of_the_whole() -> None:
    assert milliseconds({"count": 2_000, "seconds": 0.02}) == pytest.approx(20)


@pytest.mark.parametrize(
    ("name", "report", "wanted"),
    [
        ("sleep-cpu", {"cpu": 0.12, "count": 2_000}, 60),
        ("idle", {"wakes": 25, "lasted": 10.0}, 2.5),
        ("growth-map", {"growth": 1.05}, 1.05),
    ],
)
def test_costs_are_for_each_task_and_second(name: str, report: dict[str, float], wanted: float) -> None:
    assert next(row for row in ROWS if row.name == name).figure(report) == pytest.approx(wanted)


def test_quick_may_change_the_workers_of_the_command_too() -> None:
    idle = next(row for row in ROWS if row.name == "idle")
    for quick, workers in ((False, 64), (True, 4)):
        sized = idle.sized(quick)
        assert (sized.workers, sized.parameters["workers"], f"{workers} workers" in sized.title) == (
            workers,
            workers,
            True,
        )


def test_quick_changes_the_sizes_and_the_title() -> None:
    assert RATE.sized(quick=True).title == "5 things with 2 workers"
    assert words(RATE.sized(quick=False)) == ["submit_nothing", "workers=2", "count=5000"]


def test_start_up_in_an_allocation_has_a_worker_on_each_node() -> None:
    start, submit = (
        next(row for row in ROWS if row.name == name).sized(False, nodes=4) for name in ("start", "submit")
    )
    assert (start.workers, start.parameters["workers"]) == (4, 4)
    assert submit.workers == 2


def test_all_rows_have_known_peers_a_title_and_targets_that_can_be_judged() -> None:
    names = {row.name: row for row in ROWS}
    assert len(names) == len(ROWS)
    for row in ROWS:
        assert {OURS, EXECUTOR} & set(row.peers)
        assert set(row.peers) <= set(PEERS)
        assert row.sized(quick=True).title
        for target in row.targets:
            assert target.whose in row.peers
            assert not target.peer or target.peer in names[target.row or row.name].peers


def test_every_peer_has_its_program() -> None:
    assert all((PROGRAMS / peer.program).is_file() for peer in PEERS.values())


def test_peers_take_turns_and_each_has_the_values_of_its_runs() -> None:
    told: list[str] = []
    reports = [{"seconds": seconds} for seconds in (1, 10, 2, 20, 4, 40)]
    results = suite(reports, told).run(RATE.sized(quick=False), [PEERS[OURS], PEERS["serial"]])
    assert results[OURS].values == (5_000, 2_500, 1_250)
    assert results["serial"].values == (500, 250, 125)
    assert [line.split()[1] for line in told] == [OURS, "serial"] * 3


def test_peer_that_fails_is_not_run_again_and_costs_the_others_nothing() -> None:
    reports: list[dict[str, Any]] = [{"seconds": 1}, {"error": "timed out after 1 s"}, {"seconds": 1}, {"seconds": 1}]
    results = suite(reports).run(RATE.sized(quick=False), [PEERS[OURS], PEERS["serial"]])
    assert len(results[OURS].values) == 3
    assert results["serial"].failure == "timed out after 1 s"


def test_peer_that_is_not_installed_is_a_line() -> None:
    absent = Peer("absent", "serial_peer.py", package="no_such_module==1")
    results = suite([{"seconds": 1}], repeat=1).run(RATE.sized(quick=False), [PEERS[OURS], absent])
    assert results["absent"].failure == "not installed: no_such_module==1"


def test_simple_table_is_as_wide_as_its_cells() -> None:
    assert table.simple_table(("a", "b"), [("x", "long"), ("yy", "")]) == "\n".join(
        ["==  ====", "a   b", "==  ====", "x   long", "yy", "==  ===="]
    )


def test_document_has_a_verdict_for_each_target_and_a_line_for_each_peer() -> None:
    results = {"rate": {OURS: Figures((400.0, 500.0, 300.0)), "serial": Figures(failure="failed: " + "x" * 200)}}
    text = table.document("today", [RATE.sized(quick=True)], results)
    assert ">= 100 tasks/s  400 tasks/s  reached (4.00 x)" in text
    assert ">= 4 x serial   400 tasks/s  unknown: serial: failed: xxx" in text
    assert "scoop_hpc  400     300    500   1.00 x" in text
    assert max(map(len, text.splitlines())) < 250


def test_json_has_all_values_and_verdicts() -> None:
    results = measured(scoop_hpc=200, serial=100)
    (row,) = json.loads(json.dumps(table.as_json({}, [RATE], results)))["rows"]
    assert row["peers"]["scoop_hpc"] == {"median": 200, "least": 200, "most": 200, "values": [200]}
    assert [target["reached"] for target in row["targets"]] == [True, False]


def test_the_last_line_of_json_is_the_report() -> None:
    assert last_report('{"first": 1}\n{"first": 2}\nbye\n') == {"first": 2}
    assert last_report("bye\n") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Traceback ...\n  raise KeyError\nKeyError: 'x'\nlauncher  INFO  done\n", "KeyError: 'x'"),
        ("killed\n", "killed"),
        ("", ""),
    ],
)
def test_reason_is_the_line_that_names_the_error(text: str, wanted: str) -> None:
    assert reason(text) == wanted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "maps"], "argument --rows: there is no row 'maps': there are map, "),
        (["--peers", "raw,dusk"], "argument --peers: there is no peer 'dusk': there are scoop_hpc, "),
        (["--repeat", "0"], "argument --repeat: '0' is not a number from 1 on"),
        (["--before", "/nowhere"], "argument --before: no package scoop_hpc is in '/nowhere': name a directory where "),
        (["--timeout", "soon"], "argument --timeout: 'soon' is not a number from 1 on"),
    ],
)
def test_bad_words_are_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command_line.main(arguments)
    assert refused.value.code == 2
    assert words in capsys.readouterr().err


def test_another_build_is_measured_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "other" / "scoop_hpc"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    commands: list[list[str]] = []

    def measure(argv: Sequence[str], timeout: float) -> Mapping[str, Any]:
        commands.append(list(argv))
        return {"seconds": 1.0}

    monkeypatch.setattr(command_line, "measure", measure)
    options = ["--rows", "submit", "--peers", "scoop_hpc,Executor,raw", "--repeat", "1", "--out", str(tmp_path)]
    assert command_line.main([*options, "--before", str(package.parent)]) == 0
    ours, before, executor, executor_before, raw = commands
    env, path = before[:2]
    assert (env, path.startswith("PYTHONPATH="), path.split(":")[-1]) == ("env", True, str(package.parent))
    assert (before[2:], executor_before) == (ours, [env, path, *executor])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("submit")]
    assert [line[2] for line in lines if line[1] == "tasks/s"] == [OURS, BEFORE, EXECUTOR, EXECUTOR_BEFORE, "raw"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("broker,map", ["broker", "map"]),
        ("leaves", ["leaves-1", "leaves-2"]),
        ("series", ["series-1000", "series-10000", "series-100000", "series-1000000"]),
    ],
)
def test_rows_are_named_one_by_one_or_by_what_they_begin_with(words: str, names: list[str]) -> None:
    assert command_line.parsed(["--rows", words]).rows == names


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    assert command_line.main(["--out", str(occupied)]) == 2
    assert f"benchmarks: cannot write to {str(occupied)!r} (File exists): name another --out" in capsys.readouterr().err


def test_costs_of_many_nodes_are_a_line_below_their_names() -> None:
    costs = nodes.Costs(
        nodes=16, srun=0.84, start=5.58, mapped=10.5, end=0.38, files=49, files_at_rest=19, resting=0.0064
    )
    assert costs.line().split() == ["16", "0.8", "5.6", "0.952", "0.4", "49", "19", "0.040"]
    assert len(costs.line()) <= len(nodes.HEADER)


@pytest.mark.parametrize("count", ["0", "251", "-3", "many"])
def test_number_of_nodes_that_there_cannot_be_is_refused_in_one_line(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        nodes.main(["--", count])
    assert refused.value.code == 2
    assert count in capsys.readouterr().err


def test_time_and_files_of_a_process_are_read_from_proc() -> None:
    own = Path("/proc/self")
    before = nodes.computed([own])
    assert 0 < before <= nodes.computed([own, own])
    opened = nodes.files(own)
    with Path("/dev/null").open():
        assert nodes.files(own) == opened + 1


def test_programs_read_what_processes_cost_from_proc() -> None:
    proc = runpy.run_path(str(PROGRAMS / "processes.py"))
    own = os.getpid()
    assert proc["parent"](own) == os.getppid()
    assert own in proc["below"](os.getppid())
    assert own not in proc["others"](own)
    name = Path("/proc/self/comm").read_text().strip()
    assert proc["named"](name, [own]) == [own]
    assert proc["named"]("another", [own]) == []
    before, woken = proc["computed"]([own]), proc["wakes"](own)
    time.sleep(0.001)  # what is counted
    assert proc["wakes"](own) > woken
    assert 0 < before <= proc["computed"]([own])


def test_links_are_judged_by_medians_each_load_by_itself() -> None:
    loads = (links.Load(200, 1_000_000), links.Load(20, 50_000_000))
    values = {OURS: [[90.0, 300.0], [70.0, 500.0], [80.0, 310.0]], links.RAW: [[100.0, 400.0]] * 3}
    lines, reached = links.verdicts(loads, values)
    assert [load.word() for load in loads] == ["200x1000000", "20x50000000"]
    assert not reached
    assert "scoop_hpc 80 MB/s (70 to 90), raw 100 MB/s (100 to 100); >= 0.8 x raw: reached (1.00 x)" in lines[0]
    assert lines[1].endswith("not reached (0.96 x)")


def test_links_that_are_measured_no_times_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert links.main(["--repeat", "0"]) == 2
    assert capsys.readouterr().err == "benchmarks.links: --repeat is 0: it is from 1 on\n"
