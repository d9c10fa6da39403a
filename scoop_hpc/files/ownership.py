"""Who may have written a file, judged by what stat(2) says of it and of the way to it, as ssh's StrictModes does.

What is in a file of settings, a template or the directory for state is run as this user. So it has to be the user's own
or root's, and nobody else may write to it. Directories above it may be others': what these put in its place is theirs,
and refused. But they may not be open to everybody: there, anybody can rename the user's files, and lay links.

================= ==================== ========================= ======================
entry             owner                a group may write to it   everybody may
================= ==================== ========================= ======================
the file          the user or root     the user's private group  never
*own* directories the user or root     that, or if it is sticky  only if it is sticky
directories above anybody              a team's                  only if it is sticky
symbolic links    anybody; in a directory that everybody may write to, the user or root
================= =====================================================================

A sticky directory lets others add files, but neither rename nor remove the user's [unlink(2), EPERM].
"""

from __future__ import annotations

import stat
from collections.abc import Sequence

from msgspec import Struct


class Entry(Struct, frozen=True):
    """One directory, link or file on the way to a file, and what lstat says of it."""

    path: str
    mode: int
    uid: int
    gid: int


class Identity(Struct, frozen=True):
    """The owners whose files are believed: *uids* are the user's and root's; *groups* have no other member."""

    uids: frozenset[int]
    groups: frozenset[int] = frozenset()


def objection(way: Sequence[Entry], who: Identity, own: int = 1) -> str | None:
    """Return why the last entry of *way* is not to be believed, None if it is.

    *way* begins at the root. Its last *own* entries, links apart, have to be the user's or root's.

    >>> me = Identity(frozenset({0, 1000}))
    >>> root, scratch = Entry("/", 0o40755, 0, 0), Entry("/scratch", 0o41777, 0, 0)
    >>> objection([root, scratch, Entry("/scratch/a", 0o100644, 1000, 1000)], me)
    >>> objection([root, scratch, Entry("/scratch/a", 0o100644, 1001, 1001)], me)
    "'/scratch/a' belongs to another user (uid 1001)"
    >>> objection([root, scratch, Entry("/scratch/a", 0o100666, 1000, 1000)], me)
    "everybody may write to '/scratch/a' (mode 0666)"
    """
    solid = [entry for entry in way if not stat.S_ISLNK(entry.mode)]
    owned = {entry.path for entry in solid[-own:]}
    above = None
    for entry in way:
        if stat.S_ISLNK(entry.mode):
            if above is not None and _is_open(above) and entry.uid not in who.uids:
                return f"the link {entry.path!r} was laid by another user (uid {entry.uid})"
            continue
        above = entry
        mode = f"(mode {stat.S_IMODE(entry.mode):04o})"
        if entry.path in owned and entry.uid not in who.uids:
            return f"{entry.path!r} belongs to another user (uid {entry.uid})"
        if entry is not solid[-1] and entry.mode & stat.S_ISVTX:
            continue
        if _is_open(entry):
            return f"everybody may write to {entry.path!r} {mode}"
        if entry.path in owned and entry.mode & stat.S_IWGRP and entry.gid not in who.groups:
            return f"a group (gid {entry.gid}) may write to {entry.path!r} {mode}"
    return None


def _is_open(entry: Entry) -> bool:
    return bool(entry.mode & stat.S_IWOTH)
