"""What is rendered for the schedulers equals the files that were looked over."""

from __future__ import annotations

from pathlib import Path

import pytest
import rendered

from scoop_hpc.fields import page


@pytest.mark.parametrize("scheduler", rendered.SCHEDULERS)
@pytest.mark.parametrize("name", rendered.JOBS)
def test_render_gives_the_file(scheduler: str, name: str) -> None:
    suffix, text = rendered.result(scheduler, rendered.JOBS[name])
    assert (rendered.DATA / scheduler / f"{name}{suffix}").read_text() == text


@pytest.mark.parametrize("name", rendered.EXAMPLES)
def test_the_job_scripts_for_readers_are_rendered(name: str) -> None:
    script = (rendered.JOBSCRIPTS / f"{name}.sh").read_text()
    assert rendered.without_comment(script) == rendered.render(*rendered.EXAMPLES[name])
    assert script.splitlines()[1].startswith("# ")


def test_every_job_script_for_readers_is_known() -> None:
    assert {path.stem for path in rendered.JOBSCRIPTS.glob("*.sh")} == set(rendered.EXAMPLES)


def test_the_page_of_options_is_what_their_rows_say() -> None:
    text = (Path(__file__).parents[2] / "docs" / "job-options.rst").read_text()
    assert text == page.with_tables(text, page.own_columns())
