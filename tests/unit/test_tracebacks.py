"""What a user sees of an error: the frames of his program, from its first one on."""

from __future__ import annotations

import atexit
import sys
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pytest

from scoop_hpc import tracebacks
from scoop_hpc.protocol.messages import GetShared, Message, SetShared, Shared, Stop
from scoop_hpc.protocol.names import ORIGIN, worker_name
from scoop_hpc.worker.link import Unlinked
from scoop_hpc.worker.program import failure

OURS: dict[str, Any] = {"__name__": "scoop_hpc.worker.main"}
exec(
    """
def call(function):
    function()

def fail(function=None):
    raise KeyError("ours")
""",
    OURS,
)
USER = "def main():\n    inner()\ndef inner():\n    1 / 0\ndef calls_ours():\n    call(main)\n"


def raised(source: str, name: str, **names: Any) -> BaseException:
    """Return what the function *name* of a program raises where we call it."""
    program: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, "p.py", "exec"), program)
    with pytest.raises(BaseException) as caught:  # noqa: PT011  it may be any
        OURS["call"](program[name])
    return without_the_first(caught.value)


def without_the_first(error: BaseException) -> BaseException:
    """Return *error* without the frame of the test itself."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_our_frames_before_those_of_the_user_are_cut_off() -> None:
    error = raised(USER, "main")
    assert frames(error) == ["call", "main", "inner"]
    assert frames(tracebacks.without_ours(error)) == ["main", "inner"]


def test_our_frames_below_those_of_the_user_stay() -> None:
    error = raised(USER, "calls_ours", call=OURS["call"])
    assert frames(tracebacks.without_ours(error)) == ["calls_ours", "call", "main", "inner"]


def test_an_error_of_ours_alone_keeps_its_frames() -> None:
    with pytest.raises(KeyError) as caught:
        OURS["call"](OURS["fail"])
    assert frames(tracebacks.without_ours(without_the_first(caught.value))) == ["call", "fail"]


def test_causes_contexts_and_members_of_groups_are_cut_as_well() -> None:
    cause, context, member = raised(USER, "main"), raised(USER, "inner"), raised(USER, "inner")

    class BaseExceptionGroup(Exception):  # as Python 3.10 has it from a package
        exceptions = (member,)

    error = BaseExceptionGroup("all")
    error.__cause__, error.__context__ = cause, context
    cause.__context__ = error  # round and round
    assert tracebacks.without_ours(error) is error
    assert [*map(frames, (cause, context, member))] == [["main", "inner"], ["inner"], ["inner"]]


def test_an_exception_that_lets_nothing_be_set_is_cut_all_the_same() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        reason: str

    error = Frozen("x")
    BaseException.with_traceback(error, raised(USER, "main").__traceback__)
    assert frames(tracebacks.without_ours(error)) == ["main", "inner"]


def test_text_is_that_of_python() -> None:
    text = tracebacks.text_of(raised(USER, "inner"))
    assert text.splitlines()[0] == "Traceback (most recent call last):"
    assert text.splitlines()[1].strip() == 'File "p.py", line 4, in inner'
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_text_tells_what_can_be_shown_of_an_error_that_python_cannot_show() -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise SystemExit("no")

    error = Odd("x")
    BaseException.with_traceback(error, raised(USER, "inner").__traceback__)
    assert tracebacks.text_of(error).splitlines()[:2] == [
        "Traceback (most recent call last):",
        '  File "p.py", line 4, in inner',
    ]
    assert tracebacks.text_of(error).endswith("Odd\n")


def test_text_of_a_file_that_can_be_none_has_the_error() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("1 / 0", "\ud800", "exec"), {"__name__": "user"})
    assert tracebacks.text_of(raised.value).endswith("ZeroDivisionError: division by zero\n")


def test_hook_for_exit_functions_sees_none_of_our_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], str | None]] = []

    def hook(failed: sys.UnraisableHookArgs) -> None:
        seen.append(([frame.name for frame in traceback.extract_tb(failed.exc_traceback)], failed.err_msg))

    class Failed:
        """As the interpreter tells of what cannot be raised."""

        def __init__(self, parts: tuple[Any, ...]) -> None:
            self.exc_type, self.exc_value, self.exc_traceback, self.err_msg, self.object = parts

    def run() -> None:
        error = raised(USER, "main")
        sys.unraisablehook(Failed((type(error), error, error.__traceback__, "in atexit callback", None)))
        here = _trace_of_caller()
        sys.unraisablehook(Failed((KeyError, KeyError(), here, "in a function in C", None)))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    monkeypatch.setattr(atexit, "_run_exitfuncs", run)
    tracebacks.run_exit_functions()
    assert seen == [(["main", "inner"], "in atexit callback"), ([], "in a function in C")]
    assert sys.unraisablehook is hook


def _trace_of_caller() -> TracebackType:
    """Return a traceback of the frame of `run_exit_functions` alone."""
    frame = sys._getframe(2)
    return TracebackType(None, frame, frame.f_lasti, frame.f_lineno)


class Answers(Unlinked):
    """A link to a broker whose first claim is *first*, and that tells a worker to stop if it has no more answers."""

    def __init__(self, first: bytes | None = None, is_shown: bool = True) -> None:
        self.sent: list[Message] = []
        self._values: dict[str, bytes] = {}
        self._first = first
        self._is_shown = is_shown
        self._asked: list[GetShared] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if isinstance(message, SetShared):
            self._values.update(message.values if self._first is None else dict.fromkeys(message.values, self._first))
        elif isinstance(message, GetShared):
            self._asked.append(message)

    def receive(self) -> list[Message]:
        question = self._asked.pop()
        if question.name in self._values:
            return [Shared(question.name, question.number, self._values[question.name])]
        return [Shared(question.name, question.number, b"")] if self._is_shown else [Stop()]


def claimed(link: Answers, error: BaseException) -> str | None:
    return failure.claim_in_worker(link, worker_name(0, 1), error)


def test_worker_that_fails_first_hands_its_traceback_over() -> None:
    error = raised(USER, "main")
    text = claimed(Answers(), error)
    assert text is not None
    assert "division by zero" in text
    assert "scoop_hpc" not in text


def test_worker_waits_for_the_origin_that_shows_the_same_and_hands_none_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "_GRACE", 0.0)
    error = raised(USER, "main")
    link = Answers(f"{ORIGIN}\n{tracebacks.text_of(error)}".encode())
    assert claimed(link, error) == ""
    assert len([message for message in link.sent if isinstance(message, GetShared)]) == 2


def test_worker_that_fails_by_another_error_than_the_origin_hands_its_own_over() -> None:
    text = claimed(Answers(f"{ORIGIN}\nTraceback of something else".encode()), raised(USER, "main"))
    assert text is not None
    assert "division by zero" in text


def test_recursion_without_end_is_the_same_from_whatever_depth() -> None:
    error = raised("def down(n=0):\n    down(n + 1)\n", "down")
    text = tracebacks.text_of(error)
    assert " more times]" in text
    first = f"{ORIGIN}\n{text}".encode()
    deeper = first.replace(b" more times]", b"0 more times]")
    assert failure._claim(ORIGIN, deeper.decode().partition("\n")[2]) == failure._claim(ORIGIN, text)


def test_worker_that_is_to_stop_reports_nothing() -> None:
    error = raised(USER, "main")
    link = Answers(f"{ORIGIN}\n{tracebacks.text_of(error)}".encode(), is_shown=False)
    assert claimed(link, error) is None


def test_reason_has_the_error_in_a_line_whatever_its_text_does() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert failure.import_error("p.py", Odd()) == "cannot import 'p.py': Odd"
    assert failure.import_error("p.py", OSError("caf\udce9")) == r"cannot import 'p.py': OSError: caf\udce9"


def test_module_of_a_package_that_was_started_as_a_file_is_told_how_to_be_started() -> None:
    with pytest.raises(ImportError) as caught:
        exec("from . import x", {"__name__": "__main__"})
    words = "no known parent package: a module of a package is started by -m and its name, from the directory that"
    assert words in failure.import_error("p.py", caught.value)
