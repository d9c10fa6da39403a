"""Memory maps of segments that other processes of this machine have made: a reference leads to one."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import mmap
import os
import resource
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from scoop_hpc.errors import SegmentError
from scoop_hpc.protocol.messages import Batch, Buffer, Message, Reference, Results, Tasks
from scoop_hpc.transport.segments import LAYOUT, LEAST, WORD, Segments

_LEAST = 512 * 1024  # bytes: to copy less takes no longer than to map it, and a process may have 65,530 maps
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000  # mmap(2), as on nearly all of Linux's architectures


def usable() -> bool:
    """Return whether other processes of this user can map segments of this one [memfd_create(2), ptrace(2)]."""
    if not sys.platform.startswith("linux") or not hasattr(os, "memfd_create"):
        return False
    segments = Segments(most=1)
    try:
        if os.stat("/proc/self/fd").st_uid != os.geteuid():  # not dumpable [prctl(2), PR_SET_DUMPABLE]
            return False
        reference = segments.put(memoryview(bytearray(LEAST)))
        return reference is not None and len(opened(reference)) == LEAST
    except (OSError, SegmentError):
        return False
    finally:
        segments.close()


def own_segments() -> Segments | None:
    """Return the means of this process to share memory with others of its machine, None if there are none."""
    if not usable():
        return None
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Segments(most=descriptors // 2)  # the others are the program's


def opened(reference: Reference) -> mmap.mmap | bytearray:
    """Return the buffer that *reference* stands for, to be written to at will; raise SegmentError if it is gone."""
    if len(reference) != LAYOUT.size:
        raise SegmentError(f"{len(reference)} bytes cannot stand for a buffer")
    pid, descriptor, device, inode, capacity, size, number = LAYOUT.unpack(reference)
    path = f"/proc/{pid}/fd/{descriptor}"
    try:
        status = os.stat(path)
        if (status.st_dev, status.st_ino) != (device, inode):  # the descriptor is something else now: leave it alone
            raise SegmentError(f"process {pid} has dropped a buffer of {size} bytes before it was taken")
        if not 0 <= size <= capacity <= status.st_size - WORD.size:
            raise SegmentError(f"process {pid} has no buffer of {size} bytes")
        segment = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(segment, fcntl.LOCK_SH)
            if WORD.unpack(os.pread(segment, WORD.size, capacity))[0] // 2 != number:
                raise SegmentError(f"process {pid} has dropped a buffer of {size} bytes before it was taken")
            buffer = _mapped(segment, size) if size >= _LEAST else _read(segment, size)
            os.pwrite(segment, WORD.pack(2 * number + 1), capacity)
        finally:
            os.close(segment)
    except OSError as error:
        reason = "it has ended, or dropped it" if isinstance(error, FileNotFoundError) else error.strerror
        raise SegmentError(f"cannot have a buffer of {size} bytes from process {pid}: {reason}") from error
    return buffer


def taken(batch: Batch) -> Batch:
    """Return *batch* with its references opened; references to lost segments stay as they are."""
    if all(type(frame) is not Reference for frame in batch.frames):
        return batch
    return msgspec.structs.replace(batch, frames=[_taken(frame) for frame in batch.frames])


def taken_or_lost(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Return those of *batches* that are all here, their references opened, and those whose memory is lost.

    Outcomes are opened as soon as they come: their memory may be needed where it is, or go with its process.
    """
    for batch in batches:
        if len(batch.frames) != 1 or type(batch.frames[0]) is Reference:  # seldom
            break
    else:
        return list(batches), []
    found = [taken(batch) for batch in batches]
    lost = [batch for batch in found if any(type(frame) is Reference for frame in batch.frames)]
    return [batch for batch in found if batch not in lost] if lost else found, lost


def spelled_out(message: Message) -> Message:
    """Return *message* with its references opened, so that it can leave this machine."""
    if isinstance(message, (Tasks, Results)):
        batches = [taken(batch) for batch in message.batches]
        if any(new is not old for new, old in zip(batches, message.batches)):
            return msgspec.structs.replace(message, batches=batches)
    return message


def _taken(frame: Buffer) -> Buffer:
    if type(frame) is not Reference:
        return frame
    try:
        return opened(frame)
    except SegmentError:
        return frame


def _mapped(segment: int, size: int) -> mmap.mmap | bytearray:
    """Return a map of *segment*, copy on write, or its content where no more maps are allowed [vm.max_map_count].

    What `mmap.mmap` makes of a file keeps a descriptor of its own; a program may keep more arrays than it may have
    open files. So it makes a map of nothing, over which the segment is laid.
    """
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    try:
        buffer = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection)
    except OSError:
        return _read(segment, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    if _lay(address, size, protection, mmap.MAP_PRIVATE, segment):
        return buffer
    # the address must not be free for others while there is an object that will unmap it
    if not _lay(address, size, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, -1):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return _read(segment, size)


def _lay(address: int, size: int, protection: int, flags: int, segment: int) -> bool:
    """Map over what is at *address*; return whether that could be done."""
    return bool(_mmap()(address, size, protection, flags | _MAP_FIXED, segment, 0) == address)


@functools.cache
def _mmap() -> Any:
    """Return mmap(2): to find it takes 30 us."""
    call = ctypes.CDLL(None).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t
    return call


def _read(segment: int, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    read = 0
    while read < size:
        count = os.preadv(segment, [view[read:]], read)
        if not count:
            raise OSError(None, "it is too short")
        read += count
    return buffer
