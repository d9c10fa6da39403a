"""The worker: it executes futures, and creates more. `info` tells a program of the one that it is in.

>>> from scoop_hpc import worker
>>> worker.info().local_rank  # outside of a run
0
"""

from scoop_hpc.worker.info_of_process import WorkerInfo, info

__all__ = ["WorkerInfo", "info"]
