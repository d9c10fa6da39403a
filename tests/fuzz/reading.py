"""What has to hold of any frames that are read as a message."""

from __future__ import annotations

import time

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec, lines
from tests.fuzz.damage import make_frames

_LONGEST_ERROR = 1000  # characters: it is a line for the user
_LONGEST = 1.0  # seconds, on a busy machine


def fault_of(seed: int) -> str:
    """Read the frames of *seed*; return what is wrong with how they were read, empty if all is well."""
    frames = make_frames(seed)
    began = time.process_time()
    try:
        fault = _fault_of_frames(frames) or _fault_of_line(b"".join(frames))
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    took = time.process_time() - began
    return fault or (f"took {took:.1f} s" if took > _LONGEST else "")


def _fault_of_frames(frames: list[bytes]) -> str:
    try:
        message = codec.decode(frames)
    except ProtocolError as error:
        return _fault_of_error(error)
    again = codec.decode([bytes(frame) for frame in codec.encode(message)])
    return "" if again == message else f"{message!r} is {again!r} after another journey"


def _fault_of_line(line: bytes) -> str:
    try:
        message = lines.decode(line)
    except ProtocolError as error:
        return _fault_of_error(error)
    return "" if lines.decode(lines.encode(message)) == message else f"{message!r} changes"


def _fault_of_error(error: ProtocolError) -> str:
    text = str(error)
    return "" if text.isprintable() and len(text) <= _LONGEST_ERROR else f"this is no line: {text!r}"
