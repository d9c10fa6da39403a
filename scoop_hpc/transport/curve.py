"""CURVE for every TCP socket of a run: keys made for it, and a ZAP handler that lets in nobody else.

ZAP is RFC 27: libzmq asks the socket bound to ``inproc://zeromq.zap.01`` about every client that completed the
handshake; the answer here is yes for the run's own client key, and no for all others.
"""

from __future__ import annotations

import zmq
from zmq.utils import z85

from scoop_hpc.protocol.messages import Curve

_ENDPOINT = "inproc://zeromq.zap.01"


def make_keys() -> Curve:
    """Return fresh keys for one run."""
    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    return Curve(server_public.decode(), server_secret.decode(), client_public.decode(), client_secret.decode())


def serve(socket: zmq.Socket[bytes], curve: Curve) -> None:
    """Make *socket* accept clients of this run only; an `Authenticator` must be running in its context."""
    socket.curve_server = True
    socket.curve_publickey = curve.server_public.encode()
    socket.curve_secretkey = curve.server_secret.encode()
    socket.zap_domain = b"scoop_hpc"


def dial(socket: zmq.Socket[bytes], curve: Curve) -> None:
    """Make *socket* connect to servers of this run only."""
    socket.curve_serverkey = curve.server_public.encode()
    socket.curve_publickey = curve.client_public.encode()
    socket.curve_secretkey = curve.client_secret.encode()


class Authenticator:
    """The ZAP handler of one context: poll its ``socket``, and call `step` when it is readable."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], curve: Curve) -> None:
        self._allowed = z85.decode(curve.client_public)
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ENDPOINT)

    def step(self) -> None:
        """Answer one question."""
        version, request, _domain, _address, _identity, mechanism, *credentials = self.socket.recv_multipart()
        if mechanism == b"CURVE" and credentials == [self._allowed]:
            self.socket.send_multipart([version, request, b"200", b"OK", b"", b""])
        else:
            self.socket.send_multipart([version, request, b"400", b"not a key of this run", b"", b""])
