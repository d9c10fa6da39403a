"""`scoop-hpc hosts`: the formats that others read, hosts from lists and files, and two schedulers at once."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.cli.hostfile import MAX_WORKERS, Host, read_hostfile, read_hosts
from scoop_hpc.cli.hosts import FORMATS, hosts
from scoop_hpc.cpus import cpu_numbers
from scoop_hpc.errors import InputError
from scoop_hpc.schedulers.allocation import Allocation, Node

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[08-10]", "SLURM_TASKS_PER_NODE": "2(x2),1"}
PBS = {"PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": "12.server"}
Print = Callable[..., str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Print:
    """Return what `scoop-hpc hosts WORDS` prints in an environment, and after that what it says on stderr."""

    def run(*words: str, environ: dict[str, str] = JOB) -> str:
        monkeypatch.setattr(os, "environ", environ)
        hosts.main(list(words), standalone_mode=False)
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("hostfile", ["n08 2", "n09 2", "n10 1"]),
        ("slots", ["n08", "n08", "n09", "n09", "n10"]),
        ("mpich", ["n08:2", "n09:2", "n10:1"]),
        ("openmpi", ["n08 slots=2", "n09 slots=2", "n10 slots=1"]),
        ("nodelist", ["n[08-10]"]),
    ],
)
def test_each_format_is_its_reader_s(printed: Print, form: str, lines: list[str]) -> None:
    assert printed("--format", form).splitlines() == lines


def test_a_hostfile_is_printed_where_nothing_is_asked(printed: Print) -> None:
    assert printed() == printed("--format=hostfile")


def test_json_has_all_that_is_known(printed: Print) -> None:
    text = printed("--json")
    assert text == printed("--format", "json") == printed("--json", "--format", "json")
    assert json.loads(text) == {
        "scheduler": "slurm",
        "nodes": [{"name": name, "slots": n, "cpus": n} for name, n in (("n08", 2), ("n09", 2), ("n10", 1))],
        "job_id": "7",
        "cpus_per_worker": 1,
        "array_index": None,
        "beside": [],
    }


def test_json_says_what_the_workers_here_would_get(printed: Print) -> None:
    here = socket.gethostname()
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": f"{here},other", "SLURM_TASKS_PER_NODE": "1(x2)"}
    text = printed("--json", "--bind", "sockets", environ={**job, "CUDA_VISIBLE_DEVICES": "2,3"})
    own, other = json.loads(text)["nodes"]
    (worker,) = own["workers"]
    assert (worker["local_rank"], worker["gpus"]) == (0, ["2", "3"])
    assert set(worker["cpus"]) <= set(cpu_numbers())
    assert "workers" not in other
    assert json.loads(printed("--json", "--hosts", here))["nodes"] == [{"name": here, "slots": 1, "cpus": 1}]


@pytest.mark.parametrize("words", [["--format", "slots"], ["--json", "--hosts", "n1"]])
def test_binding_is_refused_where_nothing_is_said_of_workers(printed: Print, words: list[str]) -> None:
    with pytest.raises(InputError, match="--bind cores: only --format json tells of workers"):
        printed(*words, "--bind", "cores")


def test_a_list_takes_the_place_of_the_job(printed: Print) -> None:
    assert printed("--hosts", "b,a:4,n[1-2]:3,b:2") == "b 3\na 4\nn1 3\nn2 3\n"
    assert printed("--hosts", "b", environ={}) == "b 1\n"


def test_a_hostfile_takes_the_place_of_the_job(printed: Print, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# ours\nb 4\nn[1-2] slots=3 max_slots=8\na:2\nb\n")
    assert printed("--hostfile", str(tmp_path / "hosts")) == "b 5\nn1 3\nn2 3\na 2\n"


@given(st.dictionaries(st.sampled_from(["a", "n1", "n2", "n10", "x.site"]), st.integers(1, 4), min_size=1))
def test_what_is_printed_is_read_again(slots: dict[str, int]) -> None:
    nodes = tuple(Node(name, n, n) for name, n in slots.items())
    for form in ("hostfile", "slots", "mpich", "openmpi"):
        read = read_hostfile("\n".join(FORMATS[form](Allocation("", nodes))))
        assert {name: sum(host.workers or 1 for host in read if host.name == name) for name in slots} == slots
        assert list(dict.fromkeys(host.name for host in read)) == list(slots)
    (nodelist,) = FORMATS["nodelist"](Allocation("", nodes))
    assert [host.name for host in read_hosts(nodelist)] == [node.name for node in nodes]


def test_an_address_with_colons_is_a_host() -> None:
    assert read_hosts("fe80::1,::1") == [Host("fe80::1", None), Host("::1", None)]
    assert read_hostfile("fe80::1 4\n") == [Host("fe80::1", 4)]


@pytest.mark.parametrize("text", ["", ",", "a:", ":4", "a:0", "a:four", "a:65537", "a:99999999999999999999", "a[1-"])
def test_a_list_that_is_none_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_hosts(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "workers"),
    [
        ("n1 max_slots=8 slots=2", 2),
        ("n1 slots=2 max_slots=8", 2),
        ("n1 max-slots=8", None),
        ("n1 slots-max = 8 slots = 2", 2),
        ("n1 cpu=8", 8),
        ("n1 count=3 port=22 username=me7", 3),
        ("n1 port=2222", None),
        ("n1 sockets=2 cores=4 slots=8", 8),
        ("n1:4 ifname=ib0", 4),
        ("n1:4 binding=cpu:2", 4),
        ("n1 user=me2", None),
        ("n1 4 all.q@n1 UNDEFINED", 4),
        ("n1 4 all.q@n1 0,0:0,1", 4),
        ("n1 slots=4 # of max_slots=8", 4),
        ("n1 slots=4 cpu=4", 4),
        ("\ufeffn1 slots=4", 4),
    ],
)
def test_each_mpi_s_words_mean_what_they_do_there(line: str, workers: int | None) -> None:
    assert read_hostfile(f"{line}\n") == [Host("n1", workers)]


@pytest.mark.parametrize("line", ["a slots=2 slots=x", "a slots", "a foo=3", "a slots=2 cpu=3", "a max_slots", "a b 4"])
def test_a_word_that_no_mpi_has_is_refused_and_shown(line: str) -> None:
    with pytest.raises(InputError) as caught:
        read_hostfile(f"{line}\n")
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize("line", ["a four", "a 0", "a:0", "a: 4", "a 65537", "a slots=99999999999999999999", "n[1- 4"])
def test_a_line_of_a_hostfile_that_is_wrong_is_told_with_its_number(line: str) -> None:
    with pytest.raises(InputError) as caught:
        read_hostfile(f"a 4\n\n{line}\n")
    assert line.split()[0] in str(caught.value)
    assert "3 of the hostfile" in str(caught.value)


def test_as_many_workers_as_any_host_has() -> None:
    assert read_hosts(f"a:{MAX_WORKERS}") == [Host("a", MAX_WORKERS)]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--hosts", "a", "--hostfile", "x"], "exclude each other"),
        (["--hosts", "a", "--allocation", "slurm"], "exclude each other"),
        (["--json", "--format", "mpich"], "--json and --format mpich exclude each other"),
        (["--hostfile", "/no/such/file"], "cannot read the hostfile '/no/such/file': No such file"),
        (["--allocation", "pbs"], "not in a job of 'pbs'"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(printed: Print, words: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        printed(*words)


def test_outside_a_job_other_hosts_can_be_named(printed: Print) -> None:
    with pytest.raises(InputError, match="not in a job: no variables of local, .* or oar .* --hosts LIST"):
        printed(environ={})


def test_in_two_schedulers_jobs_at_once_a_line_says_which_was_taken(printed: Print, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("p1\np2\n")
    both = {**JOB, **PBS, "PBS_NODEFILE": str(tmp_path / "nodes")}
    assert printed("--format=nodelist", environ=both) == (
        "n[08-10]\n"
        "scoop-hpc: warning: in jobs of slurm and pbs at once: the nodes are those of slurm; "
        "--allocation pbs chooses others\n"
    )
    assert printed("--format=nodelist", "--allocation=pbs", environ=both) == "p[1-2]\n"
    assert printed("--format=nodelist", "--allocation=slurm", environ=both) == "n[08-10]\n"
