"""`scoop-hpc top`: look at a run while it goes on, or at how one was at its end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.find import ASK_AGAIN, PATIENCE, Found, as_known, find, look_once
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.errors import ScoopError
from scoop_hpc.jobs import snapshot as snapshots
from scoop_hpc.jobs.look import INTERVAL, Viewer
from scoop_hpc.jobs.snapshot import Snapshot

_SILENT = 3 * INTERVAL  # after which it is said for how long no look has come


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON; times are in seconds since 1970.")
@click.argument("job", required=False, shell_complete=known_jobs)
def top(as_json: bool, job: str | None) -> None:
    """Watch what the run of JOB does; without JOB, the newest run of yours.

    In a terminal: q quits, Tab shows workers, nodes, functions or failures, s sorts by the next column, / filters rows,
    n chooses a node, arrows and page keys scroll, Esc shows all again. Elsewhere one look is printed.
    """
    client = follow.open_client(os.environ)
    found = find(client, job, os.environ)
    seen, is_new = look_once(found)
    can_draw = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    if not as_json and can_draw and sys.stdout is not None and sys.stdout.isatty():
        _watch(found, seen, lambda: find(client, job, os.environ))
        return
    if not is_new:
        follow.say(
            f"warning: the driver (pid {seen.pid}) on {seen.host} has not answered for {PATIENCE:.0f} s: this look is "
            f"{max(0.0, time.time() - seen.time):.0f} s old"
        )
    if as_json:
        print(snapshots.to_json(seen).decode())
    else:
        from scoop_hpc.cli.look.page import plain  # noqa: PLC0415  rich takes 60 ms, and --json does not need it

        print("\n".join(plain(seen, found.label)))
    sys.exit(0 if is_new else 1)


def _watch(found: Found, seen: Snapshot, search: Callable[[], Found]) -> None:
    """Show the run in the terminal until the user has seen enough; *search* tells of its end if itself is silent."""
    from rich.console import Console, Group  # noqa: PLC0415  60 ms, as above
    from rich.live import Live  # noqa: PLC0415

    from scoop_hpc.cli.look import page, view  # noqa: PLC0415
    from scoop_hpc.cli.look.keys import Keys  # noqa: PLC0415

    viewer, keys, shown = Viewer(found.path), Keys(0), view.View()
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _leave)  # so that the terminal becomes what it was
    signal.signal(signal.SIGHUP, _leave)
    changed = searched = due = time.monotonic()
    with keys.reading(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + INTERVAL
                newest = viewer.look(now) if found.ended is None else None
                if newest is not None and newest.time != seen.time:
                    seen, changed = as_known(newest, found), now
                elif newest is not None:
                    seen = as_known(newest, found)
            silence = now - changed if seen.state != "ended" and now - changed > _SILENT else 0.0
            if silence > PATIENCE and now - searched > ASK_AGAIN:
                with contextlib.suppress(ScoopError):  # the scheduler may be silent, too
                    found = _same(search(), found)
                seen, searched = as_known(seen, found), time.monotonic()
            width, height = console.size
            lines = page.page(seen, shown, width, height, found.label, silence)
            live.update(Group(*lines), refresh=True)
            for key in keys.wait(due - time.monotonic()):
                if key == "q" and not shown.typing:
                    return
                shown = shown.press(key, seen, page.rows_of(seen, height))


def _same(again: Found, found: Found) -> Found:
    """Return *again* if it is the run that was *found* before: the newest run may be another one by now."""
    return again if again.path == found.path else found


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
