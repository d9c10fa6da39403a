"""Lines of workers, and bars that are no lines yet, on their way to a terminal or a file."""

from __future__ import annotations

import os

import pytest
import zmq

from scoop_hpc.protocol.messages import Output
from scoop_hpc.protocol.names import ORIGIN, ProcessName
from scoop_hpc.run.streams.lines import Lines
from scoop_hpc.run.streams.output import OutputPipes


def test_bar_is_seen_on_a_terminal_as_it_grows() -> None:
    lines = Lines(terminal=True)
    assert [lines.add("0.1", text) for text in (b"\r10%", b"\r20%", b"\r99%\n")] == [b"\r10%", b"\r20%", b"\r99%\n"]


def test_line_of_another_worker_is_not_glued_to_a_bar_on_a_terminal() -> None:
    lines = Lines(terminal=True)
    said = [("0.1", b"\r10%"), ("0.2", b"hello\n"), ("0.1", b"\r20%"), ("0.2", b"\r50%"), ("0.1", b"x\n")]
    assert b"".join(lines.add(worker, text) for worker, text in said) == b"\r10%\nhello\n\r20%\r50%\nx\n"


def test_bar_is_whole_in_a_file_and_apart_from_lines_of_others() -> None:
    lines = Lines(terminal=False)
    assert lines.add("0.1", b"\r10%") == b""
    assert lines.add("0.2", b"hello\n") == b"hello\n"
    assert lines.add("0.1", b"\r99%\nbye") == b"\r10%\r99%\n"
    assert list(lines.rest()) == [b"bye"]
    assert list(lines.rest()) == []


def test_endless_line_is_not_kept() -> None:
    lines = Lines(terminal=False)
    assert lines.add("0.1", b"z" * 600_000) == b""
    assert len(lines.add("0.1", b"z" * 600_000)) == 1_200_000


class Child:
    """A child's end of a pipe, the other of which is with an agent; what the agent sends, and its clock."""

    def __init__(self, name: str, stream: int = 2, is_terminal: bool = False) -> None:
        self.sent: list[bytes] = []
        self.now = 0.0
        self.read, self.write = os.openpty() if is_terminal else os.pipe()
        self.pipes = OutputPipes(zmq.Poller(), self._take, lambda: self.now)
        self.pipes.add(ProcessName(name), {self.read: stream}, self.read if is_terminal else -1)

    def _take(self, output: Output) -> None:
        self.sent.append(output.text)

    def says(self, text: bytes) -> list[bytes]:
        """Print *text*; return what the agent has sent since the last time."""
        os.write(self.write, text)
        self.pipes.read(self.read)
        return self.news()

    def news(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent

    def ends(self) -> list[bytes]:
        os.close(self.write)
        self.pipes.read(self.read)
        return self.news()


@pytest.fixture
def worker() -> Child:
    return Child("0.1")


def test_updates_are_sent_with_time_between_and_the_last_with_its_line(worker: Child) -> None:
    assert worker.says(b"\r 1%") == [b"\r 1%"]
    assert worker.says(b"\r 2%") == []
    worker.now = 1.0
    assert worker.says(b"\r50%") == [b"\r 2%\r50%"]
    assert worker.says(b"\r99%\n") == [b"\r99%\n"]
    assert worker.ends() == []


def test_text_without_an_end_waits_for_it(worker: Child) -> None:
    assert worker.says(b"hel") == []
    assert worker.says(b"lo\r\nwor") == [b"hello\r\n"]
    assert worker.ends() == [b"wor\n"]


def test_pipe_that_is_not_ready_after_all_is_left_alone(worker: Child) -> None:
    """It has the descriptor of one that was, and was closed since."""
    worker.pipes.read(worker.read)
    assert worker.news() == []
    assert worker.says(b"there\n") == [b"there\n"]


def test_bar_of_a_worker_that_has_ended_ends_its_line(worker: Child) -> None:
    assert worker.says(b"\r 1%") == [b"\r 1%"]
    assert worker.ends() == [b"\n"]


def test_bar_of_the_origin_is_left_as_it_is() -> None:
    origin = Child(ORIGIN)
    assert origin.says(b"\r 1%") == [b"\r 1%"]
    assert origin.ends() == []


def test_question_on_a_terminal_does_not_wait_for_the_end_of_its_line() -> None:
    origin = Child(ORIGIN, is_terminal=True)
    assert origin.says(b"your name? ") == [b"your name? "]
    assert origin.ends() == []


def test_half_an_event_of_a_trace_is_left_out() -> None:
    worker = Child("0.1", stream=3)
    assert worker.says(b'{"name":"a"},\n{"na') == [b'{"name":"a"},\n']
    assert worker.ends() == []


def test_what_workers_have_printed_comes_before_what_the_origin_prints_of_it() -> None:
    origin = Child(ORIGIN, 1)
    read, write = os.pipe()
    origin.pipes.add(ProcessName("0.1"), {read: 1})
    os.write(write, b"in a task\n")
    assert origin.says(b"its result\n") == [b"in a task\n", b"its result\n"]
    os.write(write, b"the last\n")
    os.write(origin.write, b"its last\n")
    origin.pipes.finish(ORIGIN)
    assert origin.news() == [b"the last\n", b"its last\n"]
    os.close(write)
    origin.pipes.finish(ProcessName("0.1"))
    assert origin.news() == []
