"""Files that a run will write: tried at once, so that its end is not the first to hear of a wrong name."""

from __future__ import annotations

import os

from scoop_hpc.errors import InputError


def usable(path: str, what: str) -> str:
    """Return the whole *path* of a file that can be appended to, for *what*; empty if none is wanted."""
    if not path:
        return ""
    try:
        with open(path, "a"):
            return os.path.abspath(path)
    except OSError as error:
        raise InputError(f"cannot write the {what} {path!r}: {error.strerror}") from error
