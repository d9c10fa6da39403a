"""An agent that looks for the driver."""

from __future__ import annotations

import pytest

from scoop_hpc.errors import LaunchError, ProtocolError
from scoop_hpc.protocol.messages import Ready, Shutdown
from scoop_hpc.run.policy import AgentPolicy
from scoop_hpc.run.search_state import Ended, Gone, SearchState

HERE, THERE = "ipc:///tmp/d/driver", "tcp://10.0.0.1:5"
OTHER = "tcp://172.17.0.1:5"


def search(*addresses: str, patience: float = 60.0) -> SearchState:
    return SearchState(addresses, patience, 0.0, AgentPolicy())


def test_no_welcome_in_time_is_an_error_that_names_the_addresses() -> None:
    state = search(HERE, patience=3)
    assert state.pass_time(2.9, has_parent=True) == ()
    with pytest.raises(LaunchError, match=rf"no welcome from the driver at {HERE} within 3 s"):
        state.pass_time(3.0, has_parent=True)


def test_addresses_of_other_machines_are_probed_while_there_is_no_connection() -> None:
    state = search(THERE, OTHER)
    times = [1.0, 2.0, 3.0, 4.0]
    assert [state.pass_time(now, has_parent=True) for now in times] == [(), (THERE, OTHER), (), (THERE, OTHER)]
    state.connected(THERE, made=True)
    assert state.pass_time(6.0, has_parent=True) == ()
    with pytest.raises(Gone, match=f"nothing listens at {THERE}, {OTHER}: "):
        state.refused()


def test_driver_on_this_machine_is_not_probed() -> None:
    assert search(HERE).pass_time(10.0, has_parent=True) == ()


def test_driver_whose_connections_are_lost_is_gone_after_a_while() -> None:
    state = search(THERE, OTHER)
    state.connected(THERE, made=True)
    state.connected(OTHER, made=True)
    state.connected(OTHER, made=False)
    assert state.pass_time(50.0, has_parent=True) == ()
    state.connected(THERE, made=False)
    assert state.pass_time(52.0, has_parent=True) == ()
    with pytest.raises(Gone, match="the driver was gone before this agent was welcome"):
        state.pass_time(52.1, has_parent=True)


def test_driver_that_was_this_processs_parent_is_gone_at_once() -> None:
    with pytest.raises(Gone, match="the driver was gone"):
        search(HERE).pass_time(0.1, has_parent=False)


def test_run_that_has_ended_has_nothing_for_this_agent() -> None:
    with pytest.raises(Ended):
        search(HERE).hear(Shutdown())


def test_other_greeting_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        search(HERE).hear(Ready())
