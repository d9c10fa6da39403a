"""PBS's version, and its queues as ``qstat -Q -f -F json`` tells of them [qstat(1B), pbs_queue_attributes(7B)]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scoop_hpc.errors import InputError, SchedulerError
from scoop_hpc.fields.units import parse_walltime
from scoop_hpc.schedulers.answers import Completed, find_version
from scoop_hpc.schedulers.pbs.nodes import decode
from scoop_hpc.schedulers.queues import Queue

_VERSION = re.compile(r"^\s*(?:pbs_version = |Version: )(\S+)", re.MULTILINE | re.IGNORECASE)


def read_version(done: Completed) -> str:
    """Return what ``qstat --version`` answered; raise SchedulerError.

    >>> read_version(Completed(("qstat",), 0, "pbs_version = 23.06.06", ""))
    'PBS 23.06.06'
    """
    return f"PBS {find_version(done, _VERSION)}"


def read(text: str) -> list[Queue]:
    """Return the queues in qstat's answer; raise SchedulerError.

    Who may use one is not told, but by its access control lists: qsub says so, if it refuses a job.

    >>> read('{"Queue": {"workq": {"queue_type": "Execution", "enabled": "True", "started": "True", '
    ...      '"resources_max": {"walltime": "24:00:00", "nodect": 8}}}}')
    [Queue(name='workq', is_open=True, is_default=False, nodes=None, most_nodes=8, walltime=86400)]
    """
    try:
        return [_read_queue(name, queue) for name, queue in decode(text).get("Queue", {}).items()]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise SchedulerError(f"cannot read qstat's output ({error})") from error


def _read_queue(name: str, queue: Mapping[str, Any]) -> Queue:
    most = queue.get("resources_max", {})
    nodes = str(most.get("nodect", ""))
    return Queue(
        name,
        is_open=queue["enabled"] == "True" and queue["started"] == "True",
        most_nodes=int(nodes) if nodes.isdigit() else None,
        walltime=_seconds(str(most.get("walltime", ""))),
    )


def _seconds(text: str) -> int | None:
    try:
        return parse_walltime(text) if text else None
    except InputError:
        return None
