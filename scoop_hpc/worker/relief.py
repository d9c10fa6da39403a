"""A thread that looks after a worker's queues while its main thread is busy with the user's code.

Python code that computes for ten seconds must not sit on tasks that others could do meanwhile. The thread sleeps while
the worker holds no task and no outcome back; else it looks up every few milliseconds. It does what the main thread
would do at its next look at the link, under the lock that guards the queues and the socket, and nothing else: it runs
no task and settles no future. Where that is needed, too, it calls for the threads of `Progress`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FIRST = 0.006  # seconds to a look; Python's switch interval, 5 ms, comes on top while the main thread computes
_MOST = 0.025  # seconds between looks where there was nothing to do for a while


class Relief:
    """Calls *act* every few milliseconds while that says that there is more to look after."""

    def __init__(self, act: Callable[[], bool]) -> None:
        self.armed = False
        self.error: BaseException | None = None  # that ended it: the main thread's to raise
        self._act = act
        self._event = threading.Event()
        self._thread: threading.Thread | None = None

    def arm(self) -> None:
        """Begin to look after the worker; `armed` says whether this is needed."""
        self.armed = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="scoop-hpc relief", daemon=True)
            self._thread.start()
        self._event.set()

    def _watch(self) -> None:
        interval = _FIRST
        while True:
            self._event.wait()
            time.sleep(interval)
            self._event.clear()
            self.armed = False  # before the look: what comes after it arms again
            try:
                more = self._act()
            except BaseException as error:  # whatever it is: a worker without relief would let others starve
                self.error = error
                return
            if more:
                self.armed = True
                self._event.set()
                interval = min(2 * interval, _MOST)
            else:
                interval = _FIRST
