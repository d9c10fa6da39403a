"""The interpreters of other processes have the options of this one."""

from __future__ import annotations

from types import SimpleNamespace

from scoop_hpc.interpreter import interpreter_options

NONE = {"optimize": 0, "dont_write_bytecode": False, "bytes_warning": 0, "isolated": 0, "ignore_environment": 0}


def options(**flags: int) -> list[str]:
    return interpreter_options(SimpleNamespace(**{**NONE, "no_user_site": 0, **flags}), (), {})


def test_interpreter_without_options_has_none() -> None:
    assert options() == []


def test_option_is_given_as_often_as_it_was() -> None:
    assert options(optimize=2, bytes_warning=1, dont_write_bytecode=1) == ["-OO", "-B", "-b"]


def test_isolated_interpreter_needs_no_options_that_this_implies() -> None:
    assert options(ignore_environment=1, no_user_site=1, safe_path=1) == ["-E", "-s", "-P"]
    assert options(isolated=1, ignore_environment=1, no_user_site=1, safe_path=1) == ["-I"]


def test_warnings_keep_their_order_and_reports_on_one_process_are_its_own() -> None:
    given = interpreter_options(SimpleNamespace(**NONE), ["error", "ignore::UserWarning"], {"importtime": True})
    assert given == ["-Werror", "-Wignore::UserWarning"]
