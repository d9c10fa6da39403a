"""`python -m scoop_hpc.schedulers.local`: what `scoop_hpc.schedulers.local.adapter` calls."""

import os
import sys

# Python puts the directory that the user stands in first: a random.py there is the user's, not the library's
try:
    here = os.getcwd()
except OSError:  # it was removed
    here = ""
if sys.path[0] == here != os.path.abspath(__file__).rpartition("/scoop_hpc/")[0]:
    del sys.path[0]

from scoop_hpc.schedulers.local.commands import main

if __name__ == "__main__":
    main()
