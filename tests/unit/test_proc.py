"""Processes that are stopped, and for how long."""

from __future__ import annotations

import os

from scoop_hpc.run.proc import LOOKS, Stopped, identity, process_state


def test_who_is_stopped_for_too_long_is_found() -> None:
    stopped = Stopped({1: "S", 2: "T", 3: "R", 4: "t", 5: ""}.__getitem__)
    assert [stopped.look(range(1, 6)) for _ in range(LOOKS)] == [[]] * (LOOKS - 1) + [[2]]


def test_who_goes_on_in_time_is_not() -> None:
    states = {1: "T"}
    stopped = Stopped(states.__getitem__)
    for _ in range(LOOKS - 1):
        stopped.look([1])
    states[1] = "S"
    assert stopped.look([1]) == []
    states[1] = "T"  # again: it is counted from the beginning
    assert [stopped.look([1]) for _ in range(LOOKS - 1)] == [[]] * (LOOKS - 1)


def test_a_process_is_known_as_itself() -> None:
    assert process_state(os.getpid()) == "R"
    assert identity(os.getpid()) == identity(os.getpid()) != identity(os.getppid())


def test_a_process_that_is_gone_is_nobody() -> None:
    assert (process_state(2**22 + 1), identity(2**22 + 1)) == ("", "")
