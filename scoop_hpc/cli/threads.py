"""Limit the threads that numerical libraries start in each worker, unless the user says so.

OpenBLAS, MKL, BLIS, Accelerate, numba and numexpr each start a thread for every CPU of the machine. With a worker on
every CPU that is the square of what there is; so each worker's libraries get the worker's own CPUs. They read these
variables once, when they are loaded: before that, they have to be in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from scoop_hpc.run.placement import NodePlan
from scoop_hpc.schedulers.allocation import Allocation

_OPENMP = b"OMP_NUM_THREADS"
VARIABLES = (  # those that joblib sets
    _OPENMP,
    b"OPENBLAS_NUM_THREADS",
    b"MKL_NUM_THREADS",
    b"BLIS_NUM_THREADS",
    b"VECLIB_MAXIMUM_THREADS",
    b"NUMBA_NUM_THREADS",
    b"NUMEXPR_NUM_THREADS",
)
_OF_PBS = b"NCPUS"  # PBS's own OMP_NUM_THREADS is the same: a chunk's CPUs, however many workers there are on them
_COUNT = re.compile(rb"\s*([1-9][0-9]*)")  # of the outermost level: "4,2" is for nested loops


def cpus_of_worker(allocation: Allocation, plans: Iterable[NodePlan]) -> int:
    """Return how many CPUs each worker of a run has to itself: what was asked for, or its share of the node.

    >>> from scoop_hpc.schedulers.allocation import Node
    >>> cpus_of_worker(Allocation("", (Node("n1", 2, 8),)), [NodePlan("n1", 2)])
    4
    """
    cpus = {node.name: node.cpus for node in allocation.nodes}
    shares = [cpus.get(plan.name, 0) // plan.workers for plan in plans if plan.workers]
    return max(allocation.cpus_per_worker, min(shares, default=1))


def thread_variables(environ: Mapping[bytes, bytes], cpus: int) -> dict[bytes, bytes]:
    """Return the variables that are to be added to *environ* for workers of so many *cpus*.

    What the user has set stays; OMP_NUM_THREADS, which most of the libraries obey, is then meant for all of them.

    >>> thread_variables({b"OMP_NUM_THREADS": b"2"}, 1)[b"MKL_NUM_THREADS"]
    b'2'
    """
    given = environ.get(_OPENMP, b"")
    if given == environ.get(_OF_PBS):
        given = b""
    count = _COUNT.match(given)
    value = count[1] if count else b"%d" % cpus
    return {name: value for name in VARIABLES if not (given if name == _OPENMP else environ.get(name))}


def counted_variables(environ: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return those of the variables that `thread_variables` adds to *environ* which hold the CPUs of a worker.

    >>> counted_variables({b"OMP_NUM_THREADS": b"2"})
    ()
    """
    counted = thread_variables(environ, 0)
    return tuple(os.fsdecode(name) for name, value in counted.items() if value == b"0")
