"""Reading the files that users, sites and jobs set things up by, and checking the directories that hold them.

The owner is judged by `scoop_hpc.files.ownership`: of the file itself after it was opened, so that none can take its
place meanwhile, and of the directories above it. ``SCOOP_HPC_TRUST`` names directories, with colons between, in which
files of others are believed, such as those of a project.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from scoop_hpc.errors import InputError
from scoop_hpc.files.ownership import Entry, Identity, objection

TRUST = "SCOOP_HPC_TRUST"

MOST = 1 << 22  # bytes of a file: more than any has that somebody wrote
_LINKS = 40  # that may be followed on one way [path_resolution(7)]
_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # what a shell's <(...) and <<< are called


def read_file(
    path: str,
    what: str,
    trust: str | None = None,
    own: int = 1,
    streams: bool = False,
    most: int = MOST,
) -> bytes | None:
    """Return what is in the file *path*, None if there is none; raise InputError, which says *what* it is.

    With *trust*, the text of SCOOP_HPC_TRUST, refuse one that somebody else may have written, as `files.ownership`
    has it, with its *own* last entries. With *streams*, it may be what the user's shell has opened, to be read once.
    """
    is_stream = streams and path.startswith(_STREAMS)
    try:
        # a FIFO that nobody writes to must not keep us
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if is_stream else os.O_NONBLOCK))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(what, path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) and not is_stream:
            raise InputError(f"cannot read {what} {path!r}: {_kind(found.st_mode)}: name a file")
        if trust is not None and not is_stream:
            _check(path, what, trust, own, found)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise _unreadable(what, path, error) from error
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise InputError(f"cannot read {what} {path!r}: it has more than {most >> 20} MB: name another file")
    return content


def read_text(path: str, what: str, trust: str | None = None) -> str:
    """Return the text of the file *path*, which is there; raise InputError. See `read_file`."""
    content = read_file(path, what, trust, streams=True)
    if content is None:
        raise InputError(f"cannot read {what} {path!r}: {os.strerror(errno.ENOENT)}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        raise InputError(
            f"cannot read {what} {path!r}: {byte!r} in line {line} is not UTF-8: save it as that"
        ) from error


def check_directory(path: str, what: str, advice: str, own: int = 1, to_be_made: bool = False) -> None:
    """Refuse the directory *path* if it is there and others own it, or may write to it; *what* it is, an error says.

    One *to_be_made* is refused before it is there, if it would be then: what is missing of its way is made for this
    user alone.
    """
    there, missing = path, []
    while to_be_made and not os.path.isdir(there) and there != os.path.dirname(there):
        missing.append(Entry(there, stat.S_IFDIR | 0o700, os.geteuid(), os.getegid()))
        there = os.path.dirname(there)
    try:
        reason = objection([*_way(there), *reversed(missing)], identity(), own)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{_unreadable(what, path, error)}: {advice}") from error
    if reason is not None:
        raise InputError(f"{what} {path!r} is not safe: {reason}: {advice}")


def identity() -> Identity:
    """Return whose files this process believes."""
    uid = os.geteuid()
    # who owns the root directory is root, also where a container's user namespace calls him nobody
    return Identity(frozenset({uid, 0, os.stat("/").st_uid}), _private_groups(uid))


def _private_groups(uid: int) -> frozenset[int]:
    """Return the user's own group if it is his alone, by the way of Debian and Red Hat: its name or number is his.

    That other users have it as their first group is not looked for: that would be to read all of a site's users.
    """
    try:
        user = pwd.getpwuid(uid)
        group = grp.getgrgid(user.pw_gid)
    except KeyError:  # a container, or a site's directory service that does not answer
        return frozenset({uid} & {os.getegid()})
    if set(group.gr_mem) - {user.pw_name} or (group.gr_name != user.pw_name and group.gr_gid != uid):
        return frozenset()
    return frozenset({group.gr_gid})


def _check(path: str, what: str, trust: str, own: int, found: os.stat_result) -> None:
    if _is_trusted(path, trust):
        return
    way = _way(path)
    # the file that was opened, whatever has its name now
    way[-1] = Entry(way[-1].path, found.st_mode, found.st_uid, found.st_gid)
    reason = objection(way, identity(), own)
    if reason is not None:
        raise InputError(
            f"{what} {path!r} could make this run what others wrote: {reason}: copy it to a place of yours, "
            f"make it yours alone (chmod go-w), or let {TRUST} name its directory"
        )


def _is_trusted(path: str, trust: str) -> bool:
    real = os.path.realpath(path)
    directories = [os.path.realpath(each) for each in trust.split(":") if os.path.isabs(each)]
    return any(real.startswith(os.path.join(directory, "")) for directory in directories)


def _way(path: str) -> list[Entry]:
    """Return every directory and link that is passed on the way to *path*, from the root, and what is there; raise
    OSError."""
    way = [_entry("/")]
    here = "/"
    left = [part for part in os.path.join(os.getcwd(), path).split("/") if part][::-1]
    links = 0
    while left:
        part = left.pop()
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        entry = _entry(os.path.join(here, part))
        way.append(entry)
        if not stat.S_ISLNK(entry.mode):
            here = entry.path
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(entry.path)
        here = "/" if target.startswith("/") else here
        left += [part for part in target.split("/") if part][::-1]
    return way


def _entry(path: str) -> Entry:
    found = os.lstat(path)
    return Entry(path, found.st_mode, found.st_uid, found.st_gid)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "Is a directory", stat.S_IFIFO: "Is a FIFO", stat.S_IFSOCK: "Is a socket"}
    return kinds.get(stat.S_IFMT(mode), "Is a device")


def _unreadable(what: str, path: str, error: Exception) -> InputError:
    return InputError(f"cannot read {what} {path!r}: {getattr(error, 'strerror', None) or error}")
