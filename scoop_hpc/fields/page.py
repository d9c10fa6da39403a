"""The tables of docs/job-options.rst: every option, and how each scheduler is told.

``python -m scoop_hpc.fields.page docs/job-options.rst`` writes them anew; what else is on the page stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from scoop_hpc.fields.option import Group, Option, Refused, Words
from scoop_hpc.fields.spec import OPTIONS, words_of

_BEGIN, _END = ".. tables begin\n", ".. tables end\n"


def tables(columns: Mapping[str, Mapping[str, Words]]) -> str:
    """Return a table for each group of options, with a column for each scheduler: its words, by field."""
    return "".join(_table(group, columns) for group in Group)


def with_tables(page: str, columns: Mapping[str, Mapping[str, Words]]) -> str:
    """Return *page* with the tables of today between its two comments."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}\n{tables(columns)}{end}{after}"


def own_columns() -> dict[str, Mapping[str, Words]]:
    """Return the columns of the schedulers that the rows have words for."""
    return {name: words_of(name) for name in dict.fromkeys(name for each in OPTIONS.values() for name in each.words)}


def _table(group: Group, columns: Mapping[str, Mapping[str, Words]]) -> str:
    head = f"{group.value}\n{'-' * len(group.value)}\n\n.. list-table::\n   :header-rows: 1\n\n"
    rows = [_row(each, columns.values()) for each in OPTIONS.values() if each.group is group]
    return head + "".join(map(_lines, [["option", *columns], *rows])) + "\n"


def _row(option: Option, columns: Iterable[Mapping[str, Words]]) -> list[str]:
    said = [option.said_to(own) for own in columns]
    return [f"``{option.shown}``", *("\\-" if isinstance(words, Refused) else words for words in said)]


def _lines(cells: list[str]) -> str:
    first, *others = cells
    return f"   * - {first}\n" + "".join(f"     - {cell}\n" for cell in others)


def main(path: Path) -> None:
    """Write the tables into the file *path*."""
    path.write_text(with_tables(path.read_text(), own_columns()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
