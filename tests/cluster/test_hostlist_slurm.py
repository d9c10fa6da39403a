"""Nodelists as the real scontrol reads and writes them, and a real job as it is read."""

from __future__ import annotations

import itertools
import json
import random
import sys

import pytest
from minicluster.state import HEAD
from under_test import ClusterUnderTest

from scoop_hpc.hostlist import expand, fold

# without text after a bracket, which Slurm takes since 23.11
TEXTS = [
    "login",
    "node[001-003,007],gpu[9-11],login",
    "n[9-10],n[9-010],n[1-010],n[098-101]",
    "n[0,00,000]",
    "[0-2],[1-2][4-5]",
    "b,a,b",
    "n2, n1\tn3\nn4,,n5,",
    "rack[0-1]n[08-10]",
    "n[1-2]x[3-4]y[5-6]",
    "n[1-2]x[3-4]y[5-6]z[7-8]",
    "n[1-3]x[08,3-4]",
    "a-b.c_d[1-2]",
    "n[00001-02000]",
    "node[18446744073709551615]",
    "node/abc,node%abc,a@b=c#d",
    "n[0000000000000000000000001]",
]
WRONG = ["n[\N{ARABIC-INDIC DIGIT THREE}]", "n[5-3]", "n[1,,2]", "n[a-c]", "n[1-2-3]", "n[1-99999999999]"]


def _hostnames(cluster: ClusterUnderTest, text: str) -> list[str]:
    return cluster.check(HEAD, ["scontrol", "show", "hostnames", text]).splitlines()


def _many_hostnames(cluster: ClusterUnderTest, texts: list[str]) -> list[list[str]]:
    """Ask for all of *texts* at once."""
    script = cluster.write("".join(f"scontrol show hostnames '{text}' || exit; echo =\n" for text in texts), "ask.sh")
    answers = cluster.check(HEAD, ["bash", str(script)]).split("=\n")[:-1]
    return [answer.split() for answer in answers]


def _random_texts(seed: int) -> list[str]:
    """Return lists of every legal form: groups of one and of several ranges, padded or not, and plain names."""
    source = random.Random(seed)

    def group() -> str:
        ranges = []
        for _ in range(source.randint(1, 3)):
            lower, width = source.randint(0, 120), source.randint(1, 4)
            upper = lower + source.randint(0, 12)
            ranges.append(f"{lower:0{width}}" + (f"-{upper:0{source.randint(1, 4)}}" if upper > lower else ""))
        return f"[{','.join(ranges)}]"

    def element() -> str:
        name = source.choice(["n", "gpu", "rack0-", "x.y"])
        return name + "".join(
            before + group() for before in itertools.islice(["", "n", "-"], source.choice([0, 1, 1, 1, 2, 3]))
        )

    return [",".join(element() for _ in range(source.randint(1, 4))) for _ in range(60)]


@pytest.mark.parametrize("text", TEXTS)
def test_expand_is_scontrol_show_hostnames(cluster: ClusterUnderTest, text: str) -> None:
    assert expand(text) == _hostnames(cluster, text)


def test_expand_is_scontrol_show_hostnames_for_random_lists(cluster: ClusterUnderTest) -> None:
    texts = _random_texts(20)
    for text, names in itertools.zip_longest(texts, _many_hostnames(cluster, texts)):
        assert expand(text) == names, text
        assert expand(fold(names)) == names


@pytest.mark.parametrize("text", WRONG)
def test_what_we_refuse_scontrol_does_not_expand(cluster: ClusterUnderTest, text: str) -> None:
    with pytest.raises(ValueError, match="cannot read the nodelist"):
        expand(text)
    assert _hostnames(cluster, text) == []


def test_slurm_reads_what_fold_writes(cluster: ClusterUnderTest) -> None:
    lists = [expand(text) for text in _random_texts(21)]
    assert _many_hostnames(cluster, [fold(names) for names in lists]) == lists


def test_fold_writes_what_slurm_writes_of_names_in_order(cluster: ClusterUnderTest) -> None:
    for names in (["n1", "n2", "n3", "n5"], ["n08", "n09", "n10"], ["login"], ["r0n01", "r0n02", "r1n01"]):
        assert cluster.check(HEAD, ["scontrol", "show", "hostlist", ",".join(names)]).strip() == fold(names)


def test_a_job_with_uneven_tasks_is_read_as_srun_places_it(cluster: ClusterUnderTest) -> None:
    hosts = f"{sys.executable} -m scoop_hpc hosts --json"
    (cluster.directory / "job.sh").write_text(f"#!/bin/bash\n{hosts} >job.json\nsrun hostname >tasks\n")
    cluster.check(HEAD, ["sbatch", "--wait", "-N3", "-n7", "--output=job.out", "job.sh"])
    told = json.loads((cluster.directory / "job.json").read_text())
    tasks = (cluster.directory / "tasks").read_text().split()
    assert {node["name"]: node["slots"] for node in told["nodes"]} == {name: tasks.count(name) for name in set(tasks)}
    assert sum(node["slots"] for node in told["nodes"]) == 7
    assert (told["scheduler"], told["beside"]) == ("slurm", [])


def test_a_step_of_one_task_sees_the_whole_job(cluster: ClusterUnderTest) -> None:
    (cluster.directory / "job.sh").write_text(
        f"#!/bin/bash\nsrun -N1 -n1 {sys.executable} -m scoop_hpc hosts --format=nodelist\n"
    )
    cluster.check(HEAD, ["sbatch", "--wait", "-N3", "-n3", "--output=job.out", "job.sh"])
    nodelist = (cluster.directory / "job.out").read_text().strip()
    assert len(expand(nodelist)) == 3


def test_a_job_of_an_array_is_known_by_its_index(cluster: ClusterUnderTest) -> None:
    (cluster.directory / "job.sh").write_text(
        f"#!/bin/bash\n{sys.executable} -m scoop_hpc hosts --json >$SLURM_ARRAY_TASK_ID.json\n"
    )
    done = cluster.check(HEAD, ["sbatch", "--parsable", "--wait", "--array=3,5", "--output=job.out", "job.sh"])
    for index in (3, 5):
        told = json.loads((cluster.directory / f"{index}.json").read_text())
        assert (told["job_id"], told["array_index"]) == (f"{done.strip()}_{index}", index)
