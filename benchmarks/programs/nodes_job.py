"""What `benchmarks.nodes` does in an allocation: start Python on all nodes by srun, then run the program there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    nodes, workers, told = sys.argv[1:]
    began = time.time()
    argv = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", sys.executable, "-c", "import zmq"]
    # how many tasks the run may have on each node: srun warns where it is to start another number
    environ = {name: value for name, value in os.environ.items() if name != "SLURM_NTASKS_PER_NODE"}
    subprocess.run(argv, env=environ, check=True)
    print("srun", time.time() - began, flush=True)
    print("began", time.time(), flush=True)
    program = str(Path(__file__).with_name("nodes_program.py"))
    subprocess.run([sys.executable, "-m", "scoop_hpc", "run", program, workers, told], check=True)
    print("ended", time.time(), flush=True)
