"""The line by which a job tells what its nodes have found, among whatever else it prints."""

from __future__ import annotations

import msgspec

from scoop_hpc.doctor.facts import JobFacts

_MARK = "scoop-hpc doctor: "


def write(facts: JobFacts) -> str:
    """Return *facts* as a line."""
    return _MARK + msgspec.json.encode(facts).decode()


def read(output: str) -> JobFacts | None:
    """Return the facts in a job's *output*, None if there is no such line, or none that can be read."""
    for line in reversed(output.splitlines()):
        _, mark, text = line.partition(_MARK)
        if mark:
            try:
                return msgspec.json.decode(text, type=JobFacts)
            except msgspec.DecodeError:  # cut off, or of another version
                continue
    return None
