"""Which CPUs and GPUs each worker of a node gets, and what its environment says of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.errors import LaunchError
from scoop_hpc.shares.binding import CORES, SOCKETS, deal_cpus
from scoop_hpc.shares.gpus import Gpus, deal_gpus, device_variables, find_gpus
from scoop_hpc.shares.share import Granted, Place, Share, Wanted, deal_shares, read_granted, variables_of
from scoop_hpc.shares.topology import Cpu, ReadFile, parse_list, read_topology

SYSFS = Path(__file__).parents[1] / "data" / "sysfs"
CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"
PLACE = Place("3.1", "n4", 3, 13, 1, 16)


def recorded(name: str) -> dict[str, str]:
    """Return the files of sysfs on a real machine, by path."""
    lines = (SYSFS / f"{name}.txt").read_text().splitlines()
    return {path: text for path, _, text in (line.partition(" ") for line in lines)}


def tree(sockets: int, cores: int, threads: int, offline: Sequence[int] = ()) -> dict[str, str]:
    """Return the files of a machine that counts its CPUs as most do: first threads of all cores, then the second ones.

    The ids of cores are those of their socket, and a socket is a NUMA node. What is offline has no topology.
    """
    files = {f"{NODE}/online": f"0-{sockets - 1}\n"}
    for socket in range(sockets):
        of_socket = []
        for core in range(socket * cores, (socket + 1) * cores):
            siblings = [core + thread * sockets * cores for thread in range(threads)]
            online = [cpu for cpu in siblings if cpu not in offline]
            of_socket += online
            for cpu in online:
                folder = f"{CPU}/cpu{cpu}/topology"
                files[f"{folder}/physical_package_id"] = f"{socket}\n"
                files[f"{folder}/core_id"] = f"{core % cores}\n"
                files[f"{folder}/thread_siblings_list"] = ",".join(map(str, online)) + "\n"
        files[f"{NODE}/node{socket}/cpulist"] = ",".join(map(str, sorted(of_socket))) + "\n"
    return files


TWO_SOCKETS = tree(2, 4, 2)  # CPUs 0 to 15


def shares(files: Mapping[str, str], granted: Sequence[int], workers: int, binding: str = CORES) -> list[list[int]]:
    cpus = read_topology(granted, files.get)
    return [list(share.cpus) for share in deal_cpus(cpus, workers, binding)]


# the topology


def test_cpus_are_in_the_order_of_hwloc() -> None:
    numbers = [cpu.number for cpu in read_topology(range(16), TWO_SOCKETS.get)]
    assert numbers == [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]


def test_a_real_virtual_machine_has_two_cores_of_one_thread() -> None:
    cpus = read_topology([0, 1], recorded("two-cpus-of-a-vm").get)
    assert [(cpu.number, cpu.core) for cpu in cpus] == [(0, 0), (1, 1)]
    assert shares(recorded("two-cpus-of-a-vm"), [0, 1], 2) == [[0], [1]]


@pytest.mark.parametrize("read", [{}.get, {f"{CPU}/cpu0/topology/thread_siblings_list": "0-x"}.get])
def test_without_sysfs_each_cpu_is_a_core(read: ReadFile) -> None:
    assert read_topology([2, 0, 1], read) == tuple(Cpu(0, 0, number, number) for number in range(3))


def test_a_socket_that_the_firmware_does_not_tell_is_the_first() -> None:
    files = {**tree(1, 1, 1), f"{CPU}/cpu0/topology/physical_package_id": "-1\n"}
    assert read_topology([0], files.get)[0].socket == 0


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1;2"])
def test_a_list_that_is_not_the_kernels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a list of the kernel's"):
        parse_list(text)


# binding


def test_workers_get_whole_cores_of_one_socket() -> None:
    assert shares(TWO_SOCKETS, range(16), 4) == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]


def test_more_workers_than_cores_get_a_hardware_thread_each() -> None:
    assert shares(TWO_SOCKETS, range(16), 16) == [[n] for n in (0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15)]


def test_more_workers_than_cpus_share_them_evenly() -> None:
    assert shares(tree(1, 2, 1), [0, 1], 5) == [[0], [0], [0], [1], [1]]


def test_only_what_a_cgroup_leaves_is_dealt() -> None:
    assert shares(TWO_SOCKETS, [2, 3, 10, 11, 4, 12], 3) == [[2, 10], [3, 11], [4, 12]]
    assert shares(TWO_SOCKETS, [1, 9, 4], 2) == [[1, 9], [4]]


def test_a_core_whose_sibling_is_offline_is_a_core() -> None:
    files = tree(2, 2, 2, offline=[4, 7])
    assert shares(files, [0, 1, 2, 3, 5, 6], 4) == [[0], [1, 5], [2, 6], [3]]


def test_bound_to_sockets_a_worker_has_all_of_one() -> None:
    first, second = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
    assert shares(TWO_SOCKETS, range(16), 3, SOCKETS) == [first, first, second]
    assert shares(TWO_SOCKETS, range(16), 1, SOCKETS) == [first]


def test_workers_on_one_socket_share_its_threads() -> None:
    cpus = read_topology(range(16), TWO_SOCKETS.get)
    assert [share.threads for share in deal_cpus(cpus, 4, SOCKETS)] == [4, 4, 4, 4]
    assert [share.threads for share in deal_cpus(cpus, 4, CORES)] == [4, 4, 4, 4]


@given(
    sockets=st.integers(1, 3),
    cores=st.integers(1, 6),
    threads=st.integers(1, 2),
    workers=st.integers(1, 40),
    hidden=st.sets(st.integers(0, 35)),
)
def test_all_that_is_granted_is_dealt_and_nothing_else(
    sockets: int, cores: int, threads: int, workers: int, hidden: set[int]
) -> None:
    granted = [cpu for cpu in range(sockets * cores * threads) if cpu not in hidden] or [0]
    dealt = shares(tree(sockets, cores, threads), granted, workers)
    assert len(dealt) == workers
    assert all(dealt)
    assert {cpu for share in dealt for cpu in share} == set(granted)
    if workers <= len(granted):
        assert sum(map(len, dealt)) == len(granted)


# GPUs


def nothing(directory: str) -> list[str]:
    raise FileNotFoundError(directory)


def directories(**names: Sequence[str]) -> dict[str, Sequence[str]]:
    places = {"nvidia": "/proc/driver/nvidia/gpus", "amd": "/sys/class/kfd/kfd/topology/nodes"}
    return {places[name]: entries for name, entries in names.items()}


def found(environ: Mapping[str, str], files: Mapping[str, str] = {}, **names: Sequence[str]) -> Gpus | None:
    """Return what is found where there are directories of these *names*."""
    there = directories(**names)
    return find_gpus(environ, lambda path: there[path] if path in there else nothing(path), files.get)


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"])
def test_the_variable_of_a_vendor_says_which_gpus_there_are(variable: str) -> None:
    assert found({variable: "2,3"}) == Gpus(variable, ("2", "3"))


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_a_variable_that_hides_all_gpus_hides_them(value: str) -> None:
    assert found({"CUDA_VISIBLE_DEVICES": value}, nvidia=["0000:01:00.0"]) is None


def test_of_several_variables_that_of_the_driver_that_is_here_counts() -> None:
    both = {"CUDA_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "0"}
    amd = {"/sys/class/kfd/kfd/topology/nodes/1/gpu_id": "4098\n"}
    assert found(both, amd, amd=["0", "1"]) == Gpus("ROCR_VISIBLE_DEVICES", ("0",))
    assert found(both, nvidia=["0000:01:00.0"]) == Gpus("CUDA_VISIBLE_DEVICES", ("0",))
    assert found(both) == Gpus("CUDA_VISIBLE_DEVICES", ("0",))


def test_without_a_variable_a_node_s_own_gpus_are_granted() -> None:
    assert found({}, nvidia=["0000:01:00.0", "0000:02:00.0"]) == Gpus("CUDA_VISIBLE_DEVICES", ("0", "1"))
    folder = "/sys/class/kfd/kfd/topology/nodes"
    files = {f"{folder}/0/gpu_id": "0\n", f"{folder}/1/gpu_id": "4098\n", f"{folder}/2/gpu_id": "7\n"}
    assert found({}, files, amd=["0", "1", "2"]) == Gpus("ROCR_VISIBLE_DEVICES", ("0", "1"))
    assert found({}) is None


def test_slurm_s_numbers_count_where_there_is_a_driver() -> None:
    assert found({"SLURM_JOB_GPUS": "1,3"}, nvidia=["a", "b", "c", "d"]) == Gpus("CUDA_VISIBLE_DEVICES", ("1", "3"))
    assert found({"SLURM_JOB_GPUS": "1,3", "SLURM_STEP_GPUS": "3"}, nvidia=["a"]) == Gpus(
        "CUDA_VISIBLE_DEVICES", ("3",)
    )
    assert found({"SLURM_JOB_GPUS": "1,3"}) is None


def test_gpus_are_dealt_evenly() -> None:
    assert deal_gpus(("a", "b", "c"), 2, None) == [("a",), ("b", "c")]
    assert deal_gpus(("a", "b"), 3, None) == [("a",), ("a",), ("b",)]
    assert deal_gpus(("a", "b", "c"), 1, 2) == [("a", "b")]


def test_too_few_gpus_are_said_with_both_numbers() -> None:
    with pytest.raises(LaunchError, match="--gpus-per-worker 2 for 2 workers needs 4 GPUs, and there are 3"):
        deal_gpus(("0", "1", "2"), 2, 2)


def test_no_gpus_are_too_few_where_each_worker_is_to_have_one() -> None:
    with pytest.raises(LaunchError, match="there are 0"):
        deal_shares(Granted(), Wanted(gpus_per_worker=1), 1)


def test_hip_and_cuda_count_among_the_gpus_that_rocr_leaves() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "4,5", "GPU_DEVICE_ORDINAL": "4,5"}
    assert device_variables("ROCR_VISIBLE_DEVICES", ["5"], environ) == {
        "ROCR_VISIBLE_DEVICES": "5",
        "CUDA_VISIBLE_DEVICES": "0",
        "GPU_DEVICE_ORDINAL": "0",
    }


# shares and their variables


def test_nothing_is_read_of_what_nobody_wants_dealt() -> None:
    def read(path: str) -> str:
        raise AssertionError(path)

    wanted = Wanted(deals_gpus=False)
    assert read_granted(wanted, {"CUDA_VISIBLE_DEVICES": "1"}, [0], read, nothing) == Granted(
        device_variables=(("CUDA_VISIBLE_DEVICES", "1"),)
    )


def test_a_share_has_both() -> None:
    granted = read_granted(Wanted(CORES), {"CUDA_VISIBLE_DEVICES": "0,1"}, range(16), TWO_SOCKETS.get, nothing)
    first, second = deal_shares(granted, Wanted(CORES), 2)
    assert (first.gpus, second.gpus) == tuple(Gpus("CUDA_VISIBLE_DEVICES", (each,)) for each in "01")
    assert first.cpus is not None
    assert first.cpus.cpus == (0, 1, 2, 3, 8, 9, 10, 11)


def test_a_worker_is_told_its_place() -> None:
    assert variables_of(PLACE, Share(), Granted(), {}) == {
        "SCOOP_HPC_WORKER": "3.1",
        "SCOOP_HPC_NODE": "n4",
        "SCOOP_HPC_RANK": "13",
        "SCOOP_HPC_LOCAL_RANK": "1",
        "SCOOP_HPC_SIZE": "16",
    }


def test_what_slurm_says_of_the_job_s_script_is_put_right() -> None:
    environ = dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
    changes = variables_of(PLACE, Share(), Granted(), environ)
    assert [changes[name] for name in environ] == ["13", "1", "3"]


def test_a_node_s_own_gpus_take_the_place_of_the_driver_s() -> None:
    granted = Granted(device_variables=(("CUDA_VISIBLE_DEVICES", "2,3"),))
    assert variables_of(PLACE, Share(), granted, {"CUDA_VISIBLE_DEVICES": "0"})["CUDA_VISIBLE_DEVICES"] == "2,3"
    share = Share(gpus=Gpus("CUDA_VISIBLE_DEVICES", ("3",)))
    assert variables_of(PLACE, share, granted, {"CUDA_VISIBLE_DEVICES": "0"})["CUDA_VISIBLE_DEVICES"] == "3"


def test_threads_are_the_worker_s_own_cpus_unless_the_user_has_set_them() -> None:
    (share,) = deal_shares(Granted(cpus=read_topology(range(4), tree(1, 4, 1).get)), Wanted(CORES), 1)
    environ = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "7"}
    changes = variables_of(PLACE, share, Granted(), environ, ["OMP_NUM_THREADS"])
    assert (changes["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in changes) == ("4", False)
    assert "OMP_NUM_THREADS" not in variables_of(PLACE, Share(), Granted(), environ, ["OMP_NUM_THREADS"])
