"""Run a command of this machine and take its output."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from minicluster.state import ClusterError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a login's environment, with *extra*, and nothing of ours."""
    base = {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "TERM": "dumb"}
    return {**base, "LANG": os.environ.get("LANG", "C.UTF-8"), **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 120,
    text: str = "",
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run *argv* with *text* on its stdin; stdout of the answer holds both streams."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input=text,
            text=True,
            timeout=timeout,
            env=env or environment(),
        )
    except FileNotFoundError:
        raise ClusterError(f"no such command: {argv[0]!r}") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"took longer than {timeout:g} s: {list(argv)!r}") from None
    if check and done.returncode:
        raise ClusterError(f"failed with status {done.returncode}: {list(argv)!r}\n{done.stdout.rstrip()}")
    return done
