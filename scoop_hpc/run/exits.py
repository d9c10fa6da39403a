"""Say how a process ended."""

from __future__ import annotations

import signal

OUT_OF_MEMORY = ": out of memory (oom_kill of its cgroup)"


def describe_exit(status: int) -> str:
    """Say what an exit status as of `os.waitstatus_to_exitcode` means.

    >>> describe_exit(3), describe_exit(-9)
    ('exit status 3', 'killed by SIGKILL')
    """
    if status >= 0:
        return f"exit status {status}"
    known = -status in signal.valid_signals()
    return f"killed by {signal.Signals(-status).name if known else f'signal {-status}'}"
