"""The client of a pool: it owns futures, and has the pool's workers execute their tasks. No socket, no clock.

::

    any thread: submit --> [ offered ] --admit--> [ waiting ] --pump, so far as may be under way--> broker
                                                      |                  |
                                            cancel <--'     [ news ] <--take-- results
                                                               '--tell--> futures, callbacks

One thread at a time uses it, and it never blocks. Only `offer`, `ask` and `tell` are thread-safe: `tell` settles
futures, apart from all else, for their callbacks may take their time.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from scoop_hpc.errors import ProtocolError
from scoop_hpc.pickling import batching
from scoop_hpc.pool.future import UNKNOWN_COST, PoolFuture, Question
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.protocol.messages import Batch, Cancel, CancelAnswer, Message, QueryAnswer, Results, TaskLost, Tasks
from scoop_hpc.protocol.names import CLIENT
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.durations import Cost, Durations
from scoop_hpc.worker.future import Call
from scoop_hpc.worker.loop_timing import LoopTimings
from scoop_hpc.worker.losses import lost, name_of_call

_News = tuple[Any, Callable[[Any, Any], object], Any]  # whom it is for, a future or a question; what tells it of what


class PoolClient:
    """The futures of one process."""

    def __init__(self, policy: ClientPolicy = ClientPolicy()) -> None:
        self._policy = policy
        self.late = 0  # outcomes that came for no future
        self.failed = 0  # calls that raised, were lost, or could not be sent
        self._unsent = 0  # calls that could not be
        self._withdrawn = 0  # calls that were cancelled after they were sent
        self.is_stalled = False  # a future that is offered now has to wait for results
        self._offered: deque[PoolFuture] = deque()
        self._asked: deque[Question] = deque()
        self._waiting: deque[PoolFuture] = deque()
        self._sent: dict[int, PoolFuture] = {}
        self._questions: dict[int, Question] = {}  # that have been sent, by their numbers
        self._news: deque[_News] = deque()
        self._aside: list[_News] = []
        self._serial = 1  # of the next task
        self._numbers = itertools.count(1)
        self.names: dict[Cost, str] = {}  # of the functions whose calls were offered
        self._costs = _Costs(self.names)
        self.loop_timings = LoopTimings()
        self._takes_no_more = False
        self._send: Callable[[Message], None] = _nowhere
        self.workers = 0  # until they are there
        self._segments: Segments | None = None

    def open(self, send: Callable[[Message], None], workers: int, segments: Segments | None = None) -> None:
        """Use so many workers; *send* sends a message to their broker. With *segments*, large arguments go there."""
        self._send = send
        self.workers = workers
        self._segments = segments

    @property
    def is_idle(self) -> bool:
        """True if all futures are done, and were told."""
        return not (self._offered or self._waiting or self._sent or self._news or self._aside)

    @property
    def queued(self) -> int:
        """The number of calls that no worker was sent yet."""
        return len(self._offered) + len(self._waiting)

    @property
    def under_way(self) -> int:
        """The number of calls that were sent, and have not ended."""
        return len(self._sent)

    @property
    def done(self) -> int:
        """The number of calls that have ended, failed ones among them."""
        return self._serial - 1 - len(self._sent) - self._withdrawn + self._unsent

    @property
    def has_room(self) -> bool:
        """True if a worker may be idle, which a future that is offered now need not wait for."""
        return len(self._sent) < self.workers and not self._waiting

    @property
    def has_work(self) -> bool:
        """True if there is something that a `pump` may send, or free."""
        segments = self._segments
        return bool(self._offered or self._waiting or self._asked or (segments is not None and segments.has_kept))

    @property
    def has_offers(self) -> bool:
        """True if futures were offered since the last `pump`."""
        return bool(self._offered)

    @property
    def has_news(self) -> bool:
        """True if there is something to `tell`."""
        return bool(self._news)

    def offer(self, future: PoolFuture) -> None:
        """Take on *future*."""
        self._offered.append(future)

    def ask(self, question: Question) -> None:
        """Ask *question* at the next `pump`; a Cancel that is answered by yes settles its future, too."""
        self._asked.append(question)

    def pump(self) -> None:
        """Send the questions, and as many tasks as may be under way."""
        self.is_stalled = False  # before the last offers are admitted: if set later, an offer need not wake us
        self._admit()
        if self._segments is not None:
            self._segments.release(self._sent)
        batches: list[Batch] = []
        while together := self._take_together():
            batch = self._pack(together)
            if batch is not None:
                batches.append(batch)
        if batches:
            self._send(Tasks(batches))
        while self._asked:
            self._ask(self._asked.popleft())
        self.is_stalled = bool(self._waiting)

    def take(self, message: Message) -> None:
        """Take in a message of the broker."""
        if isinstance(message, Results):
            for batch in message.batches:
                self._take_outcomes(batching.load_outcomes(batch.frames))
        elif isinstance(message, TaskLost):
            for serial in message.serials:
                future = self._sent.pop(serial, None)
                if future is not None:
                    self.failed += 1
                    self._news.append((future, _fail, lost(message)))
        elif isinstance(message, (QueryAnswer, CancelAnswer)):
            question = None if message.number is None else self._questions.pop(message.number, None)
            if question is not None:
                self._answer(question, message.is_queued if isinstance(message, QueryAnswer) else message.is_dropped)
        else:
            raise ProtocolError(f"a broker sent a client {message!r}")

    def _take_outcomes(self, outcomes: list[tuple[Any, ...]]) -> None:
        sent, news = self._sent, self._news
        for serial, item, unpolled in outcomes:
            future = sent.pop(serial, None)
            if future is None:
                self.late += 1
            else:
                future.cost.learn(unpolled)
                if type(item) is batching.PackedError:
                    self.failed += 1
                news.append((future, _settle, item))

    def tell(self, with_callbacks: bool = True) -> None:
        """Settle the futures whose outcomes have come. Their callbacks are called in here.

        Without *with_callbacks*, those up to the first one that has any.
        """
        news = self._news
        while news:
            try:
                first = news.popleft()
            except IndexError:  # another thread was quicker
                return
            told, tell, what = first
            if not with_callbacks and isinstance(told, PoolFuture) and told.has_callbacks:
                news.appendleft(first)
                return
            tell(told, what)

    def tell_a_callback(self, awaited: object) -> None:
        """Settle the futures whose outcomes have come, among which may be the one that a callback has *awaited*.

        Put others that have callbacks aside: if these wait as well, each would be called inside the one before.
        """
        news = self._news
        while news:
            try:
                first = news.popleft()
            except IndexError:  # another thread was quicker
                return
            told, tell, what = first
            if told is not awaited and isinstance(told, PoolFuture) and told.has_callbacks:
                self._aside.append(first)
            else:
                tell(told, what)

    def tell_no_callback(self) -> None:
        """Put nothing aside any more: what was is to be told first."""
        self._news.extendleft(reversed(self._aside))
        self._aside.clear()

    def cancel(self) -> None:
        """Cancel all tasks that have not begun, wherever they wait, and those that are offered from now on."""
        self._admit()
        self._takes_no_more = True
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if future.take() is not None:
                self._news.append((future, _drop, None))
        for future in self._sent.values():
            self.ask(Question(future, Cancel))

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Fail all futures, each with an *error* of its own, for tracebacks are added to it."""
        self._admit()
        unsent = [future for future in self._waiting if future.take() is not None]
        futures = [*self._sent.values(), *unsent]
        self.failed += len(futures)
        self._unsent += len(unsent)
        self._sent.clear()
        self._waiting.clear()
        self._news.extend((future, _fail, error()) for future in futures)
        for question in (*self._questions.values(), *self._asked):
            self._news.append((question, _answer, None))
        self._questions.clear()
        self._asked.clear()

    def _admit(self) -> None:
        last: Callable[..., Any] | None = None  # function
        cost = UNKNOWN_COST  # of its calls
        while self._offered:
            future = self._offered.popleft()
            function = future.function
            if function is None:
                continue
            if self._takes_no_more:
                if future.take() is not None:
                    self._news.append((future, _drop, None))
                continue
            if future.cost is UNKNOWN_COST:
                if function is not last:
                    last, cost = function, self._costs.of(function)
                future.cost = cost
            self._waiting.append(future)

    def _take_together(self) -> list[tuple[PoolFuture, Call]]:
        """Take the oldest tasks, of one function, as many as may be sent and should travel together."""
        together: list[tuple[PoolFuture, Call]] = []
        waiting = self._waiting
        most = 1
        first: Callable[..., Any] | None = None  # whose calls are taken
        while waiting and len(together) < most:
            future = waiting[0]
            function = future.function  # None: it was cancelled
            if not together:
                room = self._room(future.cost)
                if room <= 0:
                    break
                first, most = function, min(room, self._batch_size(future.cost))
            elif function is not first and function is not None:
                break
            waiting.popleft()
            call = future.take()
            if call is not None:
                together.append((future, call))
        return together

    def _batch_size(self, cost: Cost) -> int:
        """Return how many calls should travel together: a part for each worker, if that is worth a message."""
        share = 1 + len(self._waiting) // (self.workers + 1)
        return min(cost.batch_size(), max(share, cost.least_batch()))

    def _room(self, cost: Cost) -> int:
        """Return how many more calls of this *cost* may be under way.

        Enough that no worker starves. The rest stays here: it is cancelled at once, and travels in batches as soon as
        the duration of such a call is known.
        """
        policy = self._policy
        ahead = policy.ahead / max(cost.unpolled, policy.quickest) if cost.unpolled else 0
        return self.workers * (policy.per_worker + int(ahead)) - len(self._sent)

    def _pack(self, together: list[tuple[PoolFuture, Call]]) -> Batch | None:
        """Return the batch of tasks of one function; a task that cannot be pickled fails by itself."""
        oldest, (function, _, _) = together[0]
        packed = batching.pack_calls(function, [(args, kwargs) for _, (_, args, kwargs) in together], self._segments)
        self.failed += len(packed.refused)
        self._unsent += len(packed.refused)
        for place, error in packed.refused.items():
            refused = together[place][0]
            self._news.append((refused, _fail, error))
        if not packed.frames:
            return None
        first = self._serial
        for place, (future, _) in enumerate(together):
            if place not in packed.refused:
                future.serial = self._serial
                self._sent[self._serial] = future
                self._serial += 1
        if self._segments is not None:  # until all have results: a task may have to be run again
            self._segments.keep(packed.frames, range(first, self._serial))
        return Batch(CLIENT, first, packed.frames, self._serial - first, terms=oldest.terms or oldest.cost.terms)

    def _ask(self, question: Question) -> None:
        serial = question.future.serial
        if serial not in self._sent:  # its outcome has come
            self._answer(question, False)
            return
        number = next(self._numbers)
        self._questions[number] = question
        self._send(question.kind(CLIENT, serial, number))

    def _answer(self, question: Question, answer: bool) -> None:
        question.answer = answer
        serial = question.future.serial
        if answer and question.kind is Cancel and self._sent.pop(serial, None) is not None:
            self._withdrawn += 1
            self._news.append((question.future, _drop, None))
        self._news.append((question, _answer, None))


class _Costs(Durations):
    """The costs of calls, and the *names* of their functions, which is what people know a future by."""

    def __init__(self, names: dict[Cost, str]) -> None:
        super().__init__()
        self._names = names

    def _find(self, function: Any) -> Cost:
        cost = super()._find(function)
        if cost not in self._names:
            self._names[cost] = name_of_call(function, ())[0]
        return cost


def _nowhere(message: Message) -> None:
    raise ProtocolError(f"there is no broker yet to send {message!r} to")


def _settle(future: PoolFuture, item: Any) -> None:
    future.settle(*batching.value_of(item))


def _fail(future: PoolFuture, error: BaseException) -> None:
    future.set_exception(error)


def _drop(future: PoolFuture, _: None) -> None:
    future.drop()


def _answer(question: Question, _: None) -> None:
    question.told.set()
