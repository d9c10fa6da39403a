"""Say how a process ended."""

from __future__ import annotations

from scoop_hpc.protocol.messages import Exited
from scoop_hpc.signal_names import signal_name

OUT_OF_MEMORY = ": out of memory (oom_kill of its cgroup)"
STOPPED = "it had been stopped for long, by SIGSTOP or the like"


def how_it_died(exited: Exited, too_long: bool) -> str:
    """Say how a process ended, and why, as far as that is known."""
    if too_long:
        return "was killed: a task exceeded its time limit"
    if exited.was_stopped:
        return f"was killed: {STOPPED}"
    return f"died: {describe_exit(exited.status)}{OUT_OF_MEMORY if exited.out_of_memory else ''}"


def describe_exit(status: int) -> str:
    """Say what an exit status as of `os.waitstatus_to_exitcode` means.

    >>> describe_exit(3), describe_exit(-9)
    ('exit status 3', 'killed by SIGKILL')
    """
    return f"exit status {status}" if status >= 0 else f"killed by {signal_name(-status)}"
