"""Allocations: what Slurm's environment says, on the real thing and where it contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers import read_allocation
from scoop_hpc.schedulers.allocation import Allocation, Node

DATA = Path(__file__).parents[1] / "data" / "slurm" / "22.05.8" / "env"
JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_TASKS_PER_NODE": "2(x2)",
    "SLURM_JOB_CPUS_PER_NODE": "4(x2)",
}


def environment(name: str) -> dict[str, str]:
    lines = (DATA / f"{name}.txt").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def read(environ: dict[str, str]) -> Allocation:
    allocation = read_allocation(environ, _no_file)
    assert allocation is not None
    return allocation


def refusal(changes: dict[str, str]) -> str:
    with pytest.raises(AllocationError) as caught:
        read({**JOB, **changes})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)


def shape(allocation: Allocation) -> str:
    return " ".join(f"{node.name}:{node.slots}/{node.cpus}" for node in allocation.nodes)


@pytest.mark.parametrize(
    ("name", "job_id", "nodes", "cpus_per_worker"),
    [
        ("batch-N1", "29", "node005:1/1", 1),
        ("batch-N3-exclusive", "32", "node001:4/4 node002:4/4 node003:4/4", 1),
        ("batch-N3-n5", "33", "node001:3/3 node002:1/1 node003:1/1", 1),
        ("batch-N3-n5-tpn2", "31", "node001:2/2 node002:2/2 node003:2/2", 1),
        ("batch-N4-n7-hole", "35", "node001:4/4 node003:2/2 node004:1/1", 1),
        ("batch-N4-tpn2", "34", "node001:2/2 node002:2/2 node003:2/2 node004:2/2", 1),
        ("batch-array-7", "39_7", "node001:1/1", 1),
        ("batch-n5-c2", "30", "node001:2/4 node002:2/4 node003:1/2", 2),
        ("batch-n6-c2-mem", "36", "node001:2/4 node002:2/4 node003:2/4", 2),
        ("batch-export-none", "38", "node001:1/1 node002:1/1", 1),
        ("whole-c2", "7", "aone001:2/4 aone002:2/4", 2),
        ("salloc", "63", "node001:2/2 node002:1/1", 1),
        ("srun-direct", "64", "node001:2/2 node002:1/1", 1),
        ("step-n5-c2", "30", "node001:2/4 node002:2/4 node003:1/2", 2),
    ],
)
def test_real_environments(name: str, job_id: str, nodes: str, cpus_per_worker: int) -> None:
    allocation = read(environment(name))
    assert shape(allocation) == nodes
    assert (allocation.scheduler, allocation.job_id) == ("slurm", job_id)
    assert allocation.cpus_per_worker == cpus_per_worker


def test_a_job_of_an_array_has_the_array_s_id_and_its_index() -> None:
    environ = {**JOB, "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}  # its own id is another number
    allocation = read(environ)
    assert (allocation.job_id, allocation.array_index) == ("5_3", 3)
    assert read(environment("batch-array-7")).array_index == 7


def test_half_of_the_variables_of_an_array_make_none() -> None:
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        assert read({**JOB, name: "3"}) == read(JOB)


def test_every_job_of_the_placement_table_has_the_tasks_that_slurm_says() -> None:
    jobs = [
        line.split() for line in (DATA / "placement-table.txt").read_text().splitlines() if line.startswith("SLURM")
    ]
    assert jobs
    for words in jobs:
        job = dict(word.split("=", 1) for word in words)
        allocation = read({"SLURM_JOB_ID": "1", **job})
        assert len(allocation.nodes) in (2, 3)
        assert allocation.slots >= int(job["SLURM_NTASKS"] or 0)


def test_a_step_on_one_node_of_three_uses_the_job_s_cpus() -> None:
    allocation = read(environment("step-n1-c2"))
    assert shape(allocation) == "node001:2/4 node002:2/4 node003:2/4"


def test_a_heterogeneous_job_is_refused_in_its_batch_script() -> None:
    with pytest.raises(AllocationError, match="'61' is heterogeneous, of 2 components"):
        read(environment("het-batch"))


def test_a_step_that_spans_a_heterogeneous_job_sees_all_of_it() -> None:
    assert shape(read(environment("het-step"))) == "node001:2/2 node002:1/1 node005:1/1"


def test_components_left_over_from_another_job_are_ignored() -> None:
    stale = {name: value for name, value in environment("het-batch").items() if "_GROUP_" in name or "SIZE" in name}
    assert read({**stale, **JOB}) == read(JOB)


def test_components_that_are_not_all_there_are_ignored() -> None:
    environ = {name: value for name, value in environment("het-batch").items() if "_NODELIST_" not in name}
    assert shape(read(environ)) == "node005:1/1"


def test_components_in_the_names_of_old_are_refused_too() -> None:
    environ = environment("het-batch")
    renamed = {name.replace("_HET_", "_PACK_"): value for name, value in environ.items()}
    with pytest.raises(AllocationError, match="heterogeneous"):
        read(renamed)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {
            "SLURM_CONF": "/etc/slurm.conf",
            "SLURM_TIME_FORMAT": "relative",
            "SLURM_CLUSTERS": "a",
            "SBATCH_ACCOUNT": "x",
        },
        {"SLURM_NNODES": "2", "SLURM_NTASKS": "4", "SLURM_HOSTFILE": "hosts", "SLURM_NODELIST": "n1"},
    ],
)
def test_site_variables_are_no_job(environ: dict[str, str]) -> None:
    assert read_allocation(environ, _no_file) is None


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"SLURM_JOB_ID": "7"}, "SLURM_JOB_ID is set, as in Slurm's jobs, but SLURM_JOB_NODELIST is not"),
        ({"SLURM_JOBID": "7", "SLURM_JOB_NODELIST": ""}, "SLURM_JOBID is set, as in Slurm's jobs, but"),
        ({"SLURM_JOB_NODELIST": "n1"}, "SLURM_JOB_NODELIST is set, as in Slurm's jobs, but SLURM_JOB_ID is not"),
        ({"SLURM_JOB_CPUS_PER_NODE": "4"}, "SLURM_JOB_ID is not"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n1"}, "SLURM_JOB_NODELIST is not"),
        (
            {"SLURM_HET_SIZE": "2", "SLURM_JOB_ID_HET_GROUP_0": "7", "SLURM_JOB_NODELIST_HET_GROUP_0": "n1"},
            "heterogeneous Slurm job, as SLURM_JOB_ID_HET_GROUP_0 says",
        ),
        ({"SLURM_NODELIST_PACK_GROUP_1": "n2"}, "heterogeneous Slurm job, as SLURM_NODELIST_PACK_GROUP_1 says"),
    ],
)
def test_a_shell_with_a_part_of_a_jobs_variables_is_refused(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(AllocationError) as caught:
        read_allocation(environ, _no_file)
    assert missing in str(caught.value)


def test_the_aliases_of_old_count_only_where_the_names_are_missing() -> None:
    aliases = {"SLURM_JOBID": "8", "SLURM_NODELIST": "m1"}
    assert read({**JOB, **aliases}) == read(JOB)
    old = read({**aliases, "SLURM_TASKS_PER_NODE": "3"})
    assert (old.job_id, shape(old)) == ("8", "m1:3/3")


def test_a_stale_nodelist_of_the_old_name_is_not_read() -> None:
    assert read({**JOB, "SLURM_NODELIST": "old[1-"}) == read(JOB)


def test_an_empty_node_count_says_nothing() -> None:
    assert read({**JOB, "SLURM_JOB_NUM_NODES": ""}) == read(JOB)


def test_uneven_tasks_are_each_node_s_own() -> None:
    environ = {
        **JOB,
        "SLURM_JOB_NODELIST": "fat1,n[08-10]",
        "SLURM_JOB_NUM_NODES": "4",
        "SLURM_TASKS_PER_NODE": "7,2(x2),1",
        "SLURM_JOB_CPUS_PER_NODE": "8,4(x3)",
    }
    assert shape(read(environ)) == "fat1:7/8 n08:2/4 n09:2/4 n10:1/4"


def test_a_host_that_repeats_is_summed() -> None:
    environ = {
        **JOB,
        "SLURM_JOB_NODELIST": "n2,n1,n2",
        "SLURM_TASKS_PER_NODE": "1,2,3",
        "SLURM_JOB_CPUS_PER_NODE": "4(x3)",
    }
    assert read(environ).nodes == (Node("n2", 4, 8), Node("n1", 2, 4))


def test_cpus_per_task_of_another_job_are_ignored() -> None:
    allocation = read({**JOB, "SLURM_CPUS_PER_TASK": "64"})
    assert (shape(allocation), allocation.cpus_per_worker) == ("n1:2/4 n2:2/4", 1)


def test_without_cpus_they_follow_from_the_tasks() -> None:
    environ = {**JOB, "SLURM_CPUS_PER_TASK": "3", "SLURM_JOB_CPUS_PER_NODE": ""}
    assert shape(read(environ)) == "n1:2/6 n2:2/6"


def test_one_worker_on_a_node_with_less_cpus_than_a_task_has() -> None:
    environ = {**JOB, "SLURM_TASKS_PER_NODE": "", "SLURM_CPUS_PER_TASK": "3", "SLURM_JOB_CPUS_PER_NODE": "6,4"}
    assert shape(read(environ)) == "n1:2/6 n2:1/4"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLURM_JOB_NODELIST": "n[1-"}, "'n[1-'"),
        ({"SLURM_JOB_NODELIST": "(null)"}, "'(null)'"),
        ({"SLURM_JOB_NODELIST": ","}, "no nodes in its nodelist ','"),
        ({"SLURM_JOB_NUM_NODES": "3"}, "SLURM_JOB_NUM_NODES is '3', which does not fit the 2 nodes"),
        ({"SLURM_TASKS_PER_NODE": "2(x"}, "SLURM_TASKS_PER_NODE is not clear"),
        ({"SLURM_TASKS_PER_NODE": "0(x2)"}, "SLURM_TASKS_PER_NODE is '0(x2)'"),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x3)"}, "SLURM_JOB_CPUS_PER_NODE is '4(x3)', which does not fit the 2 nodes"),
        ({"SLURM_JOB_CPUS_PER_NODE": "four"}, "'four'"),
        ({"SLURM_TASKS_PER_NODE": "1", "SLURM_JOB_CPUS_PER_NODE": ""}, "SLURM_TASKS_PER_NODE is '1'"),
        ({"SLURM_TASKS_PER_NODE": "", "SLURM_JOB_CPUS_PER_NODE": ""}, "neither SLURM_TASKS_PER_NODE nor"),
        ({"SLURM_CPUS_PER_TASK": "two"}, "SLURM_CPUS_PER_TASK is 'two'"),
        ({"SLURM_CPUS_PER_TASK": "0"}, "SLURM_CPUS_PER_TASK is '0'"),
        ({"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID is 'x'"),
    ],
)
def test_an_allocation_that_contradicts_itself_is_an_error(changes: dict[str, str], words: str) -> None:
    assert words in refusal(changes)
