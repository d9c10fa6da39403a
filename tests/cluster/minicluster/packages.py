"""The Debian packages that a cluster needs: see whether they are there, and install those that are not."""

from __future__ import annotations

import os
import shutil

from minicluster import shell
from minicluster.state import ClusterError

_PACKAGE_OF = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600")


def ensure() -> None:
    """Install what is missing; raise ClusterError naming it where that cannot be done."""
    missing = _missing()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"not on this machine, and no apt-get to install them: {' '.join(missing)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}  # with the proxies of this machine
    install = [*_APT, "--no-install-recommends", "install", *missing]
    if shell.run(install, check=False, timeout=900, env=environ).returncode:
        shell.run([*_APT, "update"], timeout=600, env=environ)
        shell.run(install, timeout=900, env=environ)
    still = _missing()
    if still:
        raise ClusterError(f"installed, and still without their programs: {' '.join(still)}")


def _missing() -> list[str]:
    return sorted({package for program, package in _PACKAGE_OF.items() if not shutil.which(program, path=shell.PATH)})
