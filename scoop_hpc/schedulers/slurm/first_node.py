"""A job whose first node is lost: with ``--no-kill`` Slurm keeps the others until the walltime is over.

The job script is gone with the first node. So nobody is left who could end the job, but for what runs on the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoop_hpc.hostlist import expand
from scoop_hpc.schedulers.answers import Completed

_ID = re.compile("[0-9]+")
_FIELD = re.compile(r"(?:^| )(JobState|Requeue|BatchFlag|NodeList|BatchHost)=(\S+)")  # scontrol(1), show job
_GOES_ON = ("RUNNING", "SUSPENDED", "STOPPED")


def show_argv(environ: Mapping[str, str]) -> list[str] | None:
    """Return the command that shows the job that *environ* is of, None where it is of none.

    >>> show_argv({"SLURM_JOB_ID": "7"})
    ['scontrol', '--oneliner', 'show', 'job', '7']
    """
    job_id = environ.get("SLURM_JOB_ID", "")
    return ["scontrol", "--oneliner", "show", "job", job_id] if _ID.fullmatch(job_id) else None


def goes_on(shown: Completed) -> bool:
    """Return whether the job that `show_argv` has *shown* has a script that may run; true where Slurm has not said."""
    if shown.status:
        return "Invalid job id" not in shown.stderr
    said = dict(_FIELD.findall(shown.stdout))
    return said.get("JobState") in _GOES_ON and said.get("BatchFlag") != "0"


def end_argv(shown: Completed, may_begin_again: bool = True) -> list[str] | None:
    """Return the command that ends what is left of the job that `show_argv` has *shown*, or puts it back into its queue
    if it may be, None while it has its first node."""
    said = dict(_FIELD.findall(shown.stdout))
    if not goes_on(shown) or "BatchHost" not in said or "NodeList" not in said:
        return None
    if said["BatchHost"] in expand(said["NodeList"]):
        return None
    again = may_begin_again and said.get("Requeue") == "1"
    return ["scontrol", "requeue", shown.argv[-1]] if again else ["scancel", shown.argv[-1]]
