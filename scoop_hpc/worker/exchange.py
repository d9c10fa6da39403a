"""The exchange with the broker: the shell around `WorkerState`, with its lock, link and clock.

::

    any thread --event, now--> WorkerState --outbox--> pickled here --> link --> broker
                                    ^                                             |
                                    '------------------- poll --------------------'

All that several threads touch is guarded by `lock`, which nobody holds while it waits. Whoever calls the state takes
the lock and drains the outbox before it lets go; only what the main thread alone does, such as to append to its own
queue, goes without.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import starmap
from operator import itemgetter
from time import monotonic
from typing import Any

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.pickling import batching, main_received
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Message, OutcomeLost, Reference, Results, Tasks
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.transport.begun import Begun
from scoop_hpc.transport.maps import taken_or_lost
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Call, Future
from scoop_hpc.worker.link import Link, Unlinked
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.state import Export, GiveBack, Reply, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Given, Task, opened, packed_again
from scoop_hpc.worker.threads.progress_thread import ProgressThread
from scoop_hpc.worker.watched.accounts import Accounts

_SERIAL = itemgetter(0)  # of an outcome, packed by `batching.pack_outcome`


def _outcomes(owner: WorkerName, items: Sequence[tuple[Any, ...]]) -> Batch:
    """Return the outcomes of one owner's tasks, each packed by `batching.pack_outcome`, as a batch."""
    return Batch(owner, 0, batching.dump_outcomes(items), done=tuple(map(_SERIAL, items)))


def _nothing_to_watch() -> bool:
    return False


class Exchange:
    """The queues of the worker called *name*, one of *size* in all, and its *link* to the broker."""

    def __init__(
        self,
        link: Link,
        name: WorkerName,
        size: int,
        segments: Segments | None = None,
        policy: Policy = DEFAULT,
        observers: Observers = NOBODY,
        begun: Begun | None = None,
        is_spared: bool = False,
        accounts: Accounts | None = None,
    ) -> None:
        self.name = name
        self.observers = observers
        self.begun = begun  # tells this process's parent of the tasks that it has begun
        self.accounts = accounts  # for this process's parent, as well
        self.state = WorkerState(name, size, monotonic(), policy, observers, is_spared)
        self.lock = threading.RLock()  # pickling, under it, runs the user's code, which may submit
        self.deferred: deque[Callable[[], None]] = deque()  # what other threads leave to the event loop to do
        self.on_duty: Callable[[], None] | None = None  # tells the thread that serves the main one's futures of work
        self.watchdog: Callable[[], bool] = _nothing_to_watch  # asked by the progress thread whether to look again
        self.forked = False  # this process is not the worker, but a child of it
        self.progress_thread = ProgressThread(self._progress, policy.first_look)
        self._link = link
        self._main_waits = False  # at the link
        self._segments = segments

    # tasks of this worker

    def submit(self, future: Future) -> bool:
        """Take in a new future of the main thread; return whether `send_and_look` is to be called for it."""
        if main_received.names.given is not None:
            future.environment = main_received.names.given
        if self.state.submitted(future, monotonic()):
            return True
        if not self.progress_thread.armed:
            self.progress_thread.arm()
        if self.on_duty is not None:
            self.on_duty()
        return False

    def send_and_look(self) -> None:
        """Send what was decided, and look at the link if it is time."""
        if self.state.outbox:
            with self.lock:
                self._drain()
        if self.state.local or self.state.leaving:
            self.arm()
            if self.on_duty is not None:
                self.on_duty()
        if monotonic() - self.state.polled > self.state.poll_seconds:
            self.poll(0)

    def submit_elsewhere(self, future: Future) -> None:
        """Take in a new future of a thread other than the main one."""
        if main_received.names.given is not None:
            future.environment = main_received.names.given
        with self.lock:
            self.state.submitted_elsewhere(future)
            self._drain()
        self.arm()
        if self.on_duty is not None:
            self.on_duty()
        self.wake()

    def arm(self) -> None:
        """Have the progress thread look after the worker while the main thread is busy."""
        if not self.progress_thread.armed:
            self.progress_thread.arm()

    def take(self, future: Future) -> Call | None:
        """Take the call of *future*, to cancel it; None if somebody has taken it already."""
        with self.lock:
            return future.take()

    def quick_one(self, seconds: float) -> Future | None:
        """Return the oldest future that waits here, if its call is likely to take no more *seconds*."""
        with self.lock:
            return self.state.quick_one(seconds)

    def drop_taken(self) -> None:
        """Drop, from the ends of the local and leaving futures, those that were run by a waiter or cancelled."""
        state = self.state
        local = state.local
        if state.leaving:  # seldom: this is called for every task that is run where it was submitted
            with self.lock:
                while state.leaving and state.leaving[0].function is None:
                    state.leaving.popleft()
        try:
            while local and local[-1].function is None:  # at this end only the main thread takes any away
                local.pop()
            if local and local[0].function is None:
                with self.lock:
                    while local[0].function is None:
                        local.popleft()
        except IndexError:  # another thread has taken the last one
            return

    def share(self) -> None:
        """Export what others should have."""
        with self.lock:
            self.state.share()
            self._drain()

    def send_away(self, future: Future) -> None:
        """Export what may not be run here, *future* first of all: it is waited for."""
        with self.lock:
            self.state.export(future)
            self.state.share()
            self._drain()

    def give_back(self) -> None:
        """Hand what has not started to the broker."""
        with self.lock:
            self.state.give_back()
            self._drain()

    # the outbox

    def _drain(self) -> None:
        """Do what the state has decided. Called with the lock; what is pickled may run the user's code."""
        outbox = self.state.outbox
        while outbox:
            action = outbox.popleft()
            if isinstance(action, Message):
                self._link.send(action)
            elif isinstance(action, SendOutcomes):
                self._link.send(Results(list(starmap(_outcomes, action.outcomes.items())), action.request))
            elif isinstance(action, Export):
                self._export(action.groups)
            elif isinstance(action, GiveBack):
                self._give_back(action.given)
            else:
                assert isinstance(action, Reply)
                action.to(action.answer)

    def _export(self, groups: Sequence[Sequence[Future]]) -> None:
        """Send unstarted futures, each time of one function, to the broker; what cannot be pickled fails by itself."""
        batches: list[Batch] = []
        pickled: list[Future] = []
        try:
            for group in groups:
                pickled = []
                batch = self._pack(group, pickled)
                if batch is not None:
                    batches.append(batch)
        except BaseException:  # Ctrl-C
            self.state.fail(pickled, UnpicklableError("interrupted while it was pickled"))
            raise
        finally:
            if batches:
                self._link.send(Tasks(batches))

    def _pack(self, futures: Sequence[Future], pickled: list[Future]) -> Batch | None:
        function: Any = None
        items: list[Any] = []
        state = self.state
        for future in futures:
            call = future.take()
            if call is None:
                continue
            function = call[0]
            pickled.append(future)
            try:
                items.append(batching.pack_item(*call[1:], future.environment) if len(futures) > 1 else call[1:])
            except UnpicklableError as error:
                state.fail([pickled.pop()], error)
        if not pickled:
            return None
        try:
            together = items if len(futures) > 1 else items[0]
            frames = batching.dump_calls(function, together, self._segments, pickled[0].environment)
        except UnpicklableError as error:
            state.fail(pickled, error)
            return None
        batch = state.exported(pickled, frames)
        if self._segments is not None:
            self._segments.keep(frames, range(batch.serial, batch.serial + batch.count))
        return batch

    def _give_back(self, given: Sequence[Given]) -> None:
        batches = []
        for each in given:
            try:
                batches.append(packed_again(each) if isinstance(each, Task) else each)
            except UnpicklableError as error:
                self.finish(each.owner, each.serial, Outcome(error=error))
        if batches:
            self._link.send(Tasks(batches))

    def give_up(self, error: Callable[[], BaseException]) -> None:
        """Settle every future: by the outcome that is here, else by an *error*. Called in a thread of its own."""
        state = self.state
        settled: list[tuple[Future, Any, BaseException | None]] = []
        with self.lock:
            self._receive()
        with contextlib.suppress(IndexError):  # the event loop was faster
            while state.arrived:
                for serial, item, unpolled in batching.load_outcomes(state.arrived.popleft().frames):
                    future = state.claim(serial, unpolled)
                    if future is not None:
                        settled.append((future, *batching.value_of(item)))
        with self.lock:
            settled += [(future, None, error()) for future in state.give_up()]
        for future, value, raised in sorted(settled, key=lambda each: each[0].has_callbacks):  # those may block
            with contextlib.suppress(BaseException):  # a callback asks for the result, and gets the error
                future.settle(value, raised)
        self.wake()

    # tasks of others

    def open(self, batch: Batch, cost_of: Callable[[Any], Cost]) -> Given | None:
        """Put the tasks of *batch* at the head of the inbox and take the next; raises whatever unpickling raises."""
        tasks = opened(batch, cost_of)
        with self.lock:
            self.state.opened(batch, tasks)
            first = self.state.next_task()
        if not self.progress_thread.armed:  # to unpickle may take long, and it has seen nothing that waits meanwhile
            self.progress_thread.arm()
        return first

    def next_task(self) -> Given | None:
        """Take what is to be done next for others."""
        with self.lock:
            task = self.state.next_task()
        if not self.progress_thread.armed:
            self.progress_thread.arm()
        return task

    def take_oldest(self) -> Future | Given | None:
        """Take what a substitute of the main thread is to run: a future of this worker, or the oldest task."""
        with self.lock:
            return self.state.take_oldest()

    def prepare(self, cost: Cost, now: float) -> float:
        """Hand out what must not wait for the end of a call that the main thread begins; return when it did."""
        if self.accounts is not None and not cost.brief:
            self.accounts.add_up()
        with self.lock:
            self.state.prepare(cost, now)
            if not self.state.outbox:
                return now
            self._drain()
        return monotonic()

    def finish(self, owner: WorkerName, serial: int, outcome: Outcome) -> None:
        """Note the outcome of a task that came from the broker, to be sent soon."""
        if owner == self.name:
            self.state.finished_own(serial, outcome)
            return
        item = batching.pack_outcome(serial, outcome, self._segments)
        with self.lock:
            self.state.finished(owner, item, monotonic())
        if not self.progress_thread.armed:
            self.progress_thread.arm()

    def finish_and_go_on(self, task: Task, outcome: Outcome, now: float) -> Task | None:
        """Do as `finish`, and take the next task if it is a quick one that may be run as *task* was."""
        if task.owner == self.name:
            self.state.finished_own(task.serial, outcome)
            return None
        item = batching.pack_outcome(task.serial, outcome, self._segments)
        with self.lock:
            state = self.state
            state.finished(task.owner, item, now)
            following = state.next_alike(task, now)
            if state.outbox:
                self._drain()
        if not self.progress_thread.armed:
            self.progress_thread.arm()
        return following

    # the link

    def want_nothing(self) -> None:
        """Tell the broker, with the next message, that what it sent now would wait."""
        with self.lock:
            self.state.want_nothing()

    def withdraw(self) -> None:
        """Tell the broker that what it sent now would wait, and send the outcomes there are."""
        with self.lock:
            self.state.withdraw()
            if self.state.outbox:
                self._drain()

    def flush(self) -> None:
        """Send the outcomes that have been collected, and what was asked."""
        with self.lock:
            self.state.flush()
            self._drain()

    def poll(self, timeout: float | None, wants: bool = False) -> None:
        """Send what is due, take what has arrived; ask for tasks if it is said that this worker *wants* some."""
        if self.progress_thread.error is not None:
            raise self.progress_thread.error
        state = self.state
        with self.lock:  # which another thread may hold until it has seen that nothing is busy here
            if wants and not state.want_unless_ahead():
                if self._receive():
                    timeout = 0
                else:
                    state.want()
            state.before_poll(monotonic(), timeout != 0)
            if state.outbox:
                self._drain()
            if self._segments is not None:
                timeout = self._look_after(self._segments, timeout)
            if state.local and timeout != 0:  # the other thread had it in its hands when this one looked
                seconds = state.policy.poll_seconds
                timeout = seconds if timeout is None else min(timeout, seconds)
            nothing = not self._receive()
        if nothing and timeout != 0 and not (state.inbox or state.foreign or self.has_news()):
            if self.accounts is not None and not self.progress_thread.armed:
                self.accounts.add_up()
            self._wait(timeout)
            with self.lock:
                self._receive()
        state.polled = monotonic()
        if (state.local or state.leaving) and state.has_to_share():
            self.share()

    def _wait(self, timeout: float | None) -> None:
        """Wait at the link. Meanwhile nobody else need look at it; who has stopped because of that is called again.

        Either this thread sees that the other is not armed any more, or that one sees that this does not wait any more.
        """
        self._main_waits = True
        try:
            self._link.wait(timeout)
        finally:
            self._main_waits = False
            if not self.progress_thread.armed and self.state.has_tasks_to_look_after:
                self.arm()

    def _receive(self) -> bool:
        """Take in what has arrived; return whether there was anything."""
        messages = self._link.receive()
        state = self.state
        for message in messages:
            if isinstance(message, Results):
                self._take(message.batches)
            elif isinstance(message, Tasks) and state.busy_since:
                self.arm()
            state.receive(message)
        if state.outbox:
            self._drain()
        return bool(messages)

    def _take(self, batches: list[Batch]) -> None:
        """Take outcomes out of memory that is shared, at once: it may be needed where it is, or go with its process.

        Of functions that are new this learns before the event loop settles their futures: the program may submit many
        more until it waits.
        """
        for batch in batches:
            if len(batch.frames) != 1 or type(batch.frames[0]) is Reference:  # seldom
                batches[:], lost = taken_or_lost(batches)
                for each in lost:
                    self._link.send(OutcomeLost(self.name, each.done))
                break
        state = self.state
        for batch in batches:
            if state.is_new(batch):
                for serial, _, unpolled in batching.load_outcomes(batch.frames):
                    state.learn_of(serial, unpolled)

    def has_news(self) -> bool:
        """Return whether there is something for the event loop to settle, or to do for other threads."""
        state = self.state
        return bool(state.arrived or state.own or state.failed or self.deferred)

    def _look_after(self, segments: Segments, timeout: float | None) -> float | None:
        """Free the segments that are not needed any more; return how long to wait before the next look."""
        segments.release(self.state.sent)
        if not segments.lent:
            return timeout
        segments.look()
        return segments.patience if timeout is None else min(timeout, segments.patience)

    def _progress(self) -> float | None:
        """Do what the busy main thread would; return the seconds until the next look. Called by the progress thread."""
        state = self.state
        now, busy_since = monotonic(), state.busy_since
        if state.is_neglected(now):
            with self.lock:
                if state.stopped:
                    return None
                if state.busy_since != busy_since:  # the main thread came back: what is asked and sent is its own
                    return state.next_look(True)
                self._poll_for_main()
                state.look(now, self.on_duty is not None)
                self._drain()
        if self._main_waits and self.accounts is not None:
            self.accounts.add_up()
        is_watched = self.watchdog() or (self._segments is not None and self._segments.lent)
        # one that comes back every now and then would have to call again each time, which takes a thread's switch
        rests = self._main_waits and monotonic() - state.polled > state.policy.longest_look
        return state.next_look(is_watched, rests)

    def _poll_for_main(self) -> None:
        """Poll in another thread: this was not the main thread's look."""
        polled = self.state.polled
        self.poll(0)
        self.state.polled = polled

    def serve(self, wants_tasks: bool) -> bool:
        """Do what the event loop would at a look at the link; False once that may."""
        state = self.state
        with self.lock:
            if not state.busy_since or state.stopped:
                return False
            self._poll_for_main()
            state.serve(wants_tasks)
            self._drain()
        return True

    def adopt(self) -> None:
        """Make the futures that other threads have submitted the main thread's to run. Called by that."""
        with self.lock:
            self.state.adopt()

    def end(self) -> None:
        """Leave the link alone from now on, so that it can be closed while other threads still run."""
        with self.lock:
            self.state.stopped = True
            self._link = Unlinked()

    def wake(self) -> None:
        """Let the main thread look up, if it waits; called by other threads."""
        self._link.wake()

    def defer(self, call: Callable[[], None]) -> None:
        """Leave *call* to the event loop; called by other threads."""
        self.deferred.append(call)
        self.wake()

    def descriptor(self) -> int | None:
        """Return the descriptor on which to wait for messages, as the link does it; None if there is none."""
        return self._link.descriptor()

    def fail(self, error: BaseException) -> None:
        """Have the main thread raise *error*, which has ended another thread of this package."""
        self.progress_thread.error = error
        self.wake()

    # questions

    def question(self, message_of: Callable[[int], Message], reply: Callable[[Any], None]) -> int:
        """Ask the broker; *reply* is called with the answer. Return the number, to `forget` the question by."""
        with self.lock:
            number = self.state.question(message_of, reply)
            self._drain()
        return number

    def abandon(self, future: Future) -> None:
        """Do not wait for an exported future any more, nor let others begin it."""
        with self.lock:
            self.state.abandon(future)
            self._drain()
