"""Read the TOML file of a site's or a user's settings; `scoop_hpc.settings` shows its format."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from scoop_hpc.errors import SettingsError
from scoop_hpc.settings.values import (
    Kind,
    Origin,
    Setting,
    Value,
    advice,
    closest,
    name_of,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PARTS = ("default", "defaults", "clusters")
_HOSTS = "hosts"
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_QUOTES = 'a text needs quotes, as in queue = "normal"'
_ADVICE = {  # by what tomllib says, and tomli through its versions
    "Invalid value": _QUOTES,
    "Expected newline": _QUOTES,
    "character '\\n'": "close the quotes",
    "Unterminated string": "close the quotes",
    "Cannot overwrite": "it is there already, drop one",
    "Cannot declare": "it is there already, drop one",
}
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SiteFile:
    """One file's settings. Those of a cluster include its ``hosts``."""

    path: str
    default: Setting | None
    defaults: tuple[Setting, ...]
    clusters: Mapping[str, tuple[Setting, ...]]


def read_site_file(text: str, path: str, kinds: Mapping[str, Kind]) -> SiteFile:
    """Read the *text* of the file *path*; raise SettingsError, with the line."""
    document = _parse(text, path)
    reader = _Reader(path, line_numbers(text), kinds)
    for key, value in document.items():
        reader.check_part(key, value)
    default = document.get("default")
    origin = reader.origin("default")
    if default is not None and not isinstance(default, str):
        raise SettingsError(f"{origin}: default is {_shown(default)}: name a cluster, in quotes")
    clusters = reader.table(document.get("clusters", {}), "clusters")
    return SiteFile(
        path,
        None if default is None else Setting("default", default, origin),
        reader.settings(document.get("defaults", {}), kinds, "defaults"),
        {
            name: reader.settings(table, {**kinds, _HOSTS: Kind.LIST}, "clusters", name)
            for name, table in clusters.items()
        },
    )


class _Reader:
    """Reads the tables of one file."""

    def __init__(self, path: str, lines: Mapping[_Path, int], kinds: Mapping[str, Kind]) -> None:
        self._path = path
        self._lines = lines
        self._kinds = kinds

    def origin(self, *keys: str) -> Origin:
        return Origin(self._path, self._lines.get(keys))

    def check_part(self, key: str, value: Any) -> None:
        """Refuse a key outside of tables, and an unknown table."""
        if key in _PARTS:
            return
        origin = self.origin(key)
        if key in self._kinds:
            raise SettingsError(f"{origin}: {key!r} is in no table: put it below [defaults] or [clusters.NAME]")
        if key == _HOSTS:
            raise SettingsError(f"{origin}: {key!r} is in no table: put it below [clusters.NAME]")
        near = closest(key, self._kinds)
        if isinstance(value, dict) or near is None or closest(key, _PARTS) is not None:
            what = f"table [{key}]" if isinstance(value, dict) else f"key {key!r} outside of tables"
            raise SettingsError(f"{origin}: there is no {what}: {advice(key, _PARTS)}")
        raise SettingsError(f"{origin}: there is no key {key!r}: did you mean {near!r}, below [defaults]?")

    def table(self, value: Any, *keys: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            name = ".".join(keys)
            raise SettingsError(f"{self.origin(*keys)}: {name} is {_shown(value)}: write a table, [{name}]")
        return value

    def settings(self, value: Any, kinds: Mapping[str, Kind], *keys: str) -> tuple[Setting, ...]:
        """Return the settings in the table at *keys*."""
        found: dict[str, Setting] = {}
        for key, item in self.table(value, *keys).items():
            origin = self.origin(*keys, key)
            if key == _HOSTS and key not in kinds:
                raise SettingsError(f"{origin}: {key!r} is of a cluster: put it below [clusters.NAME]")
            name = name_of(key, kinds, origin)
            if name in found:
                raise SettingsError(f"{origin}: {key!r} says again what {found[name].origin} says: drop one")
            found[name] = Setting(name, _value(key, item, kinds[name], origin), origin)
        return tuple(found.values())


def _value(key: str, value: Any, kind: Kind, origin: Origin) -> Value:
    """Return *value* as an option of that *kind* takes it."""
    if kind is Kind.FLAG and isinstance(value, bool):
        return value
    if kind is Kind.LIST:
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, str) for item in items):
            return tuple(items)
    if kind is Kind.TEXT:
        text = _text(value)
        if text is not None:
            return text
    raise SettingsError(f"{origin}: {key} is {_shown(value)}: write {kind.value}")


def _text(value: Any) -> str | None:
    """Return a text or a number as text. TOML has times, too: walltime = 01:00:00."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    """Return *value* nearly as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "a table" if isinstance(value, dict) else repr(value)


def _parse(text: str, path: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of many digits is a mere ValueError
        where = _WHERE.search(str(error))
        lines = text.split("\n")
        number = int(where[1] or len(lines)) if where else None
        while number is not None and number > 1 and not lines[number - 1].strip():
            number -= 1  # what has no end is missed at the end of the file
        reason = _WHERE.sub("", str(error))
        line = "" if number is None else f"{lines[number - 1].strip()!r} "
        what_to_do = next((advice for words, advice in _ADVICE.items() if words in reason), "correct it")
        raise SettingsError(f"{Origin(path, number)}: {line}is not TOML ({reason}): {what_to_do}") from error
    return document


def line_numbers(text: str) -> dict[_Path, int]:
    """Return the line on which each key and table of a TOML document is first written.

    A statement is over at the end of the first line up to which it can be parsed.

    >>> line_numbers('a = [1,\\n2]\\n[b.c]\\nd = 3')
    {('a',): 1, ('b',): 3, ('b', 'c'): 3, ('b', 'c', 'd'): 4}
    """
    found: dict[_Path, int] = {}
    table: _Path = ()
    statement: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        statement.append(line)
        try:
            parsed = tomllib.loads("\n".join(statement))
        except ValueError:
            continue
        first = number - len(statement) + 1
        is_header = statement[0].lstrip().startswith("[")
        paths = list(_paths(parsed))
        if is_header:
            table = paths[-1]
        for path in paths:
            found.setdefault(path if is_header else table + path, first)
        statement = []
    return found


def _paths(value: Any) -> Iterator[_Path]:
    """Yield the path of each key in *value*, outer ones first."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):  # [[table]]
        value = value[-1]
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (key,)
            for path in _paths(inner):
                yield (key, *path)
