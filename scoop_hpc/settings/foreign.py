"""Translate the schedulers' own options, as users of sbatch and qsub type them, into ours.

Their letters mean different things: ``-N`` is a number of nodes to sbatch, and a job's name to qsub; ``-t`` a time, and
an array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

_MINUTES = "--walltime (a number alone is minutes)"
_DIRECTIVE = ""  # there is none of ours: it is passed on verbatim
_ENVIRONMENT = "--env (NAME of each variable that the job needs)"
_DIRECTORY = "--chdir (by default, the directory that you submit from)"
_LEFT_OUT = "not needed"
_OUTPUT_HAS_BOTH = "not needed (without --error, the output has both)"
_BASH = "not needed (the script is bash's)"

_SBATCH = MappingProxyType(  # sbatch(1), OPTIONS
    {
        "account": "--account",
        "array": "--array",
        "begin": "--begin",
        "chdir": "--chdir",
        "comment": _DIRECTIVE,
        "constraint": "--constraint",
        "contiguous": _DIRECTIVE,
        "core-spec": _DIRECTIVE,
        "cpus-per-gpu": "--cpus-per-worker",
        "cpus-per-task": "--cpus-per-worker",
        "deadline": _DIRECTIVE,
        "dependency": "--after, --after-any or --after-failure",
        "distribution": _DIRECTIVE,
        "error": "--error",
        "exclude": _DIRECTIVE,
        "exclusive": "--exclusive",
        "export": _ENVIRONMENT,
        "export-file": _ENVIRONMENT,
        "get-user-env": "--prologue or --module",
        "gpus": "--gpus-per-node (times --nodes)",
        "gpus-per-node": "--gpus-per-node",
        "gpus-per-task": "--gpus-per-node (for all --workers-per-node)",
        "gres": "--gpus-per-node",
        "gres-flags": _DIRECTIVE,
        "hint": _DIRECTIVE,
        "hold": _DIRECTIVE,
        "job-name": "--name",
        "licenses": "--license",
        "mail-type": "--mail-events",
        "mail-user": "--mail-user",
        "mem": "--memory",
        "mem-bind": _DIRECTIVE,
        "mem-per-cpu": "--memory-per-cpu",
        "mem-per-gpu": "--memory or --memory-per-cpu",
        "network": _DIRECTIVE,
        "nice": _DIRECTIVE,
        "no-requeue": "--no-requeue",
        "nodelist": _DIRECTIVE,
        "nodes": "--nodes",
        "ntasks": "--workers",
        "ntasks-per-core": _DIRECTIVE,
        "ntasks-per-gpu": "--workers-per-node",
        "ntasks-per-node": "--workers-per-node",
        "ntasks-per-socket": "--workers-per-node",
        "output": "--output",
        "oversubscribe": "--no-exclusive",
        "partition": "--queue",
        "prefer": _DIRECTIVE,
        "priority": _DIRECTIVE,
        "qos": "--qos",
        "requeue": "--requeue",
        "reservation": "--reservation",
        "signal": "--signal",
        "sockets-per-node": _DIRECTIVE,
        "spread-job": _DIRECTIVE,
        "switches": _DIRECTIVE,
        "test-only": "--dry-run",
        "thread-spec": _DIRECTIVE,
        "threads-per-core": _DIRECTIVE,
        "time": _MINUTES,
        "time-min": _DIRECTIVE,
        "tmp": _DIRECTIVE,
        "uid": _DIRECTIVE,
        "use-min-nodes": _DIRECTIVE,
        "wait": "--wait",
        "wckey": _DIRECTIVE,
        "workdir": "--chdir",
        "wrap": "the program itself (behind all options, with its arguments)",
        "A": "--account",
        "C": "--constraint",
        "D": "--chdir",
        "G": "--gpus-per-node (times --nodes)",
        "H": _DIRECTIVE,
        "J": "--name",
        "L": "--license",
        "N": "--nodes",
        "W": "--wait",
        "a": "--array",
        "b": "--begin",
        "c": "--cpus-per-worker",
        "d": "--after, --after-any or --after-failure",
        "e": "--error",
        "m": _DIRECTIVE,
        "n": "--workers",
        "o": "--output",
        "p": "--queue",
        "q": "--qos",
        "s": "--no-exclusive",
        "t": _MINUTES,
        "w": _DIRECTIVE,
        "x": _DIRECTIVE,
    }
)
_QSUB = MappingProxyType(  # what the qsubs have in common
    {
        "M": "--mail-user",
        "N": "--name",
        "V": _ENVIRONMENT,
        "a": "--begin",
        "e": "--error",
        "h": _DIRECTIVE,
        "m": "--mail-events",
        "o": "--output",
        "p": _DIRECTIVE,
        "q": "--queue",
        "r": "--requeue or --no-requeue",
        "v": "--env (NAME=VALUE)",
    }
)
_PBS = MappingProxyType(  # qsub(1B)
    {
        **_QSUB,
        "A": "--account",
        "I": "not for submit (scoop-hpc run, in the shell that qsub -I gives)",
        "J": "--array",
        "P": _DIRECTIVE,
        "R": _DIRECTIVE,
        "S": _BASH,
        "W": "--after, --after-any or --after-failure (for depend=; else --directive '-W ...')",
        "d": "--chdir",  # Torque's
        "j": _OUTPUT_HAS_BOTH,
        "k": "not needed (the output is written where --output says)",
        "t": "--array",  # Torque's
    }
)
_SGE = MappingProxyType(  # qsub(1)
    {
        **_QSUB,
        "A": "--account (Grid Engine's -P; or --directive '-A ...')",
        "P": "--account",
        "S": _BASH,
        "ar": "--reservation",
        "b": "not needed (the program is named behind all options)",
        "cwd": _DIRECTORY,
        "hard": _DIRECTIVE,
        "hold_jid": "--after-any",
        "j": _OUTPUT_HAS_BOTH,
        "notify": "--signal",
        "now": _LEFT_OUT,
        "pe": "--pe (its name; the slots are --workers, or --nodes times --workers-per-node)",
        "shell": _LEFT_OUT,
        "soft": _DIRECTIVE,
        "sync": "--wait",
        "t": "--array",
        "tc": "--array (FIRST-LAST%LIMIT)",
        "terse": "--parsable",
        "w": "--dry-run",
        "wd": "--chdir",
    }
)
_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType({"slurm": _SBATCH, "pbs": _PBS, "sge": _SGE})
_OWNERS = MappingProxyType({"slurm": "sbatch's", "pbs": "PBS's", "sge": "Grid Engine's"})

_RESOURCES = MappingProxyType(  # of ``-l``, PBS's and Grid Engine's [pbs_resources(7B), complex(5)]
    {
        "walltime": _MINUTES,
        "h_rt": _MINUTES,
        "s_rt": "--signal (before the end of --walltime)",
        "select": "--nodes, --workers-per-node, --cpus-per-worker, --memory, --gpus-per-node or --constraint",
        "nodes": "--nodes and --workers-per-node",
        "ppn": "--workers-per-node",
        "procs": "--workers",
        "ncpus": "--cpus-per-worker or --workers-per-node",
        "mem": "--memory",
        "vmem": "--memory",
        "pmem": "--memory-per-cpu",
        "h_vmem": "--memory-per-cpu",
        "s_vmem": "--memory-per-cpu",
        "mem_free": "--memory-per-cpu",
        "virtual_free": "--memory-per-cpu",
        "ngpus": "--gpus-per-node",
        "gpus": "--gpus-per-node",
        "gpu": "--gpus-per-node or --directive '-l gpu=...'",
        "place": "--nodes (scatter) or --exclusive (excl)",
        "hostname": "--constraint",
        "host": "--constraint",
    }
)


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
    """
    if option == "-l":
        return _resources(value or "")
    meanings: dict[str, list[str]] = {}
    known = [each for each in _TABLES if _means(option, each)]
    for each in [each for each in known if each == scheduler] or known:
        meanings.setdefault(_TABLES[each][option.lstrip("-")], []).append(_OWNERS[each])
    if list(meanings) == [_DIRECTIVE]:
        return f"{option} is passed on here by {_directive(option, value)}"
    told = [(_here(meaning or _directive(option, value)), owners) for meaning, owners in meanings.items()]
    if len(told) < 2:
        return f"{option} is {told[0][0]}" if told else None
    return f"{option} is " + ", or ".join(f"{what} if you mean {' or '.join(owners)}" for what, owners in told)


def _means(option: str, scheduler: str) -> bool:
    """Return whether *option* is one of that scheduler's command: sbatch's long ones have two dashes, qsub's one."""
    name = option.lstrip("-")
    is_long = scheduler == "slurm" and len(name) > 1
    return name in _TABLES[scheduler] and option == f"-{'-' if is_long else ''}{name}"


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
    known = {name: _RESOURCES[name] for name in dict.fromkeys(names) if name in _RESOURCES}
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
        if is_short and name[1] in word and any(_means(word, each) for each in _TABLES):
            return word, following
        if is_short and word.startswith(name):
            return name, word[2:]
    return name, None
