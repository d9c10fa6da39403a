#!/usr/bin/env bash
# ZeroMQ: unbind() of an endpoint ends the connections that were accepted there, and what their peers send later is lost.
#
# One would guess that unbind() is what close() of a listening socket is to TCP: no new peers, and those that are there
# stay. A server that wants to move its door (the file of an ipc endpoint was removed, and is to be made again) would
# unbind the old one and bind the new one.
#
# What is true: the peers that came by the endpoint are cut off with it, and are not told: a DEALER does not connect again
# (here for 3 s), although the path is there again, and what it sends is not heard. To bind the same path a second time,
# without unbind(), works: old and new peers are heard.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check pyzmq==27.1.0
cat > "$directory/show.py" <<'EOP'
import os
import shutil
import sys

import zmq


def heard_after_the_door_was_made_again(unbind: bool, folder: str) -> list[bytes]:
    """Return what a server hears of an old and a new peer once the file of its endpoint was made again."""
    context = zmq.Context()
    os.mkdir(folder)
    endpoint = f"ipc://{folder}/door"
    server, old, new = context.socket(zmq.ROUTER), context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    server.bind(endpoint)
    old.connect(endpoint)
    old.send(b"old peer, at first")
    assert server.recv_multipart()[1] == b"old peer, at first"
    shutil.rmtree(folder)
    os.mkdir(folder)
    if unbind:
        server.unbind(endpoint)
    server.bind(endpoint)
    new.connect(endpoint)
    new.send(b"new")
    heard = [server.recv_multipart()[1]]
    old.send(b"old")
    if server.poll(3000):
        heard.append(server.recv_multipart()[1])
    context.destroy(linger=0)
    shutil.rmtree(folder)
    return heard


print("libzmq", zmq.zmq_version(), "pyzmq", zmq.pyzmq_version())
again = heard_after_the_door_was_made_again(False, os.path.join(sys.argv[1], "again"))
print("bound a second time, heard:", again)
unbound = heard_after_the_door_was_made_again(True, os.path.join(sys.argv[1], "unbound"))
print("unbound, and bound again, heard:", unbound)
if again != [b"new", b"old"] or unbound != [b"new"]:
    sys.exit("the behaviour has changed")
EOP
"$directory/venv/bin/python" "$directory/show.py" "$directory"
