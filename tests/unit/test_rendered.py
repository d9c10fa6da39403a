"""What is rendered for the schedulers equals the files that were looked over."""

from __future__ import annotations

import fieldtable
import pytest
import rendered


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


def test_the_table_of_options_is_what_the_code_says() -> None:
    assert fieldtable.FILE.read_text() == fieldtable.table()
