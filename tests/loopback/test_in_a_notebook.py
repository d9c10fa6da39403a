"""A real notebook's kernel: what it shows of Executors, futures and maps."""

from __future__ import annotations

import sys
from typing import Any

import nbclient
import nbformat
import pytest
from conftest import Runs

CELLS = (
    "from scoop_hpc import Executor\nimport os, time\nexecutor = Executor(2)\nexecutor",
    # the first items wait until something is displayed
    """from IPython import display
shown = display.display
def noted(*objects, **options):
    open("go", "w").close()
    return shown(*objects, **options)
display.display = noted

def simulate(number):
    while number < 2 and not os.path.exists("go"):
        time.sleep(0.01)
    return number

sum(executor.map(simulate, range(200), progress="<b>simulate</b>"))""",
    "os.unlink('go')\nsum(executor.map(simulate, range(200), chunksize=10))",
    "sum(executor.map(simulate, [3, 4]))",
    "def fail(number): raise ValueError('<i>no</i>')\nfuture = executor.submit(fail, 1)\nfuture.exception()\nfuture",
    "executor.shutdown()\nexecutor",
    """os.unlink("go")
from scoop_hpc import futures
sum(futures.map(simulate, range(200), progress="here"))""",
)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, str]]]:
    """Run the cells; return what each shows, by its kinds."""
    directory = tmp_path_factory.mktemp("notebook")
    make: Any = nbformat.v4  # without types
    notebook = make.new_notebook()
    notebook.cells = [make.new_code_cell(text) for text in CELLS]
    resources = {"metadata": {"path": str(directory)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    return [[dict(output["data"]) for output in cell.outputs if "data" in output] for cell in notebook.cells]


def test_executor_is_a_table(cells: list[list[dict[str, str]]]) -> None:
    assert "<th>state</th><td>idle</td>" in cells[0][0]["text/html"]
    last = cells[5][0]["text/html"]
    assert "<th>state</th><td>shut down</td>" in last
    assert "<th>workers</th><td>2</td>" in last


@pytest.mark.parametrize(("cell", "label"), [(1, "&lt;b&gt;simulate&lt;/b&gt;"), (2, "map")])
def test_map_that_lasts_has_one_bar_which_is_full_in_the_end(
    cells: list[list[dict[str, str]]], cell: int, label: str
) -> None:
    bar, result = cells[cell]
    assert bar["text/html"].startswith(f'<div><progress value="200" max="200"></progress> {label}: 200 of 200 done')
    assert bar["text/plain"].startswith(("<b>simulate</b>: 200 of 200 done", "map: 200 of 200 done"))
    assert result["text/plain"] == "19900"


def test_map_of_futures_has_one_where_the_notebook_runs_it(cells: list[list[dict[str, str]]]) -> None:
    bar, result = cells[6]
    assert bar["text/plain"].startswith("here: 200 of 200 done")
    assert result["text/plain"] == "19900"


def test_map_that_is_over_soon_has_none(cells: list[list[dict[str, str]]]) -> None:
    assert [shown["text/plain"] for shown in cells[3]] == ["7"]


def test_future_is_a_line_with_its_function_and_error(cells: list[list[dict[str, str]]]) -> None:
    assert "fail(): failed: ValueError: &lt;i&gt;no&lt;/i&gt;" in cells[4][0]["text/html"]


def test_script_that_has_imported_ipython_shows_nothing(runs: Runs) -> None:
    program = """
import IPython, time
from scoop_hpc import Executor
with Executor(2) as executor:
    print(list(executor.map(time.sleep, [0.4, 0.4, 0.4])), len(executor.map(abs, [1, 2])))
"""
    process = runs.start_command([sys.executable, runs.write(program)])
    assert process.communicate(timeout=120) == ("[None, None, None] 2\n", "")
