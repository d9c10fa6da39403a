"""An agent's command, and what its environment brings it: the driver's addresses, the run's keys.

Where a launcher carries no environment, it is shell text, in a file or through standard input.

::

    STATE/environments/1764201600-5f0c21aa9be01d37    when it may go at the latest, in seconds since the epoch

The text holds the run's keys, so it never is an argument, and its file is for this user only. The keys open the run's
sockets, and nothing once those are closed. The driver removes the file when all agents have reported, and at the end of
the run; should the driver be killed, an agent does, or a later run.

A shell reads it, not the agent: the interpreter may need ``LD_LIBRARY_PATH`` and ``PYTHONPATH`` to start.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping, MutableMapping, Sequence

import msgspec

from scoop_hpc.errors import InputError
from scoop_hpc.files.private import make_private
from scoop_hpc.interpreter import installed_argv, python_argv
from scoop_hpc.protocol.messages import Curve
from scoop_hpc.shares.gpus import ALL_VARIABLES

_KEYS = "SCOOP_HPC_KEYS"  # what the agent needs of the run's keys
_ADDRESSES = "SCOOP_HPC_DRIVER"  # where the driver is reached, with commas between
_AGENT = "scoop_hpc.cli.agent"

_FOLDER = "environments"
_SLACK = 3600.0  # seconds by which the clocks of two nodes may differ

# what bash does not let anybody set; `export` then ends the shell [POSIX, Consequences of Shell Errors]
_READONLY = ("BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID")

_UNLESS_SET = '[ "${{{0}+set}}" ] || '

_FROM_INPUT = 'eval "$(cat)"; exec "$@"'  # no `. /dev/stdin`: it may be a socket, which cannot be opened by a name
_FROM_FILE = (
    '[ -f "$1" ] && [ -w "$1" ] && exec >>"$1" 2>&1; shift; '
    '[ -r "$0" ] || { echo "scoop-hpc: error: $(uname -n) cannot read $0: '
    'let SCOOP_HPC_STATE name a directory that all nodes see" >&2; exit 2; }; . "$0"; exec "$@"'
)


def agent_argv(python: str = "") -> list[str]:
    """Return the command of an agent, but for its options; *python* is another one than this, if any."""
    return installed_argv(python, _AGENT) if python else python_argv(_AGENT)


def agent_options(patience: float, grace: float, interface: str, parent: int | None, party: int = 0) -> list[str]:
    """Return the options of an agent, but for the name of its node."""
    options = ["--patience", f"{patience:g}", "--grace", f"{grace:g}"]
    if interface:
        options += ["--interface", interface]
    if parent is not None:
        options += ["--parent", str(parent)]
    if party:
        options += ["--party", str(party)]
    return options


def agent_variables(addresses: Sequence[str], curve: Curve | None) -> dict[str, str]:
    """Return the variables by which an agent finds the driver, and is let in."""
    variables = {_ADDRESSES: ",".join(addresses)}
    if curve is not None:
        variables[_KEYS] = msgspec.json.encode(curve).decode()
    return variables


def take_agent_variables(environ: MutableMapping[str, str]) -> tuple[tuple[str, ...], Curve | None]:
    """Remove these variables from *environ*: programs do not see them. Return the addresses, and the keys, if any."""
    keys = environ.pop(_KEYS, None)
    return tuple(environ.pop(_ADDRESSES).split(",")), msgspec.json.decode(keys, type=Curve) if keys else None


def shell_text(environ: Mapping[str, str], directory: str) -> bytes:
    """Return what a shell is to read to have *environ*, and to be in *directory* if that is there.

    Functions that bash has exported are left out: no variable of a shell has such a name. Variables that say which GPUs
    there are do not take the place of the node's own.

    >>> shell_text({"HOME": "/home/me", "BASH_FUNC_module%%": "() { :; }", "PS1": "it's $ "}, "/scratch/a b")
    b'export HOME=/home/me\\nexport PS1=\\'it\\'"\\'"\\'s $ \\'\\ncd \\'/scratch/a b\\' 2>/dev/null || :\\n'
    """
    lines = [
        f"{_UNLESS_SET.format(name) if name in ALL_VARIABLES else ''}export {name}={shlex.quote(value)}"
        for name, value in environ.items()
        if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) and name not in _READONLY
    ]
    lines.append(f"cd {shlex.quote(directory)} 2>/dev/null || :")  # the agent tries again, and complains
    return os.fsencode("\n".join(lines) + "\n")


def reading_input(agent: Sequence[str]) -> list[str]:
    """Return the command that reads such a text from its standard input, then is *agent*."""
    return ["/bin/sh", "-c", _FROM_INPUT, "scoop-hpc", *agent]


def reading_file(path: str, output: str, agent: Sequence[str]) -> list[str]:
    """Return the command that reads such a text from the file *path*, then is *agent*.

    What either of them prints is appended to the file *output*, if there is one that the node sees.
    """
    return ["/bin/sh", "-c", _FROM_FILE, path, output, *agent, "--environment", path]


def write(state: str, text: bytes, now: float, patience: float) -> str:
    """Put *text* into a new file under *state*; return its path. It may go when *patience* seconds have passed.

    Files whose time has passed are removed: their drivers were killed, or their nodes lost.
    """
    folder = os.path.join(state, _FOLDER)
    make_private(folder)
    path = os.path.join(folder, f"{now + patience + _SLACK:.0f}-{os.urandom(8).hex()}")
    try:
        _sweep(folder, now)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
    except OSError as error:
        remove(path)
        raise InputError(
            f"cannot write into {folder!r}: {error.strerror}; SCOOP_HPC_STATE names another directory for state"
        ) from error
    return path


def remove(path: str) -> None:
    """Remove the file *path*, if it is there."""
    with contextlib.suppress(OSError):  # whoever else may do it comes first, or the file system is gone
        os.unlink(path)


def expired(names: Sequence[str], now: float) -> list[str]:
    """Return those of the files *names* whose time has passed.

    >>> expired(["1764201600-5f0c", "1764288000-9be0", "README"], 1764202000.0)
    ['1764201600-5f0c']
    """
    times = ((name, re.match("([0-9]+)-", name)) for name in names)
    return [name for name, until in times if until is not None and int(until[1]) < now]


def _sweep(folder: str, now: float) -> None:
    for name in expired(os.listdir(folder), now):
        remove(os.path.join(folder, name))
