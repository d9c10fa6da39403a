"""Map Python functions over the nodes of a batch job: futures, brokers, job scripts, no ssh."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scoop_hpc.executor import Executor

__all__ = ["Executor", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `Executor` when it is asked for: the command line has no need of it."""
    if name == "Executor":
        return importlib.import_module("scoop_hpc.executor").Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
