"""Agents whose launcher brings them no environment: it comes through standard input, or in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Runs, until, without_warnings

TELL = """
import os
from scoop_hpc import futures

def tell(number):
    return os.environb[b"ODD"], os.getcwd(), number

if __name__ == "__main__":
    print(list(futures.map(tell, range(2))))
    open("ran", "w").close()
    while os.path.exists("stay"):
        pass
"""
ODD = b'it\'s\na "quoted" $HOME, \\ and \xff'


@pytest.fixture
def bare(runs: Runs) -> Runs:
    """Runs by the launcher in bare.py, which waits for a file `go`."""
    runs.environ.update(SCOOP_HPC_STATE=str(runs.directory / "state"), ODD=os.fsdecode(ODD))
    runs.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return runs


def start(runs: Runs, forwarding: str, patience: int = 60, at_once: int = 32) -> subprocess.Popen[str]:
    return runs.start(runs.write(TELL), module="bare", command=(forwarding, str(patience), str(at_once)))


def go(runs: Runs) -> None:
    (runs.directory / "go").touch()


def environments(runs: Runs) -> list[Path]:
    return list((runs.directory / "state" / "environments").glob("*"))


def keys_in(files: list[Path]) -> list[bytes]:
    return [word for file in files for word in file.read_bytes().split(b'"') if len(word) == 40]


@pytest.mark.parametrize("forwarding", ["input", "file"])
def test_tasks_have_the_drivers_environment_and_directory(bare: Runs, forwarding: str) -> None:
    go(bare)
    stdout, stderr = start(bare, forwarding).communicate(timeout=120)
    assert (stdout, without_warnings(stderr).strip()) == (
        f"{[(ODD, str(bare.directory), number) for number in range(2)]}\n",
        "",
    )
    assert not environments(bare)
    assert not list(bare.temporary.iterdir())


def test_file_is_for_its_user_only_and_goes_when_the_agents_are_there(bare: Runs) -> None:
    (bare.directory / "stay").touch()
    driver = start(bare, "file")
    until(lambda: environments(bare))
    (file,) = environments(bare)
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]
    go(bare)
    until((bare.directory / "ran").exists)
    assert not environments(bare)
    assert driver.poll() is None
    (bare.directory / "stay").unlink()
    assert driver.wait(120) == 0


def test_file_of_a_cancelled_start_goes(bare: Runs) -> None:
    driver = start(bare, "file")
    until(lambda: environments(bare))
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(120) == 143
    assert not environments(bare)
    go(bare)


def test_agents_remove_the_file_of_a_driver_that_was_killed(bare: Runs) -> None:
    driver = start(bare, "file", patience=15)  # for as long they look for it
    begun = bare.directory / "begun"
    until(lambda: begun.exists() and len(begun.read_text().split()) == 2)
    assert environments(bare)
    driver.kill()
    driver.wait()
    go(bare)
    until(lambda: not environments(bare))


def test_next_run_removes_what_nobody_did(bare: Runs) -> None:
    go(bare)
    folder = bare.directory / "state" / "environments"
    folder.mkdir(parents=True)
    (folder / "1000000000-00").touch()
    (folder / "9000000000-00").touch()
    assert start(bare, "file").wait(120) == 0
    assert [path.name for path in environments(bare)] == ["9000000000-00"]


def test_node_that_does_not_see_the_file_says_so_in_one_line(bare: Runs) -> None:
    driver = start(bare, "file")
    until(lambda: environments(bare))
    (file,) = environments(bare)
    file.unlink()
    go(bare)
    _, stderr = driver.communicate(timeout=120)
    assert f"cannot read {file}: let SCOOP_HPC_STATE name a directory that all nodes see\n" in stderr
    assert driver.returncode == 1


def test_key_is_in_no_command_line(bare: Runs) -> None:
    (bare.directory / "stay").touch()
    driver = start(bare, "file")
    until(lambda: len(keys_in(environments(bare))) >= 3)  # the file may be there, but not yet all that is in it
    keys = keys_in(environments(bare))
    go(bare)
    until((bare.directory / "ran").exists)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = entry.read_bytes()
        except OSError:
            continue
        assert not any(key in argv for key in keys)
    driver.send_signal(signal.SIGTERM)
    driver.wait(120)


def test_only_so_many_agents_are_started_at_once(bare: Runs) -> None:
    begun = bare.directory / "begun"
    driver = start(bare, "file", at_once=1)
    until(lambda: begun.exists() and begun.read_text())
    assert begun.read_text() == "n1\n"
    (bare.directory / "go-n1").touch()
    until(lambda: begun.read_text() == "n1\nn2\n")
    go(bare)
    assert driver.wait(120) == 0
