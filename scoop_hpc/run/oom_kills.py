"""Count the processes of this one's cgroup that the kernel has killed, out of memory: SIGKILL does not say why."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_V2 = "/sys/fs/cgroup{}/memory.events"  # cgroup-v2.rst, Memory Interface Files
_V1 = "/sys/fs/cgroup/memory{}/memory.oom_control"  # cgroup-v1/memory.rst, OOM Control


class OomKills:
    """Counts such kills from now on; *read* returns the text of a file, None if there is none."""

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self._read = read
        self._paths = list(_candidates(read("/proc/self/cgroup") or ""))
        self._counts = deque([self._count()], maxlen=2)

    def look(self) -> None:
        """Take note of kills until now, say of a task's own children: after two looks they explain no death."""
        self._counts.append(self._count())

    def have_come(self) -> bool:
        """Return whether there was one since the look before the last."""
        return self._count() > self._counts[0]

    def _count(self) -> int:
        for path in self._paths:
            for line in (self._read(path) or "").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill" and value.isdecimal():
                    return int(value)
        return 0


def _candidates(cgroups: str) -> list[str]:
    """Return the files that the count may be in, in view of /proc/self/cgroup [cgroups(7)].

    >>> _candidates("4:memory:/job_7/step_0\\n1:name=systemd:/\\n0::/user")
    ['/sys/fs/cgroup/memory/job_7/step_0/memory.oom_control', '/sys/fs/cgroup/user/memory.events']
    """
    found = []
    for line in cgroups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found.append(_V2.format("" if path == "/" else path))
        elif "memory" in controllers.split(","):
            found.append(_V1.format("" if path == "/" else path))
    return found
