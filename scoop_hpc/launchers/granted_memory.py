"""The memory that a Slurm job may have on a node, as its agent learns it from its environment.

Not every site has cgroups that keep jobs within that, so the kernel may know of no such limit.
"""

from __future__ import annotations

from collections.abc import Mapping

_NODE, _CPU = "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"  # MiB [sbatch(1), OUTPUT ENVIRONMENT VARIABLES]
_KEPT = {name: f"SCOOP_HPC_{name}" for name in (_NODE, _CPU)}


def kept_memory(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what *environ* says of the memory, under names that srun does not take for options of its own."""
    return {kept: environ[name] for name, kept in _KEPT.items() if name in environ}


def granted_memory(environ: Mapping[str, str], node: str) -> int:
    """Return the bytes that the job may have on this *node*, 0 where its *environ* does not say so, or is another's.

    >>> granted_memory({"SLURMD_NODENAME": "n1", "SLURM_MEM_PER_NODE": "600"}, "n1") // 2**20
    600
    >>> granted_memory({"SLURMD_NODENAME": "n1", "SLURM_MEM_PER_CPU": "256", "SLURM_CPUS_ON_NODE": "4"}, "n1") // 2**20
    1024
    """
    if environ.get("SLURMD_NODENAME") != node:
        return 0
    per_node, per_cpu = [environ.get(_KEPT[name]) or environ.get(name) or "" for name in (_NODE, _CPU)]
    if bool(per_node) is bool(per_cpu):  # Slurm says one of them: the other is of the job that has submitted this one
        return 0
    words = [per_node] if per_node else [per_cpu, environ.get("SLURM_CPUS_ON_NODE", "")]
    if not all(word.isascii() and word.isdigit() for word in words):
        return 0
    count = int(words[1]) if per_cpu else 1
    return int(words[0]) * count * 2**20
