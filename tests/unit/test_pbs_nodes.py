"""Whether the nodes of a PBS could ever run a job: PBS itself says "wait"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoop_hpc.errors import SchedulerError
from scoop_hpc.schedulers.answers import Completed, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.pbs.adapter import PbsScheduler
from scoop_hpc.schedulers.pbs.chunks import cpus_of_nodes
from scoop_hpc.schedulers.pbs.nodes import Node, never, of_queue, read_nodes

RECORDED = (Path(__file__).parents[1] / "data" / "pbs" / "23.06.06-85-gcd7ab5eda" / "pbsnodes.json").read_text()
JOB = """Job Id: 7.head
    job_state = Q
    queue = workq
    Resource_List.place = scatter
    Resource_List.select = {select}
    comment = Not Running: Insufficient amount of resource: ncpus
"""


def node(name: str, state: bool = True, queue: str = "", **available: str) -> Node:
    return Node(name, queue, state, {"host": name, "vnode": name, **available})


NODES = [
    node("n1", ncpus="4", mem="8388608kb", model="a,old", gpu_ok="True"),
    node("n2", ncpus="4", mem="8388608kb", model="a"),
    node("n3", ncpus="8", mem="16gb", model="b", ngpus="2"),
]


def why(select: str, place: str = "scatter", nodes: list[Node] | None = None) -> str:
    answer = never(select, place, NODES if nodes is None else nodes)
    return "" if answer is None else answer.why


def explained(select: str, nodes: str) -> list[str]:
    answers = f"{JOB.format(select=select)}== nodes\n{nodes}"
    return PbsScheduler().explain(JobStatus("7.head", JobState.PENDING), Completed(("/bin/sh",), 0, answers, ""))


@pytest.mark.parametrize(
    ("select", "place", "words"),
    [
        ("1:ncpus=9:mpiprocs=9:ompthreads=1", "scatter", "no node has 9 CPUs: the largest has 8"),
        ("1:ncpus=4+1:ncpus=9", "free", "no node has 9 CPUs: the largest has 8"),
        ("2:ncpus=1:model=b", "scatter", "it asks for 2 nodes with ncpus=1 and model=b, and there are 1"),
        ("1:model=c", "scatter", "no node has model=c: they have a, b, old"),
        ("1:ncpus=8:model=a", "scatter", "no node has all of ncpus=8 and model=a at once"),
        ("4:ncpus=1", "scatter:excl", "it asks for 4 nodes with ncpus=1, and there are 3"),
        ("9:ncpus=2", "free", "it asks for 9 times room on nodes with ncpus=2, and there are 8"),
        ("1:ngpus=3", "free", "no node has 3 GPUs: the largest has 2"),
        ("1:mem=17gb", "scatter", "no node has mem=17gb: the largest has 16gb"),
        ("1:gpu_ok=true:ncpus=8", "scatter", "no node has all of gpu_ok=true and ncpus=8 at once"),
        ("1:host=n9", "scatter", "no node has host=n9: they have n1, n2, n3"),
    ],
)
def test_what_no_nodes_can_give(select: str, place: str, words: str) -> None:
    assert why(select, place) == words


@pytest.mark.parametrize(
    "select",
    [
        "3:ncpus=4:mpiprocs=40:ompthreads=9",
        "8:ncpus=2",
        "1:ncpus=8:model=b:ngpus=2:mem=16gb",
        "1:model=old:gpu_ok=t",
        "2:gpu_ok=false",
        "1:host=n3.site",
        "1:scratch=100gb",  # of which no node tells: a script of the site's counts it
        "ncpus=4",
        "1:nonsense",
        "",
    ],
)
def test_what_nodes_can_give_or_nobody_can_tell(select: str) -> None:
    assert why(select, "free") == ""


def test_parts_of_a_host_are_counted_together() -> None:
    parts = [Node("n1", "", True, {"host": "n1", "ncpus": "4"}), Node("n1", "", True, {"host": "n1", "ncpus": "4"})]
    assert why("1:ncpus=8", nodes=parts) == ""
    assert why("1:ncpus=9", nodes=parts) == "no node has 9 CPUs: the largest has 8"
    assert why("2:ncpus=4", nodes=parts) == "it asks for 2 nodes with ncpus=4, and there are 1"


def test_a_node_that_is_down_may_come_back() -> None:
    nodes = [node("n1", ncpus="4"), node("n2", False, ncpus="8")]
    answer = never("1:ncpus=8", "scatter", nodes)
    assert answer is not None
    assert answer.why == "nodes that it needs are down or offline: n2"
    assert answer.what == "wait, or ask the site's staff"
    assert never("2:ncpus=4", "scatter", [node("n1", ncpus="4"), node("n2", ncpus="8")]) is None


def test_a_queue_with_nodes_of_its_own_has_no_others() -> None:
    nodes = [node("n1", ncpus="4"), node("n2", queue="big", ncpus="8")]
    assert [each.host for each in of_queue(nodes, "workq")] == ["n1"]
    assert [each.host for each in of_queue(nodes, "big")] == ["n2"]
    assert [each.host for each in of_queue(nodes, "R7")] == ["n1", "n2"]  # a reservation's, on whatever nodes


def test_explain_says_never_where_pbs_says_wait() -> None:
    first, last = explained("2:ncpus=9:mpiprocs=9", RECORDED)
    assert first == (
        "no node has 9 CPUs: the largest has 4 (PBS's reason: Not Running: Insufficient amount of resource: ncpus)"
    )
    assert last == "change --workers-per-node, --cpus-per-worker, --workers or --nodes"
    assert explained("4:ncpus=4", RECORDED)[-1] == "wait; less of it may fit earlier"


@pytest.mark.parametrize("nodes", ["", "pbsnodes: cannot connect\n", '{"nodes": {"n1": {}}}', "usage: pbsnodes\n"])
def test_where_pbsnodes_tells_nothing_pbs_s_words_have_to_do(nodes: str) -> None:
    assert explained("1:ncpus=9", nodes)[-1] == "wait; less of it may fit earlier"


@pytest.mark.parametrize(
    "notice", ["Notice: {maintenance} on Tuesday", "{", "site: welcome", "[x]", "\x1b[31mred\x1b[0m"]
)
def test_a_notice_around_or_within_pbsnodes_s_json_is_passed_over(notice: str) -> None:
    lines = RECORDED.splitlines()
    for position in (0, 3, 17, len(lines)):
        text = "\n".join([*lines[:position], notice, *lines[position:]])
        if notice in ("{", "[x]") and 0 < position < len(lines):
            continue  # this looks like JSON
        assert read_nodes(text) == read_nodes(RECORDED)
        assert cpus_of_nodes(text, "workq") == 4


def test_an_escape_that_json_has_not_costs_no_answer() -> None:
    text = RECORDED.replace('"ntype":\t"PBS"', '"comment":\t"it\\\'s \\x off",\n\t\t\t"ntype":\t"PBS"')
    with pytest.raises(ValueError, match="escape"):
        json.loads(text)
    assert read_nodes(text) == read_nodes(RECORDED)


def test_what_is_no_answer_of_pbsnodes_is_an_error_that_shows_it() -> None:
    with pytest.raises(SchedulerError, match="no JSON object in 'usage: pbsnodes'"):
        read_nodes("usage: pbsnodes")
