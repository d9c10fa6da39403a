"""The page of `scoop-hpc top`: what is on it, in 80 columns as an emulator of a terminal shows it, and what keys do."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec
import pyte
import pytest
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console, Group

from scoop_hpc.cli.look.page import page, plain, rows_of
from scoop_hpc.cli.look.view import DOWN, END, ENTER, ERASE, ESCAPE, HOME, PAGE_DOWN, TAB, UP, View
from scoop_hpc.jobs.snapshot import VERSION, Failure, Function, Node, Snapshot, Totals, Wait, Worker

NODES = tuple(Node(f"node{index}", index, "alive", 2, 3, 12, 8, 500, 199.0, 2**30, 2**34) for index in range(64))
WORKERS = tuple(
    Worker(f"{index}.{worker}", f"node{index}", 4000 + index, "busy", "simulate", 75.0 + index, index, 99.5, 2**29)
    for index in range(64)
    for worker in range(2)
)
SEEN = Snapshot(
    VERSION, "ab", "41", "pi.py", "node0", 7, "boot 7", 1074.0, 1000.0, 74.2, 2590.0, "running", None, "",
    Totals(1024, 128, 2944, 3, 0, 12, 41.23, 128, 128, 64),
    (Wait("simulate", 4096, 1024, 3, 41.23, 74.5),),
    NODES, WORKERS,
    (Function("simulate", 1024, 3, 0.5, 1.25, 512.0), Function("prepare", 3, 0, 200.0, 400.0, 600.0)),
    tuple(Failure("simulate", item, "node3", "3.1", 1, "ValueError: no\n\x1b[2J such thing", 9) for item in range(99)),
)  # fmt: skip


def shown(seen: Snapshot, view: View, columns: int = 80, lines: int = 24, silence: float = 0.0) -> list[str]:
    """Return what a terminal shows."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=columns, height=lines, legacy_windows=False, highlight=False
    )
    console.print(Group(*page(seen, view, columns, lines, "job 41", silence)))
    screen = pyte.Screen(columns, lines)
    pyte.Stream(screen).feed(file.getvalue().removesuffix("\n").replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display]


def pressed(*keys: str, view: View = View(), seen: Snapshot = SEEN, lines: int = 24) -> View:
    for key in keys:
        view = view.press(key, seen, rows_of(seen, lines))
    return view


def test_page_of_a_run_in_80_columns() -> None:
    lines = shown(SEEN, View())
    assert lines[:6] == [
        "job 41: pi.py running 0:01:14, 0:43:10 of the walltime left",
        "64 nodes, 128 of 128 workers busy",
        "1024 tasks done, 41.2/s, 2944 queued, 3 failed, 0 queued again, 12 stolen",
        "simulate: 1024/4096 25%, 41.2/s, 3 failed, about 0:01:14 left",
        "WORKER NODE    PID STATE   SINCE CPU%  MEM DONE TASK",
        "0.0    node0  4000 busy  0:01:15  100 512M    0 simulate",
    ]
    assert len(lines) == 24
    assert lines[-1] == "workers 1-18 of 128  q quit  Tab list  s sort  / filter  n node"


def test_a_lost_node_is_counted_in_the_singular() -> None:
    node = SEEN.nodes[0]
    lost = structs.replace(
        SEEN, nodes=(structs.replace(node, state="lost"), *[structs.replace(node, state="late")] * 2)
    )
    assert shown(lost, View())[1] == "64 nodes, 128 of 128 workers busy, 2 nodes late, 1 node lost"


@pytest.mark.parametrize("of", ["workers", "nodes", "functions", "failures"])
@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("lines", [5, 24, 60])
def test_no_line_is_wider_than_the_terminal_and_none_too_many(of: str, columns: int, lines: int) -> None:
    wide = replace_name(SEEN, "シミュレーション" * 9)
    made = page(wide, View(of), columns, lines, "job 41")
    assert len(made) <= lines
    assert max(cell_len(line.plain) for line in made) <= columns


def replace_name(seen: Snapshot, name: str) -> Snapshot:
    workers = tuple(msgspec.structs.replace(worker, task=name, node=name) for worker in seen.workers)
    nodes = tuple(msgspec.structs.replace(node, name=name) for node in seen.nodes)
    return msgspec.structs.replace(seen, workers=workers, nodes=nodes, program=name)


def test_what_a_function_is_called_does_not_move_the_cursor() -> None:
    lines = shown(SEEN, View("failures"))
    assert "ValueError: no??[2J such thing" in lines[5]
    hostile = replace_name(SEEN, "a\x1b[2J\r\nb")
    assert shown(hostile, View())[1] == "64 nodes, 128 of 128 workers busy"


def test_silence_is_told() -> None:
    assert shown(SEEN, View(), silence=12.3)[0].endswith("left  no word for 12 s")


def test_end_is_told() -> None:
    ended = msgspec.structs.replace(SEEN, state="ended", status=3, reason="node 3 is lost")
    assert shown(ended, View())[0] == "job 41: pi.py ended 0:01:14, exit status 3: node 3 is lost"


def test_lists_follow_each_other() -> None:
    titles = [shown(SEEN, pressed(*[TAB] * times))[4].split()[0] for times in range(5)]
    assert titles == ["WORKER", "NODE", "FUNCTION", "FUNCTION", "WORKER"]
    assert [view.of for view in (pressed(TAB, TAB), pressed(TAB, TAB, TAB))] == ["functions", "failures"]


def test_functions_are_shown_by_what_they_took() -> None:
    assert [line.split()[0] for line in shown(SEEN, View("functions"))[5:7]] == ["prepare", "simulate"]


def test_s_sorts_by_one_column_after_the_other() -> None:
    by_name, by_node, by_pid = pressed("s"), pressed("s", "s"), pressed("s", "s", "s")
    assert [row.name for row in by_name.rows(SEEN)][:3] == ["0.0", "0.1", "1.0"]  # type: ignore[union-attr]
    assert [row.node for row in by_node.rows(SEEN)][-1] == "node63"  # type: ignore[union-attr]
    assert [row.pid for row in by_pid.rows(SEEN)][0] == 4063  # type: ignore[union-attr]
    assert pressed(*["s"] * 10).sort is None


def test_keys_scroll_as_far_as_there_are_rows() -> None:
    room = rows_of(SEEN, 24)
    last = 128 - room
    moves = {(DOWN,): 1, (DOWN, UP): 0, (UP,): 0, (PAGE_DOWN,): room, (END,): last, (END, DOWN): last, (END, HOME): 0}
    assert {keys: pressed(*keys).offset for keys in moves} == moves
    assert shown(SEEN, pressed(END))[-2].startswith("63.1")


def test_filter_shows_rows_that_have_the_text() -> None:
    view = pressed("/", "6", "3", ".", "X", ERASE, "1")
    assert shown(SEEN, view)[-1] == "filter: 63.1_   Enter ends, Esc clears"
    view = pressed(ENTER, view=view)
    lines = shown(SEEN, view)
    assert (lines[5][:4], lines[6]) == ("63.1", "")
    assert lines[-1].startswith("workers 1-1 of 1 filter=63.1  Esc all  q quit")
    assert pressed(ESCAPE, view=view) == View()


def test_keys_are_text_while_a_filter_is_typed() -> None:
    assert pressed("/", "q", "s", "n").filter == "qsn"
    assert pressed("/", "q", ESCAPE) == View()


def test_n_shows_one_node() -> None:
    view = pressed("n", *"node7", ENTER)
    assert view.node == "node7"
    assert [row.name for row in view.rows(SEEN)] == ["7.0", "7.1"]  # type: ignore[union-attr]
    assert [row.name for row in pressed(TAB, view=view).rows(SEEN)] == ["node7"]  # type: ignore[union-attr]
    assert pressed("n", "6", "3", ENTER).node == "node63"
    assert pressed("n", ENTER).node == ""


def test_rows_that_are_gone_leave_no_empty_page() -> None:
    few = msgspec.structs.replace(SEEN, workers=WORKERS[:3])
    assert shown(few, View(offset=100))[5].startswith("0.0")


def test_plain_lines_have_all_rows() -> None:
    lines = plain(SEEN, "job 41")
    assert sum(line.startswith("63.1 ") for line in lines) == 1
    assert len(lines) == 4 + (2 + 128) + (2 + 64) + (2 + 2) + (2 + 99)
    assert all("\x1b" not in line for line in lines)


def test_view_is_a_value() -> None:
    assert replace(View(), of="nodes") == View("nodes")
