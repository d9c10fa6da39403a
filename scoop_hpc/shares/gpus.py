"""Find the GPUs that were granted on a node, and deal them out to its workers.

Each vendor's libraries read a variable that says which devices a process sees, before they start:

CUDA_VISIBLE_DEVICES   NVIDIA: numbers, or UUIDs of GPUs or MIG instances; an invalid one hides it and all behind it
                       [CUDA C++ Programming Guide, Environment Variables]
ROCR_VISIBLE_DEVICES   AMD: numbers, or UUIDs. HIP_VISIBLE_DEVICES, GPU_DEVICE_ORDINAL and, to HIP, CUDA_VISIBLE_DEVICES
                       count among those that it leaves [ROCm documentation, GPU isolation techniques]
ZE_AFFINITY_MASK       Intel: numbers of devices, or of their tiles as 0.1 [oneAPI Level Zero, Environment Variables]

Slurm sets one or all of them, as its gres.conf says [gres.conf(5), Flags].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from scoop_hpc.errors import LaunchError
from scoop_hpc.shares.dealing import deal
from scoop_hpc.shares.topology import ReadFile

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")  # of a vendor each
_CUDA, _ROCR, _ = VARIABLES
_AMONG_ROCR = ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
ALL_VARIABLES = (*VARIABLES, *_AMONG_ROCR)  # that a node sets for itself: another node's say nothing here

_OF_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")  # [srun(1), sbatch(1), OUTPUT ENVIRONMENT VARIABLES]
_NVIDIA = "/proc/driver/nvidia/gpus"  # a directory with one for each GPU
_AMD = "/sys/class/kfd/kfd/topology/nodes"  # a directory with one for each GPU, and one for each socket
_DEVICE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?|(GPU|MIG)-[\w/-]+")

ListDirectory = Callable[[str], Sequence[str]]  # raises OSError


class Gpus(Struct, frozen=True):
    """The devices of a node, as the *variable* of their vendor names them."""

    variable: str
    devices: tuple[str, ...]


def find_gpus(environ: Mapping[str, str], list_directory: ListDirectory, read: ReadFile) -> Gpus | None:
    """Return the GPUs that the variables of *environ* grant here; without any, all that the node has.

    None: there are none, or a variable hides them.
    """
    present = {variable: _present(variable, list_directory, read) for variable in (_CUDA, _ROCR)}
    given = [variable for variable in VARIABLES if variable in environ]
    if given:  # of several, that of the vendor whose driver is here
        variable = next((each for each in given if present.get(each)), given[0])
        devices = parse_devices(environ[variable])
    else:
        variable = next((each for each, count in present.items() if count), "")
        numbers = next((environ[name] for name in _OF_SLURM if environ.get(name)), "")
        devices = parse_devices(numbers) or tuple(map(str, range(present.get(variable, 0))))
    return Gpus(variable, devices) if variable and devices else None


def are_asked_for(environ: Mapping[str, str]) -> bool:
    """Return whether a scheduler, or a user, has said in *environ* which GPUs there are for this process.

    >>> are_asked_for({"SLURM_JOB_GPUS": "0"}), are_asked_for({"CUDA_VISIBLE_DEVICES": ""})
    (True, False)
    """
    return any(environ.get(name) for name in (*VARIABLES, *_OF_SLURM))


def parse_devices(text: str) -> tuple[str, ...]:
    """Return the devices in the value of a variable: those before the first that is invalid, as CUDA has it.

    >>> parse_devices("2,GPU-8932f937"), parse_devices("0,-1,1"), parse_devices("NoDevFiles")
    (('2', 'GPU-8932f937'), ('0',), ())
    """
    devices: list[str] = []
    for each in text.split(","):
        if not _DEVICE.fullmatch(each.strip()):
            break
        devices.append(each.strip())
    return tuple(devices)


def deal_gpus(devices: Sequence[str], workers: int, each: int | None) -> list[tuple[str, ...]]:
    """Return the devices of each of the *workers*: *each* so many, or if None, its share.

    With fewer devices than workers a device is shared by as few as can be. Raises LaunchError for too few devices.

    >>> deal_gpus("0123", 2, None), deal_gpus("01", 4, None), deal_gpus("0123", 2, 1)
    ([('0', '1'), ('2', '3')], [('0',), ('0',), ('1',), ('1',)], [('0',), ('1',)])
    """
    count = len(devices)
    if each is not None:
        if each * workers > count:
            raise LaunchError(
                f"--gpus-per-worker {each} for {workers} workers needs {each * workers} GPUs, and there are {count}: "
                "ask for more by --gpus-per-node, or for fewer workers"
            )
        return [tuple(devices[index * each : (index + 1) * each]) for index in range(workers)]
    return deal(devices, workers)


def device_variables(variable: str, devices: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a worker sees only *devices*, in the place of those in *environ*.

    >>> device_variables("ROCR_VISIBLE_DEVICES", ["2", "3"], {"HIP_VISIBLE_DEVICES": "2,3", "HOME": "/"})
    {'ROCR_VISIBLE_DEVICES': '2,3', 'HIP_VISIBLE_DEVICES': '0,1'}
    """
    changed = {variable: ",".join(devices)}
    if variable == _ROCR:
        among = ",".join(map(str, range(len(devices))))
        changed |= {name: among for name in (*_AMONG_ROCR, _CUDA) if name in environ}
    return changed


def own_device_variables(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return those variables of *environ* that say which GPUs there are: another node's do not take their place.

    >>> own_device_variables({b"CUDA_VISIBLE_DEVICES": b"1", b"HOME": b"/"})
    {b'CUDA_VISIBLE_DEVICES': b'1'}
    """
    return {name: environ[name] for name in map(str.encode, ALL_VARIABLES) if name in environ}


def _present(variable: str, list_directory: ListDirectory, read: ReadFile) -> int:
    """Return how many GPUs of the vendor of *variable* the drivers of this machine know."""
    try:
        if variable == _CUDA:
            return len(list_directory(_NVIDIA))
        # the others are sockets, whose number is 0 [Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.c]
        return sum((read(f"{_AMD}/{each}/gpu_id") or "0").strip() != "0" for each in list_directory(_AMD))
    except OSError:
        return 0
