"""Translate the schedulers' own options, as users of sbatch and qsub type them, into ours.

Their letters mean different things: ``-N`` is a number of nodes to sbatch, and a job's name to qsub; ``-t`` a time, and
an array.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scoop_hpc.schedulers.own_options import DIRECTIVE, OwnOptions
from scoop_hpc.schedulers.registry import SCHEDULERS


def ours(option: str, value: str | None = None, scheduler: str | None = None) -> str | None:
    """Return advice on a scheduler's own *option*, None for one that no scheduler has.

    *value* is what stands behind it. Only what it means to *scheduler* is told, if it means something there.

    >>> ours("--partition")
    '--partition is --queue here'
    >>> ours("-N")
    "-N is --nodes here if you mean sbatch's, or --name here if you mean PBS's or Grid Engine's"
    >>> ours("-N", "4", "slurm")
    '-N is --nodes here'
    >>> ours("-l", "walltime=1:00:00", "pbs")
    '-l walltime is --walltime here (a number alone is minutes)'
    >>> ours("--switches", "1")
    "--switches is passed on here by --directive '--switches=1'"
    >>> ours("--hold", "prog.py")
    "--hold is passed on here by --directive '--hold'"
    """
    if option == "-l":
        return _resources(value or "")
    meanings: dict[str, list[str]] = {}
    if any(option.lstrip("-") in own.flags for own in _own_options().values()):
        value = None
    known = {name: own for name, own in _own_options().items() if own.name_in(option) is not None}
    for own in [known[scheduler]] if scheduler in known else known.values():
        meanings.setdefault(own.ours[option.lstrip("-")], []).append(own.owner)
    if list(meanings) == [DIRECTIVE]:
        return f"{option} is passed on here by {_directive(option, value)}"
    told = [(_here(meaning or _directive(option, value)), owners) for meaning, owners in meanings.items()]
    if len(told) < 2:
        return f"{option} is {told[0][0]}" if told else None
    return f"{option} is " + ", or ".join(f"{what} if you mean {' or '.join(owners)}" for what, owners in told)


def _own_options() -> dict[str, OwnOptions]:
    return {name: each.own_options for name, each in SCHEDULERS.items() if each.own_options is not None}


def _here(meaning: str) -> str:
    """Return *meaning* with "here" before its parenthesis."""
    head, parenthesis, rest = meaning.partition(" (")
    return f"{head} here{parenthesis}{rest}"


def _directive(option: str, value: str | None) -> str:
    between = "=" if option.startswith("--") else " "
    return f"--directive '{option}'" if value is None else f"--directive '{option}{between}{value}'"


def _resources(value: str) -> str:
    """Return what ``-l`` with *value* is here."""
    names = re.findall(r"(?:^|[,:])([A-Za-z_]\w*)=", value)
    resources = {name: ours for own in _own_options().values() for name, ours in own.resources.items()}
    known = {name: resources[name] for name in dict.fromkeys(names) if name in resources}
    if known and next(iter(known)) in ("select", "nodes"):  # what follows is of the chunks
        known = {name: meaning for name, meaning in known.items() if name in ("select", "nodes", "walltime", "place")}
    if known:
        return ", ".join(f"-l {name} is {_here(meaning)}" for name, meaning in known.items())
    return f"-l is passed on here by --directive '-l {value or 'NAME=VALUE'}', or is --walltime or --memory"


def mistyped(words: Sequence[str], name: str) -> tuple[str, str | None]:
    """Return the option as typed, and its value, that the parser did not find under *name*.

    A parser takes ``-pe`` for ``-p -e``, and ``-N4`` for ``-N``.

    >>> mistyped(["--nodes", "2", "-pe", "mpi", "4", "p.py"], "-p"), mistyped(["--time=10", "p.py"], "--time")
    (('-pe', 'mpi'), ('--time', '10'))
    >>> mistyped(["-N4", "p.py"], "-N")
    ('-N', '4')
    """
    for position, word in enumerate(words):
        if word == "--":
            break
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        rest = words[position + 1 : position + 2]
        following = rest[0] if rest and not rest[0].startswith("-") else None
        if option == name:
            return name, value if equals else following
        is_short = len(name) == 2 and re.match("-[A-Za-z]", word) is not None
        if is_short and name[1] in word and any(own.name_in(word) is not None for own in _own_options().values()):
            return word, following
        if is_short and word.startswith(name):
            return name, word[2:]
    return name, None
