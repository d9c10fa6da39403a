#!/usr/bin/env bash
# ZeroMQ: the time to live that a PING carries is forgotten at the next message; a peer that falls silent after it stays.
#
# One would guess that ZMQ_HEARTBEAT_TTL [zmq_setsockopt(3)] on one end is enough for both: it pings, and notices by missing
# answers that the other end is gone; the other end has been told by each PING for how long the peer counts as alive
# without a word [ZMTP 3.1, RFC 37], and drops it after that. So only one of the two would need timers and wakes.
#
# What is true: libzmq starts that timer with a PING, stops it as soon as anything is received, and starts it again with
# the next PING only. A peer that has sent a PING and then falls silent is dropped in time. One that has sent a PING, a
# message, and then falls silent (its machine is down, it is stopped) is not dropped at all. Each end needs pings of its own.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.1.0
cat > "$directory/show.py" <<'EOP'
import os
import socket
import struct
import sys
import time

import zmq

TTL = 10  # tenths of a second
PATIENCE = 5000  # ms


def command(name: bytes, body: bytes) -> bytes:
    """Return a command as a frame."""
    data = bytes([len(name)]) + name + body
    return bytes([4, len(data)]) + data


def peer(path: str) -> socket.socket:
    """Return a connection that has shaken hands as a DEALER does, by ZMTP 3.1 without security."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    link.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
    link.sendall(command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"))
    return link


def is_dropped(path: str, says_more: bool) -> bool:
    """Return whether a ROUTER drops a peer that sends a PING, perhaps a message, and then nothing any more."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    monitor = router.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    router.bind(f"ipc://{path}")
    link = peer(path)
    assert struct.unpack("=HI", monitor.recv_multipart()[0])[0] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    link.sendall(command(b"PING", struct.pack(">H", TTL)))
    if says_more:
        time.sleep(0.1)  # so that it is received after the PING, not with it
        link.sendall(b"\0\5hello")
        assert router.recv_multipart()[1] == b"hello"
    began = time.monotonic()
    dropped = bool(monitor.poll(PATIENCE))
    context.destroy(linger=0)
    link.close()
    said = "a PING and a message" if says_more else "a PING"
    after = f"dropped after {time.monotonic() - began:.1f} s" if dropped else f"still there after {PATIENCE / 1000:g} s"
    print(f"{said}, with a time to live of {TTL / 10:g} s, then silence: {after}")
    return dropped


print("libzmq", zmq.zmq_version(), "pyzmq", zmq.pyzmq_version())
alone = is_dropped(os.path.join(sys.argv[1], "alone"), says_more=False)
followed = is_dropped(os.path.join(sys.argv[1], "followed"), says_more=True)
if not alone or followed:
    sys.exit("the behaviour has changed")
EOP
"$directory/venv/bin/python" "$directory/show.py" "$directory"
