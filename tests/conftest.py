"""What the tests of every kind share: the examples, ours and SCOOP's."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCOOP = "scoop==0.7.2.0"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The directory of our example programs."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def scoop_examples(pytestconfig: pytest.Config) -> Path:
    """The directory of SCOOP's own example programs, with the import changed and nothing else.

    They are SCOOP's (LGPL), so they are fetched from its release and not kept here.
    """
    assert pytestconfig.cache is not None
    directory = pytestconfig.cache.mkdir("scoop")
    if not list(directory.glob("*.tar.gz")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        done = subprocess.run([*pip, f"--dest={directory}", SCOOP], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"cannot download {SCOOP}:\n{done.stderr}"
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        for member in members.getmembers():
            source = members.extractfile(member) if member.name.endswith(".py") else None
            if source is not None and Path(member.name).parent.name == "examples":
                text = source.read().decode().replace("from scoop import futures", "from scoop_hpc import futures")
                (directory / Path(member.name).name).write_text(text)
    return directory
