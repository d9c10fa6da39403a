"""The shell that Grid Engine's qrsh starts on a node, around an agent."""

from __future__ import annotations

import subprocess

import pytest

from scoop_hpc.launchers.qrsh import QrshLauncher


@pytest.mark.parametrize(
    ("ends", "status", "words"),
    [("kill -KILL $$", 137, "its agent was killed by SIGKILL\n"), ("exit 3", 3, ""), ("exit 0", 0, "")],
)
def test_shell_around_an_agent_says_what_killed_that_and_ends_by_no_signal(ends: str, status: int, words: str) -> None:
    (command,) = QrshLauncher("n1").commands(["/bin/sh", "-c", ends], ["n2"], {})
    done = subprocess.run(["/bin/sh", "-c", command.argv[-1]], capture_output=True, text=True)
    assert (done.returncode, done.stderr.replace("Killed\n", "")) == (status, words)
