"""Nodelist text to host names and back, in the grammar that Slurm and Flux write.

::

    hostlist := element { separator element }     separators are comma, space, tab, newline; empty elements are skipped
    element  := { text | "[" ranges "]" }
    ranges   := range { "," range }
    range    := number | number "-" number        both ends belong to it; the width is that of the lower end

The order is the order written and duplicates are kept, because lists of counts follow it [Slurm
src/common/hostlist.c]. What Slurm's parser merely lets through (``n[1-``, ``n[ 1-2]``) is refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from scoop_hpc.errors import HostlistError

MAX_RANGE = 65536  # hosts in one range, and in one element [src/common/hostlist.c, MAX_RANGE]
MAX_HOSTS = 1 << 20  # hosts in one list: more than any machine has, less than what exhausts memory
MAX_NUMBER = (1 << 64) - 1  # in brackets: to Slurm, a larger one is this [strtoul(3), ULONG_MAX]
MAX_NAME = 255  # characters of a host's name, besides its numbers [RFC 1123, 2.1]
_SHOWN = 400  # characters of a text in a message about it

_SEPARATORS = re.compile(r"[, \t\n]*")
_NAME = re.compile(r"([A-Za-z0-9_.:+/%@=#~-]+)(?:[, \t\n]+|\Z)")  # Slurm takes more: n1;n2 is one name to it
_TEXT = re.compile(r"[A-Za-z0-9_.:+/%@=#~-]+")
_HOST = re.compile(r"[A-Za-z0-9_.:+-]+")
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,19})")
_ADDRESS = re.compile(r"[0-9.]+")
_COUNT = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?")


def first_label(name: str) -> str:
    """Return what tells hosts apart, for comparing: the first label of a name, the whole of a numeric address.

    >>> first_label("N1.example.org"), first_label("10.0.0.7")
    ('n1', '10.0.0.7')
    """
    return name.lower() if _ADDRESS.fullmatch(name) or ":" in name else name.partition(".")[0].lower()


def expand(text: str) -> list[str]:
    """Return the hosts of a nodelist; raise HostlistError, before any list is made, for an absurd one.

    >>> expand("gpu[1,08-10]-ib,login")
    ['gpu1-ib', 'gpu08-ib', 'gpu09-ib', 'gpu10-ib', 'login']
    """
    hosts: list[str] = []
    position = _skip_separators(text, 0)
    while position < len(text):
        plain = _NAME.match(text, position)
        if plain is not None and plain.end(1) - position <= MAX_NAME:  # what follows would take twice as long
            hosts.append(plain[1])
            position = plain.end()
        else:
            texts, groups, position = _read_element(text, position)
            hosts.extend(_product(texts, groups))
        if len(hosts) > MAX_HOSTS:
            raise _error(text, position, f"more than {MAX_HOSTS} hosts")
        position = _skip_separators(text, position)
    return hosts


def fold(names: Iterable[str]) -> str:
    """Return a nodelist that `expand` turns into *names* again, in their order.

    Only numbers at the end of names are folded: Slurm before 23.11 takes no text after a bracket.

    >>> fold(["n08", "n09", "n10", "n12", "login", "n1-ib"])
    'n[08-10,12],login,n1-ib'
    """
    parts: list[str] = []
    for (prefix, numbered), members in itertools.groupby(
        map(_split, names), key=lambda split: (split[0], bool(split[1]))
    ):
        numbers = [number for _, number in members]
        if not numbered or len(numbers) == 1:
            parts.extend(prefix + number for number in numbers)
            continue
        for start in range(0, len(numbers), MAX_RANGE):
            parts.append(f"{prefix}[{','.join(_ranges(numbers[start : start + MAX_RANGE]))}]")
    return ",".join(parts)


def is_host(text: str) -> bool:
    """Return whether *text* can be the name of one host; a name in a nodelist may have other characters, too."""
    return _HOST.fullmatch(text) is not None and len(text) <= MAX_NAME


def expand_counts(text: str) -> list[int]:
    """Return the numbers of a counted list, one for each node [sbatch(1), SLURM_TASKS_PER_NODE].

    >>> expand_counts("72(x2),36")
    [72, 72, 36]
    """
    counts: list[int] = []
    position = 0
    for part in text.split(","):
        match = _COUNT.fullmatch(part)
        times = int(match[2] or 1) if match else 0
        if match is None or not times:
            raise HostlistError(
                f"cannot read {part!r} at character {position + 1} of the counted list {_shown(text, position)}: "
                "write counts such as '4' or '4(x2)'"
            )
        if len(counts) + times > MAX_HOSTS:
            raise HostlistError(
                f"the counted list {_shown(text, position)} is for more than {MAX_HOSTS} nodes "
                f"at character {position + 1}"
            )
        counts.extend([int(match[1])] * times)
        position += len(part) + 1
    return counts


def _read_element(text: str, position: int) -> tuple[list[str], list[list[str]], int]:
    """Return the texts before, between and after the groups of one element, the groups, and where it ends."""
    texts = [""]
    groups: list[list[str]] = []
    size, length = 1, 0
    while position < len(text) and text[position] not in ", \t\n":
        plain = _TEXT.match(text, position)
        bracket = _GROUP.match(text, position)
        if plain is not None:
            texts[-1] += plain[0]
            position = plain.end()
            length += len(plain[0])
            if length > MAX_NAME:
                raise _error(text, position - 1, f"a name of more than {MAX_NAME} characters")
        elif bracket is not None:
            groups.append(_read_group(text, position + 1, bracket[1]))
            texts.append("")
            position = bracket.end()
            size *= len(groups[-1])
            if size > MAX_RANGE:
                raise _error(text, position, f"more than {MAX_RANGE} hosts")
        else:
            raise _error(text, position, _WRONG.get(text[position], f"the character {text[position]!r}"))
    return texts, groups, position


_WRONG = {
    "[": "a bracket that is nested or not closed",
    "]": "a bracket that was not opened",
    "{": "a node-list function, which only Slurm's controller can answer,",
}


def _read_group(text: str, position: int, ranges: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        if part.isdecimal() and part.isascii() and len(numbers) < MAX_RANGE and len(part) < 19:
            numbers.append(part)  # as below, in a third of the time
            position += len(part) + 1
            continue
        match = _RANGE.fullmatch(part)
        if match is None:
            raise _error(text, position, f"{_shown(part, 0)}, which is no number or range of numbers,")
        lower, upper = match[1], match[2] or match[1]
        if max(len(lower), len(upper)) > MAX_NAME or max(int(lower), int(upper)) > MAX_NUMBER:
            raise _error(text, position, f"the number {_shown(part, 0)}, which is over {MAX_NUMBER},")
        count = int(upper) - int(lower) + 1
        if count < 1:
            raise _error(text, position, f"the reversed range {part!r}")
        if count + len(numbers) > MAX_RANGE:
            raise _error(text, position, f"more than {MAX_RANGE} hosts")
        numbers.extend(str(number).zfill(len(lower)) for number in range(int(lower), int(upper) + 1))
        position += len(part) + 1
    return numbers


def _product(texts: Sequence[str], groups: Sequence[list[str]]) -> list[str]:
    """Combine the groups in Slurm's order: the last varies fastest, then the first, then the second, ...

    [slurm-client pkg/hostlist; scontrol show hostnames]
    """
    if not groups:
        return [texts[0]]
    order = [*reversed(range(len(groups) - 1)), len(groups) - 1]  # slowest first
    template = texts[0] + "".join(f"{{{order.index(i)}}}{after}" for i, after in enumerate(texts[1:]))
    return [template.format(*numbers) for numbers in itertools.product(*(groups[i] for i in order))]


def _split(name: str) -> tuple[str, str]:
    """Return *name* as what comes before its final number, and the number; both as text."""
    if _TEXT.fullmatch(name) is None or len(name) > MAX_NAME:
        raise HostlistError(f"{name!r} is no host name: use up to {MAX_NAME} letters, digits, '-', '_', '.', ':', '+'")
    match = _NUMBERED.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def _ranges(numbers: Sequence[str]) -> list[str]:
    """Fold numbers that follow each other and have the same width."""
    runs: list[list[str]] = []
    for number in numbers:
        if runs and len(number) == len(runs[-1][-1]) and int(number) == int(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def _skip_separators(text: str, position: int) -> int:
    match = _SEPARATORS.match(text, position)
    return match.end() if match else position


def _error(text: str, position: int, what: str) -> HostlistError:
    return HostlistError(f"cannot read the nodelist {_shown(text, position)}: {what} at character {position + 1}")


def _shown(text: str, position: int) -> str:
    """Return *text* for a message of one line: of a long one, what is around *position*."""
    start, end = max(0, position - _SHOWN // 2), position + _SHOWN // 2
    if len(text) <= _SHOWN:
        return repr(text)
    return f"{'...' if start else ''}{text[start:end]!r}{'...' if end < len(text) else ''}"
