"""What is in the archives that others install: made without a network, by the setuptools that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_CODE = {
    "scoop_hpc/py.typed",
    *(f"scoop_hpc/templates/{path.name}" for path in (ROOT / "templates").glob("*.j2")),
    "scoop_hpc/report/page.html.j2",
    *(f"scoop_hpc/web/page/{name}" for name in ("index.html", "live.css", "live.js")),
}
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is installed, the link to the templates as it is, so that nothing is built in this tree."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "scoop_hpc", tree / "scoop_hpc", symlinks=True, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(ROOT / "templates", tree / "templates")
    (tree / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "scoop-hpc.1", tree / "docs")
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


def built(kind: str, tree: Path) -> Path:
    """Return the archive of a *kind* that is made of *tree*."""
    command = [sys.executable, "-c", BUILD, kind, str(tree.parent)]
    done = subprocess.run(command, cwd=tree, check=True, stdout=subprocess.PIPE, text=True, timeout=120)
    return tree.parent / done.stdout.splitlines()[-1]


def sources(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in (tree / "scoop_hpc").rglob("*.py")} | NOT_CODE


def test_wheel_made_of_a_source_archive_has_the_modules_and_the_templates(tree: Path) -> None:
    expected = sources(tree)
    with tarfile.open(built("sdist", tree)) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tree.parent)
        unpacked = tree.parent / archive.getnames()[0]
    assert {path for path in NOT_CODE if (unpacked / path).is_file()} == NOT_CODE
    with zipfile.ZipFile(built("wheel", unpacked)) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (manual,) = files - expected
        assert manual.endswith(".data/data/share/man/man1/scoop-hpc.1")
        assert expected < files
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    assert "\nRequires-Python: >=3.10\n" in metadata
    assert "\nLicense-File: LICENSE\n" in metadata


def test_editable_install_is_a_path_and_no_import_hook(tree: Path) -> None:
    with zipfile.ZipFile(built("editable", tree)) as wheel:
        (name,) = (name for name in wheel.namelist() if ".dist-info/" not in name)
        assert (name.endswith(".pth"), wheel.read(name).decode().strip()) == (True, str(tree))
