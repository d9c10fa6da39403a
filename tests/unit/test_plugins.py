"""Schedulers of other packages: which are taken, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pytest

from scoop_hpc.errors import JobSpecError
from scoop_hpc.schedulers.allocation import Allocation
from scoop_hpc.schedulers.answers import Completed, Heard, JobKey, JobStatus, unheard
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.known import GROUP, Known, is_announced
from scoop_hpc.schedulers.plugins import READ_HERE, SUBMITTED_HERE, load
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.readers import READERS
from scoop_hpc.schedulers.registry import SCHEDULERS

PACKAGE = Path(__file__).parents[1] / "plugin_scheduler"
GUIDE = Path(__file__).parents[2] / "docs" / "add-a-scheduler.rst"


class ToyReader(Reader):
    name = "toy"
    title = "Toy"
    needed = (("TOY_JOB",),)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        return Allocation("toy", ())


class Toy(Scheduler):
    name = "toy"
    reader: ClassVar[Reader | None] = ToyReader()
    commands: ClassVar[tuple[str, ...]] = ("toy",)
    words = MappingProxyType({"name": "``-N``"})

    def submit_argv(self, script: str) -> list[str]:
        return ["toy", script]

    def parse_job_id(self, done: Completed) -> str:
        return done.stdout.strip()

    def key(self, job_id: str) -> JobKey:
        if not job_id.isdecimal():
            raise JobSpecError(f"{job_id!r} is no job id of Toy: write a number")
        return JobKey(job_id)

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        return [["toy", "status", *self.checked(job_ids)]]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        return []

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["toy", "cancel", *self.checked(job_ids)]


class Other(Toy):
    name = "other"


class Deaf(Toy):
    reader = None


class Nameless(Toy):
    commands = ()


class Lsf(Toy):
    name = "lsf"
    reader = None


class LsfWithReader(Toy):
    name = "lsf"


class Unfinished(Scheduler):
    name = "toy"


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    made: object

    def load(self) -> object:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


def loaded(*points: Point) -> tuple[list[str], list[str]]:
    """Return the names of the schedulers that are taken, and what is said of the others."""
    said: list[str] = []
    found = load([(f"package{number}", point) for number, point in enumerate(points)], said.append)
    return list(found), said


def test_a_scheduler_of_another_package_is_taken() -> None:
    assert loaded(Point("toy", Toy)) == (["toy"], [])


def test_a_scheduler_whose_environment_is_read_here_needs_no_reader() -> None:
    assert loaded(Point("lsf", Lsf)) == (["lsf"], [])


@pytest.mark.parametrize(
    ("point", "why"),
    [
        (Point("toy", ModuleNotFoundError("No module named 'x'")), "ModuleNotFoundError: No module named 'x'"),
        (Point("toy", 7), "TypeError: 7 is no subclass of scoop_hpc.schedulers.base.Scheduler"),
        (Point("toy", ToyReader), "is no subclass of"),
        (Point("toy", Unfinished), "TypeError: Can't instantiate abstract class Unfinished"),
        (Point("toy", Other), "ValueError: it calls itself 'other': give the entry point that name"),
        (Point("other", Other), "ValueError: its reader calls itself 'toy': give it the scheduler's name"),
        (Point("toy", Nameless), "ValueError: Nameless says nothing of commands"),
        (Point("toy", Deaf), "ValueError: it has no reader of its jobs' environment"),
        (Point("lsf", LsfWithReader), "ValueError: scoop_hpc reads the environment of its jobs itself"),
        (Point("slurm", Toy), "scoop_hpc has one of that name itself"),
    ],
)
def test_what_is_unfit_is_left_out_with_the_reason_and_the_others_are_taken(point: Point, why: str) -> None:
    names, (said,) = loaded(point, Point("toy" if point.name != "toy" else "lsf", Toy if point.name != "toy" else Lsf))
    assert said.startswith(f"the package 'package0' brings a scheduler {point.name!r}, which is left out: ")
    assert why in said
    assert "\n" not in said
    assert len(names) == 1


def test_of_two_packages_with_one_name_the_first_counts() -> None:
    names, (said,) = loaded(Point("toy", Toy), Point("toy", Toy))
    assert names == ["toy"]
    assert said.startswith(
        "the package 'package1' brings a scheduler 'toy', which is left out: so does another package"
    )


def test_others_are_not_looked_for_where_ours_is_asked_for() -> None:
    asked: list[str] = []

    def theirs() -> dict[str, int]:
        asked.append("")
        return {"toy": 2}

    known = Known({"slurm": 1}, theirs)
    assert (known["slurm"], "slurm" in known, asked) == (1, True, [])
    assert (list(known), known["toy"], len(known), "x" in known) == (["slurm", "toy"], 2, 2, False)


def test_the_names_that_are_taken_are_those_that_scoop_hpc_has() -> None:
    assert set(SCHEDULERS) == SUBMITTED_HERE
    assert set(READERS) == SUBMITTED_HERE | READ_HERE


def test_each_scheduler_of_ours_has_the_reader_of_its_name() -> None:
    for name, scheduler in SCHEDULERS.items():
        assert type(scheduler.reader) is type(READERS[name])


def test_a_package_with_the_entry_point_is_seen(tmp_path: Path) -> None:
    for info in ("a-1.dist-info", "b-1.egg-info", "c-1.dist-info"):
        (tmp_path / "packages" / info).mkdir(parents=True)
    path = [str(tmp_path / "none"), str(tmp_path / "packages")]
    assert not is_announced(path)
    (tmp_path / "packages" / "a-1.dist-info" / "entry_points.txt").write_text("[console_scripts]\na = a:main\n")
    assert not is_announced(path)
    (tmp_path / "packages" / "b-1.egg-info" / "entry_points.txt").write_text(f"[{GROUP}]\nb = b:B\n")
    assert is_announced(path)
    (tmp_path / "zipped").write_text("")
    assert is_announced([str(tmp_path / "zipped")])


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.suffix in (".toml", ".py", ".j2"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_guide_shows_the_package_as_it_is(file: Path) -> None:
    lines = (PACKAGE / file).read_text().splitlines()
    shown = "\n".join(f"    {line}" if line else "" for line in lines)
    assert f"``{file}``" in GUIDE.read_text()
    assert shown in GUIDE.read_text()
