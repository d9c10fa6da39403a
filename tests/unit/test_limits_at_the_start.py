"""What a node needs at the least, in a run of any size, and how it is refused where that is not granted."""

from __future__ import annotations

import pytest

from scoop_hpc.errors import LaunchError
from scoop_hpc.transport import limits


def test_libzmq_has_sockets_enough_for_all_links_of_a_broker() -> None:
    assert 4 + 3 * limits.LINKS < 1023  # in a process, by default [zmq_ctx_set(3), ZMQ_MAX_SOCKETS]


def test_too_little_memory_is_refused_with_what_is_needed() -> None:
    needed = limits.memory_of_node(64, 1000)
    said = r"544 MiB of memory are needed at least, the system grants 100 MiB \(memory.max .*\): fewer"
    with pytest.raises(LaunchError, match=said):
        limits.check_memory(needed, 100 << 20, "fewer")
    limits.check_memory(needed, needed, "fewer")
    limits.check_memory(needed, 0, "fewer")  # nobody says how much there is


def test_too_few_ports_are_refused_with_what_is_needed() -> None:
    with pytest.raises(LaunchError, match=r"67 TCP ports are needed, the system deals out 11 \(net.ipv4.*\): widen"):
        limits.check_ports(67, "50000\t50010\n", "widen")
    limits.check_ports(67, "32768\t60999\n", "widen")


@pytest.mark.parametrize("text", [None, "", "1", "a b"])
def test_system_that_does_not_tell_its_ports_is_not_refused(text: str | None) -> None:
    limits.check_ports(67, text, "widen")
