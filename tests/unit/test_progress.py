"""How far a run is, in lines of a log and in a bar of a terminal, as an emulator of one shows it."""

from __future__ import annotations

from collections.abc import Callable

import pyte
import pytest

from scoop_hpc.events import AgentLeft, Event, NodeJoined, NodeLost, Waits, WorkersBusy
from scoop_hpc.run.watching.bar import Bar
from scoop_hpc.run.watching.progress import LogLines, Part, Progress

BOTH = NodeJoined("n1", "h1", 7, 4, 4), NodeJoined("n2", "h2", 7, 4, 4)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


class Watched:
    """Events that a display hears of."""

    def __init__(self, time: Time, display: Callable[[Event], None]) -> None:
        self.time = time
        self.display = display
        display(BOTH[0])
        display(BOTH[1])

    def counts(self, done: int, total: int | None = 1000, label: str = "simulate", number: int = 1) -> None:
        self.display(WorkersBusy("n1", 4))
        self.display(Waits(number, label, total, done, done // 100))


def test_rate_is_that_of_late_and_tells_when_all_will_be_done() -> None:
    part = Part("", begun=0.0)
    for second in range(61):
        part.count(1000, 10 * second if second <= 30 else 300 + second - 30, 0, float(second))
    assert part.rate(60.0) == pytest.approx(1.0)
    assert part.left(60.0) == pytest.approx(670.0)


def test_rate_of_long_calls_is_not_lost_between_them() -> None:
    part = Part("", begun=0.0)
    for call in range(4):
        part.count(100, 8 * call, 0, 300.0 * call)
    assert part.rate(900.0) == pytest.approx(8 / 300)
    assert part.rate(1199.0) > 0


def test_nobody_can_tell_the_end_of_what_has_not_begun_or_has_no_length() -> None:
    part = Part("", begun=0.0)
    part.count(100, 0, 0, 0.0)
    assert part.left(10.0) is None
    part.count(None, 50, 0, 10.0)
    assert (part.rate(10.0), part.left(10.0)) == (5.0, None)


@pytest.mark.parametrize("left", [AgentLeft("n2"), NodeLost("n2", "it is silent")])
def test_who_has_left_is_not_busy(time: Time, left: Event) -> None:
    progress = Progress(time)
    for event in (*BOTH, WorkersBusy("n1", 4), WorkersBusy("n2", 3), Waits(1, "", 100, 10, 0)):
        progress(event)
    assert (progress.busy, progress.queued()) == (7, 83)
    progress(left)
    assert (progress.workers, progress.busy) == (4, 4)
    assert (progress.busy, progress.queued()) == (4, 86)


# lines of a log


@pytest.fixture
def display(time: Time) -> LogLines:
    return LogLines(time)


def shown(display: LogLines) -> list[str]:
    """Return the lines that are to be written now."""
    return display.show().decode().splitlines()


def test_lines_come_after_ten_seconds_then_ever_more_seldom(time: Time, display: LogLines) -> None:
    watched = Watched(time, display)
    assert display.deadline() is None
    begun, came, lines = time.now, [], []
    watched.counts(0, total=10**6)
    while time.now < begun + 4 * 3600:
        due = display.deadline()
        assert due is not None
        time.now = due
        watched.counts(int(10 * (due - begun)), total=10**6)
        new = shown(display)
        came += [due - begun] * len(new)
        lines += new
    assert came[:4] == [10.0, 30.0, 70.0, 150.0]
    assert len(came) < 20
    assert lines[0] == (
        "scoop-hpc: progress: simulate: 100 of 1000000 done (0 %), 1 failed, 10/s, about 27:46:30 left; "
        "4 of 8 workers busy"
    )


def test_end_is_told_of_what_was_told_about(time: Time, display: LogLines) -> None:
    watched = Watched(time, display)
    watched.counts(0)
    watched.counts(1000)
    assert shown(display) == []
    watched.counts(0, number=2)
    time.now += 10
    assert len(shown(display)) == 1
    time.now += 100
    watched.counts(1000, number=2)
    assert display.deadline() == time.now
    assert display.close() == b"scoop-hpc: progress: simulate: 1000 of 1000 done (100 %), 10 failed, in 0:01:50\n"
    assert shown(display) == []


def test_many_calls_that_fail_make_no_more_lines(time: Time, display: LogLines) -> None:
    display(BOTH[0])
    lines = []
    for count in range(10_001):
        display(Waits(1, "", 10_000, count, count))
        lines += shown(display)
        time.now += 0.002
    assert len(lines) == 2
    assert lines[-1].endswith("10000 of 10000 done (100 %), 10000 failed, in 0:00:20")


def test_control_characters_of_a_label_are_not_shown(time: Time, display: LogLines) -> None:
    Watched(time, display).counts(0, label="a\x1b[2J\nb")
    time.now += 10
    assert shown(display)[0].startswith("scoop-hpc: progress: a?[2J?b: 0 of 1000 done")


# a bar


class Terminal:
    """An emulated terminal with a bar on it."""

    def __init__(self, time: Time, columns: int = 80) -> None:
        self.time = time
        self.screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self.screen)
        self.bar = Bar(time, lambda: (self.screen.columns, 24))
        self.watched = Watched(time, self.bar)

    def write(self, text: bytes) -> None:
        self._stream.feed(text.replace(b"\n", b"\r\n"))

    def look(self, seconds: float = 1.0) -> list[str]:
        """Let time pass; return what is to be seen."""
        self.time.now += seconds
        self.write(self.bar.show())
        return self.lines()

    def print(self, text: bytes) -> list[str]:
        self.write(self.bar.above(text))
        return self.lines()

    def lines(self) -> list[str]:
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


@pytest.fixture
def terminal(time: Time) -> Terminal:
    return Terminal(time)


def test_bar_shows_all_in_eighty_columns(terminal: Terminal) -> None:
    terminal.watched.counts(0)
    assert terminal.look(0.1) == []
    terminal.look()
    terminal.watched.counts(250)
    bar, workers = terminal.look(8.9)
    assert bar.startswith("simulate ━━")
    assert bar.endswith("250/1000 25% 2 failed 25/s 0:00:30")
    assert workers == "4 running, 746 queued; 4 of 8 workers busy"


def test_output_scrolls_above_the_bar(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    bar = terminal.look()
    for number in range(100):
        terminal.print(b"line %d\nand %d\n" % (number, number))
    *printed, first, last = terminal.lines()
    assert [first, last] == bar
    assert printed == [word % number for number in range(89, 100) for word in ("line %d", "and %d")]


def test_line_that_is_not_ended_has_its_place_for_itself(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    bar = terminal.look()
    assert terminal.print(b"your name? ") == ["your name?"]
    assert terminal.look() == ["your name?"]
    terminal.print(b"me\n")
    assert terminal.look()[0] == "your name? me"
    assert len(terminal.lines()) == 1 + len(bar)


def test_bar_of_the_program_hides_ours(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    terminal.look()
    for share in (10, 20, 100):
        assert terminal.print(b"\r%d%% of theirs" % share) == [f"{share}% of theirs"]
        terminal.look()
    terminal.print(b"\n")
    assert len(terminal.look()) == 3


def test_terminal_is_clean_at_the_end_and_after_ctrl_c(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    terminal.print(b"printed\n")
    terminal.look()
    terminal.write(b"^C")  # by the terminal's own driver
    terminal.write(terminal.bar.close())
    assert terminal.lines() == ["printed"]
    assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (1, 0)
    assert terminal.print(b"later\n") == ["printed", "later"]
    assert terminal.look() == ["printed", "later"]


def test_bar_is_gone_when_there_is_nothing_to_wait_for(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    terminal.look()
    terminal.watched.counts(1000)
    assert terminal.look() == []
    terminal.watched.counts(10, number=2)
    assert len(terminal.look()) == 2


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 60, 200])
def test_bar_fits_into_any_terminal(time: Time, columns: int) -> None:
    terminal = Terminal(time, columns)
    terminal.watched.counts(10)
    assert len(terminal.look()) <= 2
    terminal.print(b"x\n")
    assert terminal.lines()[0] == "x"
    assert len(terminal.look()) <= 3


def test_bar_fits_into_a_terminal_that_has_grown_or_shrunk(terminal: Terminal) -> None:
    terminal.watched.counts(10)
    terminal.print(b"printed\n")
    terminal.look()
    for columns in (60, 120, 80):
        terminal.screen.resize(24, columns)
        lines = terminal.look()
        assert lines[0] == "printed"
        assert len(lines) == 3
        assert columns - 20 < len(lines[1]) < columns


def test_each_label_has_its_bar_but_not_too_many(terminal: Terminal) -> None:
    for number in range(1, 11):
        terminal.watched.counts(10, label=f"part {number}", number=number)
    assert [line.split("━")[0].strip() for line in terminal.look()[:-1]] == ["part 7", "part 8", "part 9", "part 10"]


def test_colours_are_left_out_where_they_are_not_wanted(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    bar = Bar(time, lambda: (80, 24))
    Watched(time, bar).counts(110)
    time.now += 1
    shown = bar.show()
    assert b"[3" not in shown
    assert b"[9" not in shown


def test_bar_is_drawn_in_ascii_where_there_is_no_more(time: Time) -> None:
    bar = Bar(time, lambda: (80, 24), encoding="ascii")
    Watched(time, bar).counts(110, label="größe" * 10)
    time.now += 1
    assert bar.show().isascii()
