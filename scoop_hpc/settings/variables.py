"""Read settings from the environment: SCOOP_HPC_QUEUE for --queue. A list is split into words as by a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from scoop_hpc.errors import SettingsError
from scoop_hpc.settings.values import Kind, Origin, Setting, Value, closest, name_of

PREFIX = "SCOOP_HPC_"
PROFILE = "SCOOP_HPC_PROFILE"

# variables of that prefix that are no settings
_OTHERS = frozenset(
    (
        *("PROFILE", "STATE", "TRUST", "KEYS", "DRIVER", "WORKER_OPTIONS", "SKIP_CLUSTER"),
        *("WORKER", "NODE", "RANK", "SIZE"),  # of a worker, which may submit jobs
    )
)
_OTHERS_BEGIN = ("JOB_", "LOCAL_")


def read_variables(environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> tuple[tuple[Setting, ...], list[str]]:
    """Return the settings in *environ*, and a warning of each variable that only looks like one; skip empty ones."""
    settings: dict[str, Setting] = {}
    warnings = []
    for variable in sorted(environ):
        rest = variable[len(PREFIX) :]
        if not variable.startswith(PREFIX) or rest in _OTHERS or rest.startswith(_OTHERS_BEGIN):
            continue
        origin = Origin(f"${variable}")
        try:
            name = name_of(rest.lower() if rest.isupper() else variable, kinds, origin)
        except SettingsError:
            warnings.append(f"{variable} sets nothing: {_advice(rest, kinds)}")
            continue
        text = environ[variable]
        if text and name in settings:
            raise SettingsError(f"{origin}: {settings[name].origin} is set as well: drop one")
        if text:
            settings[name] = Setting(name, _value(text, kinds[name], origin), origin)
    return tuple(settings.values()), warnings


def _advice(rest: str, kinds: Mapping[str, Kind]) -> str:
    near = closest(rest.lower(), [*kinds, "profile"])
    return "there is no such option" if near is None else f"did you mean {PREFIX}{near.upper()}?"


def _value(text: str, kind: Kind, origin: Origin) -> Value:
    if kind is not Kind.LIST:
        return text
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(f"{origin}: cannot split {text!r} into words ({error}): close what is quoted") from error
