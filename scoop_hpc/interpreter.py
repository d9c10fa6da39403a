"""The command of another Python process of this package.

The directory that the user stands in is not searched: a file there called like a module of the standard library must
not be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# python(1): options by the names that they have in `sys.flags`
_COUNTED = {"optimize": "O", "dont_write_bytecode": "B", "bytes_warning": "b"}
_ALONE = {"isolated": "-I", "ignore_environment": "-E", "no_user_site": "-s", "safe_path": "-P"}
_OF_ONE_PROCESS = frozenset({"importtime", "showrefcount"})  # they report on the process that has them
_WITHOUT_HERE = "import sys; sys.path[:] = [p for p in sys.path if p]; "
_WITH_THE_NEXT_WORD = "sys.path.append(sys.argv.pop(1)); "


def python_argv(module: str) -> list[str]:
    """Return the command that calls ``main()`` of *module*, a module of this package; options may be appended.

    The package is found wherever this process found it, and the interpreter has the options that this one has.
    """
    options = interpreter_options(sys.flags, sys.warnoptions, sys._xoptions)
    return [sys.executable, *options, "-c", _WITHOUT_HERE + _WITH_THE_NEXT_WORD + _call(module), _home()]


def interpreter_options(flags: Any, warnings: Sequence[str], extra: Mapping[str, str | bool]) -> list[str]:
    """Return the options of an interpreter that has these `sys.flags`, `sys.warnoptions` and `sys._xoptions`.

    Only those that change what code does: ``assert``, warnings, text encodings, what the environment says. Not ``-S``,
    since a program may find its packages without the site's help, where a process of ours cannot.

    >>> interpreter_options(sys.flags, ["error"], {"dev": True, "int_max_str_digits": "0"})[-5:]
    ['-Werror', '-X', 'dev', '-X', 'int_max_str_digits=0']
    """
    found = [f"-{letter * number}" for name, letter in _COUNTED.items() if (number := int(getattr(flags, name)))]
    alone = ("isolated",) if flags.isolated else tuple(_ALONE)  # it implies the others
    found += [_ALONE[name] for name in alone if getattr(flags, name, False)]  # no safe_path before Python 3.11
    found += [f"-W{option}" for option in warnings]
    for name, value in extra.items():
        if name not in _OF_ONE_PROCESS:
            found += ["-X", name if value is True else f"{name}={value}"]
    return found


def search_path(path: Sequence[str]) -> list[str]:
    """Return what such a process searches, where *path* is this process's `sys.path`: without the directory of the
    script that this process was started by, or that of the package, which `python -m` puts first."""
    script = "" if sys.argv[0] == "-c" else os.path.dirname(os.path.realpath(sys.argv[0]))
    rest = path[1:] if path and path[0] in (script, _home()) else path
    return [*(entry for entry in rest if entry), _home()]


def installed_argv(python: str, module: str) -> list[str]:
    """Return the command that calls ``main()`` of *module* as another *python* has it installed."""
    return [python, "-c", _WITHOUT_HERE + _call(module)]


def _home() -> str:
    """Return the directory that this package is in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _call(module: str) -> str:
    """Return what imports *module* and calls its ``main()``.

    Nothing of a module is garbage: to look for some takes a tenth of the time that the imports take.
    """
    return f"import gc; gc.disable(); from {module} import main; gc.freeze(); gc.enable(); main()"
