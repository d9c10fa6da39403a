"""Whole lines out of what comes through a pipe piece by piece."""

from __future__ import annotations


class LineBuffer:
    """Keeps the beginning of a line until its end has come; a long line is not copied with every piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, text: bytes) -> list[bytes]:
        r"""Take in *text*; return the lines that are whole now, without their ends.

        >>> buffer = LineBuffer()
        >>> buffer.add(b"one\ntwo\nth"), buffer.add(b"ree\n"), buffer.rest()
        ([b'one', b'two'], [b'three'], b'')
        """
        first, *others = text.split(b"\n")
        self._pieces.append(first)
        if not others:
            return []
        lines = [self.rest(), *others]
        self._pieces.append(lines.pop())
        return lines

    def rest(self) -> bytes:
        """Return the beginning of a line whose end has not come, and forget it."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return rest
