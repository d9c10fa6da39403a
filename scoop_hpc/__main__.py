"""`python -m scoop_hpc`: the same command as `scoop-hpc`; what is none of its subcommands is read as SCOOP's flags."""

import gc
import os
import signal
import sys

gc.disable()  # until a command begins: nothing of a module is garbage, and to look for some takes a tenth of its start

# Python puts the directory that the user stands in first: a random.py there is the user's, not the library's
try:
    here = os.getcwd()
except OSError:  # it was removed
    here = ""
if sys.path[0] == here != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while modules are imported needs no traceback

from scoop_hpc.cli.main import main  # noqa: E402  it and what it imports is what the collector need not look at

if __name__ == "__main__":
    main(scoops_flags=True)
