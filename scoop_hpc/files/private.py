"""The directory for all that is kept between commands, and private files in it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping

from scoop_hpc.errors import InputError
from scoop_hpc.files.reading import check_directory


def root(environ: Mapping[str, str]) -> str:
    """Return the absolute path of the directory for all state.

    >>> root({"SCOOP_HPC_STATE": "/scratch/me"})
    '/scratch/me'
    >>> root({"XDG_STATE_HOME": "/home/me/state"})
    '/home/me/state/scoop_hpc'
    """
    given = environ.get("SCOOP_HPC_STATE", "")
    if given:
        return os.path.abspath(given)
    base = environ.get(
        "XDG_STATE_HOME", ""
    )  # relative paths in it are to be ignored [XDG Base Directory Specification]
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.local/state")
    return os.path.join(base, "scoop_hpc")


def make_private(directory: str) -> None:
    """Make *directory*, and those above it, for this user only, if it is not there; refuse one that is not safe."""
    missing = [directory]
    while not os.path.isdir(os.path.dirname(missing[-1])):
        missing.append(os.path.dirname(missing[-1]))
    with explained(f"cannot make the directory {directory!r}"):
        for each in reversed(missing):  # with umask 002, a group could write to those that makedirs makes above
            if not os.path.isdir(each):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(each, 0o700)
        if not os.path.isdir(directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    check_private(directory)


def check_private(directory: str, to_be_made: bool = False) -> None:
    """Refuse *directory*, of what we keep, if others may write to it or to the one above: scripts are read from there,
    and, by the shells of agents, the environment of a run. One *to_be_made* need not be there yet."""
    check_directory(
        directory,
        "the directory for state",
        "make it yours alone (chmod go-w), or let SCOOP_HPC_STATE name another",
        own=2,
        to_be_made=to_be_made,
    )


def write_text(path: str, text: str) -> None:
    """Put *text* into the file *path*, for this user only, whole or not at all."""
    new = f"{path}.{os.urandom(4).hex()}"
    with explained(f"cannot write {path!r}"):
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            os.replace(new, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Make an OSError an InputError: *what* failed, why, and what to do."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}; SCOOP_HPC_STATE names another directory for jobs") from error
