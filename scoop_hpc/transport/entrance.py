"""The socket by which the processes of a node reach their broker.

::

    agent: bind, listen --> [ listening ] --fork--> broker: takes the connections that wait there
                |
                '--> [ way ] --fork--> workers: connect to /proc/self/fd/WAY

The agent makes it before it forks any of them. Where no other node's processes come by it, the file that it is bound to
is removed at once: who has a descriptor of that file [open(2), O_PATH] reaches the socket by the descriptor's name in
/proc [unix(7): a path leads to the socket's inode; proc(5), /proc/pid/fd]. So no file is left on a node whose processes
are killed, at whatever moment.
"""

from __future__ import annotations

import os
import shutil
import socket

from scoop_hpc.errors import LaunchError
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.transport.directory import choose_private, main_endpoint, make_private

_WAITING = 4096  # connections at most, of which the kernel allows net.core.somaxconn [listen(2)]


class Entrance:
    """A listening socket, made by the parent of those that it is for; raises LaunchError."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.way = -1  # the descriptor that leads to it, if that is how it is found
        self._directory = ""  # its own, if that is still there
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.setblocking(False)
                listener.bind(self._path)
                listener.listen(_WAITING)
                self.listening = listener.detach()
        except OSError as error:
            where = os.path.dirname(self._path)
            raise LaunchError(f"cannot make a socket in {where!r}: {error.strerror}") from error

    @property
    def _path(self) -> str:
        return self.endpoint.removeprefix("ipc://")

    @property
    def of_workers(self) -> tuple[int, ...]:
        """The descriptors that a process has to have to find it."""
        return (self.way,) if self.way >= 0 else ()

    def lose_name(self) -> None:
        """Be found by a descriptor only, and remove its directory; that is done by `close` where there is no other way.

        Both need Linux, and its /proc.
        """
        directory = self._directory = os.path.dirname(self._path)
        if not hasattr(os, "O_PATH"):
            return
        self.way = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        by_descriptor = f"/proc/self/fd/{self.way}"
        if os.path.exists(by_descriptor):
            self.endpoint, self._directory = f"ipc://{by_descriptor}", ""
            shutil.rmtree(directory, ignore_errors=True)

    def leave_to_broker(self) -> None:
        """Close the listening socket here: it ends with the broker."""
        os.close(self.listening)
        self.listening = -1

    def close(self) -> None:
        """Close what is open here."""
        for descriptor in (self.listening, self.way):
            if descriptor >= 0:
                os.close(descriptor)
        self.listening = self.way = -1
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)


def shared_entrance(directory: str, node: NodeIndex) -> Entrance:
    """Return the entrance of *node* that is found by its name in a private *directory*; raise LaunchError."""
    return Entrance(main_endpoint(directory, node))


def nameless_entrance(wish: str, node: NodeIndex) -> Entrance:
    """Return the entrance of *node* that only this process's children find; raise LaunchError.

    It is made in a directory in *wish*, or in /tmp, which is there for the blink of an eye.
    """
    directory = make_private(choose_private(wish))
    try:
        entrance = Entrance(main_endpoint(directory, node))
        entrance.lose_name()
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return entrance
