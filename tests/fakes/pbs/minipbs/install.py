"""Make an installation: the commands, and the state behind them; as a program, in the directory that it is given."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

COMMANDS = (
    "pbs_tmrsh",
    "pbsdsh",
    "pbsnodes",
    "qdel",
    "qhold",
    "qrerun",
    "qrls",
    "qselect",
    "qsig",
    "qstat",
    "qsub",
)
_COMMAND = """#!{python} -I
import sys
sys.path.insert(0, {fakes!r})
from minipbs.commands import main
main({name!r}, {root!r}, sys.argv[1:])
"""
SETTINGS: dict[str, Any] = {
    "server": "pbshead",
    "version": "23.06.06",
    "user": "pbsuser",
    "operator": False,  # whether the user may qrerun
    "history": True,
    "hosts": {f"pnode00{number}": {"ncpus": 4, "state": "free"} for number in (1, 2, 3, 4)},
    "queues": {"workq": {}},  # enabled, started; resources_max.walltime, resources_max.ncpus; max_queued
    "max_array_size": 10000,
    "kill_delay": 10.0,
    "overrun": 3.0,  # seconds by which the end of a walltime comes late: 8 s were enforced at 11
    "lingering": 8.0,  # seconds that a deleted job stays in R when its processes are gone: up to 16 were seen
    "usecp": False,  # whether the moms have a $usecp for the directories that all nodes see
}


def install(root: Path, path: str = "/usr/bin:/bin", **settings: Any) -> Path:
    """Make an installation in the directory *root*; return that of its commands, which come before *path* in jobs."""
    for name in ("bin", "control", "home", "spool/aux", "spool/jobs", "spool/spool", "spool/undelivered", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in COMMANDS:
        script = _COMMAND.format(python=sys.executable, fakes=str(Path(__file__).parents[1]), name=name, root=str(root))
        (root / "bin" / name).write_text(script)
        (root / "bin" / name).chmod(0o755)
    # the shell that jobs are run by puts a PBS of this machine into PATH [/etc/profile.d/pbs.sh]: not for these
    (root / "home" / ".bash_profile").write_text(f"PATH={shlex.quote(f'{root}/bin:{path}')}\n")
    configure(root, **settings)
    return root / "bin"


def configure(root: Path, **settings: Any) -> None:
    """Change settings."""
    path = root / "settings.json"
    before = json.loads(path.read_text()) if path.exists() else SETTINGS
    path.write_text(json.dumps({**before, **settings}))


if __name__ == "__main__":
    print(install(Path(sys.argv[1]).absolute()))
