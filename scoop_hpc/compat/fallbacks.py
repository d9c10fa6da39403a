"""`scoop.fallbacks`: the error that programs catch to go on without SCOOP."""

from scoop_hpc.errors import NotRunningError as NotStartedProperly

__all__ = ["NotStartedProperly"]
