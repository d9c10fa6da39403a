"""`scoop-hpc web`: a live page of a run, for a browser on this machine or at the other end of a tunnel."""

from __future__ import annotations

import getpass
import glob
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.find import ASK_AGAIN, PATIENCE, Found, as_known, find
from scoop_hpc.cli.options.filled import FilledCommand
from scoop_hpc.cli.options.numbers import Whole
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.fields.spec import output_path
from scoop_hpc.jobs import directories, former_output
from scoop_hpc.jobs.look import Viewer
from scoop_hpc.jobs.snapshot import Snapshot
from scoop_hpc.web.search import Output

_INTERRUPTED = 130  # 128 + SIGINT
_WORKER_LOGS = "worker-*.log"  # see `run.streams.worker_logs`
_MOST_LOGS = 1000  # files
_INDEX = re.compile(r"-(\d+)\.\w+$")  # in the names of the files of an array's jobs, see `jobs.record.of_element`


@click.command(cls=FilledCommand)
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=0,
    metavar="PORT",
    help="Listen to this one; without, any is taken.",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="The name of a proxy by which the page is reached, such as that of a notebook server.",
)
@click.argument("job", required=False, shell_complete=known_jobs)
def web(port: int, hosts: tuple[str, ...], job: str | None) -> None:
    """Show in a browser what the run of JOB does; without JOB, the newest run of yours.

    The page is served to this machine only, at an address that nobody else knows, until Ctrl-C.
    """
    try:
        from scoop_hpc.web.server import PageServer  # noqa: PLC0415  # an extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "waitress":
            raise
        raise InputError("scoop-hpc web needs waitress: pip install 'scoop_hpc[web]'") from error
    client = follow.open_client(os.environ)
    found = find(client, job, os.environ)
    looks = Looks(found, lambda: find(client, job, os.environ))
    with PageServer(looks.look, lambda: outputs(found.path), port, frozenset(name.lower() for name in hosts)) as server:
        follow.say(f"the page of the {found.label}, until Ctrl-C; anybody who has its address can read it")
        print(server.address, flush=True)
        if "SSH_CONNECTION" in os.environ:  # sshd(8), ENVIRONMENT
            here = f"{getpass.getuser()}@{os.uname().nodename}"
            follow.say(f"from your own machine: ssh -L {server.port}:localhost:{server.port} {here}")
        server.run()
    sys.exit(_INTERRUPTED)


class Looks:
    """The looks at a run; while it is silent, *search* is asked now and then whether its job has ended."""

    def __init__(self, found: Found, search: Callable[[], Found], clock: Callable[[], float] = time.monotonic) -> None:
        self._found = found
        self._search = search
        self._clock = clock
        self._viewer = Viewer(found.path)
        self._time: float | None = None  # of the last look, by the driver
        self._came = clock()
        self._searched = clock()

    def look(self) -> Snapshot | None:
        """Return the newest look, None if there is none yet; raise ScoopError if there has been no new one for long."""
        now = self._clock()
        seen = self._viewer.last if self._found.ended is not None else self._viewer.look(now)
        if seen is None:
            if self._found.ended is not None:
                raise ScoopError(f"nothing is known of what the {self._found.label} did: it ended before its run began")
            return None
        if seen.time != self._time:
            self._time, self._came = seen.time, now
        known = as_known(seen, self._found)
        silence = now - self._came
        if known.state == "ended" or silence <= PATIENCE:
            return known
        if now - self._searched > ASK_AGAIN:
            self._searched = now
            again = self._search()
            if again.path == self._found.path:
                self._found = again
        raise ScoopError(
            f"no news for {silence:.0f} s: the driver (pid {seen.pid}) on {seen.host} does not answer, or this host "
            "sees its files late"
        )


def outputs(path: str) -> list[Output]:
    """Return the files that the job prints to whose looks are in the file *path*; raise ScoopError.

    A run that no `submit` has made has none that is known.
    """
    job = directories.read(os.path.dirname(path))
    if job is None or job.job_id is None:
        return []
    index = _index_of(path)
    spec = job.spec
    names = [output_path(spec, job.job_id, index)]
    if spec.error is not None:
        names.append(output_path(replace(spec, output=spec.error), job.job_id, index))
    found = []
    for name in dict.fromkeys(names):
        former = former_output.read(job, name)
        begin = 0 if former is None else _begin(former, name)
        if begin is not None:
            found.append(Output(name, begin))
    if spec.worker_logs is not None:
        logs = output_path(replace(spec, output=spec.worker_logs), job.job_id, index)
        found += [
            Output(name) for name in sorted(glob.glob(os.path.join(glob.escape(logs), _WORKER_LOGS)))[:_MOST_LOGS]
        ]
    return found


def _begin(former: former_output.Former, path: str) -> int | None:
    """Return where the job's own output begins, None if there is none yet."""
    try:
        with open(path, "rb") as file:
            return former.begins_at(file)
    except OSError:
        return None


def _index_of(path: str) -> int | None:
    """Return which job of an array a file is of.

    >>> _index_of("/jobs/1/look-3.json"), _index_of("/jobs/1/look.json")
    (3, None)
    """
    found = _INDEX.search(os.path.basename(path))
    return int(found[1]) if found else None
