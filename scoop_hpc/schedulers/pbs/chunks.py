"""A job's nodes in PBS's words: chunks, and how they are placed [pbs_resources(7B)]."""

from __future__ import annotations

import re

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.schedulers.pbs.nodes import of_queue, read_nodes


def select(spec: JobSpec) -> str:
    """Return the chunks that *spec* asks for: one for each node, or where these are not counted, for each worker.

    A line of the node file is a worker: ``mpiprocs``. Without ``ompthreads``, OMP_NUM_THREADS of every worker would be
    the CPUs of them all.

    >>> select(JobSpec(("pi.py",), "/home/me", "pi", nodes=2, workers_per_node=4, cpus_per_worker=2))
    '2:ncpus=8:mpiprocs=4:ompthreads=2'
    >>> select(JobSpec(("pi.py",), "/home/me", "pi", nodes=2, workers=3))
    '1:ncpus=2:mpiprocs=2:ompthreads=1+1:ncpus=1:mpiprocs=1:ompthreads=1'
    """
    if spec.workers_per_node is not None:
        return _chunks(spec, spec.nodes or 1, spec.workers_per_node)
    if spec.workers is None:
        raise JobSpecError("PBS gives no whole nodes without being told their CPUs: give --workers-per-node")
    if spec.nodes is None:
        return _chunks(spec, spec.workers, 1)
    fewer, rest = divmod(spec.workers, spec.nodes)
    parts = [(rest, fewer + 1), (spec.nodes - rest, fewer)]
    return "+".join(_chunks(spec, count, workers) for count, workers in parts if count)


def _chunks(spec: JobSpec, count: int, workers: int) -> str:
    cpus = workers * spec.cpus_per_worker
    parts = [str(count), f"ncpus={cpus}", f"mpiprocs={workers}", f"ompthreads={spec.cpus_per_worker}"]
    memory = spec.memory_per_node if spec.memory_per_cpu is None else spec.memory_per_cpu * cpus
    if memory is not None:
        parts.append(f"mem={-(-memory >> 10)}kb")
    if spec.gpus_per_node is not None:
        parts.append(f"ngpus={spec.gpus_per_node}")
    if spec.constraint is not None:
        parts.append(spec.constraint.strip(":"))
    return ":".join(parts)


def place(spec: JobSpec) -> str:
    """Return how the chunks are placed: without ``scatter``, those of two nodes may share one."""
    words = ["free" if spec.nodes is None else "scatter"]
    return ":".join([*words, "excl"] if spec.exclusive else words)


def check(spec: JobSpec) -> None:
    """Raise JobSpecError for what no chunk can say."""
    if spec.nodes is None and (spec.memory_per_node is not None or spec.gpus_per_node is not None):
        given = "--memory" if spec.memory_per_node is not None else "--gpus-per-node"
        raise JobSpecError(
            f"PBS cannot express {given} for --workers on any number of nodes: give --nodes as well", given, "--workers"
        )
    if spec.constraint is not None and not re.fullmatch(r":?\w+=[^\s+:]+(:\w+=[^\s+:]+)*", spec.constraint):
        raise JobSpecError(
            f"--constraint {spec.constraint!r} is nothing that a chunk of PBS has: write such as 'arch=linux:model=a'",
            "--constraint",
        )


def cpus_of_nodes(text: str, queue: str) -> int:
    """Return how many CPUs every node has, according to ``pbsnodes -av -F json``, of those that *queue* may use.

    Raise JobSpecError where they differ, SchedulerError for what cannot be read.
    """
    cpus: dict[str, int] = {}  # of a host: several vnodes may be parts of one
    try:
        for node in of_queue([node for node in read_nodes(text) if node.is_usable], queue):
            cpus[node.host] = cpus.get(node.host, 0) + int(node.available.get("ncpus", 0))
    except (SchedulerError, ValueError) as error:
        raise SchedulerError(f"cannot tell what a whole node is: {error}: give --workers-per-node") from error
    counts = sorted({count for count in cpus.values() if count})
    if len(counts) != 1:
        what = f"of {', '.join(map(str, counts))} CPUs" if counts else "none in use"
        raise JobSpecError(f"the nodes differ in what a whole node is ({what}): give --workers-per-node")
    return counts[0]
