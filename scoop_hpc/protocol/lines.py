"""Messages as lines of JSON, for the pipes between a pool and its client."""

from __future__ import annotations

import msgspec

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Fault, Open, Order, Shutdown

Line = Order | Open | Fault | Shutdown

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encode(message: Line) -> bytes:
    """Return *message* as a line.

    >>> encode(Fault("no node answered"))
    b'["Fault","no node answered",1,false,""]\\n'
    """
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Line:
    """Return the message in *line*; raise ProtocolError if it is invalid."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"cannot read the line {line[:200]!r}: {ascii(str(error))[:200]}") from error
