"""What lies in the state directory besides the scheduler's own: the hosts' /etc and what their users share."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from minicluster import shell
from minicluster.state import Host, State

USER = "tester"  # an ordinary user who exists inside the simulated hosts only
USER_ID = 61234


def write_common(directory: Path, hidden: Iterable[str]) -> None:
    """Make the directories that all hosts share, and users may write to; note the commands to hide from them."""
    programs = [shutil.which(command, path=shell.PATH) for command in hidden]
    (directory / "hidden").write_text("".join(f"{program}\n" for program in programs if program is not None))
    for path in (directory / "shared", directory / "home"):
        path.mkdir()
    (directory / "shared").chmod(0o1777)
    home = directory / "home" / USER
    home.mkdir(mode=0o700)
    os.chown(home, USER_ID, USER_ID)


def write_host(directory: Path, state: State, host: Host) -> None:
    """Write what is *host*'s own."""
    own = directory / "hosts" / host.name
    for name in ("etc", "log", "tmp"):
        (own / name).mkdir(parents=True)
    (own / "tmp").chmod(0o1777)
    home = directory / "home" / USER
    texts = {
        "hosts": hosts_text(state, host),
        "hostname": f"{host.name}\n",
        "passwd": _with(_read("/etc/passwd"), f"{USER}:x:{USER_ID}:{USER_ID}::{home}:/bin/bash"),
        "group": _with(_read("/etc/group"), f"{USER}:x:{USER_ID}:"),
        "nsswitch.conf": re.sub(r"^hosts:.*$", "hosts: files", _read("/etc/nsswitch.conf"), flags=re.MULTILINE),
        "resolv.conf": "# no name server\n",
    }
    for name, text in texts.items():
        (own / "etc" / name).write_text(text)


def hosts_text(state: State, own: Host) -> str:
    """Return *own*'s /etc/hosts: its own name is a loopback address where the settings say so."""
    loopback = state.settings.own_name_is_loopback
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for host in state.hosts.values():
        lines.append(f"{'127.0.1.1' if loopback and host == own else host.address} {host.name}")
    return "\n".join(lines) + "\n"


def _with(text: str, line: str) -> str:
    name = line.partition(":")[0]
    kept = [known for known in text.splitlines() if not known.startswith(f"{name}:")]
    return "\n".join([*kept, line]) + "\n"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def logs(directory: Path, name: str, others: Iterable[Path], lines: int = 25) -> str:
    """Return the tails of *name*'s logs, and of *others*."""
    parts = []
    for path in (*sorted((directory / "hosts" / name / "log").glob("*.log")), *others):
        tail = _read(str(path)).splitlines()[-lines:]
        parts += [f"--- {path}", *tail]
    return "\n".join(parts)
