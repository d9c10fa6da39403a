"""Choose one of the clusters in the settings' files, and collect its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from scoop_hpc.errors import SettingsError
from scoop_hpc.settings.site_file import SiteFile
from scoop_hpc.settings.values import Setting, advice, closest, resolve


@dataclass(frozen=True, slots=True)
class Picked:
    """The chosen cluster, None for none, and the reason."""

    cluster: str | None
    why: str


def pick(
    files: Sequence[SiteFile], profile: Setting | None, host: str, scheduler: str | None, find: Callable[[], str]
) -> Picked:
    """Choose the cluster by *profile*, *host*, the default or the scheduler: *scheduler*, or the one that *find* finds.

    *files* are in the order of their strength.
    """
    clusters = _merged(files)
    default = next((file.default for file in files if file.default is not None), None)
    for named in (profile, default):
        if named is not None and named.value not in clusters:
            raise SettingsError(f"{named.origin}: there is no cluster {named.value!r}: {_advice(named, clusters)}")
    if profile is not None:
        return Picked(str(profile.value), f"{profile.origin} names it")
    if not clusters:
        return Picked(None, "no file names any")
    left = [name for name in clusters if scheduler is None or _value(clusters[name], "scheduler") in (None, scheduler)]
    fitting = {name: setting for name in left for setting in clusters[name].values() if _fits(setting, host)}
    if len(fitting) > 1:
        raise SettingsError(
            f"this host, {host!r}, fits the hosts of the clusters {' and '.join(map(repr, fitting))} "
            f"({', '.join(setting.origin.brief for setting in fitting.values())}): choose one by --profile"
        )
    for name, setting in fitting.items():
        return Picked(name, f"its hosts in {setting.origin.brief} fit this one, {host}")
    if default is not None and default.value in left:
        return Picked(str(default.value), f"it is the default in {default.origin.brief}")
    if any("scheduler" in clusters[name] for name in left):
        here = scheduler or find()
        of_it = [name for name in left if _value(clusters[name], "scheduler") == here]
        if len(of_it) == 1:
            return Picked(of_it[0], f"it is the only one whose scheduler is {here}")
    return Picked(None, f"nothing picks one of {', '.join(clusters)}: --profile would")


def tables(files: Sequence[SiteFile], cluster: str | None) -> list[tuple[Setting, ...]]:
    """Return the tables of *files* that apply on *cluster*, the strongest first."""
    found = []
    for file in files:
        of_cluster = file.clusters.get(cluster, ()) if cluster is not None else ()
        found += [tuple(setting for setting in of_cluster if setting.name != "hosts"), file.defaults]
    return found


def _merged(files: Sequence[SiteFile]) -> dict[str, dict[str, Setting]]:
    names = dict.fromkeys(name for file in files for name in file.clusters)
    return {name: resolve((), [file.clusters.get(name, ()) for file in files]) for name in names}


def _value(cluster: dict[str, Setting], name: str) -> object:
    return cluster[name].value if name in cluster else None


def _fits(setting: Setting, host: str) -> bool:
    """Return whether *setting* is a list of hosts that *host* fits, with its domain or without."""
    if setting.name != "hosts" or not isinstance(setting.value, tuple):
        return False
    names = (host.lower(), host.lower().partition(".")[0])
    return any(fnmatchcase(name, glob.lower()) for name in names for glob in setting.value)


def _advice(named: Setting, clusters: dict[str, dict[str, Setting]]) -> str:
    name = str(named.value)
    if not clusters:
        return "no file has a table [clusters.NAME]; scoop-hpc config path lists where they may be"
    if closest(name, clusters) is None or len(clusters) == 1:
        return advice(name, clusters)
    return f"{advice(name, clusters)} All are {', '.join(sorted(clusters))}"
