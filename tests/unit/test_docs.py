"""The pages for people say what is so: the modules they name, the layers they draw, the pages they link."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOR_DEVELOPERS = [ROOT / "CONTRIBUTING.rst", ROOT / "docs" / "architecture.rst"]
PAGES = [*sorted(ROOT.glob("*.rst")), *sorted(ROOT.glob("docs/*.rst")), ROOT / "benchmarks" / "README.rst"]

_LITERAL = re.compile(r"``([\w.-]+/[\w./-]*)``")
_LINK = re.compile(r"<([^<>:#\s]+)(?:#[\w-]+)?>`_")


def links(page: Path) -> set[Path]:
    """Return the files and directories that *page* links."""
    return {(page.parent / target).resolve() for target in _LINK.findall(page.read_text())}


def places(path: str) -> list[Path]:
    """Return where a *path* of a page may lead, to a module for one."""
    return [root / f"{path}{suffix}" for root in (ROOT, ROOT / "scoop_hpc") for suffix in ("", ".py")]


@pytest.mark.parametrize("page", FOR_DEVELOPERS, ids=lambda page: page.name)
def test_paths_that_developers_are_told_exist(page: Path) -> None:
    paths = _LITERAL.findall(page.read_text())
    assert len(paths) > 10
    assert [path for path in paths if not any(place.exists() for place in places(path))] == []


def contract(name: str, key: str) -> list[str]:
    """Return the lines that setup.cfg has for a contract of the linter."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup[f"importlinter:contract:{name}"][key].split("\n")[1:]


def test_state_machines_that_the_linter_keeps_from_the_clock_are_in_the_table() -> None:
    modules = [module.removeprefix("scoop_hpc.").replace(".", "/") for module in contract("clock", "source_modules")]
    text = (ROOT / "docs" / "architecture.rst").read_text()
    assert [module for module in modules if f"``{module}``" not in text] == []


def test_the_layers_are_drawn_as_the_linter_holds_them() -> None:
    text = (ROOT / "docs" / "architecture.rst").read_text()
    picture = text[text.index("Rooms and layers") :].split("::\n\n", 1)[1].split("\n\n", 1)[0]
    assert [re.split(" {2,}", line.strip())[0] for line in picture.split("\n")] == contract("layers", "layers")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_pages_lead_somewhere(page: Path) -> None:
    assert [str(path) for path in links(page) if not path.exists()] == []


def test_every_page_is_linked_by_the_index_and_the_index_by_the_readme() -> None:
    index = ROOT / "docs" / "index.rst"
    assert set(PAGES) - links(index) == {index}
    assert index in links(ROOT / "README.rst")
