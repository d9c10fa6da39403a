"""What a check has found: all is well, something is not there that few need, or something has to be changed."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"  # worth knowing: nothing has to be changed for runs of scoop_hpc
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about *topic*, in one line: its *text*, and the *advice*, which is empty unless one is to change
    something."""

    topic: str
    verdict: Verdict
    text: str
    advice: str = ""


def ok(topic: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(topic, Verdict.OK, text)


def note(topic: str, text: str) -> Finding:
    """Return something that is worth knowing."""
    return Finding(topic, Verdict.NOTE, text)


def change(topic: str, text: str, advice: str) -> Finding:
    """Return something that has to be changed, and how."""
    return Finding(topic, Verdict.CHANGE, text, advice)
