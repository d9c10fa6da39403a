"""Files for what workers print, one for each. The program's own output is that of the origin, and goes where it did."""

from __future__ import annotations

import os

from scoop_hpc.complaints import say
from scoop_hpc.protocol.names import ORIGIN, ProcessName, is_worker


class WorkerLogs:
    """The files in a *directory*: ``worker-3.1.log`` has what worker 3.1 prints, begun anew by each run.

    Each is opened for every piece of output: a run may have more workers than a process may have files open.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._begun: set[ProcessName] = set()
        self._works = True

    def add(self, name: ProcessName, text: bytes) -> bool:
        """Write *text*, which a process called *name* has printed, if that is a worker; return whether it was written.

        What cannot be written goes with the program's output from then on, after one warning.
        """
        if not self._works or not is_worker(name) or name == ORIGIN:
            return False
        path = os.path.join(self._directory, f"worker-{name}.log")
        try:
            with open(path, "ab" if name in self._begun else "wb", buffering=0) as file:
                self._begun.add(name)
                while text:
                    text = text[file.write(text) :]
        except OSError as error:
            self._works = False
            say(
                f"warning: cannot write {path!r}: {error.strerror}; what workers print goes with the output from now on"
            )
            return False
        return True
