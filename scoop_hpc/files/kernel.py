"""Read the files by which the kernel tells of itself, in /proc and /sys."""

from __future__ import annotations


def read_text(path: str) -> str | None:
    """Return what is in the file *path*, None if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
