"""What a process imports before it does anything: most of what the start of a run costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

# as many modules of this package as there are now, and a few more: whoever needs many more has to ask what they cost.
# Those of others are counted by name, for Python's own differ from one version to the next
ENTRIES = {
    "scoop_hpc.__main__": 8,
    "scoop_hpc.cli.run": 154,
    "scoop_hpc.cli.pool": 133,
    "scoop_hpc.cli.agent": 149,
    "scoop_hpc.executor": 10,
    "scoop_hpc.pool.executor_map": 107,
    "scoop_hpc.futures": 89,
}
# milliseconds each, and needed by few: by the commands that draw and render, on many nodes, for large globals
LARGE = {"_hashlib", "asyncio", "email", "importlib.metadata", "jinja2", "mpi4py", "multiprocessing", "numpy", "psutil"}
LARGE |= {"IPython", "prometheus_client", "pygments", "rich", "ssl", "tomllib", "unittest", "urllib.request"}


def imported_by(statement: str) -> set[str]:
    """Return the modules that a new interpreter has after *statement*."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(sys.modules.keys() - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_imports_no_more_than_it_needs(entry: str) -> None:
    imported = imported_by(f"import {entry}")
    assert imported & LARGE == set()
    assert len([name for name in imported if name.partition(".")[0] == "scoop_hpc"]) <= ENTRIES[entry]


def test_program_that_imports_the_package_imports_nothing_of_it_yet() -> None:
    assert {name for name in imported_by("import scoop_hpc") if name.startswith("scoop_hpc.")} == set()


def test_executor_starts_its_driver_before_it_imports_what_talks_to_that() -> None:
    assert imported_by("from scoop_hpc import Executor") & {"zmq", "msgspec", "greenlet", "cloudpickle"} == set()


def test_agents_know_no_scheduler_and_drivers_no_mpi() -> None:
    agent = imported_by("import scoop_hpc.cli.agent")
    assert "scoop_hpc.broker.server" not in agent  # the broker's own process imports it, while workers are forked
    assert not [name for name in agent if name.startswith("scoop_hpc.schedulers.") and name.endswith(".allocation")]
    for driver in ("scoop_hpc.cli.run", "scoop_hpc.cli.pool"):
        assert "scoop_hpc.mpi.rank" not in imported_by(f"import {driver}")
