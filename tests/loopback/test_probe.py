"""Whether anybody listens."""

from __future__ import annotations

import socket

import pytest

from scoop_hpc.transport.probe import Probe, all_refuse


@pytest.fixture
def closed() -> str:
    """An endpoint at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def test_closed_ports_refuse(closed: str) -> None:
    assert all_refuse([closed, closed], 5)


def test_one_open_port_is_enough(closed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not all_refuse([closed, f"tcp://127.0.0.1:{server.getsockname()[1]}"], 5)


def test_silence_is_no_refusal(closed: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        fillers = [socket.socket() for _ in range(4)]  # what is beyond the backlog is not answered [listen(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        assert not all_refuse([closed, f"tcp://127.0.0.1:{address[1]}"], 0.1)
        probe = Probe(f"tcp://127.0.0.1:{address[1]}")
        assert not probe.is_refused()
        probe.close()
        for filler in fillers:
            filler.close()


def test_address_without_a_route_is_no_refusal(closed: str) -> None:
    assert not all_refuse([closed, "tcp://[100::1]:9"], 0.1)
