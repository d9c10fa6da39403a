"""MPI as the way to start in jobs of PBS: Hydra reaches the fakes' nodes by pbs_tmrsh; it brings agents, or ranks."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MEET, until
from test_pbs_jobs import HOLD, Site

pytest.importorskip("mpi4py")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives processes a host name of their own")

NODES = ["pnode001", "pnode002", "pnode003"]
SHOW = f"""{MEET}
import os, socket
from scoop_hpc import futures

def where(number):
    meet(os.getpid(), 6)
    return socket.gethostname(), [name for name in os.environ if name.startswith(("PMI", "MPI_LOCAL"))]

if __name__ == "__main__":
    found = list(futures.map(where, range(60), chunksize=1))
    print(sorted({{host for host, _ in found}}), {{name for _, names in found for name in names}})
    raise SystemExit(3)
"""
SHOWN = f"{NODES} set()\n"
# Hydra's words are for a shell, and pbs_tmrsh has none; all hosts of the fakes are this machine: each gets its name
TO_HOST = """#!/bin/sh
host=$1
shift
exec {pbs_tmrsh} "$host" unshare --uts sh -c 'hostname "$0" && eval "$1"' "$host" "$*"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A cluster without jobs; those of the test are ended."""
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def by_tm(site: Site) -> dict[str, str]:
    """Return the variables that let Hydra start its proxies by pbs_tmrsh."""
    script = site.bin / "to_host"
    script.write_text(TO_HOST.format(pbs_tmrsh=site.bin / "pbs_tmrsh"))
    script.chmod(0o755)
    return {"HYDRA_LAUNCHER": "rsh", "HYDRA_LAUNCHER_EXEC": str(script)}


def submit(site: Site, program: str, by_tm: dict[str, str], *arguments: str) -> str:
    """Submit a job whose agents mpiexec brings, two workers on each of three nodes; return its id."""
    variables = [word for name, value in by_tm.items() for word in ("--env", f"{name}={value}")]
    options = ("--nodes", "3", "--workers-per-node", "2", "--launcher", "mpi", *variables)
    return site.submit(program, *options, arguments=arguments)


def test_mpiexec_starts_an_agent_on_each_node(site: Site, by_tm: dict[str, str]) -> None:
    job = submit(site, SHOW, by_tm)
    assert site.scoop_hpc("wait", job).returncode == 3, site.output(job)
    assert site.output(job) == SHOWN
    assert [call.split()[1] for call in sorted(site.calls("pbs_tmrsh"))] == NODES
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"], told["nodes"]) == ("FAILED", 3, NODES)


def test_cancel_ends_the_agents_on_all_nodes(site: Site, by_tm: dict[str, str]) -> None:
    job = submit(site, HOLD, by_tm, "0")
    until(lambda: site.output(job) == "holding\n")
    held = site.control("hold-deleted")  # PBS sends TERM to the first node, and nothing to the others, nor any KILL
    site.scoop_hpc("cancel", job)
    until(lambda: not site.processes("--node-of-host") and not site.processes("hydra_pmi_proxy"))
    held.unlink()
    site.scoop_hpc("wait", job)
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"]) == ("CANCELLED", 143)


def test_the_ranks_of_mpiexec_are_one_run_in_a_script_of_ones_own(site: Site, by_tm: dict[str, str]) -> None:
    (site.directory / "program.py").write_text(SHOW)
    variables = {**by_tm, "PYTHONPATH": site.environ["PYTHONPATH"], "SCOOP_HPC_STATE": site.environ["SCOOP_HPC_STATE"]}
    mpiexec = [str(Path(sys.executable).with_name("mpiexec")), "-n", "6", "-ppn", "2"]
    lines = [
        "#!/bin/bash",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        "cd $PBS_O_WORKDIR",
        "exec >own.out 2>&1",
        shlex.join([*mpiexec, sys.executable, "-m", "scoop_hpc", "run", "program.py"]),
        "echo status $?",
    ]
    script = site.directory / "own.sh"
    script.write_text("\n".join([*lines, ""]))
    site.run("qsub", "-l", "select=3:ncpus=2:mpiprocs=2", "-l", "place=scatter", str(script))
    until(lambda: "job_state = F" in site.run("qstat", "-x", "-f", "0").stdout)
    assert (site.directory / "own.out").read_text() == f"{SHOWN}status 3\n"
