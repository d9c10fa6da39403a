"""What `benchmarks.nodes` does in an allocation: start Python on all nodes by srun, then run the program there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    nodes, workers, told = sys.argv[1:]
    began = time.time()
    argv = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", sys.executable, "-c", "import zmq"]
    subprocess.run(argv, check=True)
    print("srun", time.time() - began, flush=True)
    print("began", time.time(), flush=True)
    program = str(Path(__file__).with_name("nodes_program.py"))
    subprocess.run([sys.executable, "-m", "scoop_hpc", "run", program, workers, told], check=True)
    print("ended", time.time(), flush=True)
