"""The names of signals, for people."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none [signal(7)].

    >>> signal_name(9), signal_name(35)
    ('SIGKILL', 'signal 35')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
