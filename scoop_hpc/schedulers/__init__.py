"""The schedulers: an adapter for each that jobs are submitted to, a reader for each that allocations come from."""

from scoop_hpc.schedulers.readers import read_allocation

__all__ = ["read_allocation"]
