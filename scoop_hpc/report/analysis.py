"""The analysis of a run's record: how much of its workers' time was of use, where the rest went, what to change.

::

    workers
       |  start | own  overhead  waiting ... | tail   | after |
       |     start | own ................... waiting own | after |
       '---------------------------------------------------------> time

All time of all workers is in one of these parts: `start` until a worker's first task, `own` in the functions of tasks,
`overhead` for unpacking, packing and the runtime, `tail` from a worker's last task until the last one of all, `after`
until the program's end, and `waiting` for tasks in between: for those that the program, or others, had yet to submit.

Of a run that goes on, or was ended from outside, nobody knows how long its workers have been at the tasks that had not
ended: in place of `tail`, `after` and `waiting` it has one part, `open`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from scoop_hpc.report.record import NodeRecord, RunRecord

_MUCH = 0.10  # of all time: worth a word
_VERY_MUCH = 0.25
_SHORT = 0.001  # seconds: tasks below that should go in groups
_FULL = 0.85  # of the memory that there is
_BUSY = 0.9  # of its time that a worker should have work for
_MOST_NAMED = 4
_FOR_MORE_MEMORY = "give a larger --memory or --memory-per-cpu, or a smaller --workers-per-node"
_ENDS = {  # states of jobs that ask for more
    "TIMEOUT": "the walltime was too short: give a larger --walltime",
    "OUT_OF_MEMORY": f"the memory was not enough: {_FOR_MORE_MEMORY}",
}


class Part(Struct, frozen=True):
    """A part of the time of all workers."""

    name: str
    seconds: float
    share: float  # of all time
    meaning: str


class Analysis(Struct, frozen=True):
    """What a run was worth."""

    workers: int
    capacity: float  # seconds of all workers, from the beginning to the end
    parts: tuple[Part, ...]  # of that
    advice: tuple[str, ...]

    @property
    def efficiency(self) -> float:
        """The share of all workers' time that was spent in functions of tasks."""
        return self.share("own")

    def share(self, name: str) -> float:
        """Return the share of the part called *name*, 0 if the run has no such part."""
        return sum(part.share for part in self.parts if part.name == name)


_MEANINGS = {
    "own": "in the functions of tasks",
    "start": "until a worker's first task",
    "waiting": "waiting for tasks",
    "overhead": "transfer, packing, the runtime",
    "tail": "imbalance at the end",
    "lost": "workers lost with their node",
    "after": "the program, after the last task",
    "open": "waiting, or in tasks not ended",
}
_OF_WHOLE = frozenset(_MEANINGS) - {"open"}
_OF_UNFINISHED = frozenset(_MEANINGS) - {"waiting", "tail", "lost", "after"}


def analyse(record: RunRecord) -> Analysis:
    """Analyse a *record*."""
    seconds = _seconds(record)
    workers, capacity = record.totals.workers, record.totals.workers * record.elapsed_s
    parts = tuple(
        Part(name, seconds[name], seconds[name] / capacity if capacity else 0.0, meaning)
        for name, meaning in _MEANINGS.items()
        if name in (_OF_WHOLE if record.is_whole else _OF_UNFINISHED) and (name != "lost" or seconds[name])
    )
    analysis = Analysis(workers, capacity, parts, ())
    return Analysis(workers, capacity, parts, tuple(_advice(record, analysis)))


def _seconds(record: RunRecord) -> dict[str, float]:
    """Return how many seconds each part has. Workers that died, and have others in their place, are counted once.

    What the last tasks tell is left out where nobody knows which these are.
    """
    takers = record.takers()
    count, elapsed = record.totals.workers, record.elapsed_s
    capacity = count * elapsed
    own = min(capacity, sum(worker.own_s for worker in takers))
    overhead = sum(max(0.0, worker.busy_s - worker.own_s) for worker in takers)
    begins = sorted(worker.began_s for worker in takers if worker.began_s is not None)[:count]
    lost_nodes = {node.name for node in record.nodes if node.state == "lost"}
    all_ends = ((worker.ended_s, worker.node in lost_nodes) for worker in takers if worker.ended_s is not None)
    ends = sorted(all_ends)[-count:] if count else []
    last = min(elapsed, max((end for end, _ in ends), default=elapsed))
    start = sum(min(begin, elapsed) for begin in begins) + (count - len(begins)) * last
    tail = lost = 0.0
    if len(ends) == len(begins):
        tail = sum(max(0.0, last - end) for end, is_lost in ends if not is_lost)
        lost = sum(max(0.0, last - end) for end, is_lost in ends if is_lost)  # from the node's last word on
    after = count * (elapsed - last)
    left = capacity - own
    taken = {}
    for name, seconds in (("after", after), ("start", start), ("lost", lost), ("tail", tail), ("overhead", overhead)):
        taken[name] = min(max(0.0, seconds), left)
        left -= taken[name]
    left = max(0.0, left)
    if not record.is_whole:
        return {"own": own, **taken, "open": left + sum(taken[name] for name in ("tail", "lost", "after"))}
    return {"own": own, "waiting": left, **taken}


def _advice(record: RunRecord, analysis: Analysis) -> list[str]:
    words = [
        _about_end(record),
        _about_workers(record, analysis),
        _about_tail(record, analysis),
        _about_short_tasks(record, analysis),
        *[_about_memory(record, node) for node in record.nodes if _is_full(node)][:1],
        _about_failures(record),
        _about_losses(record),
    ]
    return [each for each in words if each]


def _about_end(record: RunRecord) -> str:
    return _ENDS.get(record.state, "")


def _about_workers(record: RunRecord, analysis: Analysis) -> str:
    """Say how many workers the work was enough for."""
    totals, elapsed = record.totals, record.elapsed_s
    idle = analysis.share("waiting") + analysis.share("start") + analysis.share("after")
    if not record.is_whole or totals.workers < 2 or not elapsed or idle < _VERY_MUCH or not totals.done:
        return ""
    work = (analysis.share("own") + analysis.share("overhead")) * analysis.capacity
    enough = max(1, math.ceil(work / (_BUSY * elapsed)))
    if enough > 0.75 * totals.workers:
        return ""
    option = f"--workers {enough}"
    nodes = max(1, math.ceil(enough * totals.nodes / totals.workers))
    if nodes < totals.nodes:
        option += f", or --nodes {nodes}"
    return f"the work was enough for {enough} of {totals.workers} workers: give {option}, or submit more at once"


def _about_tail(record: RunRecord, analysis: Analysis) -> str:
    if analysis.share("tail") < _MUCH:
        return ""
    longest = max(record.functions, key=lambda function: function.longest_s, default=None)
    what = f" ({longest.name}() took up to {in_words(longest.longest_s)})" if longest is not None else ""
    return (
        f"at the end workers waited for the last tasks{what}: submit the longest first, or make smaller ones, in a map "
        "by a smaller chunksize"
    )


def _about_short_tasks(record: RunRecord, analysis: Analysis) -> str:
    totals = record.totals
    if analysis.share("overhead") < max(_MUCH, 0.25 * analysis.efficiency) or not totals.done:
        return ""
    mean = sum(function.total_s for function in record.functions) / totals.done
    if mean >= _SHORT:
        return "much time went into transfer: send less (names of files, shared.set_const instead of large arguments)"
    return f"tasks are short ({in_words(mean)} on average): use map instead of submit, or a larger chunksize"


def _is_full(node: NodeRecord) -> bool:
    return bool(node.memory_limit_bytes) and node.memory_bytes > _FULL * node.memory_limit_bytes


def _about_memory(record: RunRecord, node: NodeRecord) -> str:
    unit, name = (2**30, "GiB") if node.memory_limit_bytes >= 10 * 2**30 else (2**20, "MiB")
    used, limit = node.memory_bytes / unit, node.memory_limit_bytes / unit
    came = f"node {node.name} came to {used:.0f} of {limit:.0f} {name} of memory ({100 * used / limit:.0f} %)"
    return f"{came}: " + ("give a smaller --workers-per-node" if record.job is None else _FOR_MORE_MEMORY)


def _about_failures(record: RunRecord) -> str:
    if not record.totals.failed:
        return ""
    most = max(record.functions, key=lambda function: function.failed)
    how = "keep a report, as by --report FILE, for scoop-hpc logs FILE --failed"
    how = how if record.job is None else f"scoop-hpc logs {record.job} --failed"
    count = record.totals.failed
    where = "" if most.failed == count else f"{most.failed} of them "
    return f"{count} task{'' if count == 1 else 's'} failed, {where}in {most.name}(): {how}"


def _about_losses(record: RunRecord) -> str:
    lost = [node.name for node in record.nodes if node.state == "lost"]
    if not lost:
        return ""
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    return (
        f"lost nodes: {', '.join(lost[:_MOST_NAMED])}{more}; look at them, or leave them out next time, as by "
        f"--directive='--exclude={','.join(lost[:_MOST_NAMED])}' of Slurm"
    )


def in_words(seconds: float) -> str:
    """Return a duration with three digits and its unit.

    >>> in_words(0.0000123), in_words(0.5), in_words(61.234), in_words(7384)
    ('12.3 us', '500 ms', '61.2 s', '2:03:04')
    """
    if seconds >= 600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 0.9995 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def side_by_side(analyses: Sequence[Analysis]) -> Iterator[tuple[str, list[float]]]:
    """Yield what each part that one of the *analyses* has means, and its share in all of them."""
    for name, meaning in _MEANINGS.items():
        if any(part.name == name for analysis in analyses for part in analysis.parts):
            yield meaning, [analysis.share(name) for analysis in analyses]


class Comparison(Struct, frozen=True):
    """Two runs of one program, the second seen from the first."""

    speedup: float  # of the time from the beginning to the end
    efficiency: float  # of the second, if that of the first is 1
    workers: tuple[int, int]


def compare(first: RunRecord, second: RunRecord) -> Comparison:
    """Compare two runs.

    >>> from scoop_hpc.report.record import Totals
    >>> runs = [RunRecord(1, "", None, "p.py", "COMPLETED", 0, "", 0.0, time, Totals(9, 0, 0, workers, 1))
    ...         for workers, time in ((4, 100.0), (64, 10.0))]
    >>> compare(*runs)
    Comparison(speedup=10.0, efficiency=0.625, workers=(4, 64))
    """
    speedup = first.elapsed_s / max(second.elapsed_s, 1e-9)
    workers = (first.totals.workers, second.totals.workers)
    return Comparison(speedup, speedup * workers[0] / max(workers[1], 1), workers)
