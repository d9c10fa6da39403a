"""Settings with their origins, and the choice of those in force."""

from __future__ import annotations

import difflib
import enum
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from scoop_hpc.errors import SettingsError
from scoop_hpc.fields.option import parameter_of
from scoop_hpc.fields.spec import OPTIONS
from scoop_hpc.settings.foreign import ours

Value = str | bool | tuple[str, ...]


class Kind(enum.Enum):
    """The kinds of values."""

    TEXT = "a text or a number"
    FLAG = "true or false"
    LIST = "a list of texts"


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a setting: a line of a file, a variable, an option.

    >>> str(Origin("run.py", 2)), Origin("run.py", 2).brief, Origin("$SCOOP_HPC_QUEUE").brief
    ('run.py, line 2', 'run.py:2', '$SCOOP_HPC_QUEUE')
    """

    place: str
    line: int | None = None

    def __str__(self) -> str:
        return self.place if self.line is None else f"{self.place}, line {self.line}"

    @property
    def brief(self) -> str:
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as it was written: the text of a FLAG or a TEXT may still be invalid."""

    name: str
    value: Value
    origin: Origin


# not for files, variables and programs: they are about one call, or about these sources
COMMAND_LINE_ONLY = frozenset(
    ("help", "profile", "parsable", "json", "wait", "dry_run", "join", "program", "arguments")
)
_REPLACES: Mapping[str, Sequence[str]] = MappingProxyType(
    {each.parameter: [parameter_of(option) for option in each.replaces] for each in OPTIONS.values() if each.replaces}
)
_NEEDS: Mapping[str, str] = MappingProxyType(
    {each.parameter: parameter_of(each.needs) for each in OPTIONS.values() if each.needs}
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A setting without effect, until there is one of what it *needs*."""

    setting: Setting
    needs: str

    def __str__(self) -> str:
        return f"{self.setting.origin}: {self.setting.name} {show(self.setting.value)!r} waits for a {self.needs}"


def resolve(given: Iterable[str], sources: Iterable[Sequence[Setting]]) -> dict[str, Setting]:
    """Return the settings in force, by name, of *sources*, the strongest first; those *given* are stronger still."""
    found = _strongest(given, sources)
    unmet = {each.setting.name for each in _waiting(given, found)}
    return {name: setting for name, setting in found.items() if name not in unmet}


def waiting(given: Iterable[str], sources: Iterable[Sequence[Setting]]) -> list[Waiting]:
    """Return the settings that `resolve` leaves out because they lack another one."""
    return _waiting(given, _strongest(given, sources))


def _waiting(given: Iterable[str], found: Mapping[str, Setting]) -> list[Waiting]:
    known = {*given, *found}
    return [Waiting(found[name], needs) for name, needs in _NEEDS.items() if name in found and needs not in known]


def _strongest(given: Iterable[str], sources: Iterable[Sequence[Setting]]) -> dict[str, Setting]:
    taken: dict[str, Setting] = {}
    closed = set(given)
    closed.update(other for name in given for other in _REPLACES.get(name, ()))
    for source in sources:
        new = {setting.name: setting for setting in source if setting.name not in closed}
        taken.update(new)
        closed.update(new, *(_REPLACES.get(name, ()) for name in new))
    return taken


def name_of(key: str, kinds: Mapping[str, Kind], origin: Origin) -> str:
    """Return the name of the setting that *key* means, a list perhaps in the plural; raise SettingsError."""
    if key in kinds:
        return key
    if key.endswith("s") and kinds.get(key[:-1]) is Kind.LIST:
        return key[:-1]
    if key in COMMAND_LINE_ONLY:
        raise SettingsError(f"{origin}: {key!r} is no setting, but for the command line only")
    answer = ours(f"--{key.replace('_', '-')}")
    raise SettingsError(f"{origin}: there is no setting {key!r}: {answer or advice(key, kinds)}")


_FEW = 12  # names that a line may list


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the name of *known* that is most like *word*, None if none is.

    >>> closest("waltime", ["walltime", "queue"])
    'walltime'
    """
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def advice(word: str, known: Iterable[str]) -> str:
    """Return advice on *word*, written for one of the names *known*.

    >>> advice("x", ["walltime", "queue"])
    'choose of queue, walltime'
    """
    names = sorted(known)
    near = closest(word, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"choose of {', '.join(names)}" if len(names) <= _FEW else "scoop-hpc submit --help lists them"


def show(value: Value) -> str:
    """Return *value* as a word, or words.

    >>> show(True), show(("gcc/12", "a b"))
    ('true', "gcc/12 'a b'")
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else shlex.join(value)
    return text if text.isprintable() else repr(text)
