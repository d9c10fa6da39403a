"""The mpiexec that starts agents: found beside the MPI that mpi4py has loaded, and told what its kind needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from scoop_hpc.cli.mpi.mpiexec import of_library, read_command
from scoop_hpc.errors import InputError
from scoop_hpc.launchers.mpi import INTEL, MPICH, OPEN_MPI, Dialect, Mpiexec, MpiLauncher
from scoop_hpc.mpi.report import Report

# what --version of each printed first: MPICH 5.0.2, Intel 2021.18.1, Open MPI 5.0.11 and 4.1.4
SAID = {
    "mpich": "HYDRA build details:\n    Version:                                 5.0.2\n",
    "intel": "Intel(R) MPI Library for Linux* OS, Version 2021.18.1 Build 20260626 (id: b44796a)\n",
    "openmpi": "mpiexec (Open MPI) 5.0.11\n",
    "openmpi4": "mpiexec.openmpi (OpenRTE) 4.1.4\n",
    "prun": "prun (PRRTE) 3.0.13\n",
}
NODES = ["n1", "n2"]
AGENT = ["/bin/sh", "-c", "agent"]


def installed(**programs: str) -> tuple[Callable[[Sequence[str]], str], Callable[[str], bool]]:
    """Return what a machine answers that has *programs*, each a path with ``__`` for ``/``, of that kind."""
    kinds = {path.replace("__", "/"): kind for path, kind in programs.items()}
    return lambda argv: SAID[kinds[argv[0]]], kinds.__contains__


@pytest.mark.parametrize(
    ("dialect", "flags"),
    [
        (MPICH, ["-n", "2", "-ppn", "1", "-bind-to", "none"]),
        (INTEL, ["-n", "2", "-ppn", "1"]),
        (OPEN_MPI, ["-n", "2", "--map-by", "ppr:1:node:OVERSUBSCRIBE", "--bind-to", "none"]),
    ],
)
def test_one_agent_on_each_node_unbound(dialect: Dialect, flags: list[str]) -> None:
    (command,) = MpiLauncher(Mpiexec(("mpiexec",), dialect), NODES).commands(AGENT, NODES, {"A": "1"})
    assert list(command.argv) == ["mpiexec", *flags, *AGENT, "--node-of-host"]
    assert (command.nodes, command.environ) == (("n1", "n2"), {"A": "1", **dialect.environ})


@pytest.mark.parametrize(("dialect", "flag"), [(MPICH, "-hosts"), (INTEL, "-hosts"), (OPEN_MPI, "--host")])
def test_a_part_of_the_job_is_named(dialect: Dialect, flag: str) -> None:
    (command,) = MpiLauncher(Mpiexec(("mpiexec",), dialect), [*NODES, "n3"]).commands(AGENT, NODES, {})
    index = command.argv.index(flag)
    assert command.argv[index + 1] == "n1,n2"


@pytest.mark.parametrize(("dialect", "named"), [(MPICH, False), (INTEL, False), (OPEN_MPI, True)])
def test_who_may_not_find_grid_engines_nodes_is_told_them(dialect: Dialect, named: bool) -> None:
    (command,) = MpiLauncher(Mpiexec(("mpiexec",), dialect), NODES).commands(AGENT, NODES, {"PE_HOSTFILE": "/f"})
    assert ("n1,n2" in command.argv) == named


def test_open_mpi_may_be_run_by_root() -> None:
    assert OPEN_MPI.environ["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


def test_a_whole_command_is_taken_as_it_is() -> None:
    mpiexec = read_command("aprun -n {nodes} -N 1 -cc none -L {hosts}", lambda argv: "")
    (command,) = MpiLauncher(mpiexec, NODES).commands(AGENT, NODES, {})
    assert command.argv[:8] == ("aprun", "-n", "2", "-N", "1", "-cc", "none", "-L")
    assert command.argv[8] == "n1,n2"


def test_a_command_of_a_known_kind_gets_its_flags() -> None:
    assert read_command("sh -x", lambda argv: SAID["openmpi4"]) == Mpiexec(("sh", "-x"), OPEN_MPI)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -n 4", "none of Intel MPI, MPICH, Open MPI: write the whole command, with {nodes}"),
        ("no-such-mpiexec", "there is no 'no-such-mpiexec' here"),
        ("mpiexec 'open", "No closing quotation"),
        (" ", "is empty"),
    ],
)
def test_a_command_that_cannot_be_used_is_refused(command: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_command(command, lambda argv: SAID["prun"])


@pytest.mark.parametrize(
    ("version", "path", "program", "kind", "dialect"),
    [
        ("MPICH Version:      5.0.2", "/venv/lib/libmpi.so.12", "/venv/bin/mpiexec", "mpich", MPICH),
        ("Open MPI v5.0.11, package", "/venv/lib/libmpi.so.40", "/venv/bin/mpiexec", "openmpi", OPEN_MPI),
        ("Intel(R) MPI Library 2021.18.1", "/mpi/lib/release/libmpi.so", "/mpi/bin/mpiexec", "intel", INTEL),
        (
            "Open MPI v4.1.4, package",
            "/usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40",
            "/usr/bin/mpiexec.openmpi",
            "openmpi4",
            OPEN_MPI,
        ),
        ("MPICH Version:      4.0.2", "/usr/lib/x86_64-linux-gnu/libmpich.so.12", "/usr/bin/mpiexec", "mpich", MPICH),
    ],
)
def test_the_mpiexec_beside_the_library(version: str, path: str, program: str, kind: str, dialect: Dialect) -> None:
    ask, is_program = installed(**{program.replace("/", "__"): kind})
    assert of_library(Report(version, path), ask, is_program, ()) == Mpiexec((program,), dialect)


def test_an_mpiexec_of_another_mpi_is_passed_over() -> None:
    ask, is_program = installed(__usr__bin__mpiexec="mpich", __opt__bin__mpiexec="openmpi")
    report = Report("Open MPI v5.0.11, package", "/usr/lib/libmpi.so.40")
    assert of_library(report, ask, is_program, ["/opt/bin"]) == Mpiexec(("/opt/bin/mpiexec",), OPEN_MPI)


def test_an_mpi_without_its_mpiexec_says_so() -> None:
    ask, is_program = installed(__usr__bin__mpiexec="mpich")
    report = Report("Open MPI v5.0.11, package", "/usr/lib/libmpi.so.40")
    with pytest.raises(InputError, match="Open MPI 5.0.11 .*no mpiexec beside it or on PATH: name it by --mpiexec"):
        of_library(report, ask, is_program, ["/bin"])
