"""The socket that a node's processes reach their broker by."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from scoop_hpc.errors import LaunchError
from scoop_hpc.protocol.names import AGENT, NodeIndex
from scoop_hpc.transport import sockets
from scoop_hpc.transport.directory import ROOM
from scoop_hpc.transport.entrance import Entrance, nameless_entrance, shared_entrance

NODE = NodeIndex(3)


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    context: sockets.Context = zmq.Context()
    yield context
    context.destroy(linger=0)


def broker(context: sockets.Context, entrance: Entrance) -> sockets.Socket:
    """Return the socket of a broker that takes what comes through *entrance*."""
    main = sockets.make(context, zmq.ROUTER, "3")
    sockets.bind_listening(main, entrance.endpoint, entrance.listening)
    entrance.listening = -1
    return main


def goes_through(context: sockets.Context, entrance: Entrance, main: sockets.Socket) -> bool:
    """Return whether what is sent through *entrance* arrives."""
    sender = sockets.make(context, zmq.DEALER, AGENT)
    sender.connect(entrance.endpoint)
    sender.send(b"here")
    return bool(main.poll(20_000)) and main.recv_multipart()[-1] == b"here"


def test_nothing_has_a_name_and_messages_arrive(tmp_path: Path, context: sockets.Context) -> None:
    entrance = nameless_entrance(str(tmp_path), NODE)
    assert list(tmp_path.iterdir()) == []
    main = broker(context, entrance)
    assert goes_through(context, entrance, main)
    assert goes_through(context, entrance, main)  # and those of a worker that comes later
    assert list(tmp_path.iterdir()) == []
    entrance.close()


def test_who_comes_before_the_broker_waits_for_it(tmp_path: Path, context: sockets.Context) -> None:
    entrance = nameless_entrance(str(tmp_path), NODE)
    early = sockets.make(context, zmq.DEALER, AGENT)
    early.connect(entrance.endpoint)
    early.send(b"early")
    main = broker(context, entrance)
    assert main.poll(20_000)
    assert main.recv_multipart()[-1] == b"early"
    entrance.close()


def test_socket_ends_with_the_broker(tmp_path: Path, context: sockets.Context) -> None:
    entrance = nameless_entrance(str(tmp_path), NODE)
    path = entrance.endpoint.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(path)
    entrance.leave_to_broker()  # and there is none
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
        late.connect(path)
    entrance.close()


def test_name_stays_until_the_end_where_no_descriptor_leads_there(
    tmp_path: Path, context: sockets.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH")
    entrance = nameless_entrance(str(tmp_path), NODE)
    (directory,) = tmp_path.iterdir()
    assert entrance.endpoint == f"ipc://{directory}/3"
    assert goes_through(context, entrance, broker(context, entrance))
    entrance.close()
    assert list(tmp_path.iterdir()) == []


def test_other_brokers_find_one_that_is_shared(tmp_path: Path, context: sockets.Context) -> None:
    entrance = shared_entrance(str(tmp_path), NODE)
    assert entrance.endpoint == f"ipc://{tmp_path}/3"
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert goes_through(context, entrance, broker(context, entrance))
    entrance.close()


def test_place_without_room_is_refused_and_nothing_is_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "3").touch()
    with pytest.raises(LaunchError, match="cannot make a socket in .*: Address already in use"):
        shared_entrance(str(tmp_path), NODE)
    assert os.listdir("/proc/self/fd") == before
    long = tmp_path / ("x" * (ROOM + 1))
    long.mkdir()
    nameless_entrance(str(long), NODE).close()  # in /tmp
    assert list(long.iterdir()) == []
