"""The schedulers' dialects: a phrase book for each that jobs go to, a reader for each that allocations come from."""

from scoop_hpc.schedulers.readers import read_allocation

__all__ = ["read_allocation"]
