"""The options of Grid Engine's qsub, and ours that mean the same."""

from __future__ import annotations

from types import MappingProxyType

from scoop_hpc.schedulers.own_options import DIRECTIVE, OwnOptions
from scoop_hpc.schedulers.qsub_options import BASH, OUTPUT_HAS_BOTH, QSUB, RESOURCES

_DIRECTORY = "--chdir (by default, the directory that you submit from)"
_LEFT_OUT = "not needed"

QSUB_OF_SGE = OwnOptions(
    "Grid Engine's",
    MappingProxyType(  # qsub(1)
        {
            **QSUB,
            "A": "--account (Grid Engine's -P; or --directive '-A ...')",
            "P": "--account",
            "S": BASH,
            "ar": "--reservation",
            "b": "not needed (the program is named behind all options)",
            "cwd": _DIRECTORY,
            "hard": DIRECTIVE,
            "hold_jid": "--after-any",
            "j": OUTPUT_HAS_BOTH,
            "notify": "--signal",
            "now": _LEFT_OUT,
            "pe": "--pe (its name; the slots are --workers, or --nodes times --workers-per-node)",
            "shell": _LEFT_OUT,
            "soft": DIRECTIVE,
            "sync": "--wait",
            "t": "--array",
            "tc": "--array (FIRST-LAST%LIMIT)",
            "terse": "--parsable",
            "w": "--dry-run",
            "wd": "--chdir",
        }
    ),
    resources=RESOURCES,
)
