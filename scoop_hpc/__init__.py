"""Map Python functions over the nodes of a batch job: futures, brokers, job scripts, no ssh."""

import importlib

TYPE_CHECKING = False  # as type checkers read it; the module typing would lengthen what Ctrl-C can hit before __main__
if TYPE_CHECKING:
    from scoop_hpc.executor import Executor

__all__ = ["Executor", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `Executor` when it is asked for: the command line has no need of it."""
    if name == "Executor":
        return importlib.import_module("scoop_hpc.executor").Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
