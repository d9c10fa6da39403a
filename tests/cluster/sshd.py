"""An ssh on the login node, for a cluster that has no sshd.

Its words and its streams go through a socket that all hosts see to this process, which is outside and can enter every
host.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicluster.cluster import Cluster
from minicluster.shell import environment

_CLIENT = """#!{python}
import json, socket, sys

words = sys.argv[1:]
while words[0].startswith("-"):
    del words[: 2 if words[0] == "-o" else 1]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    socket.send_fds(server, [json.dumps(words).encode() + b"\\n"], [0, 1, 2])
    status = server.recv(8)
sys.exit(int(status or 255))
"""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, cluster: Cluster) -> None:
        super().__init__(path, _Session)
        self.cluster = cluster


class _Session(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        text, streams, _, _ = socket.recv_fds(self.request, 1 << 16, 3)
        host, *words = json.loads(text)
        try:
            status = self._run(host, " ".join(words), streams)
        finally:
            for stream in streams:
                os.close(stream)
        self.request.sendall(b"%d" % status)

    def _run(self, host: str, command: str, streams: list[int]) -> int:
        assert isinstance(self.server, _Server)
        if host not in self.server.cluster.state.hosts:
            os.write(streams[2], f"ssh: Could not resolve hostname {host}: Name or service not known\r\n".encode())
            return 255
        argv = self.server.cluster.enter_argv(host, ["/bin/sh", "-c", command])
        stdin, stdout, stderr = streams
        return subprocess.run(
            argv, check=False, stdin=stdin, stdout=stdout, stderr=stderr, env=environment()
        ).returncode


@contextmanager
def ssh(cluster: Cluster, directory: Path) -> Iterator[Path]:
    """Make a program `ssh` in *directory*, which all hosts see; yield the directory that it is in."""
    path = directory / "sshd"
    program = directory / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(_CLIENT.format(python=sys.executable, path=str(path)))
    program.chmod(0o755)
    with _Server(str(path), cluster) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield program.parent
        server.shutdown()
        thread.join()
