"""The cluster of a scheduler's that has a job: it is asked again, whatever the current shell would choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster that has a job: the name that its commands have for it, empty where none was given, and the
    variables that choose a cluster, as they were at the submission; None: not set."""

    cluster: str = ""
    variables: tuple[tuple[str, str | None], ...] = ()

    def agrees_with(self, other: Site) -> bool:
        """Return whether both may be the same cluster; a variable that only one of them has tells nothing."""
        own, theirs = dict(self.variables), dict(other.variables)
        return self.cluster == other.cluster and all(own[name] == theirs[name] for name in own if name in theirs)


def at_site(environ: Mapping[str, str], site: Site | None) -> dict[str, str]:
    """Return *environ* for the commands that ask *site*, whatever it would choose by itself.

    >>> at_site({"SLURM_CLUSTERS": "b", "HOME": "/home/me"}, Site("a", (("SLURM_CLUSTERS", None),)))
    {'HOME': '/home/me'}
    """
    if site is None:
        return dict(environ)
    said = dict(site.variables)
    kept = {name: value for name, value in environ.items() if name not in said}
    return {**kept, **{name: value for name, value in said.items() if value is not None}}
