"""A worker's decisions: which tasks stay, leave, are asked for and given back, and when. No socket, clock or thread.

::

    submitted --> [ local ] --share--> outbox --> others         a future is in `local`, running here, or in `sent`
                     |  newest first
                     v
                this worker <-- [ inbox ] <-- Tasks <-- others   tasks of others, oldest first
                     |
                     '--> outcomes, collected --flush--> outbox

Events are method calls, with the time as an argument where it matters. What is to be sent because of them is in
`outbox` afterwards, in order: messages, and actions for which somebody has to pickle first. The shell (`Exchange`)
holds the lock that several threads need, drains the outbox, and never sends from the middle of a decision.

A worker that will not poll for a while exports its queued tasks first, or they starve. A call that may last is exported
at once, or, if it is brief and nobody is idle, with others a millisecond later; short ones stay until others want them,
and leave oldest first, so many together as make a batch. A worker asks for tasks when it is idle and, so that it need
not wait for them, when what it has will soon be done. While it runs the user's code, `look` decides what the progress
thread does in its place.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Exported, GaveBack, LateOutcome, Observers
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import (
    Batch,
    Buffer,
    Cancel,
    CancelAnswer,
    Demand,
    GetShared,
    Gone,
    Message,
    Query,
    QueryAnswer,
    Request,
    Results,
    RunSize,
    SetShared,
    Shared,
    SharedSet,
    Stop,
    TaskLost,
    Tasks,
    Withdraw,
)
from scoop_hpc.protocol.names import ProcessName, WorkerName, broker_name, broker_of
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.losses import lost
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.tasks import Given, Task, tasks_in


class Export(Struct, frozen=True):
    """Pickle and send *groups* of futures, each of one function, to the broker."""

    groups: Sequence[Sequence[Future]]


class GiveBack(Struct, frozen=True):
    """Send tasks of others back to the broker; those that were opened must be pickled again."""

    given: Sequence[Given]


class SendOutcomes(Struct, frozen=True):
    """Pickle and send *outcomes* to their owners, and a request with them."""

    outcomes: dict[WorkerName, list[tuple[Any, ...]]]
    request: Request | Withdraw | None


class Reply(Struct, frozen=True):
    """Tell the one who asked a question the *answer*."""

    to: Callable[[Any], None]
    answer: Message


class _Asked(Struct, frozen=True):
    """A question that waits for its answer."""

    kind: type[Message]  # of the answer
    reply: Callable[[Any], None]


_ANSWERS: dict[type[Message], type[Message]] = {
    Query: QueryAnswer,
    Cancel: CancelAnswer,
    GetShared: Shared,
    SetShared: SharedSet,
}

Action = Message | Export | GiveBack | SendOutcomes | Reply


class WorkerState:
    """The queues of the worker called *name*, one of *size* in all, that exists since *now*."""

    def __init__(
        self,
        name: WorkerName,
        size: int,
        now: float = 0.0,
        policy: Policy = DEFAULT,
        observers: Observers = NOBODY,
        is_spared: bool = False,
    ) -> None:
        self.name = name
        self.size = size  # at the start: alone or not, it stays so
        self.workers = size  # that there are now in the whole run
        self.is_spared = is_spared  # it runs none but short tasks of its own: a program dies with the process
        self.gathers = False  # several are being submitted, which are to leave together
        self.is_due = False  # at the end of that: some of them would have left at once
        self.is_shaken = False  # and not even those, since a worker has died
        self.policy = policy
        self.outbox: deque[Action] = deque()
        self.local: deque[Future] = deque()
        self.leaving: deque[Future] = deque()
        self.foreign: deque[Future] = deque()  # submitted by other threads where no other worker can run them
        self.inbox: deque[Given] = deque()
        self.sent: dict[int, Future] = {}
        self.late = 0  # outcomes that came for no future
        self.arrived: deque[Batch] = deque()  # outcomes; only the event loop opens them
        self.own: deque[tuple[int, Outcome]] = deque()  # of tasks that were exported and came back, by their serials
        self.failed: deque[tuple[Future, Exception]] = deque()  # whose tasks will not be run
        self.wanted = size if size > 1 else 0  # batches of this worker
        self.stopped = False
        self.busy_since = 0.0  # when the main thread began to run the user's code, 0 while it is in the event loop
        self.substituted_since = 0.0  # when another thread has begun a task in the place of the main one, 0: none has
        self.polled = now  # when the link was looked at last
        self._observers = observers
        self._received = 0  # tasks of others, so far
        self._waiting = 0  # of these in the inbox
        self._wanted_by_idle = 0
        self._gone: set[ProcessName] = set()  # workers and brokers
        self._usual = policy.unknown  # seconds that tasks of late kept this worker from polling
        self._outcomes: dict[WorkerName, list[tuple[Any, ...]]] = {}  # by owner
        self._oldest_outcome = 0.0  # when the first of these came
        self._serial = 1  # of the next task exported
        self._questions = itertools.count(1)
        self._replies: dict[int, _Asked] = {}  # by the number of a question
        self._number = 0  # of the last request, or of the last confirmation that was asked for
        self._request: Request | None = None  # that was not answered
        self._is_in_doubt = False  # whether tasks may be under way that were asked for, but are not any more
        self._confirming = 0  # the number of the last withdrawal that the broker is to confirm
        self._due: Request | Withdraw | None = None  # to be sent
        self._untold = False  # the broker may believe that what it sent has not begun
        self._look_seconds = policy.first_look
        self.poll_seconds = policy.poll_seconds  # after which the link is to be looked at again

    # futures of this worker

    def submitted(self, future: Future, now: float) -> bool:
        """Take in a new future; return whether there is something to send, or to look at.

        It stays until it is run or wanted by others, or, if it may not stay, for a millisecond, or not at all.
        """
        cost = future.cost
        if cost.is_new and self.is_spared and not (future.has_atoms or self.gathers):
            self.outbox.append(Export(((future,),)))  # before the program, which goes on, changes its arguments
            return True
        stays = cost.short and not self.is_shaken
        if not (stays or self.is_spared):
            stays = cost.spawns or (cost.is_untried and not self.wanted)
        if stays:
            self.local.append(future)
        elif not self.wanted and (cost.brief or cost.is_new):
            self.leaving.append(future)
        elif self.gathers:
            self.leaving.append(future)
            self.is_due = True
        else:
            self.outbox.append(Export(((future,),)))
            return True
        return now - self.polled > self.poll_seconds

    def stays(self, cost: Cost) -> bool:
        """Return whether a future of this *cost* may stay here until others want it, and be run here."""
        return (cost.short and not self.is_shaken) if self.is_spared else cost.stays

    def submitted_elsewhere(self, future: Future) -> None:
        """Take in a new future of another thread, to export it or, where there is no other worker, to run it here."""
        if self.size == 1:
            self.foreign.append(future)
        elif self.stays(future.cost) and not future.cost.is_untried:
            self.leaving.append(future)
        else:
            self.outbox.append(Export(((future,),)))

    def adopt(self) -> None:
        """Make the futures that other threads have submitted the main thread's to run."""
        while self.foreign:
            self.local.append(self.foreign.popleft())

    def exported(self, futures: Sequence[Future], frames: list[Buffer]) -> Batch:
        """Note that *futures*, whose calls are in *frames*, are under way; return their batch."""
        first = self._serial
        self._serial += len(futures)
        positions: tuple[int, ...] = ()
        for serial, future in enumerate(futures, first):
            future.serial = serial
            self.sent[serial] = future
            if future.position and not positions:
                positions = tuple([each.position for each in futures])
        if self.wanted:
            self.wanted -= 1
        if self._observers:
            self._observers.tell(Exported(self.name, first, len(futures)))
        terms = futures[0].terms or futures[0].cost.terms
        return Batch(self.name, first, frames, len(futures), terms=terms, positions=positions)

    def fail(self, futures: Sequence[Future], error: Exception) -> None:
        """Note that *futures* cannot be exported, and will not be run."""
        self.failed.extend((future, error) for future in futures)

    def share(self, however_short: bool = False) -> None:
        """Export local tasks, oldest first: those that may last, and of the others what is wanted and worth it.

        Of the former not too many at once. One call that takes long for once makes a million others of its function
        look as if they might last, until the next outcomes; and each would go alone.
        """
        if self.size == 1:
            return
        leaving, self.leaving = self.leaving, deque()
        groups: list[Sequence[Future]] = []
        for future in leaving:
            if future.cost.short and not self.is_shaken:  # as has turned out meanwhile
                self.local.append(future)
            else:
                groups.append((future,))
        self._export_oldest(groups, however_short)

    def _export_oldest(self, groups: list[Sequence[Future]], however_short: bool, may_stay: bool = True) -> None:
        """Export *groups*, and with them the oldest local futures; no more than before the next look at the link."""
        most = len(groups) + max(self.policy.share_batches, self.wanted)
        while len(groups) < most and self.local:
            group = self._next_group(len(groups), however_short, may_stay)
            if not group:
                break
            groups.append(group)
        if groups:
            self.outbox.append(Export(groups))

    def export(self, future: Future) -> None:
        """Export *future*, if nobody has taken it."""
        self.outbox.append(Export(((future,),)))

    def has_to_share(self) -> bool:
        """Return whether there may be something to share."""
        if self.leaving:
            return True
        try:
            return self.size > 1 and bool(self.local) and (self.wanted > 0 or not self.stays(self.local[0].cost))
        except IndexError:  # another thread has taken it meanwhile
            return False

    def _next_group(self, taken_before: int, however_short: bool, may_stay: bool) -> list[Future]:
        """Take the oldest local futures, of one function, as many as should travel together."""
        first = self._oldest()
        if first is None:
            return []
        cost, function = first.cost, first.function
        worth_it = however_short or cost.worth_a_journey(len(self.local))
        if may_stay and self.stays(cost) and (self.wanted <= taken_before or not worth_it):
            return []
        most = min(cost.batch_size(), 1 + len(self.local) // (max(0, self.wanted - taken_before) + 1))
        taken: list[Future] = []
        following: Future | None = first
        # not a copy of the function, which may have a closure of its own
        while (
            following is not None
            and following.function is function
            and following.environment is first.environment
            and following.terms is first.terms
            and self._take_oldest(following)
        ):
            taken.append(following)
            following = self._oldest() if len(taken) < most else None
        return taken

    def quick_one(self, seconds: float) -> Future | None:
        """Return the oldest local future, if all there is to it is a call that is likely to take no more *seconds*."""
        future = self._oldest()
        if future is None or self.is_shaken or future.rare is not None or future.environment is not None:
            return None
        cost = future.cost
        return future if cost.short and 0.0 < cost.unpolled <= seconds and not cost.spawns else None

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

    def claim(self, serial: int, unpolled: float) -> Future | None:
        """Take the exported future that an outcome is for, to settle it; None if it was cancelled or dropped."""
        future = self.sent.pop(serial, None)
        if future is None:
            self.late += 1
            if self._observers:
                self._observers.tell(LateOutcome(self.name, serial))
        else:
            future.cost.learn(unpolled)
        return future

    def is_new(self, batch: Batch) -> bool:
        """Return whether the outcomes in *batch* are of a function that is new here, and not known to be quick."""
        future = self.sent.get(batch.done[0]) if batch.done else None
        return future is not None and future.cost.is_new and not future.cost.short

    def learn_of(self, serial: int, unpolled: float) -> None:
        """Note how long the call of an exported future has kept another worker from polling."""
        future = self.sent.get(serial)
        if future is not None:
            future.cost.learn_early(unpolled)

    def abandon(self, future: Future) -> None:
        """Do not wait for an exported future any more, nor let others begin it."""
        if self.sent.pop(future.serial, None) is not None:
            self.outbox.append(Cancel(self.name, future.serial))

    def give_up(self) -> list[Future]:
        """Return, and forget, the futures whose tasks have neither begun here nor ended elsewhere."""
        given_up = list(self.sent.values())
        self.sent.clear()
        waiting = [*self.leaving, *self.foreign]
        self.leaving.clear()
        self.foreign.clear()
        while (oldest := self._oldest()) is not None:
            if self._take_oldest(oldest):
                waiting.append(oldest)
        return given_up + [future for future in waiting if future.take() is not None]

    # tasks of others

    def opened(self, batch: Batch, tasks: Sequence[Task]) -> None:
        """Put the *tasks* of a batch where that was: at the head of the inbox, unless its owner has gone meanwhile."""
        if self._is_gone(batch.owner):
            return
        left = [task for task in tasks if task.serial not in batch.dropped] if batch.dropped else tasks
        self._waiting += len(left)
        self.inbox.extendleft(reversed(left))

    def next_task(self) -> Given | None:
        """Take what is to be done next for others, and ask for more if that leaves little."""
        if not self.inbox:
            return None
        task = self.inbox.popleft()
        self._waiting -= task.count - len(task.dropped)
        if isinstance(task, Task) and self.size > 1 and self._request is None:
            left, cost = len(self.inbox), task.cost
            # whether the broker's answer would come too late if it were asked after this call and those that are left
            is_time = not cost.short or (left + 1) * cost.unpolled > self.policy.request_seconds
            if is_time and left * cost.unpolled <= self.poll_seconds:
                self.ask(self._count() if cost.moderate and not self.local else 0, idle=False)
        return task

    def next_alike(self, task: Task, now: float) -> Task | None:
        """Take what is to be done next if that is as quick as *task*, which has ended, and differs by its call alone.

        Not if it is time to look around before, nor if there is more to do for it than `prepare` has done for the task.
        """
        inbox = self.inbox
        if not inbox or self.local or self._due is not None or self.stopped or now - self.polled > self.poll_seconds:
            return None
        following, cost = inbox[0], task.cost
        if type(following) is not Task or following.function is not task.function or not cost.short:
            return None
        if following.owner != task.owner or following.terms is not task.terms or following.losses is not task.losses:
            return None
        if task.terms.time_limit is not None:
            return None
        self.next_task()
        self.prepare(cost, now)
        return following

    def take_oldest(self) -> Future | Given | None:
        """Take what a substitute of the main thread is to run: a future of this worker, or the oldest task."""
        while self.foreign:
            future = self.foreign.popleft()
            if future.function is not None:
                return future
        oldest = self._oldest()
        if oldest is not None and self._take_oldest(oldest):
            return oldest
        return self.next_task()

    def prepare(self, cost: Cost, now: float) -> None:
        """Begin a call of this *cost*: hand out what must not wait for its end."""
        self.busy_since = now
        if cost.short and cost.unpolled and self._due is None:
            return
        if not cost.short and self.inbox and not cost.moderate:
            self.give_back_inbox()
        if self._due is not None or not cost.brief or (not cost.short and self.is_urgent(now)):
            self.flush()

    def finished(self, owner: WorkerName, item: tuple[Any, ...], now: float) -> None:
        """Note an outcome, packed by `batching.pack_outcome`, that is to be sent soon to the *owner* of its task."""
        self._usual += self.policy.usual_weight * (item[2] - self._usual)
        if not self._outcomes:
            self._oldest_outcome = now
        if owner in self._outcomes:
            self._outcomes[owner].append(item)
        else:
            self._outcomes[owner] = [item]

    def finished_own(self, serial: int, outcome: Outcome) -> None:
        """Note the outcome of a task of this worker's own that was exported, and came back."""
        self._usual += self.policy.usual_weight * (outcome.unpolled - self._usual)
        self.own.append((serial, outcome))

    def is_urgent(self, now: float) -> bool:
        """Return whether outcomes that have been collected should be sent now: somebody is idle, or they are old."""
        return bool(self._outcomes) and (
            self._wanted_by_idle > 0 or now > self._oldest_outcome + self.policy.hold_seconds
        )

    def give_back(self) -> None:
        """Hand what has not started to the broker: all tasks of others, and of its own not too many at once."""
        self.give_back_inbox()
        self._export_oldest([], however_short=True, may_stay=False)

    def give_back_inbox(self) -> None:
        """Hand what others have asked for to the broker, and with it the wish for more."""
        if self.inbox:
            given = list(self.inbox)
            self.inbox.clear()
            if self._observers:
                self._observers.tell(GaveBack(self.name, self._waiting))
            self._waiting = 0
            self.outbox.append(GiveBack(given))
        self.ask(0, idle=False)

    # what is asked and sent

    def ask(self, count: int, idle: bool) -> None:
        """Tell the broker, at the next `flush`, how many tasks are welcome, unless it knows; 0: none, after all."""
        if self.is_spared:
            return
        last = self._request
        known = not count if last is None else count > 0 and idle == last.idle
        if self.size > 1 and (self._untold or not known):
            begun = self._received - self._waiting
            self._untold = self._waiting > 0
            if count:
                self._number += 1
                self._due = self._request = Request(count, self._number, idle, begun)
            else:
                self._is_in_doubt = self._is_in_doubt or last is not None
                self._request, self._due = None, Withdraw(begun)

    def _resolve_doubt(self) -> None:
        """Ask, once, whether tasks are under way that would arrive while nobody looks at the link."""
        if self._is_in_doubt and self._request is None and self._confirming != self._number:
            self._number += 1
            self._confirming = self._number
            self._due = Withdraw(self._received - self._waiting, self._number)
            self._untold = self._waiting > 0

    def _count(self) -> int:
        """Return how many tasks, such as came of late, a worker should ask for at once."""
        policy = self.policy
        return max(1, min(policy.batch_calls, int(policy.ask_seconds / max(self._usual, 1e-7))))

    @property
    def has_tasks_to_look_after(self) -> bool:
        """Return whether there are tasks of others that wait here, or are under way, wanted or not any more."""
        return bool(self.inbox) or self._request is not None or self._is_in_doubt

    @property
    def is_request_due(self) -> bool:
        """Return whether something was asked that was not sent."""
        return self._due is not None

    def want(self) -> None:
        """Ask for tasks, for there is nothing to do."""
        last = self._request
        if self.size > 1 and not self.inbox and (self._untold or last is None or not last.idle):
            self.ask(self._count(), idle=True)

    def want_unless_ahead(self) -> bool:
        """Do as `want`, but return False if tasks were asked for before there was need of them: they may be here."""
        last = self._request
        if last is not None and not last.idle:
            return False
        if self.size > 1 and not self.inbox and (self._untold or last is None):
            self.ask(self._count(), idle=True)
        return True

    def want_nothing(self) -> None:
        """Tell the broker, at the next `flush`, to send nothing: it would wait behind what goes on now."""
        if self._request is not None or self._untold:
            self.ask(0, idle=True)

    def withdraw(self) -> None:
        """Tell the broker to send nothing, and send the outcomes there are."""
        if self._request is not None or self._untold:
            self.ask(0, idle=True)
        if self._outcomes or self._due is not None:
            self.flush()

    def flush(self) -> None:
        """Send the outcomes that have been collected, and what was asked."""
        request, self._due = self._due, None
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, {}
            self.outbox.append(SendOutcomes(outcomes, request))
        elif request is not None:
            self.outbox.append(request)

    def question(self, message_of: Callable[[int], Message], reply: Callable[[Any], None]) -> int:
        """Ask a question with a number of its own, and return that; *reply* is called with the answer."""
        number = next(self._questions)
        question = message_of(number)
        self._replies[number] = _Asked(_ANSWERS[type(question)], reply)
        self.outbox.append(question)
        return number

    def forget(self, number: int) -> None:
        """Do not wait for the answer to a question any more."""
        self._replies.pop(number, None)

    def before_poll(self, now: float, waits: bool) -> None:
        """Send what should be sent before the link is looked at; if this *waits* there, all that there is."""
        if self._due is not None or (self._outcomes and (waits or self.is_urgent(now))):
            self.flush()
        if self.leaving:
            self.share()

    def receive(self, message: Message) -> None:
        """Take in a message of the broker."""
        if isinstance(message, Results):
            self.arrived.extend(message.batches)
            if message.wanted is not None:
                self.wanted += message.wanted.count
                self._wanted_by_idle += message.wanted.idle
        elif isinstance(message, Tasks):
            if message.answer == self._number:
                self._request = None
                self._is_in_doubt = False
            if message.batches:
                self._wanted_by_idle = 0  # the idle come first: there is none, unless that is said
                self._untold = True
            if message.wanted is not None:
                self.wanted += message.wanted.count
                self._wanted_by_idle += message.wanted.idle
            for batch in message.batches:
                self.inbox.append(batch)
                count = batch.count - len(batch.dropped)
                self._received += count
                self._waiting += count
        elif isinstance(message, Demand):
            self.wanted += message.count
            self._wanted_by_idle += message.idle
        elif isinstance(message, Query):
            is_queued = self._position(message.owner, message.serial) is not None
            self.outbox.append(QueryAnswer(message.owner, message.serial, message.number, is_queued))
        elif isinstance(message, Cancel):
            dropped = self._drop(message.owner, message.serial)
            self.outbox.append(CancelAnswer(message.owner, message.serial, message.number, dropped))
        elif isinstance(message, (QueryAnswer, CancelAnswer, Shared, SharedSet)):
            asked = None if message.number is None else self._replies.get(message.number)
            if asked is not None and type(message) is asked.kind and message.number is not None:
                del self._replies[message.number]
                self.outbox.append(Reply(asked.reply, message))
            elif isinstance(message, CancelAnswer) and message.is_dropped and message.serial in self.sent:  # late
                self.failed.append((self.sent.pop(message.serial), CancelledError()))
        elif isinstance(message, TaskLost):
            for serial in message.serials:
                future = self.sent.pop(serial, None)
                if future is not None:
                    self.failed.append((future, lost(message)))
        elif isinstance(message, Gone):
            self._forget(message)
        elif isinstance(message, RunSize):
            self.workers = message.workers
        elif isinstance(message, Stop):
            self.stopped = True
        else:
            raise ProtocolError(f"a broker sent worker {self.name} {message!r}")

    def _forget(self, gone: Gone) -> None:
        """Drop the tasks of owners that are gone."""
        self._gone.update(gone.workers, map(broker_name, gone.nodes))
        left = deque(given for given in self.inbox if not self._is_gone(given.owner))
        if len(left) < len(self.inbox):
            self._waiting -= sum(tasks_in(given) for given in self.inbox) - sum(tasks_in(given) for given in left)
            self.inbox = left
        for owner in [owner for owner in self._outcomes if self._is_gone(owner)]:
            del self._outcomes[owner]
        if self.is_spared and gone.workers:  # what takes a worker down may come here next
            self.is_shaken = True
            self.give_back()

    def _is_gone(self, owner: WorkerName) -> bool:
        return owner in self._gone or broker_of(owner) in self._gone

    def _position(self, owner: WorkerName, serial: int) -> int | None:
        """Return where in the inbox a task is, None if it is not there."""
        for index, given in enumerate(self.inbox):
            inside = given.serial <= serial < given.serial + given.count and serial not in given.dropped
            if given.owner == owner and inside:
                return index
        return None

    def _drop(self, owner: WorkerName, serial: int) -> bool:
        """Drop a task if it waits in the inbox; return whether it does."""
        index = self._position(owner, serial)
        if index is None:
            return False
        self._waiting -= 1
        given = self.inbox[index]
        if isinstance(given, Batch) and tasks_in(given) > 1:
            self.inbox[index] = replace(given, dropped=(*given.dropped, serial))
        else:
            del self.inbox[index]
        return True

    # while the main thread is busy

    def is_neglected(self, now: float) -> bool:
        """Return whether the main thread has run the user's code for so long that somebody else must look."""
        return self.busy_since > 0.0 and now - self.busy_since > self.policy.busy_seconds

    def look(self, now: float, is_served: bool = False) -> None:
        """Decide what the busy main thread would: nobody here comes to the tasks that wait.

        If it *is served*, another thread may have nothing to do in its place, and says so itself.
        """
        self.share(however_short=True)
        is_long = now - self.busy_since > self.policy.give_back_seconds
        busiest = max(self.busy_since, self.substituted_since)
        if self.inbox and (self._wanted_by_idle or now - busiest > self.policy.give_back_seconds):
            self.give_back_inbox()
        else:
            self._correct_request(may_be_idle=is_served)
        self._resolve_doubt()
        if self._due is not None or self.is_urgent(now) or is_long:
            self.flush()

    def serve(self, wants_tasks: bool) -> None:
        """Decide what the event loop would, while a thread serves futures in its place."""
        self.share(however_short=True)
        if not wants_tasks:
            self._correct_request(may_be_idle=False)
        elif self.size > 1 and not self.inbox:
            self.ask(self._count(), idle=True)
        self.flush()

    def _correct_request(self, may_be_idle: bool) -> None:
        """Tell the broker what has begun, and that a worker that asked for tasks while it was idle is not any more."""
        last = self._request
        was_idle = last is not None and last.idle
        if self._untold or (was_idle and not may_be_idle):
            self.ask(0 if last is None else last.count, was_idle and may_be_idle)

    def next_look(self, is_watched: bool, main_waits: bool = False) -> float | None:
        """Return after how many seconds somebody else should look, None if nothing waits; *is_watched*: it does.

        What the broker may send is not waited for if the main thread *waits* for it at the link.
        """
        queued = self.local or self.leaving or self.inbox or self._outcomes
        asked = not main_waits and (self._request or self._untold or self._is_in_doubt)
        if not (queued or asked or is_watched):
            self._look_seconds = self.policy.first_look
            return None
        self._look_seconds = min(2 * self._look_seconds, self.policy.longest_look)
        return self._look_seconds
