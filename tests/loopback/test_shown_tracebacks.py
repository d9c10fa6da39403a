"""Errors of programs as users see them: once, in one piece, and without our frames before theirs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from conftest import Runs

HEAD = "import os, sys, time\nfrom scoop_hpc import futures\n"
MAIN = "if __name__ == '__main__':\n    "
ORIGIN_WAITS = "if __name__ == '__main__':\n    while True: time.sleep(0.01)\n"
# until the origin, whose process is named so, has gone the way of all that has failed
OTHERS_WAIT = """
if __name__ != '__main__':
    while not os.path.exists('failing'): time.sleep(0.01)
else:
    open('failing', 'w').close()
"""
NOPE = "ModuleNotFoundError: No module named 'nope'"


def shown(runs: Runs, text: str, *words: str, status: int = 1) -> list[str]:
    """Run the program *text*; return the lines of its standard error."""
    done = runs.run(*(words or ("-n", "3")), runs.write(text))
    assert done.returncode == status, done.stderr
    return done.stderr.splitlines()


def traceback_of(runs: Runs, line: int, text: str) -> list[str]:
    path = runs.directory / "program.py"
    return ["Traceback (most recent call last):", f'  File "{path}", line {line}, in <module>', f"    {text}", NOPE]


def reasons(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line.startswith("scoop-hpc: error:")]


def test_import_error_of_all_is_shown_once_then_the_reason(runs: Runs) -> None:
    lines = shown(runs, HEAD + ORIGIN_WAITS + "import nope\n", "-n", "4")
    assert lines[:-1] == traceback_of(runs, 5, "import nope")
    assert lines[-1].startswith("scoop-hpc: error: worker 0.")
    assert lines[-1].endswith(f"cannot import 'program.py': {NOPE}")


@pytest.mark.parametrize("workers", ["1", "6"])
def test_import_error_that_is_the_whole_program_is_shown_once_whoever_is_first(runs: Runs, workers: str) -> None:
    lines = shown(runs, "import nope\n", "-n", workers)
    assert lines[:4] == traceback_of(runs, 1, "import nope")
    assert lines[4:] == reasons(lines)
    assert len(lines) <= 5


def test_import_error_of_the_origin_is_shown_as_it_is_by_python(runs: Runs) -> None:
    lines = shown(runs, HEAD + OTHERS_WAIT + "import nope\n")
    assert lines[:4] == traceback_of(runs, 8, "import nope")
    assert lines[4:] == reasons(lines)


def test_long_traceback_comes_before_the_reason(runs: Runs) -> None:
    text = HEAD + ORIGIN_WAITS + "raise ValueError('x' * 50_000)\n"
    lines = shown(runs, text)
    assert [len(line) > 50_000 for line in lines] == [False, False, False, True, True]
    assert lines[3].startswith("ValueError: ")
    assert reasons(lines) == lines[4:]


def test_uncaught_exception_has_the_frames_of_the_program_first(runs: Runs) -> None:
    text = (
        "def f():\n    1 / 0\n"
        + MAIN
        + "try:\n        f()\n    except Exception as e:\n        raise KeyError(1) from e"
    )
    lines = shown(runs, text)
    assert not [line for line in lines if "scoop_hpc" in line]
    assert len([line for line in lines if ", in <module>" in line]) == 2


def test_hook_of_the_program_gets_the_frames_of_the_program(runs: Runs) -> None:
    text = (
        "import sys, traceback\ndef hook(kind, error, trace):\n"
        "    print(kind.__name__, [f.name for f in traceback.extract_tb(trace)], error.__traceback__ is trace)\n"
        "sys.excepthook = hook\ndef f():\n    1 / 0\n" + MAIN + "f()"
    )
    done = runs.run("-n", "2", runs.write(text))
    assert (done.stdout, done.returncode) == ("ZeroDivisionError ['<module>', 'f'] True\n", 1)


def test_interrupt_shows_no_frame_of_ours_before_those_of_the_program(runs: Runs) -> None:
    text = HEAD + MAIN + "import signal; signal.raise_signal(signal.SIGINT)\n    time.sleep(60)"
    lines = shown(runs, text, status=130)
    assert [line for line in lines if line.startswith("  File")][0].endswith("in <module>")
    assert lines[-1] == "KeyboardInterrupt"


def test_function_of_atexit_that_fails_shows_no_frame_of_ours(runs: Runs) -> None:
    text = (
        HEAD + "import atexit\ndef bye():\n    1 / 0\n" + MAIN + "atexit.register(bye); atexit.register(time.sleep, '')"
    )
    lines = shown(runs, text, status=0)
    assert not [line for line in lines if "scoop_hpc" in line]
    assert [line for line in lines if "Error" in line][-1] == "ZeroDivisionError: division by zero"
    assert len([line for line in lines if line.startswith("  File")]) == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of exceptions")
def test_group_of_exceptions_shows_no_frame_of_ours(runs: Runs) -> None:
    text = (
        "def f():\n    1 / 0\n"
        + MAIN
        + "try:\n        f()\n    except Exception as e:\n        raise ExceptionGroup('all', [e])"
    )
    lines = shown(runs, text)
    assert not [line for line in lines if "scoop_hpc" in line]
    assert [line for line in lines if "ZeroDivisionError" in line]
