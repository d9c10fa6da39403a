"""The CPUs of this process."""

import os


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_numbers() -> tuple[int, ...]:
    """Return the numbers of the CPUs that this process may use: its affinity, which is within its cgroup's cpuset.

    Where processes have no affinity, as on macOS, these are all.
    """
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else tuple(range(count_cpus()))
