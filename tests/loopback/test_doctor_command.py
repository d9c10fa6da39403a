"""scoop-hpc doctor and completion, as processes: without a scheduler, with one that is broken, by a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.doctor.job.listener import listen, measure


class Site:
    """A directory of its own for state and programs, and a PATH with nothing but Python."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        (directory / "bin").mkdir()
        self.environ = {
            **os.environ,
            "PATH": str(directory / "bin"),
            "SCOOP_HPC_STATE": str(self.state),
            "XDG_CONFIG_HOME": str(directory / "config"),
        }

    def call(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Call ``scoop-hpc WORDS``."""
        return subprocess.run(
            [sys.executable, "-m", "scoop_hpc", *words],
            cwd=self.directory,
            env={**self.environ, **more},
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def program(self, name: str, text: str) -> None:
        """Put a program of the shell on PATH."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def marks(self) -> list[Path]:
        return list(self.directory.rglob(".scoop-hpc-doctor-*"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine without a scheduler."""
    return Site(tmp_path)


def lines(done: subprocess.CompletedProcess[str], topic: str) -> list[str]:
    """Return the findings about *topic*, each with its verdict."""
    words = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [f"{each[0]} {each[2]}" for each in words if len(each) == 3 and each[1] == topic]


def test_a_bare_machine_needs_no_change(site: Site) -> None:
    done = site.call("doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "nothing has to be changed"
    assert lines(done, "scheduler") == [
        "note no other is found here: jobs run on this machine, by the built-in scheduler 'local'"
    ]
    assert lines(done, "mpi")[0].startswith("note ")
    assert not site.state.exists()
    assert site.marks() == []


def test_the_nodes_of_a_job_are_looked_at(site: Site) -> None:
    site.environ["PATH"] = os.environ["PATH"]
    done = site.call("doctor", "--submit", "--nodes", "2", "--scheduler", "local")
    changes = [line for line in done.stdout.splitlines() if line.startswith("change ")]
    assert [line for line in changes if "which is slow" not in line] == [], done.stderr  # on a machine that is busy
    assert "submitted job local-1 to local" in done.stderr
    assert lines(done, "nodes")[0].endswith("all 2 took part in one run")
    assert sum("there and back" in each for each in lines(done, "network")) == 2
    assert any("is the same as here, and writable" in each for each in lines(done, "directories"))
    assert lines(done, "clocks")[0].startswith("ok ")
    assert site.marks() == []
    assert list((site.state / "doctor").iterdir()) == []


def test_findings_and_facts_are_json_for_scripts(site: Site) -> None:
    site.environ["PATH"] = os.environ["PATH"]
    done = site.call("doctor", "--submit", "--scheduler", "local", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert {each["verdict"] for each in told["findings"]} <= {"ok", "note"}
    assert told["login_node"]["software"]["python"] == told["job"]["nodes"][0]["software"]["python"]
    assert told["job"]["ways"] == []


def test_a_scheduler_that_answers_by_errors_is_told_with_all_else(site: Site) -> None:
    for command in ("sbatch", "squeue", "scancel", "sinfo"):
        site.program(command, f"echo {command}: error: cannot contact the controller >&2; exit 1")
    done = site.call("doctor", "--submit")
    assert (done.returncode, done.stderr) == (1, "")
    assert lines(done, "scheduler")[0].startswith("change slurm: sbatch failed: ")
    assert lines(done, "job")[0].startswith("change sbatch refused the job: ")
    assert lines(done, "python")
    assert done.stdout.splitlines()[-1].endswith("findings ask for a change")
    assert site.marks() == []


def test_a_scheduler_without_commands_is_told_with_all_else(site: Site) -> None:
    done = site.call("doctor", "--scheduler", "pbs", "--submit")
    assert (done.returncode, done.stderr) == (1, "")
    assert "qsub, qstat, qdel not found on PATH" in lines(done, "scheduler")[0]
    assert lines(done, "job") == []


def test_a_job_that_fails_is_a_finding_and_its_output_is_kept(site: Site) -> None:
    site.environ["PATH"] = os.environ["PATH"]
    done = site.call("doctor", "--submit", "--scheduler", "local", "--prologue", "exit 7")
    assert done.returncode == 1, done.stdout + done.stderr
    (job,) = lines(done, "job")
    assert "FAILED with exit status 7" in job
    (kept,) = (site.state / "doctor").iterdir()
    assert str(kept / "output") in job


def test_a_job_that_does_not_end_is_cancelled(site: Site) -> None:
    site.environ["PATH"] = os.environ["PATH"]
    done = site.call("doctor", "--submit", "--scheduler", "local", "--timeout", "1", "--prologue", "sleep 600")
    assert done.returncode == 1, done.stdout + done.stderr
    (job,) = lines(done, "job")
    assert "has not ended within 1 s, and is cancelled" in job
    assert site.call("wait", "local-1", "--timeout", "60").returncode not in (0, 124)


def test_state_that_others_could_write_to_is_a_finding(site: Site) -> None:
    site.state.mkdir()
    site.state.chmod(0o777)
    done = site.call("doctor", "--submit")
    assert done.returncode == 1, done.stdout + done.stderr
    assert any("chmod go-w" in each for each in lines(done, "directories"))


def test_state_that_submit_would_refuse_to_make_is_a_finding(site: Site) -> None:
    (site.directory / "team").mkdir()
    (site.directory / "team").chmod(0o777)
    done = site.call("doctor", SCOOP_HPC_STATE=str(site.directory / "team" / "me"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert any("everybody may write to" in each for each in lines(done, "directories"))


def test_settings_of_the_program_count(site: Site) -> None:
    (site.directory / "p.py").write_text("#SCOOP --module gcc/12\nif __name__ == '__main__':\n    pass\n")
    for modules in ("LMOD_CMD", "LMOD_PKG", "MODULESHOME"):
        site.environ.pop(modules, None)
    for words in (("p.py",), ("-m", "p")):
        done = site.call("doctor", *words)
        asked = [each for each in lines(done, "modules") if "--module asks for gcc/12" in each]
        assert asked or lines(done, "modules")[0].startswith("ok ")  # this machine may have modules


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--no-such",), "No such option"),
        (("--nodes", "0"), "--nodes"),
        (("--timeout", "5"), "--timeout is for the job of --submit"),
        (("--scheduler", "lsf"), "there is no scheduler 'lsf'"),
        (("--walltime", "soon"), "cannot read the walltime 'soon'"),
        (("--array", "1-2"), "--array is an option of submit, and not of doctor"),
        (("no-such.py",), "cannot read the program 'no-such.py'"),
        (("-m", "no_such"), "cannot find the module 'no_such'"),
        (("-m",), "-m is for a PROGRAM that is a module"),
    ],
)
def test_bad_options_are_one_line_and_status_2(site: Site, words: tuple[str, ...], complaint: str) -> None:
    done = site.call("doctor", *words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert complaint in done.stderr


# completion and the manual page


def test_bash_completes_commands_options_values_and_files(site: Site) -> None:
    site.program("scoop-hpc", f'exec {sys.executable} -m scoop_hpc "$@"')
    (site.directory / "pi.py").touch()
    script = """
eval "$(scoop-hpc completion bash)"
complete -p scoop-hpc
propose() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _scoop_hpc_completion scoop-hpc
    echo "${COMPREPLY[@]}"
}
compopt() { echo "compopt $1 $2"; }
propose scoop-hpc doc
propose scoop-hpc submit --container-r
propose scoop-hpc submit --container-runtime p
propose scoop-hpc run pi
propose scoop-hpc pi.py x
"""
    (site.directory / "script").write_text(script)
    path = f"{site.directory}/bin:/usr/bin:/bin"
    argv = ["bash", "--norc", "script"]
    done = subprocess.run(
        argv, cwd=site.directory, env={**site.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _scoop_hpc_completion scoop-hpc",
        "doctor",
        "--container-runtime",
        "pyxis",
        "compopt -o default",
        "",
        "compopt -o default",
        "",
    ]


@pytest.mark.parametrize(("shell", "proposed"), [("zsh", "plain\ndoctor\n"), ("fish", "plain,doctor\t")])
def test_other_shells_are_answered_in_their_own_way(site: Site, shell: str, proposed: str) -> None:
    cword = "1" if shell == "zsh" else "do"
    done = site.call(_SCOOP_HPC_COMPLETE=f"{shell}_complete", COMP_WORDS="scoop-hpc do", COMP_CWORD=cword)
    assert (done.returncode, done.stdout.startswith(proposed)) == (0, True), done.stdout + done.stderr


def test_a_shell_that_nobody_knows_gets_nothing(site: Site) -> None:
    done = site.call(_SCOOP_HPC_COMPLETE="ksh_complete", COMP_WORDS="scoop-hpc do", COMP_CWORD="1")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_manual_page_begins_as_one(site: Site) -> None:
    done = site.call("man")
    assert (done.returncode, done.stdout.splitlines()[0].split()[:3]) == (0, [".TH", "SCOOP-HPC", "1"])


# the way between two nodes


def test_a_way_is_measured_by_the_first_address_that_answers() -> None:
    listener = replace(listen("n2", ("127.0.0.1",)), addresses=("127.0.0.2:9", "127.0.0.1"))
    way = measure("n1", listener)
    assert (way.source, way.target, way.address, way.trouble) == ("n1", "n2", "127.0.0.1", "")
    assert way.latency > 0
    assert way.rate > 0
    assert abs(way.clock) <= way.latency


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"key": bytes(16)}, "it closed the connection"),
        ({"port": 1}, "Connection refused"),
        ({"addresses": ()}, "it has no address that others could reach"),
    ],
)
def test_a_way_that_leads_nowhere_is_a_trouble(change: dict[str, Any], trouble: str) -> None:
    way = measure("n1", replace(listen("n2", ("127.0.0.1",)), **change))
    assert (way.address, way.rate) == ("", 0.0)
    assert trouble in way.trouble or "reset" in way.trouble
