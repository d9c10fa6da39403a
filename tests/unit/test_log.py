"""Events as lines of a log."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoop_hpc import events
from scoop_hpc.events import Event, Observers
from scoop_hpc.run.watching import log
from scoop_hpc.run.watching.log import LogFile, LogStream
from scoop_hpc.run.watching.once import Lost, Once

JOINED = events.NodeJoined("n1", "host1", 7, 4, 2)
FAILING = events.RunFailing(1, "the agent on n2\nleft")


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """Leave the logger as it was."""
    logger = logging.getLogger("scoop_hpc")
    before = logger.handlers, logger.level, logger.propagate
    yield logger
    logger.handlers, logger.level, logger.propagate = before


def lines(level: str, *told: Event, process: str = "driver", is_said: bool = False) -> list[str]:
    """Return the log of what is *told*, without the times."""
    written: list[bytes] = []
    observer = log.make_observer(level, "n1", process, written.append)
    observers = Observers([log.without_what_is_said(observer, level) if is_said else observer])
    for event in told:
        observers.tell(event)
    return [line.decode().partition("] ")[2] for line in written]


def test_event_is_one_line_with_node_process_and_level() -> None:
    assert lines("info", JOINED, FAILING) == [
        "n1 driver INFO: node n1 joined: agent (pid 7) on host1, 4 CPUs, 2 workers\n",
        "n1 driver ERROR: the run ends with status 1: the agent on n2 left\n",
    ]


def test_events_below_the_level_are_left_out() -> None:
    assert len(lines("error", JOINED, FAILING, process="worker 1.0")) == 1


@pytest.mark.parametrize(("level", "count"), [("info", 2), ("warning", 0)])
def test_what_the_driver_says_anyway_is_not_said_twice_but_in_the_course_of_a_run(level: str, count: int) -> None:
    assert len(lines(level, events.Warned("2 workers on 1 CPUs"), FAILING, is_said=True)) == count


def test_kinds_of_processes_have_loggers_of_their_own(root: logging.Logger) -> None:
    logging.getLogger("scoop_hpc.worker").disabled = True
    try:
        assert (lines("info", JOINED, process="worker 0.1"), len(lines("info", JOINED, process="agent"))) == ([], 1)
    finally:
        logging.getLogger("scoop_hpc.worker").disabled = False


def test_processes_append_to_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    first, second = LogFile(path, pytest.fail), LogFile(path, pytest.fail)
    first.write(b"one\n")
    second.write(b"two\n")
    first.write(b"three\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree\n"


def test_log_that_cannot_be_written_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    warn = functools.partial(Once().warn, Lost.LOG)
    for full in (LogFile("/dev/full", warn), LogFile("/dev/full", warn)):  # as of two processes
        full.write(b"one\n")
        full.write(b"two\n")
    assert capsys.readouterr().err == "scoop-hpc: warning: cannot write the log '/dev/full': No space left on device\n"


def test_files_of_each_kind_are_lost_for_themselves() -> None:
    once = Once()
    for text in ("one", "two"):
        once.note(Lost.LOG, f"the log: {text}")
        once.note(Lost.PROFILE, f"the profile: {text}")
    assert once.noted() == ["the log: one", "the profile: one"]
    once.note(Lost.LOG, "the log: three")
    assert once.noted() == []


def test_what_the_driver_has_said_is_not_noted_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    once = Once()
    once.warn(Lost.LOG, "the log")
    once.note(Lost.LOG, "the log")
    once.note(Lost.PROFILE, "x" * 10_000)  # a path may be long
    assert [len(text) < 4096 for text in once.noted()] == [True]
    assert capsys.readouterr().err == "scoop-hpc: warning: the log\n"


def test_log_never_waits_for_its_reader_and_says_what_it_left_out() -> None:
    read, write = os.pipe()
    stream = LogStream(write)
    for _ in range(100):
        stream.write(b"x" * 4096)
    os.read(read, 1 << 20)
    stream.write(b"again\n")
    assert os.read(read, 1 << 20).endswith(b" lines of the log are left out here)\nagain\n")
    os.close(read)
    stream.write(b"nobody reads\n")
    os.close(write)
