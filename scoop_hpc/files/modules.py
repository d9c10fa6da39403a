"""Find the source of a module by its name, as `python -m` does, but without importing the packages that it is in.

So nothing of the user's runs in the process that looks for it. What a package does to its own ``__path__`` when it is
imported is not seen.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from typing import Any

from msgspec import Struct

from scoop_hpc.errors import ProgramError

MAIN = "__main__"  # what is run of a package


class ModuleSource(Struct, frozen=True):
    """The source of a module: its bytes, and the file that it says to be from."""

    spec: ModuleSpec
    file: str
    content: bytes


def find_source(name: str, path: Sequence[str]) -> ModuleSource:
    """Return the source of the module *name*, or of the ``__main__`` of a package; raise ProgramError.

    *path* is where Python would look, as `sys.path`: the first entry is the user's directory.
    """
    spec = _find(name, path)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find(f"{name}.{MAIN}", path)
        if spec is None:
            raise ProgramError(f"the package {name!r} has no {MAIN}.py to run: give -m one of its modules")
    if spec is None:
        raise ProgramError(f"cannot find the module {name!r} from {path[0]!r}: {_advice(name)}")
    loader: Any = spec.loader
    try:
        content = loader.get_source(spec.name) and loader.get_data(spec.origin)
    except (AttributeError, ImportError, OSError, SyntaxError) as error:
        raise ProgramError(f"cannot read the module {name!r} ({spec.origin}): {error}") from error
    if content is None or spec.origin is None:
        raise ProgramError(f"the module {name!r} has no Python source to run ({spec.origin}): name one that has")
    return ModuleSource(spec, spec.origin, content or b"")


def _advice(name: str) -> str:
    if "/" in name:
        return "-m wants the dotted name of a module, leave it out for a file"
    if name.endswith(".py"):
        return f"-m wants the name of a module, such as {name[:-3]}; leave it out for a file"
    return "give -m the dotted name of a module that Python finds from here, or set PYTHONPATH"


def _find(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of the module *name*, None if there is none."""
    locations: Sequence[str] | None = path
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if locations is None or not parts[count - 1]:
            return None
        spec = _find_in(".".join(parts[:count]), locations, count == 1)
        if spec is None:
            return None
        locations = spec.submodule_search_locations
    return spec


def _find_in(name: str, locations: Sequence[str], is_top: bool) -> ModuleSpec | None:
    """Return the spec that a finder has for *name*; of a whole name, those may have one that go by other ways."""
    for finder in sys.meta_path:
        if finder in (BuiltinImporter, FrozenImporter):
            continue
        by_path = finder is PathFinder
        spec = _find_by_path(name, locations) if by_path else finder.find_spec(name, None if is_top else locations)
        if spec is not None:
            return spec
    return None


def _find_by_path(name: str, locations: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of *name* in one of *locations*, or that of a namespace of portions in several of them.

    `PathFinder` wants the packages imported that a namespace is in.
    """
    portions: list[str] = []
    for location in locations:
        finder = _finder_of(location)
        spec: ModuleSpec | None = None if finder is None else finder.find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        portions += [] if spec is None else spec.submodule_search_locations or []
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _finder_of(location: str) -> Any:
    """Return what finds modules in a directory or an archive, None if nothing does; `pkgutil` takes 2 ms to load."""
    for hook in sys.path_hooks:
        with contextlib.suppress(ImportError):
            return hook(location)
    return None
