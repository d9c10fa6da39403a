"""The schedulers: an adapter for each that jobs are submitted to, a reader for each that allocations come from."""

TYPE_CHECKING = False  # as type checkers read it
if TYPE_CHECKING:
    from scoop_hpc.schedulers.readers import read_allocation

__all__ = ["read_allocation"]


def __getattr__(name: str) -> object:
    """Import `read_allocation` when it is asked for: an agent, which needs what a job's state is called, has no use
    for the readers of all schedulers."""
    if name == "read_allocation":
        from scoop_hpc.schedulers import readers  # noqa: PLC0415  as above

        return readers.read_allocation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
