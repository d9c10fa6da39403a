"""Lines that are not whole yet, such as progress bars, on their way into a stream that many workers share.

A bar is one line that is drawn again and again, each time from its beginning (CR). A terminal shows it as it comes. In
a file, where the pieces of several workers would run into each other, a line is written when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator

_LINE = 1 << 20  # bytes: a longer line is written in pieces


class Lines:
    """Decides what to write to a stream now, and what to keep until its line is whole; a *terminal* gets everything."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._held: dict[str, bytes] = {}  # worker: the beginning of a line
        self._open = ""  # the worker whose line the terminal's cursor is in

    def add(self, worker: str, text: bytes) -> bytes:
        """Take what *worker* prints; return what to write."""
        if self._terminal:
            # another's text must not be glued to a line; but a bar takes the place of another's bar
            first = b"\n" if self._open not in ("", worker) and not text.startswith((b"\r", b"\n")) else b""
            self._open = "" if text.endswith(b"\n") else worker
            return first + text
        text = self._held.pop(worker, b"") + text
        whole, newline, rest = text.rpartition(b"\n")
        if len(rest) > _LINE:
            return text
        if rest:
            self._held[worker] = rest
        return whole + newline

    def rest(self) -> Iterator[bytes]:
        """Yield the lines that nobody has ended, at the end of the run."""
        while self._held:
            yield self._held.popitem()[1]
