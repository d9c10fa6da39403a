"""`scoop-hpc report`: say what a run was worth, or compare two."""

from __future__ import annotations

import os

import click
import msgspec

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.reports import find_report
from scoop_hpc.cli.options.filled import FilledCommand
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.errors import InputError
from scoop_hpc.report import text


@click.command(cls=FilledCommand)
@click.option("--html", default="", metavar="FILE", help="Write a page with plots instead, in one file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times are in seconds.")
@click.argument("job", shell_complete=known_jobs)
@click.argument("other", required=False, shell_complete=known_jobs)
def report(html: str, as_json: bool, job: str, other: str | None) -> None:
    """Say what the run of JOB was worth: how much of its workers' time was of use, where the rest went, what to change.

    With OTHER, compare it with that: the same program on 4 and on 64 nodes, say. Each is a job, or a file that
    `scoop-hpc run --report FILE` has written, whatever its name; ./41 is the file where there is a job 41 as well.
    """
    if html and as_json:
        raise click.UsageError("--html and --json exclude each other: give one")
    client = follow.open_client(os.environ)
    names = [job] if other is None else [job, other]
    records = [find_report(client, name, os.environ) for name in names]
    if html:
        from scoop_hpc.report.html import write_page  # noqa: PLC0415  jinja2 takes 30 ms, and few want a page

        try:
            write_page(html, records, names)
        except OSError as error:
            raise InputError(f"cannot write {html!r}: {error.strerror}") from error
        follow.say(f"wrote {html}")
    elif as_json:
        print(msgspec.json.encode(records if other is not None else records[0]).decode())
    elif other is None:
        print("\n".join(text.page(records[0])))
    else:
        print("\n".join(text.comparison(records[0], records[1], (job, other))))
