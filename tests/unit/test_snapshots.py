"""Looks at a run: what the driver knows of it, what agents see of their workers, and the channel between."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest
from msgspec import structs

from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.events import NodeJoined, NodeLost, RunBegan, RunOver, Waits
from scoop_hpc.jobs import look, runs, snapshot
from scoop_hpc.jobs.door import door_beside
from scoop_hpc.jobs.look import LEASE, Requests, Viewer
from scoop_hpc.jobs.snapshot import VERSION, Node, Snapshot
from scoop_hpc.protocol.messages import Accounts, FailedTask, FunctionAccount, Seen, Standing, WorkerSeen
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, worker_name
from scoop_hpc.run.proc import Usage
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.run.watching.snapshots import Snapshots
from scoop_hpc.run.watching.workers import Sample, Sight

FIRST = Snapshot(VERSION, "ab", "41", "p.py", "head", 7, "boot 7", 1000.0, 1000.0, 0.0, None, "starting")
WORKER, OTHER = worker_name(0, 1), worker_name(0, 2)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def made(time: Time) -> Snapshots:
    return Snapshots(FIRST, ("n1", "n2"), 1600.0, time)


def busy(name: str, done: int = 3) -> WorkerSeen:
    return WorkerSeen(worker_name(int(name[0]), int(name[2])), 77, "busy", "simulate", 1.5, done, 99.0, 4096)


def begin(made: Snapshots) -> None:
    for event in (NodeJoined("n1", "h1", 7, 4, 2), NodeJoined("n2", "h2", 7, 4, 2), RunBegan(2, 4)):
        made(event)
    made.see(0, Seen((busy("0.1"), busy("0.2")), 6, Standing(5, 1, 2, 3), 8192, 2**30))
    made.see(1, Seen((busy("1.0"),), 4, Standing(0, 2, 1, 0), 4096))


# the driver


def test_nodes_that_have_not_reported_are_late(made: Snapshots) -> None:
    made(NodeJoined("n1", "h1", 7, 4, 2))
    seen = made.look(1001.0)
    assert [(node.name, node.state, node.workers) for node in seen.nodes] == [("n1", "alive", 2), ("n2", "late", 0)]
    assert (seen.state, seen.totals.nodes, seen.totals.workers) == ("starting", 1, 2)


def test_a_look_has_what_nodes_and_workers_do_and_the_sums_of_that(made: Snapshots, time: Time) -> None:
    begin(made)
    time.now += 10
    seen = made.look(1010.0)
    assert (seen.state, seen.elapsed_s, seen.walltime_left_s) == ("running", 10.0, 590.0)
    assert seen.nodes[0] == Node("n1", 0, "alive", 2, 5, 1, 2, 6, 198.0, 8192, 2**30)
    assert [(worker.name, worker.node, worker.task) for worker in seen.workers] == [
        ("0.1", "n1", "simulate"), ("0.2", "n1", "simulate"), ("1.0", "n2", "simulate"),
    ]  # fmt: skip
    totals = seen.totals
    assert (totals.done, totals.running, totals.queued, totals.repeated, totals.stolen) == (10, 3, 5, 3, 3)
    assert (totals.busy_workers, totals.workers, totals.nodes) == (3, 4, 2)


def test_tasks_done_before_anybody_looked_have_no_say_in_how_fast_the_run_is(made: Snapshots, time: Time) -> None:
    time.now += 100
    for index, done in enumerate((600, 400)):
        made.see(index, Seen((busy("0.1"),), done))
        time.now += 0.001
    assert made.look(1100.0).totals.rate_per_s == pytest.approx(10, rel=0.01)
    for second in range(1, 6):
        time.now += 1
        made.see(0, Seen((busy("0.1"),), 600 + 3 * second))
        made.see(1, Seen((busy("1.0"),), 400 + second))
    assert made.look(1105.0).totals.rate_per_s == pytest.approx(4, rel=0.01)


def test_what_is_done_at_the_first_word_has_no_rate() -> None:
    ticks = itertools.count(1000.0, 1e-6)
    made = Snapshots(FIRST, ("n1", "n2"), None, lambda: next(ticks))
    made(Waits(1, "simulate", 8, 8, 0))
    assert [wait.rate_per_s for wait in made.look(1010.0).waits] == [0.0]


def test_what_the_program_waits_for_tells_how_much_is_queued(made: Snapshots, time: Time) -> None:
    begin(made)
    made(Waits(1, "simulate", 100, 40, 2))
    time.now += 10
    seen = made.look(1010.0)
    assert [(wait.label, wait.total, wait.done, wait.failed) for wait in seen.waits] == [("simulate", 100, 40, 2)]
    assert seen.totals.queued == 60


def test_ten_thousand_failed_tasks_are_counted_and_the_last_hundred_shown(made: Snapshots) -> None:
    begin(made)
    for node, index in (("n1", NodeIndex(0)), ("n2", NodeIndex(1))):
        for tick in range(50):
            functions = (FunctionAccount("simulate", 200 * (tick + 1), 100 * (tick + 1), 0, 2.0, 0.5, ()),)
            failures = tuple(failed(100 * tick + each) for each in range(100))
            made(NodeAccounted(node, index, Accounts(functions, (), failures)))
    seen = made.look(1010.0)
    assert seen.totals.failed == 10_000
    assert [(each.name, each.count, each.failed) for each in seen.functions] == [("simulate", 20_000, 10_000)]
    assert [each.position for each in seen.failures] == list(range(4900, 5000))
    assert {each.node for each in seen.failures} == {"n2"}


def failed(position: int) -> FailedTask:
    return FailedTask("simulate", position, "7", "ValueError: no", "", OTHER, 1, 1005.0)


def test_a_look_has_functions_and_the_last_failures(made: Snapshots) -> None:
    begin(made)
    failed = FailedTask("simulate", 3, "7", "ValueError: 7", "Traceback", WORKER, 1, 1e9)
    accounts = Accounts((FunctionAccount("simulate", 10, 150, 0, 5.0, 2.0, ((40, 10),)),), (), (failed,) * 150)
    for index, node in enumerate(("n1", "n2")):
        made(NodeAccounted(node, NodeIndex(index), accounts))
    seen = made.look(1010.0)
    (function,) = seen.functions
    assert (function.name, function.count, function.failed, function.mean_s) == ("simulate", 20, 300, 0.5)
    assert seen.totals.failed == 300
    assert (len(seen.failures), seen.failures[-1].node, seen.failures[-1].error) == (100, "n2", "ValueError: 7")


def test_the_origin_is_no_busy_worker_unless_it_is_alone(made: Snapshots) -> None:
    begin(made)
    made.see(0, Seen((busy("0.1"), busy("0.0")), 6))
    assert made.look(1001.0).totals.busy_workers == 2
    alone = Snapshots(FIRST, ("n1",), None, Time())
    alone.see(0, Seen((busy("0.0"),), 6))
    assert alone.look(1001.0).totals.busy_workers == 1


def test_workers_of_a_lost_node_are_dead_and_one_that_comes_back_is_another(made: Snapshots) -> None:
    begin(made)
    made(NodeLost("n2", "its agent died"))
    seen = made.look(1001.0)
    assert (seen.nodes[1].state, seen.nodes[1].cause, seen.workers[2].state) == ("lost", "its agent died", "dead")
    assert (seen.totals.nodes, seen.totals.workers, seen.totals.done) == (1, 2, 10)
    made(NodeJoined("n2", "h2", 9, 4, 2))
    assert [(node.name, node.broker, node.state) for node in made.look(1002.0).nodes] == [
        ("n1", 0, "alive"), ("n2", 1, "lost"), ("n2", 2, "alive"),
    ]  # fmt: skip


def test_the_last_look_has_the_end_and_nothing_that_runs(made: Snapshots) -> None:
    begin(made)
    made.see(0, Seen((), 9, Standing(0, 1, 2, 3)))
    made(RunOver("FAILED", 3, "it failed"))
    seen = made.look(1020.0)
    assert (seen.state, seen.status, seen.reason, seen.totals.done) == ("ended", 3, "it failed", 13)
    assert (seen.totals.running, {worker.state for worker in seen.workers}) == (0, {"ended"})
    assert seen.nodes[0].memory_bytes == 8192


def test_in_the_last_look_nothing_waits_any_more(made: Snapshots, time: Time) -> None:
    begin(made)
    made(Waits(1, "simulate", 400, 10, 2))
    time.now += 10
    made(Waits(1, "simulate", 400, 90, 2))
    running = made.look(1010.0)
    assert (running.totals.queued, running.nodes[0].queued, running.waits[0].left_s) == (310, 5, 38.8)
    made(RunOver("FAILED", 3, "it failed"))
    over = made.look(1010.0)
    assert (over.totals.queued, over.nodes[0].queued, over.waits[0].left_s) == (0, 0, None)
    assert (over.waits[0].done, over.waits[0].total) == (90, 400)


def test_the_last_look_at_a_run_that_was_killed_keeps_what_its_workers_were_at(made: Snapshots) -> None:
    begin(made)
    made(Waits(1, "simulate", 400, 90, 2))
    seen = made.look(1010.0)
    over = snapshot.over(seen, 137, "killed")
    assert (over.state, over.status, over.reason) == ("ended", 137, "killed")
    assert (over.totals.queued, over.totals.running, over.totals.busy_workers, over.totals.done) == (0, 0, 0, 10)
    assert {(worker.state, worker.task, worker.cpu_percent) for worker in over.workers} == {("ended", "simulate", None)}
    assert {(node.queued, node.cpu_percent) for node in over.nodes} == {(0, 0.0)}
    assert (over.waits[0].done, over.waits[0].left_s, over.nodes[0].memory_bytes) == (90, None, 8192)


def test_a_look_survives_its_json(made: Snapshots) -> None:
    begin(made)
    made(Waits(1, "simulate", None, 40, 2))
    seen = made.look(1010.0)
    assert snapshot.from_json(snapshot.to_json(seen)) == seen


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version": 1}', b"\xff", b'{"version":"x"}'])
def test_what_is_no_look_is_refused(text: bytes) -> None:
    with pytest.raises(ScoopError, match="the look of a run"):
        snapshot.from_json(text)


def test_a_look_of_another_version_is_refused(made: Snapshots) -> None:
    text = snapshot.to_json(made.look(1001.0)).replace(b'"version":1', b'"version":2')
    with pytest.raises(ScoopError, match="of version 2, not 1"):
        snapshot.from_json(text)


# the agents


def sample(ended: int, runs: int, cpu: float = 0.0, serves: bool = True, pid: int = 77) -> Sample:
    return Sample(WORKER, pid, serves, (ended, runs), runs != 0, Usage("R", cpu, 4096))


def seen_by(sight: Sight, now: float, has_tasks: bool = False) -> WorkerSeen:
    (worker,) = sight.workers(now, lambda pid: "simulate", lambda pid: has_tasks)
    return worker


def test_a_worker_is_busy_with_a_task_since_the_first_look_that_found_it() -> None:
    sight = Sight()
    for second, mark in enumerate([(1, 64), (1, 64), (2, 68), (2, 68), (2, 68)]):
        sight.note([sample(*mark, cpu=second / 2)], float(second))
    worker = seen_by(sight, 4.5)
    assert (worker.state, worker.task, worker.since, worker.done, worker.cpu) == ("busy", "simulate", 2.5, 2, 50.0)


@pytest.mark.parametrize(
    ("found", "has_tasks", "state", "task"),
    [
        (sample(0, 0, serves=False), False, "starting", ""),
        (sample(3, 0), False, "idle", ""),
        (sample(3, 0), True, "waiting", "simulate"),
        (sample(3, -1), False, "busy", "simulate"),
    ],
)
def test_the_state_of_a_worker(found: Sample, has_tasks: bool, state: str, task: str) -> None:
    sight = Sight()
    sight.note([found], 1.0)
    worker = seen_by(sight, 1.0, has_tasks)
    assert (worker.state, worker.task, worker.cpu) == (state, task, None)


def test_the_program_is_busy_while_it_computes() -> None:
    sight = Sight()
    states = []
    for second, cpu in enumerate([0.0, 0.9, 0.9]):
        sight.note([Sample(ORIGIN, 7, False, (0, 0), False, Usage("R", cpu, 4096))], float(second))
        states.append(seen_by(sight, float(second)).state)
    assert states == ["waiting", "busy", "waiting"]


def test_a_worker_in_the_place_of_another_begins_anew() -> None:
    sight = Sight()
    sight.note([sample(5, 64)], 1.0)
    sight.note([sample(0, 64, pid=78)], 9.0)
    assert (seen_by(sight, 9.5).pid, seen_by(sight, 9.5).since) == (78, 0.5)


# the channel


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "look.json")


def touch(path: str, ns: int) -> None:
    os.utime(look.wanted_beside(path), ns=(ns, ns))


def test_a_request_holds_for_its_lease(path: str) -> None:
    requests = Requests(path)
    requests.open()
    assert not requests.look(0.0)
    touch(path, 10**9)
    assert not requests.look(1.0)  # nobody asks so often, while nobody wants anything
    assert requests.look(2.0)
    assert requests.look(2.0 + LEASE - 0.1)
    assert not requests.look(2.0 + LEASE + 2)
    touch(path, 2 * 10**9)
    assert requests.look(2.0 + LEASE + 5)


def test_a_request_before_the_run_counts_once_it_is_renewed(path: str) -> None:
    Path(look.wanted_beside(path)).touch()
    requests = Requests(path)
    requests.open()
    assert not requests.look(0.0)
    touch(path, 10**9)
    assert requests.look(2.0)


def test_who_removes_the_file_asks_for_nothing(path: str) -> None:
    requests = Requests(path)
    requests.open()
    os.unlink(look.wanted_beside(path))
    assert not requests.look(0.0)


def test_a_look_is_written_whole_and_for_its_owner_only(path: str, made: Snapshots) -> None:
    look.write(path, made.look(1001.0))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert look.read(path) == made.look(1001.0)
    assert os.listdir(os.path.dirname(path)) == ["look.json"]


def test_a_look_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, path: str, made: Snapshots) -> None:
    look.write(path, made.look(1001.0))
    (tmp_path / "look.json.new").mkdir()
    with pytest.raises(IsADirectoryError):
        look.write(path, made.look(1002.0))
    assert look.read(path) == made.look(1001.0)


def test_a_viewer_asks_again_before_its_request_expires(path: str, made: Snapshots) -> None:
    Requests(path).open()
    look.write(path, made.look(1000.0))
    viewer = Viewer(path)
    asked = 0
    for tenth in range(100):
        touch(path, 1)
        viewer.look(tenth / 10)
        asked += os.stat(look.wanted_beside(path)).st_mtime_ns != 1
    assert asked == 4
    assert not viewer.is_answered
    assert viewer.waits(9.9) == pytest.approx(9.9)
    look.write(path, made.look(1001.0))
    assert viewer.look(10.0) == made.look(1001.0)
    assert (viewer.is_answered, viewer.waits(10.0)) == (True, 0.0)


def test_a_viewer_asks_nothing_of_a_run_that_has_ended(path: str, made: Snapshots) -> None:
    Requests(path).open()
    made(RunOver("COMPLETED", 0, ""))
    look.write(path, made.look(1000.0))
    touch(path, 1)
    viewer = Viewer(path)
    assert viewer.look(0.0) == made.look(1000.0)
    assert viewer.is_answered
    assert os.stat(look.wanted_beside(path)).st_mtime_ns == 1


def test_a_viewer_waits_for_a_run_that_has_not_begun(path: str) -> None:
    viewer = Viewer(path)
    assert viewer.look(0.0) is None
    assert os.listdir(os.path.dirname(path)) == []


# the directories of runs


def gone(seen: Snapshot) -> bool:
    return seen.driver == "gone"


def not_known(seen: Snapshot) -> bool:
    return False


def begin_runs(state: Path, count: int, now: float, last: Snapshot | None = None) -> list[str]:
    """Let runs leave *last*, and a way in; return the files for their looks, the first first."""
    paths = []
    for number in range(count):
        paths.append(runs.create(str(state), now + number, gone))
        if last is not None:
            look.write(paths[-1], last)
            Path(door_beside(paths[-1])).touch()
    return paths


def test_the_directories_of_runs_that_have_ended_long_ago_are_dropped(tmp_path: Path, made: Snapshots) -> None:
    going, ended = made.look(1000.0), made
    ended(RunOver("COMPLETED", 0, ""))
    (first,) = begin_runs(tmp_path, 1, 1000.0, going)
    begin_runs(tmp_path, 60, 1001.0, ended.look(1001.0))
    kept = runs.newest_first(str(tmp_path))
    assert (len(kept), kept[-1]) == (51, first)
    assert kept == sorted(kept, reverse=True)
    assert [path for path in kept if os.path.exists(door_beside(path))] == [kept[0], first]


def test_what_killed_runs_have_left_is_dropped_and_what_may_go_on_elsewhere_is_kept(
    tmp_path: Path, made: Snapshots
) -> None:
    going = made.look(1000.0)
    elsewhere = begin_runs(tmp_path, 60, 1000.0, going)
    killed = begin_runs(tmp_path, 60, 2000.0, structs.replace(going, driver="gone"))
    (newest,) = begin_runs(tmp_path, 1, 3000.0)
    assert runs.newest_first(str(tmp_path)) == [newest, *killed[:-50:-1], *elsewhere[::-1]]
    assert not any(os.path.exists(door_beside(path)) for path in killed)
    assert all(os.path.exists(door_beside(path)) for path in elsewhere)


@pytest.mark.parametrize(
    ("left", "days", "is_kept"),
    [("a look", 29, True), ("a look", 31, False), ("no look", 0.9, True), ("no look", 1.1, False), ("?", 29, True),
     ("?", 31, False)],
)  # fmt: skip
def test_who_says_nothing_for_long_is_taken_for_dead(
    tmp_path: Path, made: Snapshots, left: str, days: float, is_kept: bool
) -> None:
    (first,) = begin_runs(tmp_path, 1, 1000.0, None if left == "no look" else made.look(1000.0))
    if left == "?":
        Path(first).write_text("{")
    begin_runs(tmp_path, 51, 1000.0 + days * 86400)
    assert (first in runs.newest_first(str(tmp_path))) == is_kept


def test_the_directories_of_runs_are_for_their_owner_only(tmp_path: Path) -> None:
    path = runs.create(str(tmp_path / "state"), 1000.0, not_known)
    assert [stat.S_IMODE(os.stat(each).st_mode) for each in (os.path.dirname(path), tmp_path / "state/runs")] == [
        0o700,
        0o700,
    ]
    os.chmod(tmp_path / "state/runs", 0o777)
    with pytest.raises(InputError, match="is not safe"):
        runs.newest_first(str(tmp_path / "state"))
