"""The program of doctor's job: it prints, as the last of its lines, what the nodes have found."""

import os
import sys

from scoop_hpc.doctor.job.origin import look_everywhere
from scoop_hpc.doctor.job.report import write

if __name__ == "__main__":
    nodes, *words = sys.argv[1:]
    marks = tuple(zip(words[::2], words[1::2]))  # directories, and the names of the files in them
    print(write(look_everywhere(int(nodes), marks, os.environ)), flush=True)
