"""The table of what each scheduler can be asked for, made from their adapters; run as a program, writes it anew."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from scoop_hpc.fields.spec import BY_THE_SCRIPT, JobSpec, option_of
from scoop_hpc.schedulers.registry import SCHEDULERS

FILE = Path(__file__).parents[2] / "docs" / "job-options.rst"
_HEAD = """\
What a job can be asked for
===========================

Every option of ``scoop-hpc submit`` is said to the scheduler in its own words, done by the job script, or refused by
name: none is dropped. This table is made from the code, by ``python tests/unit/fieldtable.py``; ``-`` is a refusal.

.. list-table::
   :header-rows: 1

"""
_FOOT = """
Modules, conda and virtual environments
---------------------------------------

In the job script, the lines of ``--setup`` come first, then ``--module``, ``--conda`` or ``--venv``, then those of
``--prologue``. So ``--setup`` is for what these need, such as ``--setup '. /opt/lmod/init/bash'``.

``--conda ENV`` names an environment, or is its directory. It is activated by the first of these that the node has:

* a function ``conda``, ``mamba`` or ``micromamba`` that a module or ``--setup`` has defined;
* ``$CONDA_EXE`` or ``$MAMBA_EXE``, as the shell has them that submits the job, or ``--env CONDA_EXE=FILE``;
* one of the three on the job's ``PATH``;
* what was on the ``PATH`` where the job was submitted, or where its installer puts it (``~/miniforge3``, ...).

The environment needs this package. One without it, one that is not there, and modules that cannot be loaded are named
in one line, in the job's output and by ``scoop-hpc status``.
"""


def table() -> str:
    """Return the page."""
    names = list(SCHEDULERS)
    rows = [["option", *names]]
    for field in fields(JobSpec):
        if field.name != "program":
            rows.append([f"``{option_of(field.name)}``", *(_cell(name, field.name) for name in names)])
    return _HEAD + "".join(_row(row) for row in rows) + _FOOT


def _cell(scheduler: str, field: str) -> str:
    return SCHEDULERS[scheduler].expresses.get(field) or BY_THE_SCRIPT.get(field) or "\\-"


def _row(cells: list[str]) -> str:
    first, *others = cells
    return f"   * - {first}\n" + "".join(f"     - {cell}\n" for cell in others)


if __name__ == "__main__":
    sys.exit(bool(FILE.write_text(table()) < 0))
