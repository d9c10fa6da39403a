"""The decisions of the process that has brought nodes into a run."""

from __future__ import annotations

import signal

import pytest

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Bye, Leave, Shutdown
from scoop_hpc.run.party.joiner_state import EndAgents, JoinerState, Phase, Say, Tell

WALLTIME = "the walltime of its job ends"


def test_joiner_ends_with_the_run() -> None:
    joiner = JoinerState(None)
    assert joiner.deadline() is None
    assert joiner.hear(Shutdown(), 5.0) == []
    joiner.agents_ended("", 5.0)
    assert (joiner.phase, joiner.status) == (Phase.OVER, 0)


def test_nodes_leave_before_the_walltime_of_their_job_is_over() -> None:
    joiner = JoinerState(100.0)
    assert joiner.deadline() == 70.0
    assert joiner.pass_time(69.9) == []
    say, tell = joiner.pass_time(70.0)
    assert say == Say(Leave(25.0, why=WALLTIME))
    assert tell == Tell(f"leaving the run: {WALLTIME}; 25 s for what its nodes execute")
    assert joiner.pass_time(72.0) == [Say(Leave(23.0, why=WALLTIME))]  # the first may have been lost
    joiner.agents_ended("killed", 73.0)
    assert joiner.status == 0


@pytest.mark.parametrize(
    ("number", "ends_at", "within"),
    [
        (signal.SIGTERM, None, 5.0),
        (signal.SIGTERM, 1000.0, 5.0),
        (signal.SIGUSR1, None, 20.0),
        (signal.SIGUSR2, 75.0, 60.0),
    ],
)
def test_signals_make_the_nodes_leave(number: int, ends_at: float | None, within: float) -> None:
    joiner = JoinerState(ends_at)
    say, _ = joiner.signalled(number, 10.0)
    assert say == Say(Leave(within, why=signal.Signals(number).name))
    assert joiner.signalled(signal.SIGUSR1, 11.0) == []


def test_termination_after_a_warning_leaves_less_time() -> None:
    joiner = JoinerState(100.0)
    joiner.signalled(signal.SIGUSR1, 10.0)
    say, _ = joiner.signalled(signal.SIGTERM, 20.0)
    assert say == Say(Leave(5.0, why="SIGTERM"))


def test_agents_that_do_not_end_are_ended() -> None:
    joiner = JoinerState(None)
    joiner.signalled(signal.SIGTERM, 10.0)
    assert joiner.pass_time(24.9)
    assert joiner.pass_time(25.0) == [EndAgents()]
    assert joiner.deadline() is None


def test_second_ctrl_c_ends_the_agents_at_once() -> None:
    joiner = JoinerState(None)
    joiner.signalled(signal.SIGINT, 10.0)
    assert joiner.signalled(signal.SIGINT, 10.5) == [EndAgents()]
    assert joiner.status == 130


def test_joiner_whose_agents_have_all_ended_says_why() -> None:
    joiner = JoinerState(None)
    joiner.agents_ended("node m1: no welcome from the driver", 10.0)
    joiner.agents_ended("node m1: no welcome from the driver", 11.0)
    assert joiner.signalled(signal.SIGTERM, 11.0) == []
    assert joiner.pass_time(11.9) == []
    assert joiner.deadline() == 20.0
    (tell,) = joiner.pass_time(20.0)
    assert tell == Tell("error: the agents of all its nodes have ended: node m1: no welcome from the driver")
    assert (joiner.phase, joiner.status) == (Phase.OVER, 1)


def test_agents_may_hear_of_the_end_of_the_run_before_their_joiner() -> None:
    joiner = JoinerState(100.0)
    joiner.agents_ended("", 10.0)
    assert joiner.phase is Phase.ABANDONED
    assert joiner.hear(Shutdown(), 10.1) == []
    assert (joiner.phase, joiner.status, joiner.deadline()) == (Phase.OVER, 0, None)


def test_joiner_of_agents_that_the_driver_has_ended_waits_for_no_word_of_its_own() -> None:
    joiner = JoinerState(None)
    joiner.agents_ended(None, 10.0)
    assert (joiner.phase, joiner.status, joiner.deadline()) == (Phase.OVER, 0, None)


def test_other_messages_have_no_meaning_for_a_joiner() -> None:
    with pytest.raises(ProtocolError, match="sent a joiner"):
        JoinerState(None).hear(Bye(), 0.0)
