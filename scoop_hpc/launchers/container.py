"""Agents in a container: the command that starts one there. The driver, which starts them, is outside.

The image needs a ``python3`` with scoop_hpc of the driver's version. apptainer and singularity bring the environment,
the home directory and ``/tmp``; the program's directory is bound [apptainer-exec(1)]. pyxis is a plugin of Slurm, so it
is srun that starts the container [github.com/NVIDIA/pyxis].
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

PYXIS = "pyxis"
PYTHON = "python3"
_MOUNTS = "--container-mounts="
_OF_VENDORS = {"CUDA_VISIBLE_DEVICES": "--nv", "ROCR_VISIBLE_DEVICES": "--rocm"}  # [apptainer-exec(1)]


class Container(Struct, frozen=True):
    """An image, and the program that runs it: apptainer, singularity or pyxis, with the user's *options* for it."""

    image: str
    runtime: str = "apptainer"
    options: tuple[str, ...] = ()


# a node without the runtime says so: srun would only tell that a task failed
_OR_COMPLAINT = (
    'command -v "$0" >/dev/null || { echo "scoop-hpc: error: no $0 on $(uname -n): '
    'load it by --module or --setup, or choose another --container-runtime" >&2; exit 127; }; exec "$0" "$@"'
)


def inside(container: Container, agent: Sequence[str], directory: str, elsewhere: bool = False) -> list[str]:
    """Return the command that runs *agent* in the container, where *directory* is what it is outside.

    *elsewhere*, on another node, whether it is there is seen by nobody but this command.

    >>> inside(Container("a.sif"), ["python3", "-c", "..."], "/home/me")
    ['apptainer', 'exec', '--bind', '/home/me', 'a.sif', 'python3', '-c', '...']
    """
    if container.runtime == PYXIS:
        return list(agent)
    argv = [container.runtime, "exec", "--bind", directory, *container.options, container.image, *agent]
    return ["/bin/sh", "-c", _OR_COMPLAINT, *argv] if elsewhere else argv


def srun_options(container: Container, directory: str) -> list[str]:
    """Return what srun is told, if it is to start the container."""
    if container.runtime != PYXIS:
        return []
    own = [each for each in container.options if each.startswith(_MOUNTS)]
    # pyxis heeds the last --container-mounts only
    mounts = ",".join([f"{directory}:{directory}", *(each.removeprefix(_MOUNTS) for each in own)])
    others = [each for each in container.options if each not in own]
    return [f"--container-image={container.image}", f"{_MOUNTS}{mounts}", "--container-mount-home", *others]


def gpu_option(runtime: str, variable: str) -> tuple[str, ...]:
    """Return the option by which *runtime* shows GPUs to the container, those of the vendor of *variable*.

    pyxis brings them by a hook of its own; Intel's are in ``/dev``, which containers share [apptainer-exec(1)].

    >>> gpu_option("apptainer", "CUDA_VISIBLE_DEVICES"), gpu_option("pyxis", "CUDA_VISIBLE_DEVICES")
    (('--nv',), ())
    """
    return () if runtime == PYXIS or variable not in _OF_VENDORS else (_OF_VENDORS[variable],)
