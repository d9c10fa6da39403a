"""What the tests of every kind share: the examples, ours and SCOOP's."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
SCOOP = "scoop==0.7.2.0"
# what schedulers tell their jobs, and users tell us
OF_OTHERS = (
    *("SLURM_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SINFO_", "SCANCEL_", "PBS_", "SGE_", "LSB_", "LSF_", "OAR_"),
    *("FLUX_", "COBALT_", "PMI_", "PE_HOSTFILE", "JOB_ID", "JOB_NAME", "NSLOTS", "NHOSTS", "NQUEUES", "SCOOP_HPC_"),
)
OURS = ("SCOOP_HPC_SKIP_CLUSTER",)
# the commands that are looked for on PATH, and a few beside which they never are
COMMANDS = {
    *("sbatch", "squeue", "scancel", "sacct", "srun", "salloc", "scontrol", "sinfo", "sacctmgr"),
    *("qsub", "qstat", "qdel", "qalter", "qhold", "qrls", "qrerun", "qsig", "qselect", "tracejob"),
    *("pbs_tmrsh", "pbsdsh", "pbsnodes", "qrsh", "qconf", "qacct", "qhost"),
    *("bsub", "bjobs", "bkill", "blaunch", "oarsub", "oarstat", "oarsh", "flux", "apptainer", "singularity"),
}


def pytest_configure(config: pytest.Config) -> None:
    """Let examples that hypothesis makes take their time: a machine that is busy is no fault of theirs.

    There are a few each time, and many where HYPOTHESIS_EXAMPLES says so, as in `make fuzz`.
    """
    hypothesis.settings.register_profile(
        "patient",
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "25")),
    )
    hypothesis.settings.load_profile("patient")
    # the tests start a thousand interpreters: without byte code each would compile all that it imports;
    # and each process of pytest would spend seconds on the asserts of all tests, which it writes anew
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.fixture(scope="session", autouse=True)
def hear_ctrl_c() -> Iterator[None]:
    """Undo what a shell does to what it starts in the background: the programs that tests start must hear of SIGINT."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def leave_settings_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what whoever runs the tests has set, or is in the job of, out of the jobs of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OF_OTHERS) and name not in OURS]:
            patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def path_without_schedulers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH without the commands of schedulers: of a directory that has one, links to all others take the place."""
    directories = []
    for entry in filter(os.path.isdir, os.get_exec_path()):
        if COMMANDS.isdisjoint(os.listdir(entry)):
            directories.append(entry)
            continue
        links = tmp_path_factory.mktemp("bin")
        for name in set(os.listdir(entry)) - COMMANDS:
            (links / name).symlink_to(os.path.join(os.path.abspath(entry), name))
        directories.append(str(links))
    return os.pathsep.join(directories)


@pytest.fixture(scope="module", autouse=True)
def hide_schedulers(request: pytest.FixtureRequest, path_without_schedulers: str) -> Iterator[None]:
    """Hide the schedulers of this machine from tests that play one, or want none."""
    with pytest.MonkeyPatch.context() as patch:
        if "cluster" not in request.path.relative_to(ROOT).parts:
            patch.setenv("PATH", path_without_schedulers)
        yield


@pytest.fixture(scope="session")
def examples() -> Path:
    """The directory of our example programs."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def scoop_sources(pytestconfig: pytest.Config) -> Path:
    """The directory of SCOOP's own release, unpacked and unchanged.

    It is SCOOP's (LGPL), so it is fetched and not kept here.
    """
    assert pytestconfig.cache is not None
    directory = pytestconfig.cache.mkdir("scoop")
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _fetch_scoop(directory)


def _fetch_scoop(directory: Path) -> Path:
    if not list(directory.glob("*.tar.gz")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        done = subprocess.run([*pip, f"--dest={directory}", SCOOP], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"cannot download {SCOOP}:\n{done.stderr}"
    (archive,) = directory.glob("*.tar.gz")
    release = archive.name[: -len(".tar.gz")]
    sources = directory / release
    if not sources.exists():  # unpacked once: a program of it may be read by another process's test at any time
        unpacked = directory / "unpacked"  # its rest, where an earlier process was killed here, is written over
        with tarfile.open(archive) as members:
            for member in members.getmembers():
                source = members.extractfile(member) if member.name.endswith(".py") else None
                path = unpacked / member.name
                if source is not None and unpacked / release in path.parents and ".." not in path.parts:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(source.read())
        (unpacked / release).rename(sources)
    return sources


@pytest.fixture(scope="session")
def scoop_examples(scoop_sources: Path) -> Path:
    """The directory of SCOOP's own example programs, unchanged."""
    return scoop_sources / "examples"
