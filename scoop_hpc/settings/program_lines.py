"""Read settings from a program: comment lines at its head that begin with ``#SCOOP`` and a blank.

::

    #!/usr/bin/env python3
    #SCOOP --nodes 4 --walltime 1:00:00
    #SCOOP --module gcc/12 --module openmpi

The head ends before the first line that is neither blank nor a comment: a docstring ends it.
"""

from __future__ import annotations

import io
import re
import shlex
import tokenize
from dataclasses import dataclass

from scoop_hpc.errors import SettingsError
from scoop_hpc.settings.values import Origin

_NEWLINE = re.compile(r"\r\n|\r|\n")
_DIRECTIVE = re.compile(r"#SCOOP(?=[ \t])(.*)")
_ALIKE = re.compile(r"\s*#\s*SCOOP:?\s*--[a-z]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProgramLine:
    """The words of one line."""

    words: tuple[str, ...]
    origin: Origin


def read_program_lines(text: str, path: str) -> tuple[list[ProgramLine], list[str]]:
    """Return the ``#SCOOP`` lines of a program, and a warning of each line that only looks like one."""
    found = []
    warnings = []
    in_head = True
    comments = None
    for number, line in enumerate(_NEWLINE.split(text), 1):
        in_head = in_head and (not line.strip() or line.lstrip().startswith("#"))
        match = _DIRECTIVE.fullmatch(line) if in_head else None
        origin = Origin(path, number)
        if match is not None:
            found.append(ProgramLine(_words(match[1], origin), origin))
        elif _ALIKE.match(line):
            comments = _comments(text) if comments is None else comments
            if number not in comments:
                continue  # an example in a docstring
            what = "begin it with '#SCOOP' and a blank" if in_head else "it has to be above the docstring and all code"
            warnings.append(f"{origin}: {line.strip()!r} sets nothing: {what}")
    return found, warnings


def _comments(text: str) -> set[int]:
    """Return the numbers of the lines with comments, up to the first mistake in *text*."""
    numbers = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(_NEWLINE.sub("\n", text)).readline):
            if token.type == tokenize.COMMENT:
                numbers.add(token.start[0])
    except (tokenize.TokenError, SyntaxError):
        return numbers  # `check_program` says what is wrong with it
    return numbers


def _words(text: str, origin: Origin) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(f"{origin}: cannot split {text.strip()!r} into words ({error})") from error
