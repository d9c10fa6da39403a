"""The same as `links_program` by ZeroMQ alone, as two tasks of one srun: encrypted by CURVE, over TCP.

::

    task 0: DEALER --- arrays ---> DEALER task 1        task 1 binds, and writes where, and its key, into a file
                   <-- the same --

Nothing is copied but where it is encrypted: numpy's memory is sent, and what has come is looked at in place.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import zmq

WINDOW = 4  # arrays under way at once, as in `site_workloads`
_PATIENCE = 60.0  # seconds for the other to come, and for each array


def an_end(keys: tuple[bytes, bytes]) -> zmq.Socket[bytes]:
    """Return a socket with these *keys*, the public one and the secret one."""
    end = zmq.Context().socket(zmq.DEALER)
    end.set_hwm(0)
    end.rcvtimeo = int(1000 * _PATIENCE)
    end.curve_publickey, end.curve_secretkey = keys
    return end


def send_back(address: Path) -> None:
    """Be the other node: return what comes until it is empty."""
    keys = zmq.curve_keypair()
    end = an_end(keys)
    end.curve_server = True
    end.bind("tcp://*:0")
    port = end.last_endpoint.rpartition(b":")[2].decode()
    written = address.with_suffix(".new")
    written.write_text(f"tcp://{socket.gethostname()}:{port} {keys[0].decode()}")
    written.rename(address)
    while True:
        frame: Any = end.recv(copy=False)
        if not len(frame):
            return
        end.send(frame, copy=False)


def connected(address: Path) -> zmq.Socket[bytes]:
    """Return a socket with the other at its end."""
    deadline = time.monotonic() + _PATIENCE
    while not address.exists():
        if time.monotonic() > deadline:
            raise SystemExit("the other node has not come")
        time.sleep(0.01)
    endpoint, key = address.read_text().split()
    address.unlink()
    end = an_end(zmq.curve_keypair())
    end.curve_serverkey = key.encode()
    end.connect(endpoint)
    end.send(b"hello")
    assert end.recv() == b"hello"
    return end


def echo(end: zmq.Socket[bytes], count: int, size: int) -> float:
    """Send *count* arrays of *size* bytes and have them back; return the seconds."""
    arrays = [numpy.arange(size // 8, dtype=numpy.float64) + n for n in range(WINDOW)]
    start = time.perf_counter()
    for n in range(count + WINDOW):
        sent = arrays[n % WINDOW]
        if n >= WINDOW:
            frame: Any = end.recv(copy=False)
            back = numpy.frombuffer(frame.buffer)
            assert (back.size, back[0], back[-1]) == (sent.size, sent[0], sent[-1])
        if n < count:
            end.send(sent, copy=False)
    seconds = time.perf_counter() - start
    assert numpy.array_equal(back, sent)
    return seconds


if __name__ == "__main__":
    where, *words = sys.argv[1:]
    if os.environ["SLURM_PROCID"] == "0":  # srun(1), OUTPUT ENVIRONMENT VARIABLES
        other = connected(Path(where))
        print(json.dumps({"seconds": [echo(other, *map(int, word.split("x"))) for word in words]}), flush=True)
        other.send(b"")
    else:
        send_back(Path(where))
