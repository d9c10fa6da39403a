#!/usr/bin/env bash
# A ZeroMQ ipc endpoint whose file was removed is reached by a descriptor of that file, even before its ROUTER is there.
#
# One would guess: ipc:// is a path, so the file has to be there for as long as anybody may connect; and it comes to be
# with the ROUTER's bind. So a parent whose children meet at a broker leaves a directory in /tmp while they live, and
# for ever where all of them are killed.
# True is: the kernel looks for the inode that a path leads to [unix(7); connect(2)], and /proc/self/fd/N leads to the
# inode of a descriptor that was opened by O_PATH [open(2)], whether or not it has a name still. libzmq passes on
# whatever is behind ipc://, so ipc:///proc/self/fd/N connects, in every child that has inherited N. With ZMQ_USE_FD
# [zmq_setsockopt(3)] a ROUTER takes over a socket that its parent has bound and that listens already, and with it the
# connections that wait there and what was sent into them.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyzmq==26.2.0

mkdir "$directory/place"
"$directory/venv/bin/python" - "$directory/place" <<'EOP'
import os
import shutil
import socket
import sys

import zmq

place = sys.argv[1]
print("pyzmq", zmq.__version__, "libzmq", zmq.zmq_version())
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{place}/broker")
listener.listen()
listener.setblocking(False)
way = os.open(f"{place}/broker", os.O_PATH | os.O_CLOEXEC)
shutil.rmtree(place)
print("files left:", os.path.exists(place))

context = zmq.Context()
early, by_name = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
early.connect(f"ipc:///proc/self/fd/{way}")
early.send(b"sent before the ROUTER was there")
by_name.connect(f"ipc://{place}/broker")
by_name.send(b"sent by the name")

router = context.socket(zmq.ROUTER)
router.setsockopt(zmq.USE_FD, listener.detach())
router.bind(f"ipc://{place}/broker")
if not router.poll(10_000):
    raise SystemExit("a descriptor leads to no ipc endpoint now")
print("by the descriptor:", router.recv_multipart()[-1].decode())
if router.poll(1_000):
    raise SystemExit("the name leads there although its file was removed")
print("by the name: nothing, for its file is not there")
context.destroy(linger=0)
EOP
