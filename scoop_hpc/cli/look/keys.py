"""The keys of a terminal: read one by one, and without waiting for the end of a line."""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import tty
from collections.abc import Iterator

from scoop_hpc.cli.look.view import DOWN, END, ENTER, ERASE, ESCAPE, HOME, PAGE_DOWN, PAGE_UP, TAB, UP

# as xterm sends them [XTerm Control Sequences, PC-Style Function Keys], in both modes of its cursor keys
_SEQUENCES = {
    "\x1b[A": UP, "\x1bOA": UP, "\x1b[B": DOWN, "\x1bOB": DOWN, "\x1b[5~": PAGE_UP, "\x1b[6~": PAGE_DOWN,
    "\x1b[H": HOME, "\x1bOH": HOME, "\x1b[1~": HOME, "\x1b[F": END, "\x1bOF": END, "\x1b[4~": END,
}  # fmt: skip
_SINGLE = {"\t": TAB, "\r": ENTER, "\n": ENTER, "\x1b": ESCAPE, "\x7f": ERASE, "\b": ERASE}
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL)


def keys_in(text: str) -> list[str]:
    r"""Return the keys that *text*, which was read at once, stands for; those that have no meaning are left out.

    >>> keys_in("s\x1b[B\x1b[1;5Cq"), keys_in("\x1b"), keys_in("/\x7f\r")
    (['s', 'down', 'q'], ['escape'], ['/', 'erase', 'enter'])
    """
    found = []
    for match in _KEY.finditer(text):
        key = match[0]
        if key in _SEQUENCES or key in _SINGLE:
            found.append(_SEQUENCES.get(key) or _SINGLE[key])
        elif len(key) == 1 and key.isprintable():
            found.append(key)
    return found


class Keys:
    """The keys that come by a *descriptor*; none, if that is no terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_open = os.isatty(descriptor)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let keys come at once, and not be seen, meanwhile; Ctrl-C stays what it is."""
        if not self._is_open:
            yield
            return
        before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that are pressed within *seconds*, as soon as there are some."""
        ready, _, _ = select.select([self._descriptor] if self._is_open else [], [], [], max(0.0, seconds))
        if not ready:
            return []
        text = os.read(self._descriptor, 1024)
        if not text:  # the terminal is gone
            self._is_open = False
        return keys_in(text.decode(errors="replace"))
