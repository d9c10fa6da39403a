"""A name by which a package is found as well; finding it costs nothing until somebody imports it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class Alias:
    """A finder and loader (PEP 451) of the modules of *package* under *name*: each is one module under two names."""

    def __init__(self, name: str, package: str) -> None:
        self._name = name
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to import *fullname*, if it is *name* or inside it."""
        if fullname != self._name and not fullname.startswith(self._name + "."):
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type]  # a Loader by its methods; the class costs an import

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let Python make an empty module, that `exec_module` replaces."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the place of *module*; raise ModuleNotFoundError, by its asked name, if it is none."""
        real = self._package + module.__name__[len(self._name) :]
        try:
            sys.modules[module.__name__] = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise
            reason = f"no module named {module.__name__!r} in scoop_hpc's {self._name}"
            raise ModuleNotFoundError(reason, name=module.__name__) from None


def install(name: str, package: str) -> None:
    """Let *package* be found as *name* from now on, before any other package of that name."""
    sys.meta_path.insert(0, Alias(name, package))
