"""Segments: what is put into one is had from its reference, once, and nothing is left of it."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scoop_hpc.errors import SegmentError
from scoop_hpc.protocol.messages import Batch, Reference, Request, Results, Tasks
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.transport import maps
from scoop_hpc.transport import segments as module
from scoop_hpc.transport.segments import LEAST, Segments

MAPPED = 600_000  # bytes: enough for a map
READ = 100_000  # too few for one, but enough for a segment
LARGE = 9_000_000
TOO_LARGE_TO_REST = 70_000_000


@pytest.fixture
def segments() -> Iterator[Segments]:
    segments = Segments(most=100)
    yield segments
    segments.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def put(segments: Segments, content: bytes | bytearray) -> Reference:
    reference = segments.put(memoryview(content))
    assert reference is not None
    return reference


def same_memory(one: Reference, other: Reference) -> bool:
    return module.LAYOUT.unpack(one)[1:4] == module.LAYOUT.unpack(other)[1:4]


@pytest.mark.parametrize("size", [LEAST, READ, MAPPED, MAPPED + 1, LARGE])
def test_content_arrives(segments: Segments, size: int) -> None:
    content = os.urandom(size)
    assert bytes(maps.opened(put(segments, content))) == content


@pytest.mark.parametrize("size", [READ, MAPPED])
def test_content_is_a_snapshot_and_each_taker_has_it_for_itself(segments: Segments, size: int) -> None:
    source = bytearray(b"a") * size
    reference = put(segments, source)
    source[:] = b"b" * size
    one, other = maps.opened(reference), maps.opened(reference)
    one[0:1] = b"c"
    assert (bytes(one[:2]), bytes(other[:2])) == (b"ca", b"aa")


def test_small_buffer_is_not_worth_a_segment(segments: Segments) -> None:
    assert segments.put(memoryview(bytes(LEAST - 1))) is None


def test_map_keeps_no_descriptor(segments: Segments) -> None:
    references = [put(segments, bytes(MAPPED)) for _ in range(5)]
    before = descriptors()
    held = [maps.opened(reference) for reference in references]
    assert all(type(buffer) is mmap.mmap for buffer in held)
    assert descriptors() == before


def test_memory_is_used_again_when_nobody_maps_it(segments: Segments) -> None:
    first = put(segments, b"1" * MAPPED)
    buffer = maps.opened(first)
    second = put(segments, b"2" * MAPPED)
    assert not same_memory(first, second)
    assert buffer[:1] == b"1"
    del buffer
    assert same_memory(first, put(segments, b"3" * MAPPED))


def test_reference_to_content_that_is_gone_is_refused(segments: Segments) -> None:
    old = put(segments, b"1" * MAPPED)
    del_me = maps.opened(old)
    del del_me
    assert same_memory(old, put(segments, b"2" * MAPPED))
    with pytest.raises(SegmentError, match="dropped a buffer of 600000 bytes"):
        maps.opened(old)


def test_reference_to_a_descriptor_that_is_something_else_now_is_refused(segments: Segments) -> None:
    reference = put(segments, bytes(MAPPED))
    descriptor = module.LAYOUT.unpack(reference)[1]
    segments.close()
    other = os.memfd_create("other")
    assert other == descriptor
    with pytest.raises(SegmentError, match="dropped"):
        maps.opened(reference)
    os.close(other)


def test_reference_of_a_process_that_has_ended_is_refused(segments: Segments) -> None:
    nobody = 2**22 + 1  # pid_max is 2**22 at the most [proc(5)]
    gone = Reference(module.LAYOUT.pack(nobody, *module.LAYOUT.unpack(put(segments, bytes(MAPPED)))[1:]))
    with pytest.raises(SegmentError, match=f"from process {nobody}: it has ended"):
        maps.opened(gone)


def test_large_segment_is_closed_when_it_is_taken_and_its_map_lives_on(segments: Segments) -> None:
    before = descriptors()
    reference = put(segments, b"1" * TOO_LARGE_TO_REST)
    segments.look()
    assert segments.lent
    assert descriptors() == before + 1
    buffer = maps.opened(reference)
    segments.look()
    assert not segments.lent
    assert descriptors() == before
    assert buffer[-1:] == b"1"


def test_arguments_are_kept_until_their_tasks_are_done(segments: Segments) -> None:
    before = descriptors()
    large = put(segments, bytes(TOO_LARGE_TO_REST))
    segments.keep([b"call", large], range(7, 9))
    maps.opened(large)
    segments.look()
    segments.release({8: "waited for"})
    assert descriptors() == before + 1
    maps.opened(large)  # the task may have to run again
    segments.release({9: "another"})
    assert descriptors() == before


def test_arguments_of_many_tasks_are_freed_together_behind_those_that_are_waited_for(segments: Segments) -> None:
    before = descriptors()
    late = put(segments, bytes(MAPPED))
    segments.keep([late], [7])
    batch = [put(segments, bytes(MAPPED)) for _ in range(80)]
    segments.keep(batch, range(8, 88))
    assert descriptors() == before + 81
    segments.release({7: "waited for"})
    assert descriptors() <= before + 1 + 32  # that rest
    maps.opened(late)  # the task may have to run again
    segments.release({})
    assert not segments.has_kept


def test_what_is_kept_or_discarded_is_not_watched(segments: Segments) -> None:
    frames = [put(segments, bytes(MAPPED)), put(segments, bytes(MAPPED))]
    segments.keep(frames[:1], [1])
    segments.discard(frames[1:])
    assert not segments.lent


def test_many_echoes_leave_few_descriptors(segments: Segments) -> None:
    before = descriptors()
    for _ in range(1_000):
        maps.opened(put(segments, bytes(READ)))
    assert descriptors() <= before + 2
    segments.close()
    assert descriptors() == before


def test_memory_that_rests_is_bounded_and_most_of_it_does_so_for_a_second_only() -> None:
    now = 0.0
    segments = Segments(most=100, clock=lambda: now)
    before = descriptors()
    references = [put(segments, bytes(LARGE)) for _ in range(30)]
    held = [maps.opened(reference) for reference in references]
    segments.look()
    assert descriptors() - before == 29  # of 270 MB, at most 268 rest
    assert segments.lent
    now = 0.9
    segments.look()
    assert descriptors() - before == 29
    now = 1.1
    segments.look()
    assert descriptors() - before == 3  # at most 33 MB
    assert not segments.lent
    assert all(buffer[:1] == b"\0" for buffer in held)
    segments.close()


def test_large_arguments_that_are_not_needed_rest_for_a_second_only() -> None:
    now = 0.0
    segments = Segments(most=100, clock=lambda: now)
    before = descriptors()
    frames = [put(segments, bytes(50_000_000)) for _ in range(2)]
    segments.keep(frames, [1])
    segments.release({})
    assert same_memory(frames[0], put(segments, bytes(50_000_000)))
    now = 1.1
    segments.release({})
    assert descriptors() - before == 1
    segments.close()


def test_two_threads_may_look_at_once(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[threading.Thread] = []
    taken = module._Segment.taken

    def taken_while_another_looks(segment: module._Segment) -> bool:
        if not others:
            others.append(threading.Thread(target=segments.look))
            others[0].start()
            others[0].join(0.2)  # it has found the segment by then, or waits for its turn
        return taken(segment)

    monkeypatch.setattr(module._Segment, "taken", taken_while_another_looks)
    maps.opened(put(segments, b"x" * MAPPED))
    segments.look()
    others[0].join()
    assert not segments.lent


def test_looks_become_rarer_while_nobody_takes_what_is_lent(segments: Segments) -> None:
    reference = put(segments, bytes(MAPPED))
    soon = segments.patience
    for _ in range(20):
        segments.look()
    assert soon < 0.01 < segments.patience <= 0.5
    maps.opened(reference)
    segments.look()
    assert segments.patience == soon


def test_too_many_segments_leave_the_rest_to_messages() -> None:
    segments = Segments(most=2)
    assert [segments.put(memoryview(bytes(READ))) is None for _ in range(3)] == [False, False, True]
    segments.close()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EACCES, errno.EMFILE])
def test_no_memory_leaves_a_buffer_to_messages(
    segments: Segments, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    before = descriptors()
    monkeypatch.setattr(os, "memfd_create", refuse)
    assert segments.put(memoryview(bytes(READ))) is None
    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", refuse)
    assert segments.put(memoryview(bytes(READ))) is None
    monkeypatch.undo()
    assert descriptors() == before


def test_usable_here_and_not_without_the_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    assert maps.usable()
    monkeypatch.delattr(os, "memfd_create")
    assert not maps.usable()
    assert descriptors() == before


def test_where_no_more_maps_are_allowed_the_content_is_read(
    segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(MAPPED)
    reference = put(segments, content)

    def refuse(*_: Any) -> Any:
        raise OSError(errno.ENOMEM, "no more maps")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert maps.opened(reference) == bytearray(content)


def test_message_to_another_machine_has_the_buffers_themselves(segments: Segments) -> None:
    content = os.urandom(MAPPED)
    near = Tasks([Batch(ORIGIN, 5, [b"call", put(segments, content)], 2, (6,)), Batch(ORIGIN, 7, [b"call"])], 3)
    far = maps.spelled_out(near)
    assert isinstance(far, Tasks)
    assert bytes(far.batches[0].frames[1]) == content
    assert (far.answer, far.batches[0].serial, far.batches[0].dropped) == (3, 5, (6,))
    assert far.batches[1] is near.batches[1]


@pytest.mark.parametrize("message", [Request(1), Results([Batch(ORIGIN, 0, [b"outcome"])])])
def test_message_without_references_is_left_as_it_is(message: Any) -> None:
    assert maps.spelled_out(message) is message


def test_reference_to_what_is_gone_is_left_for_who_can_say_so(segments: Segments) -> None:
    batch = Batch(ORIGIN, 0, [b"outcome", put(segments, bytes(MAPPED))])
    segments.close()
    assert maps.taken(batch).frames == batch.frames


def test_outcomes_are_taken_unless_their_memory_is_gone(segments: Segments) -> None:
    plain, large = Batch(ORIGIN, 0, [b"outcome"]), Batch(ORIGIN, 0, [b"outcome", put(segments, bytes(MAPPED))])
    assert maps.taken_or_lost([plain]) == ([plain], [])
    found, lost = maps.taken_or_lost([plain, large])
    assert (found[0], bytes(found[1].frames[1]), lost) == (plain, bytes(MAPPED), [])
    segments.close()
    assert maps.taken_or_lost([large, plain]) == ([plain], [large])
