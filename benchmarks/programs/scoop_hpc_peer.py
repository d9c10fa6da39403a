"""scoop_hpc: the program runs in a process beside the workers."""

from __future__ import annotations

import os

from functions import Verbs
from processes import below, broker_among, parent
from site_peer import Run
from workloads import main


class ScoopHpc(Run):
    """Futures of the run that this program is started in, and what its own rows look at."""

    verbs = Verbs("scoop_hpc.futures")

    def broker(self) -> int:
        return broker_among(below(os.getppid()))

    def root(self) -> int:
        return parent(os.getppid())  # the agent's: the command


if __name__ == "__main__":
    main(ScoopHpc)
