"""The Debian packages that a cluster needs: see whether they are there, and install those that are not."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from minicluster import shell
from minicluster.state import ClusterError

_PACKAGE_OF = {"ip": "iproute2", "nsenter": "util-linux"}  # for any cluster
_POLICY = Path("/usr/sbin/policy-rc.d")
_ONE_AT_A_TIME = "/usr/sbin"  # locked, as a directory, by whoever installs
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600")


def ensure(package_of: Mapping[str, str]) -> None:
    """Install the packages whose programs, or files, are missing; raise ClusterError where that cannot be done."""
    descriptor = os.open(_ONE_AT_A_TIME, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # a package counts as there before it is set up
        _ensure({**_PACKAGE_OF, **package_of})
    finally:
        os.close(descriptor)


def _ensure(wanted: Mapping[str, str]) -> None:
    missing = _missing(wanted)
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"not on this machine, and no apt-get to install them: {' '.join(missing)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}  # with the proxies of this machine
    install = [*_APT, "--no-install-recommends", "install", *missing]
    with _no_services():
        if shell.run(install, check=False, timeout=900, env=environ).returncode:
            shell.run([*_APT, "update"], timeout=600, env=environ)
            shell.run(install, timeout=900, env=environ)
    still = _missing(wanted)
    if still:
        raise ClusterError(f"installed, and still without what is needed of them: {' '.join(still)}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Let no package start its daemons on this machine; leave a machine's own say about that alone."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")  # invoke-rc.d(8): "action forbidden by policy"
    try:
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()


def _missing(package_of: Mapping[str, str]) -> list[str]:
    return sorted({package for name, package in package_of.items() if not _is_here(name)})


def _is_here(name: str) -> bool:
    return os.path.exists(name) if name.startswith("/") else shutil.which(name, path=shell.PATH) is not None
