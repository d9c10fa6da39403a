"""Numbers on a command line: click's, but errors say which numbers there may be, not which type has no such value."""

from __future__ import annotations

import math
from typing import Any

import click


class Whole(click.IntRange):
    """A whole number within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(_advice(value, "a whole number", self), param, ctx)


class Number(click.FloatRange):
    """A number within a range, such as of seconds; it may be infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if math.isnan(number):
            self.fail(_advice(value, "a number", self), param, ctx)
        return number


def _advice(value: object, what: str, among: click.IntRange | click.FloatRange) -> str:
    """Return what to give instead of a *value*.

    >>> _advice("x", "a whole number", click.IntRange(1)), _advice("-1", "a number", click.FloatRange(0, min_open=True))
    ("'x': give a whole number, 1 or more", "'-1': give a number above 0")
    """
    given = f"{str(value)!r}: give {what}"
    if among.max is not None:
        return f"{given} from {among.min} to {among.max}"
    return f"{given} above {among.min}" if among.min_open else f"{given}, {among.min} or more"
