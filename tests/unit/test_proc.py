"""What /proc says of a process."""

from __future__ import annotations

import os

from scoop_hpc.run.proc import identity, is_stopped, process_state


def test_a_process_is_known_as_itself() -> None:
    assert (process_state(os.getpid()), is_stopped(os.getpid())) == ("R", False)
    assert identity(os.getpid()) == identity(os.getpid()) != identity(os.getppid())


def test_a_process_that_is_gone_is_nobody() -> None:
    assert (process_state(2**22 + 1), identity(2**22 + 1)) == ("", "")
