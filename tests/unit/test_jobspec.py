"""What may be asked for: walltimes, memory, and the fields of a JobSpec."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.errors import JobSpecError
from scoop_hpc.fields.spec import JobSpec, output_path
from scoop_hpc.fields.units import format_memory, format_walltime, parse_memory, parse_walltime
from scoop_hpc.schedulers.job_state import JobState

SPEC = JobSpec(("pi.py",), "/home/me", "pi")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("90:00", 5400),
        ("1:30:00", 5400),
        ("100:00:01", 360001),
        ("1-12", 129600),
        ("1-2:30", 95400),
        ("1-02:30:05", 95405),
        ("0-1", 3600),
        ("90s", 90),
        ("45m", 2700),
        ("2h", 7200),
        ("1d", 86400),
    ],
)
def test_walltimes_are_read_as_slurm_reads_them(text: str, seconds: int) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 90",
        "90 ",
        "1.5h",
        "2h30m",
        "1:2:3:4",
        "-5",
        "1-",
        "-1:00",
        "1:",
        ":30",
        "UNLIMITED",
        "9w",
        "1e3",
        "\u0669",
    ],
)
def test_no_walltime(text: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        parse_walltime(text)
    assert repr(text) in str(caught.value)
    assert "H:MM:SS" in str(caught.value)


@pytest.mark.parametrize("text", ["1:60:00", "1:00:60", "5:99", "1-24", "1-2:60"])
def test_a_part_that_is_a_whole_of_the_next_is_refused(text: str) -> None:
    with pytest.raises(JobSpecError, match=r"too large.*carry it over"):
        parse_walltime(text)


@pytest.mark.parametrize("text", ["0", "0:00:00", "0-0", "0s"])
def test_no_time_at_all_is_refused(text: str) -> None:
    with pytest.raises(JobSpecError, match=f"walltime must be positive, got {text!r}"):
        parse_walltime(text)


def test_what_is_no_time_is_called_by_its_name() -> None:
    for text in ("x", "0", "1:60"):
        with pytest.raises(JobSpecError, match="time of --signal"):
            parse_walltime(text, "time of --signal")


@given(st.integers(1, 10**9))
def test_a_walltime_written_is_read_back(seconds: int) -> None:
    assert parse_walltime(format_walltime(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1K", 2**10), ("512M", 2**29), ("8G", 2**33), ("8g", 2**33), ("8GB", 2**33), ("8GiB", 2**33), ("2T", 2**41)],
)
def test_memory_is_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "8", "1.5G", "-1G", "8 G", "8P", "G", "8Gi", "0x8G", "0G"])
def test_no_memory(text: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        parse_memory(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("size", "text"), [(1, "1M"), (2**20, "1M"), (2**20 + 1, "2M"), (2**33, "8192M")])
def test_memory_is_written_in_whole_mib_rounded_up(size: int, text: str) -> None:
    assert format_memory(size) == text


def test_whatever_is_one_line_is_a_name() -> None:
    for name in ("a b", 'it\'s "#1" $HOME \\ % `id`', "-dash", "\u6f22\u5b57 \U0001f600", "{job_id}"):
        assert replace(SPEC, name=name).name == name


def test_a_run_cannot_begin_with_more_nodes_than_it_has() -> None:
    assert replace(SPEC, nodes=4, min_nodes=4).min_nodes == 4
    with pytest.raises(JobSpecError, match="--min-nodes 5 is more than --nodes 4: give at most that"):
        replace(SPEC, nodes=4, min_nodes=5)


def test_what_becomes_of_a_run_without_a_node_is_one_of_two() -> None:
    with pytest.raises(JobSpecError, match="--on-node-loss 'stop' is unknown: choose of continue, fail"):
        replace(SPEC, on_node_loss="stop")


@pytest.mark.parametrize(
    "field",
    ["nodes", "workers_per_node", "cpus_per_worker", "walltime", "memory_per_node", "min_nodes", "grace"],
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_count_that_is_not_positive_is_refused(field: str, value: int) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(JobSpecError, match=f"{field.replace('_', ' ')} is {value}: give a positive number"):
        replace(SPEC, **changes)


@pytest.mark.parametrize("field", ["name", "directory", "queue", "account", "output"])
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\udcff"])
def test_a_field_that_would_not_stay_one_line_is_refused(field: str, character: str) -> None:
    changes: dict[str, Any] = {field: f"/a{character}b"}
    with pytest.raises(JobSpecError) as caught:
        replace(SPEC, **changes)
    assert repr(f"/a{character}b") in str(caught.value)
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["name", "queue", "account", "output"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_field_is_refused(field: str, value: str) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(JobSpecError, match=f"the {field} '{value}' is empty"):
        replace(SPEC, **changes)


def test_a_directive_cannot_bring_a_second_line() -> None:
    with pytest.raises(JobSpecError, match="directive"):
        replace(SPEC, directives=("--qos=a", "--qos=b\n#SBATCH --array=1-9"))


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(JobSpecError, match="'here' is relative"):
        replace(SPEC, directory="here")


@pytest.mark.parametrize("program", [(), ("",)])
def test_a_job_without_a_program_is_refused(program: tuple[str, ...]) -> None:
    with pytest.raises(JobSpecError, match="no program"):
        replace(SPEC, program=program)


def test_an_argument_may_be_anything_but_hold_a_nul() -> None:
    assert replace(SPEC, program=("pi.py", "a\nb\r\x1b", "\udcff", "")).program[1] == "a\nb\r\x1b"
    with pytest.raises(JobSpecError, match=r"'a\\x00b'"):
        replace(SPEC, program=("pi.py", "a\0b"))


def test_the_output_is_in_the_directory_unless_it_is_absolute() -> None:
    assert output_path(SPEC, "7") == "/home/me/scoop-7.out"
    assert output_path(replace(SPEC, output="log/{job_id}-100%.txt"), "7") == "/home/me/log/7-100%.txt"
    assert output_path(replace(SPEC, output="/scratch/x"), "7") == "/scratch/x"
    assert output_path(replace(SPEC, directory="/a/{job_id}"), "7") == "/a/{job_id}/scoop-7.out"


def test_a_job_that_nobody_knows_has_not_ended() -> None:
    assert [state for state in JobState if not state.ended] == [
        JobState.PENDING,
        JobState.RUNNING,
        JobState.SUSPENDED,
        JobState.UNKNOWN,
    ]
