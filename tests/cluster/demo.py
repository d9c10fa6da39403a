"""Bring up four nodes of Slurm, submit an example to them, and take them down: what ``make demo`` shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from minicluster.cluster import Cluster, up
from minicluster.shell import environment
from minicluster.state import HEAD, ClusterError, Settings
from under_test import ROOT, SUBMIT, shared_below_tmp

PROGRAM = (str(ROOT / "examples" / "pi.py"), "--hosts")


def _submit(*options: str) -> list[str]:
    return [sys.executable, "-m", "scoop_hpc", *SUBMIT, "--wait", *options, *PROGRAM]


def _on(cluster: Cluster) -> int:
    for argv in (["sinfo"], _submit()):
        print("\nhead$", *argv, flush=True)
        env = environment({"SCOOP_HPC_STATE": str(cluster.shared / "state"), "PYTHONPATH": str(ROOT)})
        status = subprocess.run(cluster.enter_argv(HEAD, argv, str(cluster.shared)), env=env, check=False).returncode
        if status:
            return status
    return 0


def main() -> int:
    """Return the exit status of the job; where there can be no cluster, the local scheduler plays it."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        print("\nnot root on Linux, so no Slurm here: the built-in scheduler 'local' takes the job", flush=True)
        argv = _submit("--scheduler", "local")
        with tempfile.TemporaryDirectory() as directory:
            environ = {**os.environ, "SCOOP_HPC_STATE": f"{directory}/state", "PYTHONPATH": str(ROOT)}
            return subprocess.run(argv, cwd=directory, env=environ, check=False).returncode
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it takes the cluster down as Ctrl-C does
    try:
        cluster = up(Path(f"/run/scoop-demo-{os.getpid()}"), Settings(shared=shared_below_tmp()))
    except ClusterError as error:
        print(f"no cluster: {error}", file=sys.stderr)
        return 1
    try:
        return _on(cluster)
    finally:
        cluster.down()


if __name__ == "__main__":
    sys.exit(main())
