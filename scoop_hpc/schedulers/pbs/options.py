"""The options of PBS's qsub, and ours that mean the same."""

from __future__ import annotations

from types import MappingProxyType

from scoop_hpc.schedulers.own_options import DIRECTIVE, OwnOptions
from scoop_hpc.schedulers.qsub_options import BASH, OUTPUT_HAS_BOTH, QSUB, RESOURCES

QSUB_OF_PBS = OwnOptions(
    "PBS's",
    MappingProxyType(  # qsub(1B)
        {
            **QSUB,
            "A": "--account",
            "I": "not for submit (scoop-hpc run, in the shell that qsub -I gives)",
            "J": "--array",
            "P": DIRECTIVE,
            "R": DIRECTIVE,
            "S": BASH,
            "W": "--after, --after-any or --after-failure (for depend=; else --directive '-W ...')",
            "d": "--chdir",  # Torque's
            "j": OUTPUT_HAS_BOTH,
            "k": "not needed (the output is written where --output says)",
            "t": "--array",  # Torque's
        }
    ),
    resources=RESOURCES,
)
