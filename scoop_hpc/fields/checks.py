"""What the values of options may be: checks, and the words to choose from.

They are apart from the table of options: `scoop-hpc run` needs no more than these.
"""

from __future__ import annotations

import os.path
import re
import unicodedata

from scoop_hpc.errors import JobSpecError
from scoop_hpc.shares.share import ALL_GPUS, BINDINGS

MAIL_EVENTS = ("begin", "end", "fail")
LAUNCHERS = ("mpi", "pbs_tmrsh", "pbsdsh", "qrsh", "srun")  # of scoop_hpc.launchers, those for jobs
RUNTIMES = ("apptainer", "singularity", "pyxis")
ON_NODE_LOSS = ("continue", "fail")
GRACE = 60  # seconds
LONGEST_GRACE = 86400
PROGRESS = ("auto", "bar", "log", "none")
LOG_LEVELS = ("debug", "info", "warning", "error")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("job_id", "array_index", "name")
CENTURY = 100 * 365 * 86400  # seconds


def check_line(what: str, value: str) -> None:
    """Raise JobSpecError for a text that cannot be in one line of a script: empty, or with control characters."""
    if not value.strip():
        raise JobSpecError(f"the {what} {value!r} is empty: give a text, or leave it out")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise JobSpecError(f"the {what} {value!r} holds {character!r}: write it without control characters")


def check_directory(what: str, value: str) -> None:
    check_line(what, value)
    if not os.path.isabs(value):
        raise JobSpecError(f"the {what} {value!r} is relative: give an absolute path")


def check_file(what: str, value: str) -> None:
    check_line(what, value)
    for name in PLACEHOLDER.findall(value):
        if name not in _PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
            raise JobSpecError(f"the {what} {value!r} holds {{{name}}}: the placeholders are {known}")


def check_event(what: str, value: str) -> None:
    if value not in MAIL_EVENTS:
        raise JobSpecError(f"there is no mail event {value!r}: choose of {', '.join(MAIL_EVENTS)}")


def check_runtime(what: str, value: str) -> None:
    if value not in RUNTIMES:
        raise JobSpecError(f"there is no container runtime {value!r}: choose of {', '.join(RUNTIMES)}")


def check_on_node_loss(what: str, value: str) -> None:
    if value not in ON_NODE_LOSS:
        raise JobSpecError(f"--on-node-loss {value!r} is unknown: choose of {', '.join(ON_NODE_LOSS)}")


def check_launcher(what: str, value: str) -> None:
    if value not in LAUNCHERS:
        raise JobSpecError(f"there is no launcher {value!r} for jobs: choose of {', '.join(LAUNCHERS)}")


def check_progress(what: str, value: str) -> None:
    if value not in PROGRESS:
        raise JobSpecError(f"there is no progress {value!r}: choose of {', '.join(PROGRESS)}")


def check_log_level(what: str, value: str) -> None:
    if value not in LOG_LEVELS:
        raise JobSpecError(f"there is no log level {value!r}: choose of {', '.join(LOG_LEVELS)}")


def check_binding(what: str, value: str) -> None:
    if value not in BINDINGS:
        raise JobSpecError(f"--bind {value!r} is unknown: choose of {', '.join(BINDINGS)}")


def check_gpus_per_worker(what: str, value: str) -> None:
    """Raise JobSpecError for a text that is neither a positive number nor "all"."""
    if value != ALL_GPUS and not re.fullmatch("0*[1-9][0-9]{0,3}", value, re.ASCII):
        raise JobSpecError(f"--gpus-per-worker {value!r}: give a positive number, or {ALL_GPUS}")


def check_niceness(what: str, value: int) -> None:
    if not -20 <= value <= 19:  # setpriority(2)
        raise JobSpecError(f"--nice {value}: give -20 to 19")


def check_patience(what: str, value: float) -> None:
    if not 0 < value < CENTURY:
        raise JobSpecError(f"--patience {value}: give a positive number of seconds")


def check_variable(what: str, variable: tuple[str, str]) -> None:
    name, value = variable
    if not _VARIABLE.fullmatch(name) or "\0" in value:
        raise JobSpecError(f"{what} {name + '=' + value!r} sets no variable: write NAME=VALUE")


def check_port(metrics: str) -> None:
    """Raise JobSpecError for *metrics* that go to a port that cannot be."""
    if is_port(metrics) and not 0 < int(metrics.rpartition(":")[2]) < 1 << 16:
        raise JobSpecError(f"--metrics {metrics}: a port is a number from 1 to 65535", "--metrics")


def is_port(metrics: str) -> bool:
    """Return whether *metrics* go to a port, and not into a file.

    >>> is_port("9100"), is_port("0.0.0.0:9100"), is_port("run:1/9100"), is_port("metrics.prom")
    (True, True, False, False)
    """
    return re.fullmatch(r"([^/:]*:|\[[0-9a-fA-F:.]*\]:)?[0-9]{1,5}", metrics) is not None
