"""An Executor's own pool of workers, and the thread that talks to it.

::

    any thread: submit, shutdown --[ client, flags ]--> thread --pipes--> driver of the pool
        |                           wake-up socket -->    '-----DEALER---> its first broker
        '---- result(): leads meanwhile -------------------------^

The thread is there because futures must be settled, and tasks sent, while the program computes or sleeps. Only it
touches the pipes. The client and the DEALER are for whoever has the *turn*, a lock. A thread that waits for a result
*leads*, if no other does: it listens to the DEALER itself, and the pool's thread does not. For to hand messages from
one thread to the other takes longer than all else that the client does: of six switches between threads for a task
that is submitted and waited for, two remain. The leader leaves futures with callbacks to the pool's thread, which
goes on while one of these waits for another future.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from scoop_hpc.errors import BrokenPoolError, ScoopError
from scoop_hpc.pickling import main_by_value
from scoop_hpc.pickling.unpicklable import reason_of
from scoop_hpc.pool.client import PoolClient
from scoop_hpc.pool.future import PoolFuture, Question, QuestionKind
from scoop_hpc.pool.held_signals import HeldSignals
from scoop_hpc.pool.link import ClientLink, Ears
from scoop_hpc.pool.own_process import own_process
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.pool.pool_map import Pool
from scoop_hpc.pool.process import PoolProcess
from scoop_hpc.pool.spare import Surroundings, spare
from scoop_hpc.pool.spawned import Spawned, spawn
from scoop_hpc.pool.status import ExecutorStatus
from scoop_hpc.protocol.messages import Cancel, Fault, Open, Order, OutcomeLost, Results
from scoop_hpc.protocol.names import CLIENT
from scoop_hpc.transport.maps import own_segments, taken_or_lost
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.loop_timing import LoopTimings

_LONG = 3600.0  # seconds: a longer time-out is waited for in pieces
_INTERRUPTED = "the Executor was left by KeyboardInterrupt"
_PIECE = 0.01  # seconds between looks for an answer that another thread may receive


class WorkerPool(Pool):
    """The workers that are started for *order*; they end by `finish`, or with this process.

    What they were worth is kept in the file *report*, if one is named. Their driver may have been *spawned* already.
    """

    def __init__(
        self,
        order: Order,
        policy: ClientPolicy = ClientPolicy(),
        report: str = "",
        spawned: Spawned | None = None,
    ) -> None:
        super().__init__()
        self._order = order
        self._policy = policy
        self._report = report
        self._client = PoolClient(policy)
        self._lock = threading.Lock()  # guards the two reasons below
        self._closed: str | None = None  # the reason to refuse more futures
        self._broken: str | None = None  # the error of all futures that are not done
        self._cancelling = False
        self._interrupted = False
        self._process = None if spawned is None else PoolProcess(spawned, policy.end)
        self._surroundings: Surroundings | None = None  # of the process, when it was started
        self._link: ClientLink | None = None
        self._segments: Segments | None = None  # if all workers are on this machine
        self._on_open: deque[Callable[[], object]] = deque()
        self._turn = threading.Lock()  # to use the client, the link and the segments
        self._leading = threading.Lock()  # of the thread that listens to the link, if it is not the pool's
        self._leader: int | None = None
        self._failure: str | None = None  # that the leader has met
        self._ears = Ears()
        self._leaders_ears = select.poll()
        self._rung, self._bell = socket.socketpair()
        self._nudged, self._nudger = socket.socketpair()  # wakes the leader
        self._ringing = False
        self._goes_on = False  # the pool's thread has more to do before it waits
        self._thread = threading.Thread(target=self._run, name="scoop-hpc-client", daemon=True)

    def start(self) -> None:
        """Start the workers, without waiting for them."""
        for end in (self._rung, self._bell, self._nudged, self._nudger):
            end.setblocking(False)
        self._leaders_ears.register(self._nudged, select.POLLIN)
        self._thread.start()

    def submit(self, future: PoolFuture) -> None:
        """Take on *future*; raise RuntimeError after the end, BrokenPoolError if the pool has failed."""
        with self._lock:
            if self._broken is not None:
                raise BrokenPoolError(self._broken)
            if self._closed is not None:
                raise RuntimeError(self._closed)
            self._client.offer(future)
        if self._client.has_room and not self._turn.locked():
            self._send_at_once()
        elif not self._client.is_stalled and (self._leader is not None or not self._ringing):
            self._wake()

    def _send_at_once(self) -> None:
        """Send what was offered, for a worker may be idle, unless another thread has the turn."""
        is_sent = False
        with HeldSignals():
            if self._turn.acquire(blocking=False):
                try:
                    self._guard(self._client.pump)
                    is_sent = self._link is None or not self._link.has_arrived()
                finally:
                    self._turn.release()
        if not is_sent or self._client.has_news or self._client.has_offers:  # to pickle may have submitted more
            self._wake()

    def submit_more(self, future: PoolFuture) -> None:
        """Take on a future that goes on with what was submitted before, in any thread."""
        self._client.offer(future)
        self._wake()

    @property
    def workers(self) -> int:
        """The number of workers, 0 before they are there."""
        return self._client.workers

    def name_of(self, cost: Cost) -> str:
        return self._client.names.get(cost, "")

    def status(self) -> ExecutorStatus:
        """Return how the calls stand, as far as known now."""
        client = self._client
        state = "open" if self._closed is None else "broken" if self._broken is not None else "shut down"
        return ExecutorStatus(state, client.workers, client.queued, client.under_way, client.done, client.failed)

    @property
    def loop_timings(self) -> LoopTimings:
        """What is known of how long functions take."""
        return self._client.loop_timings

    def when_open(self, callback: Callable[[], object]) -> None:
        """Call *callback* once the workers are there, now if they are."""
        self._on_open.append(callback)
        if self._client.workers:  # in either thread, but once
            self._call_on_open()

    def _call_on_open(self) -> None:
        while self._on_open:
            try:
                callback = self._on_open.popleft()
            except IndexError:  # the other thread was quicker
                return
            callback()

    def wait_for(self, future: Future, deadline: float | None) -> None:
        if threading.current_thread() is self._thread and own_process.pid == self._owner:
            self._serve_in_callback(future, deadline)
            return
        may_lead = self._link is not None and Ears.CAN_MUTE and own_process.pid == self._owner
        if may_lead and not self._leading.locked():
            with HeldSignals() as signals:
                if self._leading.acquire(blocking=False):
                    try:
                        self._lead(future, deadline, signals)
                    finally:
                        self._leading.release()
        if not future.settled:
            super().wait_for(future, deadline)

    def _lead(self, future: Future, deadline: float | None, signals: HeldSignals) -> None:
        """Listen to the link until *future* is done, the *deadline* is over or the pool has ended."""
        link = self._link  # it is not closed from now on
        if link is None:
            return
        self._leader = threading.get_ident()
        self._ears.mute(link.descriptor)
        future.watch(self._nudge)
        try:
            self._listen(link, future, deadline, signals)
        finally:
            self._ears.unmute(link.descriptor)
            self._leader = None
            future.unwatch(self._nudge)

    def _listen(self, link: ClientLink, future: Future, deadline: float | None, signals: HeldSignals) -> None:
        """Serve the link at once, too: the pool's thread may have left something there, and be busy with a callback."""
        self._serve_link(link)
        while not future.settled and self._failure is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            milliseconds = None if left is None else math.ceil(1000 * min(left, _LONG))
            for descriptor, _ in signals.interruptible(self._leaders_ears.poll, milliseconds):
                is_told = descriptor == link.descriptor
                if not is_told:
                    self._nudged.recv(64)
                    if self._link is not link:
                        return
                self._serve_link(link, is_told)

    def _serve_link(self, link: ClientLink, is_told: bool = False) -> None:
        """Serve the link if there is something to do, as its descriptor *is told* to have."""
        with self._turn:
            if self._link is link:
                likely = is_told or link.has_arrived()
                if likely or self._client.has_work:
                    self._guard(self._serve_plainly, link, likely)
        if self._client.has_news:  # for the pool's thread
            self._wake()

    def _serve_plainly(self, link: ClientLink, likely: bool) -> None:
        """Receive and send what there is, and settle futures without callbacks."""
        has_arrived = True
        while has_arrived:
            self._receive(link, likely)
            self._client.tell(with_callbacks=False)
            if not self._client.has_work:
                return
            self._client.pump()
            has_arrived = likely = link.has_arrived()

    def _guard(self, call: Callable[..., None], *args: Any) -> None:
        """Call what the pool's thread would: it ends the pool if that fails."""
        try:
            call(*args)
        except ScoopError as error:
            self._fail(str(error))
        except BaseException as error:  # a bug
            self._fail(reason_of(error))
            raise

    def _fail(self, failure: str) -> None:
        self._failure = failure
        self._wake()

    def _nudge(self) -> None:
        """Let the leader look up, if that is another thread."""
        if self._leader not in (None, threading.get_ident()):
            with contextlib.suppress(OSError):  # it has been nudged often, or the pool has ended
                self._nudger.send(b"!")

    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        """Ask about a task that was sent; return the answer, None if it does not come in time."""
        question = Question(future, kind)
        self._client.ask(question)
        if threading.current_thread() is self._thread:
            self._converse(question)
        else:
            self._wake()
            question.told.wait(self._policy.answer)
        return question.answer

    def cancel(self, futures: Iterable[PoolFuture]) -> None:
        """Cancel those of *futures* that have not begun, without waiting."""
        for future in futures:
            if future.take() is not None:
                future.drop()
            elif not future.done():
                self._client.ask(Question(future, Cancel))
        self._wake()

    def finish(self, why: str = "cannot schedule new futures after shutdown", cancel: bool = False) -> None:
        """End once all futures are done; with *cancel*, cancel those that have not begun. This does not wait."""
        with self._lock:
            self._closed = self._closed or why
            self._cancelling = self._cancelling or cancel
        self._wake()

    def abandon(self) -> None:
        """End once all futures are done.

        Called when the Executor is collected, in any thread, with any lock held: so it takes none.
        """
        self._closed = self._closed or "the Executor is gone"
        self._wake()

    def interrupt(self) -> None:
        """End at once; futures that are not done fail."""
        self._interrupted = True
        self.finish(cancel=True)

    def join(self) -> None:
        """Wait until the pool has ended; a callback, which runs in the pool's thread, does not wait."""
        if threading.current_thread() is not self._thread and own_process.pid == self._owner:
            self._thread.join()

    def note_fork(self) -> None:
        """Let go of the pool, in a child forked by its client."""
        self._lock, self._turn, self._leading = threading.Lock(), threading.Lock(), threading.Lock()
        self._close_ears()
        if self._process is not None:
            self._process.let_go()

    def _close_ears(self) -> None:
        self._ears.close()
        for end in (self._rung, self._bell, self._nudged, self._nudger):
            end.close()

    def _wake(self) -> None:
        """Have the link and the client looked at: by the pool's thread, and by the leader, if that is in a callback."""
        self._nudge()
        if threading.current_thread() is self._thread:
            self._goes_on = True
        elif not self._ringing:
            self._ringing = True
            with contextlib.suppress(OSError):  # the thread has ended, or the bell rings already
                self._bell.send(b"!")

    # in the thread

    def _run(self) -> None:
        reason: str | None = "the thread that talks to the pool died"
        try:
            reason = self._serve()
        except ScoopError as error:
            reason = str(error)
        except BaseException as error:  # a callback's SystemExit, or a bug: no thread may wait for ever
            reason = f"{reason}: {reason_of(error)}"
            raise
        finally:
            self._end(reason)

    def _serve(self) -> str | None:
        """Serve until the end; return why the futures that are not done will never be, None if all are done."""
        main_by_value.send_by_value()
        surroundings = self._surroundings = Surroundings.now()
        if self._process is None and not self._report:  # which a driver keeps for all its life
            self._process = spare.take(surroundings)
        self._process = self._process or PoolProcess(spawn(self._report), self._policy.end)
        self._process.order(self._order)
        self._ears.add(self._rung.fileno())
        self._ears.add(self._process.fileno())
        while True:
            self._take_what_has_come()
            self._client.tell()
            if self._interrupted:
                return _INTERRUPTED
            if self._failure is not None:
                raise BrokenPoolError(self._failure)
            with self._turn:
                if self._closed is not None and self._client.is_idle:
                    return None
            self._wait_for_more(self._process, self._policy.tick)

    def _serve_in_callback(self, future: Future, deadline: float | None) -> None:
        """Serve until *future* is done, for which a callback waits in this thread, or the *deadline* is over."""
        self._client.tell_no_callback()  # which waits outside of this one: *future* may have been put aside for it
        future.watch(self._wake)  # the leader may settle it
        try:
            while True:
                self._take_what_has_come()
                self._client.tell_a_callback(future)
                left = math.inf if deadline is None else deadline - time.monotonic()
                if future.settled or left <= 0:
                    return
                if self._interrupted or self._failure is not None or self._process is None:
                    raise BrokenPoolError(self._failure or _INTERRUPTED)
                try:
                    self._wait_for_more(self._process, min(left, self._policy.tick))
                except BrokenPoolError as error:
                    self._fail(str(error))  # for the callback's caller, too, which drops what a callback raises
        finally:
            future.unwatch(self._wake)
            self._client.tell_no_callback()

    def _take_what_has_come(self) -> None:
        """Receive and send what there is, before callbacks are called: workers need not wait for those."""
        self._goes_on = False
        with self._turn:
            self._get_on()
        if self._goes_on:
            self._nudge()  # a callback may last

    def _wait_for_more(self, process: PoolProcess, timeout: float) -> None:
        """Wait until there may be more to do, unless there is; raise BrokenPoolError at the end of the pool."""
        ready = self._ears.wait(0 if self._goes_on else timeout)
        if self._rung.fileno() in ready:
            self._rung.recv(64)
            self._ringing = False  # after that: what rings in between is looked at next, and its ring is not lost
        if process.fileno() in ready:
            with self._turn:
                self._hear(process)
            self._call_on_open()

    def _get_on(self) -> None:
        """Receive and send what there is."""
        if self._cancelling:
            self._cancelling = False
            self._client.cancel()
        link = self._link
        if link is not None:
            self._receive(link)
            self._client.pump()
            link.look()
            self._goes_on = self._goes_on or link.has_arrived()

    def _hear(self, process: PoolProcess) -> None:
        """Take what the driver reports; raise BrokenPoolError at the end of the pool."""
        for report in process.hear():
            if isinstance(report, Open):
                self._link = ClientLink(report, self._policy)
                self._ears.add(self._link.descriptor)
                self._leaders_ears.register(self._link.descriptor, select.POLLIN)
                self._segments = own_segments() if report.curve is None else None
                self._client.open(self._link.send, report.workers, self._segments)
            elif isinstance(report, Fault):
                raise BrokenPoolError(report.reason or f"the pool has ended with status {report.status}")

    def _receive(self, link: ClientLink, likely: bool = False) -> None:
        for message in link.receive(likely):
            if isinstance(message, Results):
                here, lost = taken_or_lost(message.batches)
                for batch in lost:
                    link.send(OutcomeLost(CLIENT, batch.done))
                    self._wake()  # to look at the link after this
                message = Results(here)
            self._client.take(message)

    def _converse(self, question: Question) -> None:
        """Wait for the answer to a callback's question; other futures are settled later."""
        link, deadline = self._link, time.monotonic() + self._policy.answer
        while link is not None and question.answer is None and time.monotonic() < deadline:
            with self._turn:
                self._client.pump()
                self._receive(link)
                link.look()
            if question.answer is None:
                link.wait(min(_PIECE, deadline - time.monotonic()))
        if question.answer and question.kind is Cancel:
            question.future.drop()

    def _end(self, reason: str | None) -> None:
        with self._lock:
            self._broken = reason
            self._closed = self._closed or reason
        with self._turn:
            link, self._link = self._link, None
        self._nudge()
        with self._leading:  # it has seen that
            self._client.fail(lambda: BrokenPoolError(reason))
        while self._client.has_news:
            with contextlib.suppress(SystemExit):  # a callback's: the other futures must be settled all the same
                self._client.tell()
        if link is not None:
            link.close()
        if self._segments is not None:
            self._segments.close()
        if self._process is not None and not (self._process.rests() and spare.keep(self._process, self._surroundings)):
            self._process.end()
        self._close_ears()
