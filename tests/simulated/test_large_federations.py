"""Federations of many nodes under a virtual clock, by their brokers' and workers' own decisions."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from scoop_hpc.sim import __main__ as command
from scoop_hpc.sim.efficiency import NETWORK, flat
from scoop_hpc.sim.large.costs import Costs
from scoop_hpc.sim.large.federation import Federation
from scoop_hpc.sim.large.programs import KINDS, PROGRAMS, Call, Done, Submits, by_map, by_submit, lengths
from scoop_hpc.sim.large.table import Program, picture, row
from scoop_hpc.sim.large.workers import Nothing
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.world import World

WORKERS = 4
TASKS = 10  # for each worker


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nodes", [1, 16])
def test_workers_compute_nearly_all_the_time(kind: str, nodes: int) -> None:
    found = row(Program(kind, 1.0, False, TASKS), nodes, WORKERS)
    assert found.tasks == nodes * WORKERS * TASKS
    assert found.outcome.nodes_used == nodes
    assert 0.95 < found.efficiency <= 1.0
    assert found.outcome.computed == pytest.approx(found.tasks)


@pytest.mark.parametrize("kind", KINDS)
def test_uneven_tasks_take_little_more_than_their_lengths_ask_for(kind: str) -> None:
    assert 0.9 < row(Program(kind, 1.0, True, TASKS), 16, WORKERS).of_ideal < 1.1  # another order may be better


def test_map_keeps_more_workers_busy_than_one_owner_has_chunks_for() -> None:
    found = row(Program("map", 0.02, False, 5), 16, 64)
    assert found.outcome.computed == pytest.approx(found.tasks * 0.02)
    assert found.efficiency > 0.65  # 0.38 if the owner hands out each chunk


def test_no_item_of_a_map_waits_until_the_others_are_done() -> None:
    """A node alone below the first has no larger stock of tasks than it is part of all: else they would wait there."""
    count = 128 * WORKERS * 20
    source = by_map(lengths(count, 1.0, False), 128, WORKERS)
    begun: dict[int, float] = {}
    waited: list[float] = []
    items: list[int] = []
    begin, end = source._begin, source.ended  # type: ignore[attr-defined]

    def noted(call: Call) -> Call:
        begun[call.first] = federation.now
        return begin(call)  # type: ignore[no-any-return]

    def ended(call: Call, done: Done) -> None:
        waited.append(federation.now - begun[call.first])
        items.append(done.items)
        end(call, done)

    source._begin, source.ended = noted, ended  # type: ignore[attr-defined, method-assign]
    federation = Federation(128, WORKERS, source)
    federation.run()
    assert sum(items) == count
    assert max(waited) < 8.0  # three tasks for each worker are under way; a bundle waits for itself, and for its own


def test_last_tasks_do_not_wander_from_broker_to_broker() -> None:
    found = row(Program("recursive", 10.0, False, 5), 64, WORKERS)
    assert found.efficiency > 0.93
    assert found.outcome.messages < 12 * found.tasks


def test_broker_0_has_few_messages_of_tasks_that_are_born_elsewhere() -> None:
    found = row(Program("recursive", 1.0, False, TASKS), 64, WORKERS)
    assert found.outcome.first_rate < 30 * WORKERS * TASKS


def test_last_node_begins_soon() -> None:
    few, many = (row(Program("submit", 10.0, False, 2), nodes, 1).outcome.last_node for nodes in (16, 64))
    assert many < 0.3  # a tick of its broker at the most
    assert few < 0.3


@pytest.mark.parametrize("nodes", [16, 64, 128])
def test_broker_0_has_as_many_open_files_as_it_has_children(nodes: int) -> None:
    found = row(Program("submit", 10.0, False, 2), nodes, 1).outcome
    assert found.nodes_used == nodes
    assert found.first_files == 19 + 2 * min(nodes - 1, 16)


@pytest.mark.parametrize("nodes", [4, 16])
def test_large_federation_and_the_simulator_of_all_processes_say_the_same(nodes: int) -> None:
    each = 10
    whole = World(Scenario(0, (WORKERS,) * nodes, flat(nodes * WORKERS * each), NETWORK), checks=False).run()
    costs = Costs(submit=0.0, outcome=0.0, broker_in=NETWORK.cost, broker_out=0.0)
    source = by_submit(lengths(nodes * WORKERS * each, 0.1, False), nodes, WORKERS)
    lean = Federation(nodes, WORKERS, source, costs).run()
    assert lean.seconds == pytest.approx(whole.seconds, rel=0.05)
    assert sum(whole.computed.values()) == pytest.approx(lean.computed, rel=0.001)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nodes", [4, 64, 256])
def test_a_crew_does_what_workers_with_a_state_of_their_own_do(kind: str, nodes: int) -> None:
    each = 2 if nodes == 256 else 4
    seconds = lengths(nodes * WORKERS * each, 1.0, False)
    crews, workers = (
        Federation(nodes, WORKERS, PROGRAMS[kind](seconds, nodes, WORKERS), crews=has_crews).run()
        for has_crews in (True, False)
    )
    assert crews.computed == pytest.approx(workers.computed)
    assert crews.seconds == pytest.approx(workers.seconds, rel=0.01)
    assert crews.last_node == pytest.approx(workers.last_node, rel=0.05, abs=0.001)
    assert crews.messages == pytest.approx(workers.messages, rel=0.05)
    assert crews.first_rate == pytest.approx(workers.first_rate, rel=0.05)


def test_short_tasks_are_not_left_to_a_crew() -> None:
    found = [
        Federation(2, WORKERS, by_submit(lengths(80, 0.01, False), 2, WORKERS), crews=has_crews).run()
        for has_crews in (True, False)
    ]
    assert found[0].messages == pytest.approx(found[1].messages, rel=0.05)


def test_worker_that_submits_nothing_has_no_queue_for_that() -> None:
    with pytest.raises(AssertionError, match="nobody looks at"):
        Nothing().append(1)


def test_program_without_tasks_ends() -> None:
    assert Submits([]).is_over()


def test_table_and_picture_are_made(capsys: pytest.CaptureFixture[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    plot = tmp_path / "table.svg"
    options = ["--table", "--nodes", "1,2", "--workers", "2", "--tasks", "4", "--kind", "map", "--plot", str(plot)]
    assert command.main(options) == 0
    out = capsys.readouterr().out
    assert "map, even tasks of 1 s, 4 for each worker" in out
    assert [line.split()[:3] for line in out.splitlines()[-3:-1]] == [["1", "2", "8"], ["2", "2", "16"]]
    root = ElementTree.parse(plot).getroot()
    assert len([each for each in root.iter() if each.tag.endswith("polyline")]) == 4


def test_names_in_a_picture_are_escaped() -> None:
    found = row(Program("submit", 1.0, False, 1), 1, 2)
    assert "<svg" in picture([found])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--table", "--nodes", "1,x"], "'x' is not a whole number"),
        (["--table", "--nodes", "0"], "0 is not between 1 and 100000"),
        (["--table", "--seconds", "0"], "0 is not between 0.002 and 1e6 seconds"),
        (["--table", "--seconds", "x"], "'x' is not a number of seconds"),
        (["--table", "--faults", "1"], "--faults"),
        (["--table", "--plot", "x.png"], "end it with .svg"),
        (["--table", "--kind", "none"], "invalid choice: 'none'"),
        (["--seed", "1", "--nodes", "1,2"], "one number up to 256"),
        (["--seed", "1", "--nodes", "1000"], "one number up to 256"),
        (["--seed", "1", "--plot", "x.svg"], "--plot needs --table"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(options)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
