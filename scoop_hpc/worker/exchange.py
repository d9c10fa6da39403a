"""What a worker exchanges with its broker: the queues of tasks and outcomes, and when what is sent.

::

    submit --> [ local ] --bundles--> broker --> others          a future is in `local`, running here, or in `sent`
                  |  newest first
                  v
               this worker <-- [ inbox ] <-- broker <-- others    tasks of others, oldest first
                  |
                  '--> outcomes, collected --> broker --> owners

A worker deaf for long must not sit on work. A call that may last is exported at once, or, if it is brief and nobody is
idle, with others a millisecond later; short ones stay until others want them, and leave oldest first, so many together
as make a bundle. A worker asks for tasks when it is idle and, so that it need not wait for them, when what it has will
soon be done. While the worker runs the user's code, `relieve` does this in another thread (see `Relief`); all that
several threads touch is guarded by `lock`, which nobody holds while it waits.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from scoop_hpc.errors import ProtocolError, UnpicklableError
from scoop_hpc.pickling import batching as bundles
from scoop_hpc.pickling import main_received
from scoop_hpc.pickling.batching import Outgoing
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import (
    Batch,
    Cancel,
    CancelAnswer,
    Demand,
    Message,
    Query,
    QueryAnswer,
    Request,
    Results,
    Shared,
    SharedSet,
    Stop,
    Tasks,
    Withdraw,
)
from scoop_hpc.protocol.names import WorkerName, is_client
from scoop_hpc.transport.maps import taken
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.durations import UNKNOWN, Cost, wanted_at_once
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.inbox import Given, Inbox, Task, opened
from scoop_hpc.worker.link import Link, Unlinked
from scoop_hpc.worker.relief import Relief

POLL = 0.001  # seconds between looks at the link while there is work
_DEAF = 0.003  # seconds after which another thread looks
_TOO_LONG = 0.1  # seconds after which it gives back what waits
_HELD = 0.03  # seconds that an outcome waits for others, at the end of a task, while nobody is idle
_JOURNEY = 0.0003  # seconds from a request to the tasks


def _nothing_to_watch(busy: float) -> bool:
    return False


class Exchange:
    """The queues of the worker called *name*, one of *size* in all, and its *link* to the broker."""

    def __init__(self, link: Link, name: WorkerName, size: int, segments: Segments | None = None) -> None:
        self.name = name
        self.size = size
        self.lock = threading.RLock()
        self.local: deque[Future] = deque()
        self.leaving: deque[Future] = deque()
        self.inbox = Inbox()
        self.sent: dict[int, Future] = {}
        self.late = 0  # outcomes that came for no future
        self.arrived: deque[Batch] = deque()  # outcomes; only the hub opens them
        self.own: deque[tuple[int, Outcome]] = deque()  # of tasks that were exported and came back, by their serials
        self.replies: dict[int, Callable[[Any], None]] = {}  # to be called, by the number of a question
        self.polled = time.monotonic()
        self.failed: deque[tuple[Future, Exception]] = deque()  # whose tasks will not be run
        self.deferred: deque[Callable[[], None]] = deque()  # what other threads leave to the hub to do
        self.foreign: deque[Future] = deque()  # submitted by other threads where no other worker can run them
        self.on_duty: Callable[[], None] | None = None  # tells the thread that serves the main one's futures of work
        self.watchdog: Callable[[float], bool] = _nothing_to_watch  # asked by `relieve` whether to look again
        self.substituted_since = 0.0  # when another thread has begun a task in the place of the main one, 0: none has
        self.forked = False  # this process is not the worker, but a child of it
        self.busy_since = 0.0  # when the user's code took over, 0 while it does not run
        self.stopped = False
        self.wanted = size if size > 1 else 0  # batches of this worker
        self._wanted_by_idle = 0
        self._usual = UNKNOWN  # seconds that tasks of late kept this worker deaf
        self._link = link
        self._segments = segments
        self._outcomes: dict[WorkerName, Outgoing] = {}  # by owner
        self._oldest_outcome = 0.0  # when the first of these came
        self._serial = 1  # of the next task exported
        self._questions = itertools.count(1)
        self._requests = itertools.count(1)
        self._request: Request | None = None  # that was not answered
        self._due: Request | Withdraw | None = None  # to be sent
        self._untold = False  # the broker may believe that what it sent has not begun
        self._relief = Relief(self.relieve)

    # tasks of this worker

    def keep(self, future: Future) -> None:
        """Keep a new future here, until it is run or wanted by others, or, if it may not stay, for a millisecond."""
        if main_received.names.given is not None:
            future.environment = main_received.names.given
        (self.local if future.cost.stays else self.leaving).append(future)
        if not self._relief.armed:
            self._relief.arm()
        if self.on_duty is not None:
            self.on_duty()

    def take_in(self, future: Future) -> None:
        """Take a new future of another thread, to export it or, where there is no other worker, to run it here."""
        if main_received.names.given is not None:
            future.environment = main_received.names.given
        if self.size == 1:
            self.foreign.append(future)
        elif future.cost.stays:
            self.leaving.append(future)
        else:
            self.export([future])
        self.arm()
        if self.on_duty is not None:
            self.on_duty()
        self.wake()

    def arm(self) -> None:
        """Have another thread look after the worker while the main thread is busy."""
        if not self._relief.armed:
            self._relief.arm()

    def take(self, future: Future) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None:
        """Take the call of *future*, to run or to export it; None if somebody has taken it already."""
        with self.lock:
            function = future.function
            if function is None:
                return None
            args, kwargs = future.args, future.kwargs
            future.function = future.args = future.kwargs = None
        return function, args or (), kwargs or {}

    def drop_taken(self) -> None:
        """Drop, from the ends of the local and leaving futures, those that were run by a waiter or cancelled."""
        local = self.local
        if self.leaving:  # seldom: this is called for every task that is run where it was submitted
            with self.lock:
                while self.leaving and self.leaving[0].function is None:
                    self.leaving.popleft()
        try:
            while local[-1].function is None:  # at this end only the main thread takes any away
                local.pop()
            if local[0].function is None:
                with self.lock:
                    while local[0].function is None:
                        local.popleft()
        except IndexError:
            return

    def export(self, *futures: Sequence[Future]) -> None:
        """Send unstarted futures, each time of one function, to the broker; what cannot be pickled fails by itself."""
        with self.lock:
            batches: list[Batch] = []
            try:
                for together in futures:
                    taken: list[Future] = []
                    batch = self._pack(together, taken)
                    if batch is not None:
                        batches.append(batch)
            except BaseException:  # Ctrl-C
                self.failed.extend((future, UnpicklableError("interrupted while it was pickled")) for future in taken)
                raise
            finally:
                if batches:
                    self.wanted = max(0, self.wanted - len(batches))
                    self._link.send(Tasks(batches))

    def _pack(self, futures: Sequence[Future], taken: list[Future]) -> Batch | None:
        function: Any = None
        items = []
        for future in futures:
            call = self.take(future)
            if call is None:
                continue
            function = call[0]
            try:
                taken.append(future)
                items.append(bundles.pack_item(*call[1:], future.environment) if len(futures) > 1 else call[1:])
            except UnpicklableError as error:
                self.failed.append((taken.pop(), error))
        if not taken:
            return None
        try:
            together = items if len(futures) > 1 else items[0]
            frames = bundles.dump_calls(function, together, self._segments, taken[0].environment)
        except UnpicklableError as error:
            self.failed.extend((future, error) for future in taken)
            return None
        first = self._serial
        self._serial += len(taken)
        for serial, future in enumerate(taken, first):
            future.serial = serial
            self.sent[serial] = future
        if self._segments is not None:
            self._segments.keep(frames, range(first, self._serial))
        return Batch(self.name, first, frames, len(taken))

    def to_share(self) -> bool:
        """Whether there may be something to share."""
        if self.leaving:
            return True
        try:
            return self.size > 1 and (self.wanted > 0 or not self.local[0].cost.stays)
        except IndexError:
            return False

    def share(self, however_short: bool = False) -> None:
        """Export local tasks, oldest first: all that may last, and of the others what is wanted and worth it."""
        if self.size == 1:
            return
        with self.lock:
            leaving, self.leaving = self.leaving, deque()
            bundles = [[future] for future in leaving]
            bundle = self._bundle(0, however_short)
            while bundle:
                bundles.append(bundle)
                bundle = self._bundle(len(bundles), however_short)
            self.export(*bundles)

    def _bundle(self, taken_before: int, however_short: bool) -> list[Future]:
        """Take the oldest local futures, of one function, as many as should travel together."""
        first = self._oldest()
        if first is None:
            return []
        cost, function = first.cost, first.function
        worth_it = however_short or cost.worth_a_journey(len(self.local))
        if cost.stays and (self.wanted <= taken_before or not worth_it):
            return []
        most = min(cost.bundle(), 1 + len(self.local) // (max(0, self.wanted - taken_before) + 1))
        taken: list[Future] = []
        following: Future | None = first
        # not a copy of the function, which may have a closure of its own
        while (
            following is not None
            and following.function is function
            and following.environment is first.environment
            and self._take_oldest(following)
        ):
            taken.append(following)
            following = self._oldest() if len(taken) < most else None
        return taken

    def _oldest(self) -> Future | None:
        """Return the oldest local future that has not been taken; the main thread may take the newest meanwhile."""
        try:
            oldest = self.local.popleft()  # first of all: what is only looked at may be another one by then
            while oldest.function is None:
                oldest = self.local.popleft()
        except IndexError:
            return None
        self.local.appendleft(oldest)
        return oldest

    def _take_oldest(self, future: Future) -> bool:
        """Take *future* from the local ones; return whether it was still the oldest."""
        try:
            oldest = self.local.popleft()
        except IndexError:
            return False
        if oldest is not future:
            self.local.appendleft(oldest)
        return oldest is future

    def give_back(self) -> None:
        """Hand all that has not started to the broker."""
        with self.lock:
            self.give_back_inbox()
            tasks = []
            while self.local:
                future = self.local.popleft()
                batch = self._pack([future], [])
                if batch is not None:
                    tasks.append(batch)
            if tasks:
                self._link.send(Tasks(tasks))

    def give_back_inbox(self) -> None:
        """Hand what others have asked for to the broker, and with it the wish for more."""
        with self.lock:
            if self.inbox:
                self._link.send(Tasks(self.inbox.empty(self._refuse)))
            self.ask(0, idle=False)

    def _refuse(self, task: Task, outcome: Outcome) -> None:
        self.finish(task.owner, task.serial, outcome)

    # tasks of others

    def open(self, batch: Batch, cost_of: Callable[[Any], Cost]) -> None:
        """Put the tasks of *batch* at the head of the inbox; raises whatever unpickling raises."""
        tasks = opened(batch, cost_of)
        with self.lock:
            self.inbox.open(batch, tasks)

    def next_task(self) -> Given | None:
        """Take what is to be done next for others, and ask for more if that leaves little."""
        with self.lock:
            if not self.inbox:
                return None
            task = self.inbox.pop()
            if self.inbox and not self._relief.armed:
                self._relief.arm()
            if isinstance(task, Task) and self.size > 1:
                left, cost = len(self.inbox), task.cost
                if self._request is None and left * cost.deaf <= POLL and self._is_late(left, cost):
                    self.ask(wanted_at_once(self._usual) if cost.moderate and not self.local else 0, idle=False)
                elif self._untold and not self._relief.armed:
                    self._relief.arm()
        return task

    @staticmethod
    def _is_late(left: int, cost: Cost) -> bool:
        """Whether a call and *left* more of its kind last so long that more should be asked for before their end."""
        return not cost.short or (left + 1) * cost.deaf > _JOURNEY

    def learn(self, deaf: float) -> None:
        """Note how long a task of somebody else's kept this worker deaf."""
        self._usual += 0.2 * (deaf - self._usual)

    def finish(self, owner: WorkerName, serial: int, outcome: Outcome) -> None:
        """Note the outcome of a task that came from the broker, to be sent soon."""
        if owner == self.name:
            self.own.append((serial, outcome))
            return
        with self.lock:
            outgoing = self._outcomes.get(owner)
            if not self._outcomes:
                self._oldest_outcome = time.monotonic()
            if outgoing is None:
                outgoing = self._outcomes[owner] = Outgoing(None if is_client(owner) else self._segments)
            outgoing.add(serial, outcome)
        if not self._relief.armed:
            self._relief.arm()

    def urgent(self) -> bool:
        """Whether the outcomes that have been collected should be sent now: somebody is idle, or they are old."""
        return self._wanted_by_idle > 0 or time.monotonic() > self._oldest_outcome + _HELD

    def claim(self, serial: int, deaf: float) -> Future | None:
        """Take the exported future that an outcome is for, to settle it; None if it was cancelled or dropped."""
        future = self.sent.pop(serial, None)
        if future is None:
            self.late += 1
        else:
            future.cost.learn(deaf)
        return future

    # the link

    def ask(self, count: int, idle: bool) -> None:
        """Tell the broker, at the next `flush`, how many tasks are welcome, unless it knows; 0: none, after all."""
        last = self._request
        known = not count if last is None else count > 0 and idle == last.idle
        if self.size > 1 and (self._untold or not known):
            with self.lock:
                begun = self.inbox.begun()
                self._untold = begun < self.inbox.received
                self._request = Request(count, next(self._requests), idle, begun) if count else None
                self._due = self._request or Withdraw(begun)
            if count and not idle and not self._relief.armed:
                self._relief.arm()

    @property
    def due(self) -> bool:
        """Whether something was asked that was not sent."""
        return self._due is not None

    def want(self) -> None:
        """Ask for tasks, for there is nothing to do; look first whether those that were asked for are here."""
        with self.lock:  # which the other thread may hold until it has seen that nothing is busy here
            if self._request is not None and not self._request.idle:
                self.poll(0)
            if not self.inbox:
                self.ask(wanted_at_once(self._usual), idle=True)

    def poll(self, timeout: float | None) -> None:
        """Send what is due, take what has arrived."""
        if self._relief.error is not None:
            raise self._relief.error
        with self.lock:
            if timeout != 0 or self._due or self.urgent():
                self.flush()
            if self.leaving:
                self.share()
            if self._segments is not None:
                timeout = self._look_after(self._segments, timeout)
            if self.local and timeout != 0:  # the other thread had it in its hands when this one looked
                timeout = POLL if timeout is None else min(timeout, POLL)
            nothing = not self._receive_all()
        if nothing and timeout != 0 and not (self.inbox or self.foreign or self.news()):
            self._link.wait(timeout)
            with self.lock:
                self._receive_all()
        self.polled = time.monotonic()
        if self.to_share():
            self.share()

    def _receive_all(self) -> int:
        messages = self._link.receive()
        for message in messages:
            self.receive(message)
        return len(messages)

    def news(self) -> bool:
        """Whether there is something for the hub to settle, or to do for other threads."""
        return bool(self.arrived or self.own or self.failed or self.deferred)

    def _look_after(self, segments: Segments, timeout: float | None) -> float | None:
        """Free the segments that are not needed any more; return how long to wait before the next look."""
        segments.release(self.sent)
        if not segments.lent:
            return timeout
        segments.look()
        return segments.patience if timeout is None else min(timeout, segments.patience)

    def flush(self) -> None:
        """Send the outcomes that have been collected, and what was asked."""
        with self.lock:
            request, self._due = self._due, None
            if self._outcomes:
                outcomes, self._outcomes = self._outcomes, {}
                self._link.send(Results([Batch(owner, 0, each.dump()) for owner, each in outcomes.items()], request))
            elif request is not None:
                self._link.send(request)

    def receive(self, message: Message) -> None:
        """Take in a message of the broker."""
        if isinstance(message, Results):
            self.arrived.extend(map(taken, message.batches))  # at once: it may be needed where it is
            if message.wanted is not None:
                self.receive(message.wanted)
        elif isinstance(message, Tasks):
            if self._request is not None and message.answer == self._request.number:
                self._request = None
            self._wanted_by_idle = 0  # the idle come first: there is none
            self._untold = True
            self.inbox.extend(message.batches)
            if self.busy_since and not self._relief.armed:
                self._relief.arm()
        elif isinstance(message, Demand):
            self.wanted += message.count
            self._wanted_by_idle += message.idle
        elif isinstance(message, Query):
            queued = self.inbox.find(message)
            self._link.send(QueryAnswer(message.owner, message.serial, message.number, queued))
        elif isinstance(message, Cancel):
            dropped = self.inbox.find(message)
            self._link.send(CancelAnswer(message.owner, message.serial, message.number, dropped))
        elif isinstance(message, (QueryAnswer, CancelAnswer, Shared, SharedSet)):
            reply = None if message.number is None else self.replies.pop(message.number, None)
            if reply is not None:
                reply(message)
            elif isinstance(message, CancelAnswer) and message.is_dropped and message.serial in self.sent:  # late
                self.failed.append((self.sent.pop(message.serial), CancelledError()))
        elif isinstance(message, Stop):
            self.stopped = True
        else:
            raise ProtocolError(f"a broker sent worker {self.name} {message!r}")

    def relieve(self) -> bool:
        """Do what the busy main thread would; return whether there is more to look after."""
        now, busy_since = time.monotonic(), self.busy_since
        if busy_since and now - busy_since > _DEAF:
            with self.lock:
                if self.stopped:
                    return False
                if self.busy_since != busy_since:  # the main thread came back: what is asked and sent is its own
                    return True
                polled = self.polled
                self.poll(0)
                self.share(however_short=True)  # nobody here comes to them
                self.polled = polled  # this was not the main thread's look
                if self.inbox and (self._wanted_by_idle or now - max(busy_since, self.substituted_since) > _TOO_LONG):
                    self.give_back_inbox()
                elif self._untold:
                    last = self._request
                    self.ask(0 if last is None else last.count, last is None or last.idle)
                if self._due or self.urgent() or now - busy_since > _TOO_LONG:
                    self.flush()
        watched = self.watchdog(now - busy_since if busy_since else 0.0)
        waiting = self.local or self.leaving or self.inbox or self._outcomes or self._request or self._untold
        return bool(watched or waiting or (self._segments is not None and self._segments.lent))

    def serve(self, wants_tasks: bool) -> bool:
        """Do what the hub would at a look at the link, and ask for tasks if they are wanted; False once the hub may."""
        with self.lock:
            if not self.busy_since or self.stopped:
                return False
            polled = self.polled
            self.poll(0)
            self.share(however_short=True)
            self.polled = polled  # this was not the main thread's look
            if wants_tasks and self.size > 1 and not self.inbox:
                self.ask(wanted_at_once(self._usual), idle=True)
            self.flush()
        return True

    def take_oldest(self) -> Future | Given | None:
        """Take what a substitute of the main thread is to run: a future of this worker, or the oldest task."""
        with self.lock:
            while self.foreign:
                future = self.foreign.popleft()
                if future.function is not None:
                    return future
            oldest = self._oldest()
            if oldest is not None and self._take_oldest(oldest):
                return oldest
            return self.next_task()

    def adopt(self) -> None:
        """Make the futures that other threads have submitted the main thread's to run. Called by that."""
        with self.lock:
            while self.foreign:
                self.local.append(self.foreign.popleft())

    def end(self) -> None:
        """Leave the link alone from now on, so that it can be closed while other threads still run."""
        with self.lock:
            self.stopped = True
            self._link = Unlinked()

    def wake(self) -> None:
        """Let the main thread look up, if it waits; called by other threads."""
        self._link.wake()

    def defer(self, call: Callable[[], None]) -> None:
        """Leave *call* to the hub; called by other threads."""
        self.deferred.append(call)
        self.wake()

    def descriptor(self) -> int | None:
        """Return the descriptor on which to wait for messages, as the link does it; None if there is none."""
        return self._link.descriptor()

    def fail(self, error: BaseException) -> None:
        """Have the main thread raise *error*, which has ended another thread of this package."""
        self._relief.error = error
        self.wake()

    def has_tasks(self) -> bool:
        """Whether there is something that `take_oldest` may take."""
        return bool(self.foreign or self.local or self.inbox)

    # questions

    def question(self, message_of: Callable[[int], Message], reply: Callable[[Any], None]) -> int:
        """Send a question with a number of its own, and return that; *reply* is called with what is answered to it."""
        with self.lock:
            number = next(self._questions)
            self.replies[number] = reply
            self._link.send(message_of(number))
        return number

    def drop(self, future: Future) -> None:
        """Do not wait for an exported future any more, nor let others begin it."""
        with self.lock:
            if self.sent.pop(future.serial, None) is not None:
                self._link.send(Cancel(self.name, future.serial))
