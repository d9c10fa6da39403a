"""The command of another Python process of this package."""

from __future__ import annotations

import os
import sys


def python_argv(module: str) -> list[str]:
    """Return the command that calls ``main()`` of *module*, a module of this package; options may be appended.

    The package is found wherever this process found it; the directory that the user stands in is not searched: a file
    there called like a module of the standard library must not be imported.
    """
    bootstrap = (
        "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv.pop(1)); "
        f"from {module} import main; main()"
    )
    return [sys.executable, "-c", bootstrap, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]


def installed_argv(python: str, module: str) -> list[str]:
    """Return the command that calls ``main()`` of *module* as another *python* has it installed."""
    return [python, "-c", f"import sys; sys.path[:] = [p for p in sys.path if p]; from {module} import main; main()"]
