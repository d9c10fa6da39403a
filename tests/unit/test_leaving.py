"""Ends of a program that are its own, and ends that are not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

import pytest

from scoop_hpc.pickling import task_exits
from scoop_hpc.transport.last_word import LastWord
from scoop_hpc.worker.program import module
from scoop_hpc.worker.program.leaving import announce


@dataclass
class Left:
    """What was called to leave, and whether the *word* was said by then."""

    word: LastWord = field(default_factory=LastWord)
    calls: list[tuple[str, bool]] = field(default_factory=list)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Left:
    """Keep this process from leaving."""
    left = Left()
    left.word.take_over()
    for name in ("_exit", "execv", "execve"):
        monkeypatch.setattr(os, name, lambda *args, name=name: left.calls.append((name, left.word.said())))
    return left


@pytest.mark.parametrize("runs_task", [False, True])
def test_the_program_may_leave_and_a_task_may_not(left: Left, runs_task: bool) -> None:
    announce(left.word, lambda: runs_task)
    os._exit(0)
    os.execvp("/bin/true", ["true"])
    os.execle("/bin/true", "true", {})
    assert left.calls == [("_exit", not runs_task), ("execv", not runs_task), ("execve", not runs_task)]


def test_who_failed_to_leave_goes_on(left: Left) -> None:
    announce(left.word, lambda: False)
    os.execv("/nonexistent", ["nonexistent"])  # returns here: it has failed
    assert left.calls == [("execv", True)]
    assert not left.word.said()


def test_a_process_that_was_forked_says_nothing() -> None:
    word = LastWord()  # nobody has taken it over: it is another's
    word.say()
    assert not word.said()


@pytest.mark.parametrize(
    ("code", "of_task", "status"),
    [(0, False, 0), (None, False, 0), (0, True, 1), (None, True, 1), (5, True, 5), ("no", True, 1)],
)
def test_a_task_that_exits_is_no_success(code: Any, of_task: bool, status: int) -> None:
    end = SystemExit(code)
    if of_task:
        end = task_exits.mark(end)
    main = ModuleType("__main__")
    main.__dict__["end"] = end
    text: CodeType = compile("raise end", "p.py", "exec")
    assert module.run(module.Prepared(b"", text, main), lambda error: None) == status
