"""Lines that come in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.files.line_buffer import LineBuffer


@given(st.lists(st.sampled_from([b"", b"a", b"\n", b"b\nc", b"\n\n", b"d\r\n"]), max_size=20))
def test_lines_are_the_same_however_the_text_was_cut(pieces: list[bytes]) -> None:
    buffer = LineBuffer()
    lines = [line for piece in pieces for line in buffer.add(piece)]
    assert [*lines, buffer.rest()] == b"".join(pieces).split(b"\n")


def test_rest_is_given_once() -> None:
    buffer = LineBuffer()
    buffer.add(b"half")
    assert (buffer.rest(), buffer.rest()) == (b"half", b"")
