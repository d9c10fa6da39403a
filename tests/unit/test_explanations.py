"""What any scheduler's explanations and hints tell users to change exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import click
import pytest

from scoop_hpc.cli import jobs
from scoop_hpc.cli.main import scoop_hpc
from scoop_hpc.fields.option import Refused
from scoop_hpc.schedulers.pbs import adapter as pbs
from scoop_hpc.schedulers.pbs import reasons as pbs_reasons
from scoop_hpc.schedulers.registry import SCHEDULERS
from scoop_hpc.schedulers.sge import adapter as sge
from scoop_hpc.schedulers.sge import reasons as sge_reasons
from scoop_hpc.schedulers.slurm import adapter as slurm
from scoop_hpc.schedulers.slurm import reasons as slurm_reasons
from scoop_hpc.schedulers.slurm.limits import Names, explain_limit

REASONS = Path(__file__).parents[1] / "data" / "slurm" / "26.05.3" / "reasons.txt"
OPTION = re.compile(r"(?<![\w'`=-])--[a-z][a-z-]*")


def options() -> set[str]:
    """Return the options of all commands."""
    context = click.Context(scoop_hpc)
    commands = [scoop_hpc.get_command(context, name) for name in scoop_hpc.list_commands(context)]
    parameters = [parameter for command in commands if command is not None for parameter in command.params]
    return {word for each in parameters for word in (*each.opts, *each.secondary_opts)}


def advice(table: object, is_word: bool = False) -> Iterator[str]:
    """Yield the texts of a table: of a row, those behind its first, which is what a scheduler says."""
    if isinstance(table, Mapping):
        for value in table.values():
            yield from advice(value, is_word=True)
    elif isinstance(table, tuple) and table and all(isinstance(part, str) for part in table):
        yield from table if is_word else table[1:]
    elif isinstance(table, tuple):
        for part in table:
            yield from advice(part)
    elif isinstance(table, str) and is_word:
        yield table


@pytest.mark.parametrize("module", [slurm, slurm_reasons, pbs, pbs_reasons, sge, sge_reasons, jobs])
def test_a_hint_names_no_option_that_there_is_not(module: ModuleType) -> None:
    theirs = ("_EXPRESSES", "_SHORT", "_VARIABLES", "_FIELD_VARIABLES")  # in the scheduler's own words
    tables = {name: value for name, value in vars(module).items() if name.startswith("_") and name not in theirs}
    texts = [text for table in tables.values() for text in advice(table)]
    assert any(OPTION.search(text) for text in texts)
    assert {option for text in texts for option in OPTION.findall(text)} <= options()


def test_no_explained_limit_names_an_option_that_there_is_not() -> None:
    limits = [explain_limit(reason, Names()) for reason in REASONS.read_text().split()]
    texts = [text for limit in limits if limit is not None for text in limit]
    assert len(texts) > 300
    assert {option for text in texts for option in OPTION.findall(text)} <= options()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_a_scheduler_offers_instead_exists(name: str) -> None:
    texts = [said.instead for said in SCHEDULERS[name].words.values() if isinstance(said, Refused)]
    assert {option for text in texts for option in OPTION.findall(text)} <= options()
