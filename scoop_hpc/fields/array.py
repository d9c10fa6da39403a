"""Arrays of jobs: FIRST-LAST[:STEP][%LIMIT], read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scoop_hpc.errors import JobSpecError

_ARRAY = re.compile(r"(\d{1,9})-(\d{1,9})(?::(\d{1,9}))?(?:%(\d{1,9}))?", re.ASCII)
_MOST_ELEMENTS = 10**6


@dataclass(frozen=True, slots=True)
class JobArray:
    """A job for each of the numbers *first*, *first* + *step*, ... up to *last*, at most *limit* of them at a time."""

    first: int
    last: int
    step: int = 1
    limit: int | None = None

    @property
    def indices(self) -> range:
        return range(self.first, self.last + 1, self.step)


def parse_array(text: str) -> JobArray:
    """Read an array.

    >>> parse_array("0-99:3%10")
    JobArray(first=0, last=99, step=3, limit=10)
    """
    match = _ARRAY.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the array {text!r}: write FIRST-LAST, FIRST-LAST:STEP or FIRST-LAST%LIMIT")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    limit = None if match[4] is None else int(match[4])
    if last < first:
        raise JobSpecError(f"the array {text!r} ends before it begins: write FIRST-LAST with the lower number first")
    if not step or limit == 0:
        raise JobSpecError(f"the array {text!r} holds a step or a limit of 0: give a positive number, or leave it out")
    if (last - first) // step >= _MOST_ELEMENTS:
        raise JobSpecError(f"the array {text!r} is of more than {_MOST_ELEMENTS} jobs: make it smaller")
    return JobArray(first, last, step, limit)
