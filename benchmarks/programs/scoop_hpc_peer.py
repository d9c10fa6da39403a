"""scoop_hpc: the program runs in a process beside the workers."""

from __future__ import annotations

import os
from pathlib import Path

from functions import Verbs
from site_peer import Run
from workloads import main


class ScoopHpc(Run):
    """Futures of the run that this program is started in, and what its own rows look at."""

    verbs = Verbs("scoop_hpc.futures")

    def broker(self) -> int:
        agent = os.getppid()
        for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text() == "scoop-broker\n":
                return int(pid)
        raise SystemExit("no broker beside this process")


if __name__ == "__main__":
    main(ScoopHpc)
