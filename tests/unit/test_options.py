"""The rows of job options: what comes of one, and what an error says that it is about."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

import pytest

from scoop_hpc.errors import InputError, JobSpecError, about
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.option import Group, Refused, Takes, option, options
from scoop_hpc.fields.page import tables
from scoop_hpc.fields.spec import OPTIONS, JobSpec, words_of
from scoop_hpc.fields.units import parse_walltime
from scoop_hpc.schedulers.registry import named

SPEC = JobSpec(("pi.py",), "/home/me", "pi", workers=1)
BY_NAME = ("slurm", "pbs", "sge", "local")


@dataclass(frozen=True)
class Toy:
    """Two options, the second one of an earlier group."""

    note: tuple[str, ...] = option((), Group.VERBATIM, "A note.", name="--remark", spool="``-r``")
    wall_time: int | None = option(
        None, Group.RESOURCES, "A time.", read=parse_walltime, most=100, spool=Refused("wait")
    )


def test_a_row_says_all_that_an_option_is() -> None:
    time, note = options(Toy).values()
    assert (time.name, time.parameter, time.takes, time.parse("1:00")) == ("--wall-time", "wall_time", Takes.TEXT, 60)
    assert (note.name, note.field, note.takes, note.parse(("a",))) == ("--remark", "note", Takes.LIST, ("a",))


def test_what_a_scheduler_does_not_speak_of_is_refused() -> None:
    time, note = options(Toy).values()
    assert note.said_to({}) == Refused("leave it out")
    assert note.said_to({"note": "``-n``"}) == "``-n``"
    assert OPTIONS["modules"].said_to({}) == "``module load``"


def test_the_rows_have_words_for_the_schedulers_that_there_are() -> None:
    for each in OPTIONS.values():
        assert set(each.words) <= set(BY_NAME)
        assert bool(each.script) != bool(each.words), "the script says it, or the schedulers have words"
    assert all(named(name).words == words_of(name) for name in BY_NAME)


def test_an_option_that_replaces_or_needs_another_names_one_that_there_is() -> None:
    names = {each.name for each in OPTIONS.values()}
    for each in OPTIONS.values():
        assert {*each.replaces, each.needs or each.name} <= names


def test_the_page_has_a_column_for_a_scheduler_with_words_of_its_own() -> None:
    page = tables({"spool": {"queue": "``-q``"}, "slurm": words_of("slurm")})
    assert "   * - ``--queue``\n     - ``-q``\n     - ``--partition``\n" in page
    assert "   * - ``--qos``\n     - \\-\n     - ``--qos``\n" in page


@pytest.mark.parametrize("scheduler", BY_NAME)
@pytest.mark.parametrize("field", ["after", "after_any", "after_failure"])
def test_an_id_that_is_none_is_of_the_option_that_has_it(scheduler: str, field: str) -> None:
    changes: dict[str, Any] = {field: ("no id",)}
    with pytest.raises(JobSpecError) as caught:
        named(scheduler).check(replace(SPEC, **changes))
    assert caught.value.options == (OPTIONS[field].name,)


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"queue": " "}, ["--queue"]),
        ({"licenses": ("a\n",)}, ["--license"]),
        ({"walltime": 0}, ["--walltime"]),
        ({"nodes": 2**20 + 1}, ["--nodes"]),
        ({"directory": "here"}, ["--chdir"]),
        ({"environment": (("1", ""),)}, ["--env"]),
        ({"mail_user": "me", "mail_events": ("x",)}, ["--mail-events"]),
        ({"mail_events": ("end",)}, ["--mail-events"]),
        ({"output": "{x}"}, ["--output"]),
        ({"error": "e", "array": JobArray(1, 2)}, ["--error", "--array"]),
        ({"error": "{array_index}"}, ["--error"]),
        ({"workers": 2, "nodes": 3}, ["--workers", "--nodes"]),
        ({"workers_per_node": 2}, ["--workers", "--workers-per-node"]),
        ({"memory_per_node": 1, "memory_per_cpu": 1}, ["--memory", "--memory-per-cpu"]),
        ({"conda": "a", "venv": "b"}, ["--conda", "--venv"]),
        ({"signal": 9, "walltime": 8}, ["--signal", "--walltime"]),
        ({"container_runtime": "pyxis"}, ["--container-runtime"]),
        ({"gpu_type": "a100"}, ["--gpus-per-node"]),
        ({"bind": "threads"}, ["--bind"]),
        ({"gpus_per_worker": "0"}, ["--gpus-per-worker"]),
        ({"gpus_per_worker": "some"}, ["--gpus-per-worker"]),
        ({"nice": 20}, ["--nice"]),
        ({"patience": 0.0}, ["--patience"]),
        ({"log_level": "loud"}, ["--log-level"]),
        ({"interface": ""}, ["--interface"]),
        ({"container_options": ("--nv",)}, ["--container-option"]),
    ],
)
def test_a_job_that_cannot_be_names_its_options(changes: dict[str, Any], blamed: list[str]) -> None:
    with pytest.raises(JobSpecError) as caught:
        replace(SPEC, **changes)
    assert list(caught.value.options) == blamed


@pytest.mark.parametrize(
    ("scheduler", "changes", "blamed"),
    [
        ("local", {"memory_per_node": 1}, ["--memory"]),
        ("local", {"nodes": 300, "workers": 300}, ["--nodes"]),
        ("local", {"signal": 3}, ["--signal"]),
        ("sge", {"gpus_per_node": 1, "gpu_type": "a100"}, ["--gpus-per-node"]),
        ("sge", {"output": "a,b"}, ["--output"]),
        ("sge", {"error": "$HOME"}, ["--error"]),
        ("sge", {"array": JobArray(0, 2)}, ["--array"]),
        ("sge", {"after_any": ("7.1",)}, ["--after-any"]),
        ("sge", {"setup": ("#$ -t 1",)}, ["--setup"]),
        ("sge", {"directives": ("-t 1-9",)}, ["--directive"]),
        ("pbs", {"directives": ("-o x",)}, ["--directive"]),
        ("pbs", {"name": "a b"}, ["--name"]),
        ("pbs", {"queue": "a", "reservation": "b"}, ["--reservation", "--queue"]),
        ("pbs", {"nodes": None, "memory_per_node": 1}, ["--memory", "--workers"]),
        ("pbs", {"constraint": "x"}, ["--constraint"]),
        ("slurm", {"directives": ("x",)}, ["--directive"]),
        ("slurm", {"directives": ("--mem-per-gpu=4G",), "memory_per_cpu": 1}, ["--memory-per-cpu", "--directive"]),
        ("slurm", {"error": "a\\b"}, ["--error"]),
    ],
)
def test_a_scheduler_s_refusal_names_its_options(scheduler: str, changes: dict[str, Any], blamed: list[str]) -> None:
    with pytest.raises(JobSpecError) as caught:
        named(scheduler).check(replace(SPEC, **changes))
    assert list(caught.value.options) == blamed


def test_an_error_that_names_its_options_keeps_them() -> None:
    with pytest.raises(InputError) as caught, about("--queue"):
        raise JobSpecError("no", "--nodes")
    assert caught.value.options == ("--nodes",)
    assert pickle.loads(pickle.dumps(caught.value)).options == ("--nodes",)
    assert str(caught.value) == "no"
