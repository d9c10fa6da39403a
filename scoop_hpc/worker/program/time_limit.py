"""Kill this process when a task has taken too long, whatever it does: its parent tells who was to blame, and goes on.

The kernel does it, by a timer that sends SIGKILL [timer_create(2)]: a thread of ours would need the interpreter's lock,
which a library in a long computation may hold. Where there are no such timers, a thread it is.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from typing import Any

_CLOCK_MONOTONIC = 1  # clock_gettime(2), on Linux
_SIGEV_SIGNAL = 0  # sigevent(7)


class _Event(ctypes.Structure):
    """Struct sigevent: 64 bytes, of which the kernel reads these [sigevent(7)]."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Times(ctypes.Structure):
    """Struct itimerspec: the interval, and the time until the first expiry [timer_settime(2)]."""

    _fields_ = (
        ("interval", ctypes.c_long * 2),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class KillTimer:
    """Kills this process after *seconds*, unless it is stopped before."""

    def __init__(self, seconds: float) -> None:
        self._id = _start(seconds)
        self._thread: threading.Timer | None = None
        if self._id is None:
            self._thread = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
            self._thread.daemon = True
            self._thread.start()

    def stop(self) -> None:
        """Let this process live."""
        if self._id is not None:
            _library().timer_delete(self._id)
        if self._thread is not None:
            self._thread.cancel()


def _start(seconds: float) -> ctypes.c_void_p | None:
    """Start a timer of the kernel's and return its id, None if there is none to be had."""
    library = _library()
    if library is None:
        return None
    timer = ctypes.c_void_p()
    event = _Event(number=signal.SIGKILL, notify=_SIGEV_SIGNAL)
    if library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return None
    whole = int(seconds)
    times = _Times(seconds=whole, nanoseconds=max(1, int((seconds - whole) * 1e9)))
    if library.timer_settime(timer, 0, ctypes.byref(times), None):
        library.timer_delete(timer)
        return None
    return timer


@functools.cache
def _library() -> Any:
    """Return the C library, None if it has no such timers; they were in a library of their own before glibc 2.34."""
    if not sys.platform.startswith("linux"):
        return None
    for name in (None, "librt.so.1"):
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if hasattr(library, "timer_create"):
            library.timer_delete.argtypes = (ctypes.c_void_p,)
            library.timer_settime.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p
            return library
    return None
