"""The command of another Python process of this package.

The directory that the user stands in is not searched: a file there called like a module of the standard library must
not be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_WITHOUT_HERE = "import sys; sys.path[:] = [p for p in sys.path if p]; "
_WITH_THE_NEXT_WORD = "sys.path.append(sys.argv.pop(1)); "


def python_argv(module: str) -> list[str]:
    """Return the command that calls ``main()`` of *module*, a module of this package; options may be appended.

    The package is found wherever this process found it.
    """
    return [sys.executable, "-c", _WITHOUT_HERE + _WITH_THE_NEXT_WORD + _call(module), _home()]


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
