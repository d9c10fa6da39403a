"""A job option's row: all that is said of it, beside the name, the type and the default of its field in a JobSpec."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from scoop_hpc.errors import JobSpecError, about

REQUIRED: Any = dataclasses.MISSING  # in the place of a default

_ROW = "option"  # the row's key in the metadata of its field
_Value = TypeVar("_Value")


class Group(enum.Enum):
    """The chapters of docs/job-options.rst and, in their order, of ``--help``."""

    RESOURCES = "Nodes, workers and their resources"
    QUEUE = "Queue, account and limits"
    OUTPUT = "Name and output"
    RUN = "Where and when it runs"
    ENVIRONMENT = "The environment of the run"
    VERBATIM = "What has no option here"


class Takes(enum.Enum):
    """The kinds of options, by what stands behind them."""

    FLAG = "nothing: --no-... undoes it"
    COUNT = "a positive number"
    TEXT = "a text, which a row's `read` may take apart"
    LIST = "a text, and it may be repeated"


@dataclass(frozen=True, slots=True)
class Refused:
    """Says that a scheduler cannot express an option; *instead* is what a user can do."""

    instead: str


Words = str | Refused  # how a scheduler is told: a directive and the like, in reStructuredText


@dataclass(frozen=True, slots=True)
class Option:
    """A job option, as `option` describes it."""

    field: str
    name: str
    group: Group
    summary: str
    takes: Takes
    default: Any
    metavar: str | None
    choices: tuple[str, ...]
    shows_default: bool
    part: str
    read: Callable[[str], Any] | None
    most: int | None
    check: Callable[[str, Any], None] | None
    needs: str | None
    replaces: tuple[str, ...]
    script: str | None
    words: Mapping[str, Words]

    @property
    def shown(self) -> str:
        """The option as messages and the documentation name it."""
        return f"{self.name} {self.part}" if self.part else self.name

    @property
    def parameter(self) -> str:
        """The option's name as a Python name, which is also its key in settings' files."""
        return parameter_of(self.name)

    def parse(self, text: Any) -> Any:
        """Return the field's value for what the command line has, None for nothing; raise JobSpecError."""
        if self.read is None or text is None:
            return text
        with about(self.name):
            return self.read(text)

    def refuse_invalid(self, value: Any) -> None:
        """Raise JobSpecError for a field's value that no job can have, whatever its other fields are."""
        if value is None:
            return
        with about(self.name):
            if self.most is not None:
                _check_count(self.field.replace("_", " "), value, self.most)
            if self.check is None:
                return
            if not isinstance(value, tuple):
                self.check(self.field, value)
                return
            for each in value:
                self.check(self.name, each)

    def said_to(self, own: Mapping[str, Words]) -> Words:
        """Return how the option is said to a scheduler whose *own* words, by field, these are: none is dropped."""
        return self.script or own.get(self.field, Refused("leave it out"))


def parameter_of(name: str) -> str:
    """Return an option's name as a Python name, which is also its key in settings' files.

    >>> parameter_of("--cpus-per-worker")
    'cpus_per_worker'
    """
    return name.lstrip("-").replace("-", "_")


def option(
    default: _Value,
    group: Group,
    summary: str,
    *,
    name: str = "",
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    shows_default: bool = False,
    part: str = "",
    read: Callable[[str], Any] | None = None,
    most: int | None = None,
    check: Callable[[str, Any], None] | None = None,
    needs: str | None = None,
    replaces: tuple[str, ...] = (),
    script: str | None = None,
    **words: Words,
) -> _Value:
    """Return a field of a dataclass that is a job option.

    *name* is the option, ``--`` and the field's name if not given; *summary* and *metavar*, what it takes, are
    for ``--help``.
    A field that is only *part* of what another one's option takes names that option. What the option takes follows
    from the default: a flag has a bool, a list an empty tuple. A number has a *most*, beyond which it is a slip.

    *read* makes the field's value of a text. *check*, of what an error calls the value and the value, of each of a
    tuple's, raises JobSpecError.

    Among settings, one that *needs* another option waits for it, and one that *replaces* others ends those of weaker
    sources.

    *script* is what every scheduler's job script does about it. Else the *words* are those of each scheduler by its
    name; one that is missing refuses the option.
    """
    row = Option(
        field="",
        name=name,
        group=group,
        summary=summary,
        takes=_takes(default, most, read),
        default=default,
        metavar=metavar,
        choices=choices,
        shows_default=shows_default,
        part=part,
        read=read,
        most=most,
        check=check,
        needs=needs,
        replaces=replaces,
        script=script,
        words=words,
    )
    return dataclasses.field(default=default, metadata={_ROW: row})


def options(spec: type) -> dict[str, Option]:
    """Return the options that are fields of the dataclass *spec*, by the field, in the order of their groups."""
    rows = [
        dataclasses.replace(row, field=field.name, name=row.name or f"--{field.name.replace('_', '-')}")
        for field in dataclasses.fields(spec)
        if (row := field.metadata.get(_ROW)) is not None
    ]
    groups = list(Group)
    return {row.field: row for row in sorted(rows, key=lambda row: groups.index(row.group))}


def _takes(default: object, most: int | None, read: object) -> Takes:
    if isinstance(default, bool):
        return Takes.FLAG
    if read is None and most is not None:
        return Takes.COUNT
    return Takes.LIST if read is None and default == () else Takes.TEXT


def _check_count(what: str, value: int, most: int) -> None:
    if value < 1:
        raise JobSpecError(f"{what} is {value!r}: give a positive number")
    if value > most:
        raise JobSpecError(f"{what} is {value!r}: give at most {most}")
