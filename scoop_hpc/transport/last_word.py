"""A byte that a process shares with its parent, to say that it is about to end of its own accord.

An exit status of 0 alone does not tell that: a task, or a C library, may call ``exit(0)`` in the middle of the program.
It is memory, because a program may close every descriptor that it did not open. What the process had begun is beside
it, what it has executed, what it waits for, and what the parent has to say to it.
"""

from __future__ import annotations

import mmap
import os

from scoop_hpc.transport.accounts import AccountTable
from scoop_hpc.transport.begun import Begun
from scoop_hpc.transport.notice import Notice
from scoop_hpc.transport.tally import Tally


class LastWord:
    """Made by the parent before it forks. The child sets *owner*, because its own children have the page, too."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)  # shared, of no file
        self._owner = 0
        self.notice = Notice()
        self.begun = Begun()
        self.tally = Tally()
        self.accounts = AccountTable()
        self.trace = -1  # the child's descriptor to write its trace to, if that is wanted

    def take_over(self) -> None:
        """Make this process its owner."""
        self._owner = os.getpid()
        self.notice.take_over()

    def is_own(self) -> bool:
        """Return whether this process is the owner, and no child of it."""
        return os.getpid() == self._owner

    def say(self) -> None:
        """Say that this process is about to end."""
        if self.is_own():
            self._page[0] = 1

    def withdraw(self) -> None:
        """Say that this process goes on after all."""
        if self.is_own():
            self._page[0] = 0

    def said(self) -> bool:
        """Return whether it was said."""
        return self._page[0] == 1
