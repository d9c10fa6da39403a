"""End what is left of a job whose first node is lost, where its scheduler does not.

An agent that has looked for the driver in vain waits for the scheduler's word. That may come late: Slurm takes a node
for down after ``SlurmdTimeout``, five minutes mostly. While the first node is in the job, the driver may be well, and
this node cut off.

So it is with the job of a joiner, if the driver has missed the joiner's node: the others take part to the end of the
run, and wait then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scoop_hpc.errors import ScoopError
from scoop_hpc.jobs.commands import Run
from scoop_hpc.schedulers.slurm import first_node

_PAUSE = 10.0  # seconds between two looks
_EACH = 1.0  # the same, for each node of the run: no more than one of them asks in a second


def end_leftover(
    environ: Mapping[str, str],
    nodes: int,
    run: Run,
    pause: Callable[[float], bool],
    say: Callable[[], None],
    may_begin_again: bool = True,
) -> None:
    """Ask Slurm by *run* about the job of *environ* until it has ended, or lost its first node: *say* so, and end it.

    *nodes* is how many the run has; *pause* is given seconds, and returns False if this process has to end. A job that
    *may begin again*, and was submitted so, is put back into its queue.
    """
    argv = first_node.show_argv(environ)
    while argv is not None:
        try:
            shown = run(argv, environ)
            if not first_node.goes_on(shown):
                return
            end = first_node.end_argv(shown, may_begin_again)
            if end is not None:
                say()
                if run(end, environ).status and end[0] != "scancel":
                    run(["scancel", argv[-1]], environ)
                return
        except ScoopError:  # no answer, or no such command: Slurm, or the network, may be back later
            pass
        if not pause(max(_PAUSE, _EACH * nodes)):
            return
