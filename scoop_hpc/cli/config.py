"""`scoop-hpc config`: the settings in force, and their origins."""

from __future__ import annotations

import json
import os

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.jobs import table
from scoop_hpc.cli.options.job_command import check, profile_option
from scoop_hpc.cli.options.program import check_named, file_of, module_option
from scoop_hpc.cli.options.settings import KINDS, InForce, files, plain_options, read_settings
from scoop_hpc.settings import values

_COLUMNS = ("SETTING", "VALUE", "ORIGIN")


@click.group(no_args_is_help=False)
def config() -> None:
    """See what is set for submit and render without a command line, and where.

    \b
    Of each option the strongest counts:
      the command line
      SCOOP_HPC_QUEUE=...          a variable for each option
      #SCOOP --queue ...           lines at the head of the program
      ./scoop_hpc.toml
      ~/.config/scoop_hpc/config.toml
      /etc/scoop_hpc/config.toml

    \b
    A file has the options with _ for -, for all clusters and for each:
      default = "big"
      [defaults]
      walltime = "1:00:00"
      [clusters.big]
      hosts = ["login*.big.example.org"]
      scheduler = "slurm"
      modules = ["gcc/12", "openmpi"]

    The cluster is that of --profile or SCOOP_HPC_PROFILE; else the one whose hosts fit this host's name; else the
    default; else the only one of the scheduler that is found here. With --scheduler, clusters of another are passed
    over.
    """


@config.command()
@click.option("--all", "every", is_flag=True, help="Print what is left at its default, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@module_option
@click.argument("program", required=False)
def show(every: bool, as_json: bool, profile: str | None, is_module: bool, program: str | None) -> None:
    """Print the settings in force here, or for PROGRAM, and the file and line of each."""
    if not is_module:
        check_named(program, is_module, {})
    found = read_settings(os.environ, file_of(program, is_module), profile, {})
    if is_module:  # it may be known to the Python alone that the settings choose
        check_named(program, is_module, found.values)
    for warning in found.warnings:
        follow.say(f"warning: {warning}")
    check(found, {**plain_options(program or "program.py"), "is_module": is_module}, os.environ)
    if as_json:
        print(json.dumps(_as_dict(found)))
    else:
        _print(found, every)
        for each in found.waiting:
            follow.say(str(each))


show.params.append(profile_option())


@config.command()
def path() -> None:
    """Print the files that are looked at, the strongest first, and which of them are there."""
    print("\n".join(table([(name, "is there" if os.path.exists(name) else "-") for name in files(os.environ)])))


def _print(found: InForce, every: bool) -> None:
    print(f"cluster: {found.picked.cluster or 'none'} ({found.picked.why})")
    rows = [(each.name, values.show(each.value), each.origin.brief) for each in found.settings.values()]
    if every:
        rows += [row for row in _defaults() if row[0] not in found.settings]
    if rows:
        print("\n".join(table([_COLUMNS, *rows])))
    else:
        follow.say("nothing is set: the defaults of scoop-hpc submit --help hold")


def _defaults() -> list[tuple[str, str, str]]:
    plain = plain_options("program.py")
    return [(name, _shown(plain[name]), "default") for name in KINDS]


def _shown(value: object) -> str:
    """Return an option's default as a word; nothing stands for none."""
    return "" if value is None else values.show(value if isinstance(value, (bool, tuple)) else str(value))


def _as_dict(found: InForce) -> dict[str, object]:
    return {
        "cluster": found.picked.cluster,
        "why": found.picked.why,
        "settings": [
            {
                "setting": name,
                "value": found.values[name],
                "origin": {"place": setting.origin.place, "line": setting.origin.line},
            }
            for name, setting in found.settings.items()
        ],
        "waiting": [
            {
                "setting": each.setting.name,
                "needs": each.needs,
                "origin": {"place": each.setting.origin.place, "line": each.setting.origin.line},
            }
            for each in found.waiting
        ],
    }
