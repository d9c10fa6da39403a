"""`scoop._types`: what SCOOP's manual names of it."""

from scoop_hpc.futures import CancelledError, Future, TimeoutError

__all__ = ["CancelledError", "Future", "TimeoutError"]
