"""The progress thread, in MPI's sense: it polls for a worker whose main thread is busy with the user's code.

Python code that computes for ten seconds must not sit on tasks that others could do meanwhile. The thread sleeps while
the worker holds no task and no outcome back; else it looks up every few milliseconds. It does what the main thread
would do at its next look at the link, under the lock that guards the queues and the socket, and nothing else: it runs
no task and settles no future. Where that is needed, too, it calls for the threads of `Progress`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ProgressThread:
    """Calls *look* again and again, each time after so many seconds as that returned, until it returns None."""

    def __init__(self, look: Callable[[], float | None], first: float) -> None:
        self.armed = False
        self.error: BaseException | None = None  # that ended it: the main thread's to raise
        self._look = look
        self._first = first  # seconds to the first look
        self._event = threading.Event()
        self._thread: threading.Thread | None = None

    def arm(self) -> None:
        """Begin to look after the worker; `armed` says whether this is needed."""
        self.armed = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="scoop-hpc progress", daemon=True)
            self._thread.start()
        self._event.set()

    def _watch(self) -> None:
        interval: float | None = self._first
        while True:
            self._event.wait()
            time.sleep(self._first if interval is None else interval)
            self._event.clear()
            self.armed = False  # before the look: what comes after it arms again
            try:
                interval = self._look()
            except BaseException as error:  # whatever it is: a worker without progress would let others starve
                self.error = error
                return
            if interval is not None:
                self.armed = True
                self._event.set()
