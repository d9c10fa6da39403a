"""The private directory of a node's ipc sockets."""

from __future__ import annotations

import os

from scoop_hpc.errors import LaunchError
from scoop_hpc.protocol.names import NodeIndex

ROOM = 76  # bytes for the directory above it: a socket's whole path may have 107 [unix(7)]


def choose_private(wish: str) -> str:
    """Return a path that nobody can guess, in *wish* if that is short enough."""
    above = os.path.abspath(wish) if wish else "/tmp"
    if not os.path.isdir(above) or len(os.fsencode(above)) > ROOM:
        above = "/tmp"
    return os.path.join(above, f"scoop-{os.urandom(6).hex()}")


def make_private(path: str) -> str:
    """Make a directory that only this user can enter, where nothing is yet; return its path."""
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise LaunchError(
            f"cannot make a directory in {os.path.dirname(path)!r}: {error.strerror}; set TMPDIR"
        ) from error
    return path


def main_endpoint(directory: str, node: NodeIndex) -> str:
    """Return where the broker of *node* meets its workers and its agent."""
    return f"ipc://{directory}/{node}"
