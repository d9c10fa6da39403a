"""A cluster that a process of its own holds: it ends with this process, however that ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from minicluster.cluster import Cluster, find
from under_test import shared_below_tmp

HERE = Path(__file__).parent


@contextmanager
def held(*options: str) -> Iterator[Cluster]:
    """Bring a cluster up as ``minicluster hold`` is told by *options*, and down at the end."""
    directory = Path(tempfile.mkdtemp(prefix="scoop-test-", dir="/run"))
    directory.rmdir()  # the name was what is wanted
    shared = [f"--shared={path}" for path in shared_below_tmp()]
    argv = [sys.executable, "-m", "minicluster", "--dir", str(directory), "hold", *shared, *options]
    holder = subprocess.Popen(
        argv,
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():
        pytest.fail(f"no cluster: {holder.communicate()[1]}")
    try:
        yield find(directory)
    finally:
        holder.communicate(timeout=120)
