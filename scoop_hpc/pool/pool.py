"""An Executor's own pool of workers, and the thread that talks to it.

::

    any thread: submit, shutdown --[ client, flags ]--> thread --pipes--> driver of the pool
                                    wake-up socket -->   '----DEALER---> its first broker

Only the thread touches the pipes and the DEALER. It is there because futures must be settled, and tasks sent, while the
program computes or sleeps.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from scoop_hpc.errors import BrokenPoolError, ScoopError
from scoop_hpc.pickling import main_by_value
from scoop_hpc.pool.client import PoolClient
from scoop_hpc.pool.future import PoolFuture, Question, QuestionKind
from scoop_hpc.pool.link import ClientLink, Ears
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.pool.pool_map import Pool
from scoop_hpc.pool.process import PoolProcess
from scoop_hpc.pool.status import ExecutorStatus
from scoop_hpc.protocol.messages import Cancel, Fault, Open, Order, OutcomeLost, Results
from scoop_hpc.protocol.names import CLIENT
from scoop_hpc.transport.maps import own_segments, taken_or_lost
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.loop_timing import LoopTimings


class WorkerPool(Pool):
    """The workers that are started for *order*; they end by `finish`, or with this process.

    What they were worth is kept in the file *report*, if one is named.
    """

    def __init__(self, order: Order, policy: ClientPolicy = ClientPolicy(), report: str = "") -> None:
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
        self._process: PoolProcess | None = None
        self._link: ClientLink | None = None
        self._segments: Segments | None = None  # if all workers are on this machine
        self._on_open: deque[Callable[[], object]] = deque()
        self._ears = Ears()
        self._rung, self._bell = socket.socketpair()
        self._ringing = False
        self._thread = threading.Thread(target=self._run, name="scoop-hpc-client", daemon=True)

    def start(self) -> None:
        """Start the workers, without waiting for them."""
        self._rung.setblocking(False)
        self._bell.setblocking(False)
        self._thread.start()

    def submit(self, future: PoolFuture) -> None:
        """Take on *future*; raise RuntimeError after the end, BrokenPoolError if the pool has failed."""
        with self._lock:
            if self._broken is not None:
                raise BrokenPoolError(self._broken)
            if self._closed is not None:
                raise RuntimeError(self._closed)
            self._client.offer(future)
        if not self._client.is_stalled:
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
        if threading.current_thread() is not self._thread and os.getpid() == self._owner:
            self._thread.join()

    def note_fork(self) -> None:
        """Let go of the pool, in a child forked by its client."""
        self._lock = threading.Lock()
        self._bell.close()
        self._rung.close()
        if self._process is not None:
            self._process.let_go()

    def _wake(self) -> None:
        if not self._ringing:
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
            reason = f"{reason}: {type(error).__name__}: {error}"
            raise
        finally:
            self._end(reason)

    def _serve(self) -> str | None:
        """Serve until the end; return why the futures that are not done will never be, None if all are done."""
        main_by_value.send_by_value()
        self._process = PoolProcess.start(self._policy.end, self._report)
        self._process.order(self._order)
        self._ears.add(self._rung.fileno())
        self._ears.add(self._process.fileno())
        while True:
            if self._cancelling:
                self._cancelling = False
                self._client.cancel()
            if self._link is not None:
                self._client.pump()  # before the callbacks: workers need not wait for those
            self._client.tell()
            if self._interrupted:
                return "the Executor was left by KeyboardInterrupt"
            if self._closed is not None and self._client.is_idle:
                return None
            ready = self._ears.wait(self._policy.tick)
            if self._rung.fileno() in ready:
                self._ringing = False
                self._rung.recv(64)
            if self._process.fileno() in ready:
                self._hear(self._process)
            if self._link is not None:
                if self._link.socket in ready:
                    self._receive(self._link)
                self._link.look()

    def _hear(self, process: PoolProcess) -> None:
        """Take what the driver reports; raise BrokenPoolError at the end of the pool."""
        for report in process.hear():
            if isinstance(report, Open):
                self._link = ClientLink(report, self._policy)
                self._ears.add(self._link)
                self._segments = own_segments() if report.curve is None else None
                self._client.open(self._link.send, report.workers, self._segments)
                self._call_on_open()
            elif isinstance(report, Fault):
                raise BrokenPoolError(report.reason or f"the pool has ended with status {report.status}")

    def _receive(self, link: ClientLink) -> None:
        for message in link.receive():
            if isinstance(message, Results):
                here, lost = taken_or_lost(message.batches)
                for batch in lost:
                    link.send(OutcomeLost(CLIENT, batch.done))
                message = Results(here)
            self._client.take(message)

    def _converse(self, question: Question) -> None:
        """Wait for the answer to a callback's question; other futures are settled later."""
        deadline = time.monotonic() + self._policy.answer
        while self._link is not None and question.answer is None and time.monotonic() < deadline:
            self._client.pump()
            self._link.wait(deadline - time.monotonic())
            self._receive(self._link)
            self._link.look()
        if question.answer and question.kind is Cancel:
            question.future.drop()

    def _end(self, reason: str | None) -> None:
        with self._lock:
            self._broken = reason
            self._closed = self._closed or reason
        self._client.fail(lambda: BrokenPoolError(reason))
        while self._client.has_news:
            with contextlib.suppress(SystemExit):  # a callback's: the other futures must be settled all the same
                self._client.tell()
        if self._link is not None:
            self._link.close()
        if self._segments is not None:
            self._segments.close()
        if self._process is not None:
            self._process.end()
        self._bell.close()
        self._rung.close()
