"""A pool of workers of an Executor's own, and the thread that talks to it.

::

    any thread: submit, shutdown --[ client, flags ]--> thread --pipes--> driver of the pool
                                    wake-up socket -->   '----DEALER---> its first broker

The thread is the only one to touch pipes and the DEALER. It is a second thread because futures must be settled, and
tasks sent, while the program computes or sleeps.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable

from scoop_hpc.errors import BrokenPoolError, ScoopError
from scoop_hpc.pickling import main_by_value
from scoop_hpc.pool.client import PoolClient, PoolFuture, Question
from scoop_hpc.pool.link import ClientLink, wait
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.pool.process import PoolProcess
from scoop_hpc.protocol.messages import Fault, Open, Order


class Pool:
    """Workers started for *order*, and gone after `shutdown`, or when this process ends."""

    def __init__(self, order: Order, policy: ClientPolicy = ClientPolicy()) -> None:
        self._order = order
        self._policy = policy
        self._client = PoolClient(policy)
        self._lock = threading.Lock()  # for what `submit` looks at
        self._closed = ""  # why nothing more may be submitted
        self._broken = ""  # why nothing that was submitted will be done
        self._cancelling = False
        self._interrupted = False
        self._process: PoolProcess | None = None
        self._link: ClientLink | None = None
        self._owner = os.getpid()
        self._ears, self._bell = socket.socketpair()
        self._ringing = False
        self._thread = threading.Thread(target=self._run, name="scoop-hpc-client", daemon=True)

    def start(self) -> None:
        """Start the workers, without waiting for them."""
        self._ears.setblocking(False)
        self._bell.setblocking(False)
        self._thread.start()

    def submit(self, future: PoolFuture) -> None:
        """Take on *future*; raise RuntimeError after the end, BrokenPoolError if the pool has failed."""
        with self._lock:
            if self._broken:
                raise BrokenPoolError(self._broken)
            if self._closed:
                raise RuntimeError(self._closed)
            self._client.offer(future)
        if not self._client.stalled:
            self._wake()

    def is_queued(self, future: PoolFuture, cancel: bool) -> bool | None:
        """Return whether a task that was sent still waits in a queue, None if nobody knows; drop it if *cancel*."""
        question = Question(future, cancel)
        self._client.ask(question)
        if threading.current_thread() is self._thread:
            self._converse(question)
        else:
            self._wake()
            question.told.wait(self._policy.answer)
        return question.queued

    def cancel(self, futures: Iterable[PoolFuture]) -> None:
        """Cancel what of *futures* has not begun, without waiting for that."""
        for future in futures:
            if future.take_call() is not None:
                future.drop()
            elif not future.done():
                self._client.ask(Question(future, cancel=True))
        self._wake()

    def finish(self, why: str = "cannot schedule new futures after shutdown", cancel: bool = False) -> None:
        """End once everything is done; with *cancel*, what has not begun is cancelled. Do not wait for that."""
        with self._lock:
            self._closed = self._closed or why
            self._cancelling = self._cancelling or cancel
        self._wake()

    def abandon(self) -> None:
        """Do the same; called when the Executor is collected, in whatever thread that is, whatever lock it holds."""
        self._closed = self._closed or "the Executor is gone"
        self._wake()

    def interrupt(self) -> None:
        """End at once, and let fail what is not done."""
        self._interrupted = True
        self.finish(cancel=True)

    def join(self) -> None:
        """Wait until the pool is gone; from a callback, which runs in the pool's thread, that is not possible."""
        if threading.current_thread() is not self._thread and os.getpid() == self._owner:
            self._thread.join()

    def note_fork(self) -> None:
        """Be the copy of a pool in a process forked by its client."""
        self._lock = threading.Lock()
        self._bell.close()
        self._ears.close()
        if self._process is not None:
            self._process.let_go()

    def _wake(self) -> None:
        if not self._ringing:
            self._ringing = True
            with contextlib.suppress(OSError):  # the thread has ended, or the bell rings already
                self._bell.send(b"!")

    # in the thread

    def _run(self) -> None:
        reason = "the thread that talks to the pool died"
        try:
            reason = self._serve()
        except ScoopError as error:
            reason = str(error)
        except BaseException as error:  # a callback's SystemExit, or a bug: nobody may wait for ever
            reason = f"{reason}: {type(error).__name__}: {error}"
            raise
        finally:
            self._end(reason)

    def _serve(self) -> str:
        """Serve until all is done; return why what is not done will never be, if that is how it ends."""
        main_by_value.send_by_value()
        self._process = PoolProcess(self._order, self._policy.end)
        self._process.order()
        while True:
            if self._cancelling:
                self._cancelling = False
                self._client.cancel()
            if self._link is not None:
                self._client.pump()  # before the callbacks: workers need not wait for those
            self._client.tell()
            if self._interrupted:
                return "the Executor was left by KeyboardInterrupt"
            if self._closed and self._client.idle:
                return ""
            ready = wait(self._link, (self._ears.fileno(), self._process.fileno()), self._policy.tick)
            if self._ears.fileno() in ready:
                self._ringing = False
                self._ears.recv(64)
            if self._process.fileno() in ready:
                self._hear(self._process)
            if self._link is not None:
                self._receive(self._link)

    def _hear(self, process: PoolProcess) -> None:
        """Take what the driver reports; raise BrokenPoolError at the end of the pool."""
        for report in process.hear():
            if isinstance(report, Open):
                self._link = ClientLink(report, self._policy)
                self._client.open(self._link.send, report.workers)
            elif isinstance(report, Fault):
                raise BrokenPoolError(report.reason or f"the pool has ended with status {report.status}")

    def _receive(self, link: ClientLink) -> None:
        for message in link.receive():
            self._client.take(message)
        link.look()

    def _converse(self, question: Question) -> None:
        """Wait for the answer to a question that a callback has; other futures are told later."""
        deadline = time.monotonic() + self._policy.answer
        while self._link is not None and question.queued is None and time.monotonic() < deadline:
            self._client.pump()
            self._link.wait(deadline - time.monotonic())
            self._receive(self._link)
        if question.queued and question.cancel:
            question.future.drop()

    def _end(self, reason: str) -> None:
        with self._lock:
            self._broken = reason
            self._closed = self._closed or reason
        self._client.fail(lambda: BrokenPoolError(reason))
        while self._client.has_news:
            with contextlib.suppress(SystemExit):  # a callback's: the other futures shall be told none the less
                self._client.tell()
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.end()
        self._bell.close()
        self._ears.close()
