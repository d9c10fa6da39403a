"""From launch to the first result, and to the end, against starting bare interpreters in the same way."""

from __future__ import annotations

import os
import sys
import time

from benchmarks.measure import PROGRAMS, SCOOP_HPC, medians, printed, seconds, show


def main() -> None:
    """Measure on this machine, or in the Slurm allocation that this is in."""
    nodes = os.environ.get("SLURM_JOB_NUM_NODES")
    words = [] if nodes else ["-n", "2"]
    run = [*SCOOP_HPC, "run", *words, str(PROGRAMS / "first_result.py")]
    peer = ["srun", f"-N{nodes}", sys.executable, "-c", "pass"] if nodes else [sys.executable, "-c", "pass"]

    def first_result() -> float:
        launched = time.time()
        return printed(run)[0] - launched

    bare, first, whole = medians([lambda: seconds(peer), first_result, lambda: seconds(run)])
    where = f"{nodes} Slurm nodes" if nodes else "this machine, 2 workers"
    show(
        f"start-up on {where}",
        [
            (" ".join(peer[:2] + peer[-2:]) if nodes else "python -c pass", f"{bare:.3f} s"),
            ("scoop-hpc run: launch to first result", f"{first:.3f} s, ratio {first / bare:.1f}"),
            ("scoop-hpc run: launch to prompt", f"{whole:.3f} s, ratio {whole / bare:.1f}"),
            ("first result later than the bare interpreters by", f"{first - bare:.3f} s"),
        ],
    )
