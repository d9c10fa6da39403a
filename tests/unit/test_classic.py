"""SCOOP's flags, read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scoop_hpc.cli import worker_options
from scoop_hpc.cli.hostfile import Host, read_hostfile
from scoop_hpc.cli.scoop_flags import USAGE, Asked, Surroundings, read_flags
from scoop_hpc.cli.worker_options import WorkerOptions
from scoop_hpc.errors import HostlistError, InputError

FILES = {
    "hosts": "localhost 2\nhere slots=3 max_slots=8\n",
    "cores": "here\n",
    "far": "n1 4\n",
    "nodes": "n[1-2] 4\n",
    "names": "n1\nn2\n",
}


def read(*words: str, in_job: bool = False) -> Asked:
    """Read *words* on a machine called here, with 8 CPUs, perhaps in a job."""
    around = Surroundings(
        cpus=8,
        in_job=in_job,
        is_here={"localhost", "here"}.__contains__,
        is_file={"program"}.__contains__,
        read=lambda path, ssh: FILES[path],
    )
    return read_flags(words, around)


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ("p.py", ["--", "p.py"]),
        ("p.py -n 3 --tunnel --", ["--", "p.py", "-n", "3", "--tunnel", "--"]),
        ("-n 4 p.py a", ["--workers=4", "--", "p.py", "a"]),
        ("-n4 p.py", ["--workers=4", "--", "p.py"]),
        ("-n 4 -- -odd.py --host", ["--workers=4", "--", "-odd.py", "--host"]),
        ("--nice 5 p.py", ["--nice=5", "--", "p.py"]),
        ("--nice=-5 p.py", ["--nice=-5", "--", "p.py"]),
        ("-v p.py -v", ["--log-level=debug", "--", "p.py", "-v"]),
        ("-vv p.py", ["--log-level=debug", "--", "p.py"]),
        ("--verb p.py", ["--log-level=debug", "--", "p.py"]),
        ("-q p.py", ["--log-level=warning", "--", "p.py"]),
        ("-vq p.py", ["--log-level=warning", "--", "p.py"]),
        ("--log l.txt p.py", ["--log-file=l.txt", "--", "p.py"]),
        ("--profile p.py", ["--profile", "--", "p.py"]),
        ("-b 1 --backend ZMQ p.py", ["--", "p.py"]),
        ("--host here p.py", ["--workers=1", "--", "p.py"]),
        ("--host here localhost here p.py x", ["--workers=3", "--", "p.py", "x"]),
        ("--hosts here here program x", ["--workers=2", "--", "program", "x"]),
        ("--host here here -n 5 p.py --host", ["--workers=5", "--", "p.py", "--host"]),
        ("--host here here -- odd x", ["--workers=2", "--", "odd", "x"]),
        ("--host here -- odd x", ["--workers=1", "--", "odd", "x"]),
        ("--hostfile hosts p.py", ["--workers=5", "--", "p.py"]),
        ("--hostfile cores p.py", ["--workers=8", "--", "p.py"]),
        ("--hostfile hosts -n 3 p.py", ["--workers=3", "--", "p.py"]),
        ("--launcher ssh --host n1 n2 n1 p.py", ["--launcher=ssh", "--hosts=n1:1,n2:1,n1:1", "--", "p.py"]),
        ("--launcher ssh --host n1 n2 -n 5 p.py", ["--launcher=ssh", "--hosts=n1:1,n2:1", "--workers=5", "--", "p.py"]),
        ("--launcher ssh --hostfile far p.py", ["--launcher=ssh", "--hosts=n1:4", "--", "p.py"]),
        ("--launcher ssh --hostfile names p.py", ["--launcher=ssh", "--hosts=n1,n2", "--", "p.py"]),
    ],
)
def test_flags_become_options_of_run(words: str, run: list[str]) -> None:
    assert list(read(*words.split()).run) == run


def test_what_is_done_before_the_run() -> None:
    words = "-p d --pythonpath lib --prolog p.sh --python-interpreter py p.py"
    assert read(*words.split()) == Asked(("--", "p.py"), "d", "lib", "p.sh", "py")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "which PROGRAM?"),
        ("-n 3", "which PROGRAM?"),
        ("--host here there p.py", "cannot start workers on there: add --launcher ssh"),
        ("--hostfile far p.py", "cannot start workers on n1: add --launcher ssh"),
        ("--host here --hostfile hosts p.py", "exclude each other"),
        ("--tunnel p.py", "--tunnel is not for here: no ssh"),
        ("--rsh p.py", "--rsh is not for here: no rsh"),
        ("--ssh-executable ssh p.py", "--ssh-executable is not for here"),
        ("--external-hostname me p.py", "--external-hostname is not for here: .* --interface"),
        ("--broker-hostname me p.py", "--broker-hostname is not for here: .* --interface"),
        ("--launcher srun p.py", "--launcher srun is not for here: .* `scoop-hpc run --launcher`"),
        ("--debug p.py", "--debug is not for here: .* -v"),
        ("-b 2 p.py", "-b 2 is not for here"),
        ("--backend TCP p.py", "--backend TCP is not for here"),
        ("--nonsense p.py", "--nonsense not recognized"),
        ("--h p.py", "--h not a unique prefix"),
        ("-n", "-n requires argument"),
    ],
)
def test_what_cannot_be_had_is_refused(words: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(*words.split())


def test_help_is_no_run() -> None:
    assert read("-n", "4", "--help") == Asked()
    assert all(f" {flag}" in USAGE for flag in ("-n", "--host", "--hostfile", "--nice", "--prolog", "--profile"))


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ("p.py", ["--", "p.py"]),
        ("--host n1 n2.example n1 p.py", ["--hosts=n1:1,n2.example:1,n1:1", "--", "p.py"]),
        ("--hostfile nodes p.py", ["--hosts=n1:4,n2:4", "--", "p.py"]),
        ("--hostfile names -n 3 p.py", ["--hosts=n1,n2", "--workers=3", "--", "p.py"]),
        ("--hostfile hosts p.py", ["--hosts=localhost:2,here:3", "--", "p.py"]),
        ("--launcher ssh --host n1 n2 p.py", ["--launcher=ssh", "--hosts=n1:1,n2:1", "--", "p.py"]),
    ],
)
def test_hosts_in_a_job_are_left_to_run(words: str, run: list[str]) -> None:
    assert list(read(*words.split(), in_job=True).run) == run


def test_what_the_page_for_scoops_job_scripts_says_is_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "from-scoop.rst").read_text()
    lines = re.findall(r"^    python -m scoop_hpc (.*?) *#", page, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        assert (
            read(*shlex.split(line.replace('"$PBS_NODEFILE"', "hosts")), in_job="ssh" not in line).run[-1] == "prog.py"
        )


def test_hostfile_as_others_write_it() -> None:
    assert read_hostfile("a 4\n\n# all\nb=2\nc slots=3 # fast\nd\n") == [
        Host("a", 4),
        Host("b", 2),
        Host("c", 3),
        Host("d", None),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "a four\n", "a 0\n"])
def test_hostfile_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write"):
        read_hostfile(text)


def test_nodelist_that_is_none_is_refused() -> None:
    with pytest.raises(HostlistError):
        read_hostfile("n[1- 4\n")


def test_habits_survive_the_environment() -> None:
    wanted = WorkerOptions(nice=3, log_level="debug", log_file="/caf\u00e9\udcff", profile="/p")
    assert worker_options.decode(worker_options.encode(wanted)) == wanted
    assert worker_options.decode("") == WorkerOptions()
