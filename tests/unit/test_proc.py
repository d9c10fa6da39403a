"""What /proc says of a process."""

from __future__ import annotations

import os

from scoop_hpc.run.proc import identity, is_gone, is_of_another_boot, is_stopped, process_state


def test_a_process_is_known_as_itself() -> None:
    assert (process_state(os.getpid()), is_stopped(os.getpid())) == ("R", False)
    assert identity(os.getpid()) == identity(os.getpid()) != identity(os.getppid())


def test_a_process_that_is_gone_is_nobody() -> None:
    assert (process_state(2**22 + 1), identity(2**22 + 1)) == ("", "")


def test_only_of_processes_that_would_be_seen_here_it_is_known_that_they_are_gone() -> None:
    pid, own = os.getpid(), identity(os.getpid())
    boot, space, number, start = own.split()
    gone = 2**22 + 1
    assert not is_gone(pid, own)
    assert is_gone(gone, f"{boot} {space} {gone} {start}")
    assert is_gone(pid, f"{boot} {space} {number} {int(start) - 1}")  # its number is another's now
    assert not is_gone(gone, f"{boot} pid:[1] {gone} {start}")  # of a container
    assert not is_gone(gone, f"another-boot {space} {gone} {start}")
    assert not is_gone(gone, "")
    assert [is_of_another_boot(known) for known in (own, "another-boot pid:[1] 7 8")] == [False, True]
