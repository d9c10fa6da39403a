"""The command line where the machine is not as it should be: one line, the right status, nothing lost."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCOOP_HPC = [sys.executable, "-m", "scoop_hpc"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a state directory of its own."""
    (tmp_path / "p.py").write_text("if __name__ == '__main__':\n    print('done')\n")
    return {**os.environ, "SCOOP_HPC_STATE": str(tmp_path / "state")}


def scoop_hpc(environ: dict[str, str], directory: Path, *words: str, stdout: str = "") -> tuple[int, str, str]:
    """Run ``scoop-hpc WORDS``, with its output to the file *stdout* if that is given."""
    command = [*SCOOP_HPC, *words]
    if stdout:
        with open(stdout, "w") as file:
            done = subprocess.run(command, cwd=directory, env=environ, stdout=file, stderr=subprocess.PIPE, text=True)
        return done.returncode, "", done.stderr
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [["render", "--scheduler", "local", "p.py"], ["--help"], ["-n", "1", "--help"]])
def test_closed_output_is_no_error(environ: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    command = shlex.join([sys.executable, "-m", "scoop_hpc", *words])
    done = subprocess.run(f"{command} >&-", shell=True, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)  # noqa: S602
    assert (done.returncode, done.stderr) == (0, "")


def test_program_that_is_taken_for_a_command_is_told_how_to_be_run(environ: dict[str, str], tmp_path: Path) -> None:
    status, stdout, stderr = scoop_hpc(environ, tmp_path, "--help")
    assert status == 0
    done = subprocess.run(
        [sys.executable, "-c", "from scoop_hpc.cli.main import main; main()", "p.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "scoop-hpc: error: 'p.py' is a program, not a command: scoop-hpc run p.py\n",
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("sbumit p.py", "No such command 'sbumit'. Did you mean 'submit'?"),
        ("xyzzy", "No such command 'xyzzy'. scoop-hpc --help lists all"),
        ("template shwo slurm", "No such command 'shwo'. Did you mean 'show'?"),
        ("template", "Missing command. scoop-hpc template takes one of list, new, show"),
    ],
)
def test_command_that_there_is_not_is_told_with_those_there_are(
    environ: dict[str, str], tmp_path: Path, words: str, what: str
) -> None:
    command = [sys.executable, "-c", "from scoop_hpc.cli.main import main; main()", *words.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"scoop-hpc: error: {what}\n")


@pytest.mark.parametrize("words", [["render", "--scheduler", "local", "p.py"], ["--help"]])
def test_output_that_cannot_be_written_is_one_line(environ: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    status, _, stderr = scoop_hpc(environ, tmp_path, *words, stdout="/dev/full")
    assert (status, stderr) == (1, "scoop-hpc: error: cannot write: No space left on device\n")


def test_job_whose_id_cannot_be_written_is_named_all_the_same(environ: dict[str, str], tmp_path: Path) -> None:
    words = ["submit", "--scheduler", "local", "--workers-per-node", "1", "--parsable", "p.py"]
    status, _, stderr = scoop_hpc(environ, tmp_path, *words, stdout="/dev/full")
    assert status == 1
    assert "job local-1 was submitted" in stderr
    assert scoop_hpc(environ, tmp_path, "wait", "local-1")[0] == 0


def test_reader_that_has_seen_enough_is_no_error(environ: dict[str, str], tmp_path: Path) -> None:
    shell = f"{' '.join(SCOOP_HPC)} render --scheduler local p.py | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.stdout in ("141\n", "0\n")  # 0 if it was written before the reader left
    assert done.stderr == ""


def test_name_that_the_locale_cannot_say_is_escaped(environ: dict[str, str], tmp_path: Path) -> None:
    words = ["submit", "--scheduler", "local", "--workers-per-node", "1", "--name", "caf\u00e9", "--wait", "p.py"]
    assert scoop_hpc(environ, tmp_path, *words)[:2] == (0, "done\n")
    ascii_only = {**environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    status, stdout, _ = scoop_hpc(ascii_only, tmp_path, "status")
    assert status == 0
    assert "caf\\xe9" in stdout


@pytest.mark.parametrize("words", [["run", "-n", "1", "/p.py"], ["status"], ["hosts"]])
def test_removed_directory_is_one_line(environ: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    program = str(tmp_path / "p.py")
    words = [program if word == "/p.py" else word for word in words]
    quoted = " ".join([*SCOOP_HPC, *words])
    shell = f"mkdir gone; cd gone; rmdir ../gone; exec {quoted}"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("scoop-hpc: ")


def test_output_of_an_earlier_job_is_not_shown_as_this_ones(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("of an earlier job\n")
    words = ["submit", "--scheduler", "local", "--workers-per-node", "1", "--output", "out.txt", "--wait", "p.py"]
    assert scoop_hpc(environ, tmp_path, *words)[:2] == (0, "done\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--nodes", "4294967297"], "give at most 1048576"),
        (["--nodes", "5000"], "plays 256 nodes at most"),
        (["--memory", "8G"], "cannot express --memory: "),
        (["--directive", "--qos=high"], "cannot express --directive '--qos=high'"),
    ],
)
def test_what_cannot_be_had_is_refused(
    environ: dict[str, str], tmp_path: Path, words: list[str], complaint: str
) -> None:
    status, stdout, stderr = scoop_hpc(environ, tmp_path, "submit", "--scheduler", "local", *words, "p.py")
    assert (status, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert complaint in stderr


@pytest.mark.parametrize(
    "command", [["-m", "scoop_hpc"], ["-c", "from scoop_hpc.__main__ import main; main()"]], ids=["module", "script"]
)
def test_ctrl_c_while_modules_are_imported_prints_nothing(
    environ: dict[str, str], tmp_path: Path, command: list[str]
) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = os.pathsep.join(filter(None, [str(early), environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *command, "status"],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, environ: dict[str, str]) -> dict[str, str]:
    """An environment in which Python buffers what it prints, as for most users, and one in which it does not."""
    return {**environ, "PYTHONUNBUFFERED": request.param}


WORDS = ["submit", "--scheduler", "local", "--workers-per-node", "1"]


@pytest.mark.parametrize("options", [["--parsable"], ["--json"], []], ids=["parsable", "json", "line"])
def test_id_that_cannot_be_printed_ends_with_1_however_python_buffers(
    buffering: dict[str, str], tmp_path: Path, options: list[str]
) -> None:
    status, _, stderr = scoop_hpc(buffering, tmp_path, *WORDS, *options, "p.py", stdout="/dev/full")
    said = "scoop-hpc: error: job local-1 was submitted, but to say so failed: No space left on device\n"
    assert (status, stderr) == (1, said)
    assert scoop_hpc(buffering, tmp_path, "wait", "local-1")[0] == 0


@pytest.mark.parametrize("words", [["config", "path"], ["template", "list"], ["--version"]])
def test_table_that_cannot_be_printed_is_one_line(buffering: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    status, _, stderr = scoop_hpc(buffering, tmp_path, *words, stdout="/dev/full")
    assert (status, stderr) == (1, "scoop-hpc: error: cannot write: No space left on device\n")
    assert gone_reader(buffering, tmp_path, words) == (141, "")


def gone_reader(environ: dict[str, str], directory: Path, words: list[str]) -> tuple[int, str]:
    """Return the status and the errors of ``scoop-hpc WORDS`` into a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    command = [*SCOOP_HPC, *words]
    done = subprocess.run(command, cwd=directory, env=environ, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "status", "stdout", "stderr"),
    [
        (["run", "-n", "1", "p.py"], 0, "done\n", "2>/dev/full"),
        (["run", "-n", "1", "p.py"], 0, "done\n", "2>&-"),
        ([*WORDS, "--wait", "p.py"], 0, "done\n", "2>/dev/full"),
        (["status", "none"], 2, "", "2>/dev/full"),
        (["status", "none"], 2, "", "2>&-"),
        (["run", "-n", "1", "gone.py"], 2, "", "2>/dev/full"),
    ],
    ids=["run", "run, closed", "wait", "error", "error, closed", "program"],
)
def test_errors_that_cannot_be_printed_change_neither_status_nor_output(
    environ: dict[str, str], tmp_path: Path, words: list[str], status: int, stdout: str, stderr: str
) -> None:
    command = f"exec {shlex.join([*SCOOP_HPC, *words])} {stderr}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (status, stdout)


def test_program_whose_output_is_lost_at_its_end_has_not_succeeded(environ: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):  # whether the end or the error is heard of first is chance
        status, _, stderr = scoop_hpc(environ, tmp_path, "run", "-n", "1", "p.py", stdout="/dev/full")
        assert (status, stderr.count("\n")) == (1, 1)
    assert gone_reader(environ, tmp_path, ["run", "-n", "1", "p.py"])[0] == 1


def test_copies_that_srun_or_mpiexec_has_started_are_refused_by_one_of_them(
    environ: dict[str, str], tmp_path: Path
) -> None:
    for rank, ends, lines in ((0, 2, 1), (1, 0, 0)):  # Open MPI would end the first, unheard, for another's failure
        copy = {**environ, "PMI_SIZE": "2", "PMI_RANK": str(rank)}
        status, out, complaint = scoop_hpc(copy, tmp_path, "run", "-n", "1", "p.py")
        assert (status, out, complaint.count("\n")) == (ends, "", lines)


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("srun", "srun is for jobs of Slurm: SLURM_JOB_ID is not set here"),
        ("pbs_tmrsh", "pbs_tmrsh is for jobs of PBS: PBS_JOBID is not set here"),
        ("pbsdsh", "pbsdsh is for the script of a PBS job: PBS_NODEFILE is not set here"),
    ],
)
def test_launcher_of_jobs_is_refused_outside_of_one(
    environ: dict[str, str], tmp_path: Path, launcher: str, said: str
) -> None:
    done = scoop_hpc(environ, tmp_path, "run", "--launcher", launcher, "p.py")
    assert done == (2, "", f"scoop-hpc: error: {said}\n")
