"""The broker's decisions: messages in, messages out; no socket, no clock.

::

      worker --Request--> [ waiting ] <--match--> [ queue ] <--Tasks-- worker, peer
      worker <--Tasks------------------------------'  '--Tasks--> peer (answer to its Steal)

A task is in exactly one place: the worker that made it, one broker's queue, one message, or the worker that runs it. No
worker waits while tasks are queued, and no task is queued while a worker waits. A worker waits because it is idle, or
ahead of time; the idle come first. A broker whose workers wait tells its busy workers so (Demand: they may hold tasks
back), and steals from the neighbour with the longest queue, which it knows from its Load: see `Neighbours`. In a large
run it steals for those that are idle behind its other neighbours, too.

Tasks are taken oldest first. But where far more of the program's wait than there are workers here, these take those
first that tasks have submitted. The many may be bundles of a map, which are for other nodes: else the workers of the
first one would open them all, as that takes a millisecond each, and what is in them, and what comes of it, would pass
here.

When a worker dies, its tasks are queued again, those that it had begun with one loss more, each by itself. A task that
was lost, or has a time limit, may take its worker with it: the origin does not get it, nor the worker that waits for
it, unless nobody else has taken one for a while. Who is gone stays known, for messages of the dead, and for them, may
come late.

A task has a home, the broker of its owner, which knows at which peer it is (see `Home`), and queues it again if that is
lost with its node. A peer that sends a task on to another one tells its home.

The only clock is the argument of `tick`, `connection_broke` and `connection_made`.

A node that leaves takes no more tasks. What waits here goes to broker 0, where the program is and which never leaves;
workers give back what they have not begun. What they run they end, and the outcomes go their usual way: see `Leaving`.

Query and Cancel look for a task in the queue, then at the workers here that may not have begun it, then, at its home,
where it is known to be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc import events
from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.home import Home
from scoop_hpc.broker.leaving import Leaving
from scoop_hpc.broker.ledger import Remains, only, serials_in
from scoop_hpc.broker.neighbours import Neighbours
from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.queue import Queue
from scoop_hpc.broker.shared_values import SharedValues
from scoop_hpc.broker.workers import Answer, Question, Unaware, Worker
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.protocol.messages import (
    USUAL,
    Batch,
    Beat,
    Cancel,
    CancelAnswer,
    Demand,
    Fault,
    GetShared,
    Gone,
    LinkBroken,
    Load,
    Loss,
    Message,
    Moved,
    OutcomeLost,
    Peers,
    Query,
    QueryAnswer,
    Ready,
    Reference,
    Request,
    Results,
    SetShared,
    Shared,
    SharedSet,
    Standing,
    Steal,
    Stop,
    TaskLost,
    Tasks,
    Withdraw,
    WorkerDied,
)
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    BrokerName,
    NodeIndex,
    ProcessName,
    WorkerName,
    broker_name,
    broker_of,
    is_broker,
    is_client,
    is_worker,
    node_of,
)


def _answer_to(question: Question, is_found: bool) -> Answer:
    if isinstance(question, Query):
        return QueryAnswer(question.owner, question.serial, question.number, is_found)
    return CancelAnswer(question.owner, question.serial, question.number, is_found)


def _check(allowed: bool, message: Message, sender: ProcessName) -> None:
    """Raise ProtocolError unless it is *allowed* that *sender* sent this."""
    if not allowed:
        raise ProtocolError(f"{sender!r} may not send a broker {message!r}")


def _died_on(node: NodeIndex, batch: Batch) -> bool:
    """Return whether the last worker that was lost with the task was one of this *node*, which ran it."""
    return bool(batch.losses) and batch.losses[-1].node == node and not batch.losses[-1].too_long


def _is_in_memory(batch: Batch) -> bool:
    """Return whether part of it is in the memory of the process that made it."""
    frames = batch.frames
    return type(frames[0]) is Reference if len(frames) == 1 else Reference in map(type, frames)


_MEMORY_GONE = "its outcome was in the memory of a process that has ended"
_SENT_TO_THE_DEAD = "the node that it was sent to was lost"
_Key = tuple[WorkerName, int]  # owner and serial of a task


class _Done(Struct, frozen=True):
    """A task of this node's whose outcome has passed, and when."""

    task: Batch
    tick: int


class _Search(Struct, frozen=True):
    """A question about a task of this node's that was put to a peer."""

    question: Question
    place: BrokerName


class BrokerState:
    """The state machine of one broker, called *name*."""

    def __init__(
        self, name: BrokerName, policy: Policy = Policy(), observers: Observers = NOBODY, takers: int = 1
    ) -> None:
        self.name = name
        self._takers = takers  # workers of the node, ready or not, beside the origin: those that can be given any task
        self.queue = Queue()
        self.risky = Queue()  # of tasks that the origin does not get
        self.waiting: dict[WorkerName, Request] = {}  # by idle workers
        self.ahead: dict[WorkerName, Request] = {}  # by workers that will soon be idle
        self.workers: dict[WorkerName, Worker] = {}
        self._unaware = Unaware()  # workers that may not know how many tasks are welcome
        self.peers: set[BrokerName] = set()
        self.neighbours = Neighbours(name, policy)
        self._stealing: BrokerName | None = None  # the peer that was asked for tasks, and has not answered
        self._stolen = self._given = self._repeated = 0  # tasks: from peers, to peers, queued again after a loss
        self._shared = SharedValues(name)
        self._home = Home()  # the tasks of workers here that are at peers
        self._searches: dict[tuple[WorkerName, int], _Search] = {}  # by owner and number of the question
        self._policy = policy
        self._observers = observers
        self._gone: set[ProcessName] = set()  # workers of the run that have died, and brokers of lost nodes
        self._in_memory: OrderedDict[_Key, _Done] = OrderedDict()  # tasks whose outcomes were left in shared memory
        self._ticks = 0
        self._risky_tick = 0  # when a risky task came last, or was taken
        self._next_tick = float("-inf")
        self._broken: dict[BrokerName, float] = {}  # peers whose connection is broken, and when to say so
        self._leaving = Leaving(name)

    def knows(self, name: ProcessName) -> bool:
        """Return whether *name* is known as part of the run: the agent, a worker here, a peer."""
        return name == AGENT or name in self.workers or name in self.peers

    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        """Take in one message; return the messages to send. Raises ProtocolError before anything has changed."""
        if sender in self._gone:
            return []
        handler = _HANDLERS.get(type(message))
        if handler is None or not (sender in self.workers or self._may_send(message, sender)):
            raise ProtocolError(f"{sender!r} sent a broker {message!r}")
        sends = handler(self, message, sender)
        return self._to_the_living(sends) if self._gone else sends

    def _to_the_living(self, sends: list[Send]) -> list[Send]:
        return [send for send in sends if send.to not in self._gone]

    def _is_gone(self, name: ProcessName) -> bool:
        """Return whether a worker has died, or was lost with its node."""
        return name in self._gone or broker_of(name) in self._gone

    def _may_send(self, message: Message, sender: ProcessName) -> bool:
        """Return whether one that is no worker here may be part of the run: whatever else has its keys is not heard.

        A peer may know this broker before the agent has told it of peers.
        """
        if sender == AGENT or sender in self.peers or isinstance(message, Ready):
            return True
        if is_client(sender):
            return broker_of(sender) == self.name
        return not self.peers and is_broker(sender)

    def _on_ready(self, message: Ready, sender: ProcessName) -> list[Send]:
        if broker_of(sender) != self.name or not is_worker(sender) or sender in self.workers:
            raise ProtocolError(f"{sender!r} cannot be a worker of broker {self.name}")
        self.workers[sender] = Worker()
        self._unaware.add(sender)
        if self._observers:
            self._observers.tell(events.WorkerReady(sender))
        size = self._leaving.size_for_late()
        return [] if size is None else [Send(sender, size)]

    def _on_peers(self, message: Peers, sender: ProcessName) -> list[Send]:
        _check(sender == AGENT, message, sender)
        self._gone.update(map(broker_name, (*message.gone, *message.left)))
        self.peers |= {broker_name(broker.node) for broker in message.brokers} - {self.name} - self._gone
        began = self._leaving.heard(message)
        if self._observers:
            self._observers.tell(events.PeersKnown(self.name, len(self.peers)))
        self._meet()
        sends = self._shared.meet(self.peers) + self._tell_size()
        if began:
            sends += [Send(worker, self._leaving.demand) for worker in self.workers]
        return sends + self._settle()

    def _meet(self) -> None:
        """Take it that the other brokers that take tasks are these; none, if this node leaves."""
        self.neighbours.meet(() if self._leaving.is_own else self.peers - self._leaving.others)

    def _tell_size(self) -> list[Send]:
        """Tell the workers how many there are in the run, if that has changed."""
        size = self._leaving.new_size(self._gone)
        return [] if size is None else [Send(worker, size) for worker in self.workers]

    def _on_request(self, message: Request | Withdraw, sender: WorkerName) -> list[Send]:
        _check(sender in self.workers, message, sender)
        self.waiting.pop(sender, None)
        self.ahead.pop(sender, None)
        self._unaware.add(sender)
        if type(message) is Request:
            (self.waiting if message.idle else self.ahead)[sender] = message
        sends = []
        for question in self.workers[sender].has_begun(message.begun):
            sends += self._seek(question)
        sends += self._settle()
        if type(message) is Withdraw and message.number is not None:
            sends.append(Send(sender, Tasks([], message.number)))
        return sends

    def _on_tasks(self, message: Tasks, sender: ProcessName) -> list[Send]:
        if sender in self.peers:
            if sender == self._stealing:
                self._stealing = None
            batches = self._taken_back(message.batches)
            if not message.batches:
                self.neighbours.gave_nothing(BrokerName(sender))
            else:
                self.neighbours.helped(BrokerName(sender))
                tasks = sum(batch.tasks() for batch in message.batches)
                self._stolen += tasks
                self.neighbours.got(BrokerName(sender), tasks)
                if self._observers:
                    self._observers.tell(events.Stole(self.name, sender, tasks))
            self._enqueue(batches, sender)
            return self._settle(BrokerName(sender))
        if sender in self.workers:
            self.workers[WorkerName(sender)].took_back(message.batches)
            self._unaware.add(WorkerName(sender))
        self._enqueue(message.batches, sender)
        return self._settle()

    def _taken_back(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return *batches* of a peer, those of workers here without what is to be executed, or was, by another copy."""
        if all(broker_of(batch.owner) != self.name for batch in batches):
            return batches
        own = (self._home.take_back(batch) if broker_of(batch.owner) == self.name else batch for batch in batches)
        return [batch for batch in own if batch is not None]

    def _enqueue(self, batches: Sequence[Batch], sender: ProcessName) -> None:
        """Queue *batches*, but not those of owners that are gone."""
        if self._gone:
            batches = self._wanted(batches)
        for batch in batches:
            if batch.losses or batch.terms is not USUAL:  # seldom
                self._enqueue_unusual(batches, sender)
                return
        self.queue.extend(batches, sender)

    def _wanted(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return *batches* without tasks of owners that are gone, and such that wait here already, since a loss."""
        return self._without_copies([batch for batch in batches if not self._is_gone(batch.owner)])

    def _without_copies(self, batches: list[Batch]) -> list[Batch]:
        """Return *batches* without tasks that wait here already; copies that know of fewer losses make room for them.

        There are such where a task was queued again at its home, since a node was lost, and lived on elsewhere: this
        node may get the one, and the other from a worker that dies. The copies then differ by a loss.
        """
        if not (self.risky or any(batch.losses for batch in batches)):
            return batches
        kept = []
        for batch in batches:
            copied = [serial for serial in serials_in(batch) if self._is_copied(batch, serial)]
            if not copied:
                kept.append(batch)
            elif len(copied) < batch.tasks():
                kept.append(only(batch, set(serials_in(batch)).difference(copied)))
        return kept

    def _is_copied(self, batch: Batch, serial: int) -> bool:
        """Return whether a task of *batch* waits here already, knowing of as many losses; else drop what waits."""
        for queue in (self.queue, self.risky):
            copy = queue.get(batch.owner, serial)
            if copy is not None and len(copy.losses) >= len(batch.losses):
                return True
            if copy is not None:
                queue.find(batch.owner, serial, drop=True)
        return False

    def _enqueue_unusual(self, batches: Sequence[Batch], sender: ProcessName) -> None:
        risky = [batch for batch in batches if batch.losses or batch.terms.time_limit]
        if risky:
            self.risky.extend(risky, sender)
            self._risky_tick = self._ticks
            batches = [batch for batch in batches if batch not in risky]
        self.queue.extend(batches, sender)

    def _on_results(self, message: Results, sender: WorkerName) -> list[Send]:
        batches_to: dict[ProcessName, list[Batch]] = {}
        worker = self.workers.get(sender)
        for batch in message.batches:
            if worker is not None:
                self._note_done(worker, batch)
            else:
                self._note_done_elsewhere(batch)
            batches_to.setdefault(self._way_to(batch.owner), []).append(batch)
        more = [] if message.request is None else self._on_request(message.request, sender)
        if not more:
            return [Send(to, Results(batches)) for to, batches in batches_to.items()]
        demands = {send.to: send.message for send in more if type(send.message) is Demand and send.to in batches_to}
        sends = [Send(to, Results(batches, None, demands.get(to))) for to, batches in batches_to.items()]
        return sends + [send for send in more if send.message is not demands.get(send.to)]

    def _note_done(self, worker: Worker, batch: Batch) -> None:
        """Strike the tasks out that *worker* has done; for a while keep those whose outcomes are in its memory."""
        if _is_in_memory(batch) and broker_of(batch.owner) == self.name:
            self._keep(batch, worker.ledger.copy_of)
        worker.ledger.strike(batch.owner, batch.done)
        if self._gone:
            self._home.strike(batch.owner, batch.done)  # after a loss, a task may have been queued twice

    def _note_done_elsewhere(self, batch: Batch) -> None:
        """Strike tasks out that a peer's worker has done."""
        if _is_in_memory(batch):  # of this machine, then
            self._keep(batch, self._home.copy_of)
        unknown = self._home.strike(batch.owner, batch.done)
        if unknown and self._gone:  # after a loss, it may have been queued again although it lived on elsewhere
            for serial in unknown:
                for queue in (self.queue, self.risky):
                    queue.find(batch.owner, serial, drop=True)

    def _keep(self, outcomes: Batch, copy_of: Callable[[WorkerName, int], Batch | None]) -> None:
        """Keep tasks whose *outcomes* are in the memory of who has executed them."""
        for serial in outcomes.done:
            task = copy_of(outcomes.owner, serial)
            if task is not None:
                self._in_memory[outcomes.owner, serial] = _Done(task, self._ticks)

    def _on_worker_died(self, message: WorkerDied, sender: ProcessName) -> list[Send]:
        _check(sender == AGENT, message, sender)
        worker = self.workers.pop(message.name, None)
        self._takers -= not message.is_replaced
        self.waiting.pop(message.name, None)
        self.ahead.pop(message.name, None)
        sends = self._forget(Gone((message.name,)))
        if worker is not None:
            sends += self._queue_again(worker.ledger.remains(message), message.name)
            for question in worker.questions():
                sends += self._seek(question)
        return sends + self._settle()

    def _on_gone(self, message: Gone, sender: ProcessName) -> list[Send]:
        """Drop what was wanted by those that are gone, and queue again what they had."""
        _check(sender == AGENT, message, sender)
        sends = self._forget(message)
        left = {broker_name(node) for node in message.left}
        places = {broker_name(node) for node in message.nodes} | left
        if places:
            self.peers -= places
            self._meet()
            for peer in places:
                self._broken.pop(peer, None)
            if self._stealing in places:
                self._stealing = None
            sends += self._shared.meet(self.peers, places)
            sends += self._queue_again(self._home.lost(places - left, message.cause), AGENT)
            if left:
                sends += self._queue_again(self._home.lost(left, message.cause, True), AGENT)
            sends += self._tell_size()
            for key, search in list(self._searches.items()):
                if search.place in places:
                    del self._searches[key]
                    sends += self._seek(search.question)
        return sends + self._settle()

    def _forget(self, message: Gone) -> list[Send]:
        """Drop the tasks and the questions of workers that are gone; return what tells the others."""
        workers = set(message.workers) - self._gone
        nodes = tuple(node for node in (*message.nodes, *message.left) if broker_name(node) not in self._gone)
        if not workers and not nodes:
            return []
        self._gone |= workers
        self._gone.update(map(broker_name, nodes))
        for queue in (self.queue, self.risky):
            queue.drop_owned(self._is_gone)
        for worker in self.workers.values():
            worker.ledger.drop_owned(self._is_gone)
        self._home.drop_owned(self._is_gone)
        for key in [key for key in self._searches if self._is_gone(key[0])]:
            del self._searches[key]
        for done in [key for key in self._in_memory if self._is_gone(key[0])]:
            del self._in_memory[done]
        self._shared.forget(workers)
        return [Send(name, Gone(tuple(sorted(workers)), nodes)) for name in self.workers]

    def _queue_again(self, remains: Remains, lost: ProcessName) -> list[Send]:
        """Queue the tasks that the dead have left, and return the failures for those who wait for them.

        One in which a worker has died here is queued at another node, if there is one. So it is seen whose fault that
        was, and a node on which all tasks die does not get the same ones again.
        """
        node, place = node_of(self.name), self.neighbours.least_busy()
        here: list[Batch] = []
        elsewhere: list[Batch] = []
        for batch in remains.batches:
            (elsewhere if place is not None and _died_on(node, batch) else here).append(batch)
        self._enqueue(here, lost)
        tasks = sum(batch.tasks() for batch in remains.batches)
        self._repeated += tasks
        if self._observers:
            self._observers.tell(events.TasksQueuedAgain(lost, tasks, len(remains.failed)))
        failed = [Send(self._way_to(each.owner), each) for each in remains.failed if not self._is_gone(each.owner)]
        elsewhere = self._wanted(elsewhere)
        return failed + self._send_on(elsewhere, place) if place is not None and elsewhere else failed

    def _on_task_lost(self, message: TaskLost, sender: ProcessName) -> list[Send]:
        _check(is_broker(sender), message, sender)
        self._home.strike(message.owner, message.serials)
        return [Send(self._way_to(message.owner), message)]

    def _on_outcome_lost(self, message: OutcomeLost, sender: ProcessName) -> list[Send]:
        """Run tasks again whose outcomes were in the memory of a worker that is gone, here or at a peer."""
        _check(sender == message.owner, message, sender)
        owner, failed = message.owner, []
        tasks: list[Batch] = []
        for serial in message.serials:
            done = self._in_memory.pop((owner, serial), None)
            if done is None:
                failed.append(serial)
            else:
                tasks.append(done.task)
        self._enqueue(tasks, owner)
        sends = self._settle()
        if failed:
            lost = TaskLost(owner, tuple(failed), (Loss(_MEMORY_GONE),))
            sends.append(Send(self._way_to(owner), lost))
        return sends

    def _on_steal(self, message: Steal, sender: ProcessName) -> list[Send]:
        _check(is_broker(sender), message, sender)
        thief = BrokerName(sender)
        may = self._may_have(thief)
        risky = 0 if message.for_origin else sum(map(may, self.risky))
        elsewhere, behind = self.neighbours.elsewhere(thief), self.neighbours.part_behind(thief)
        here = self._takers if self.neighbours.is_tree else None
        count = self._policy.share(risky + len(self.queue), message.count, elsewhere, behind, here)
        stolen = [self.risky.pop_if(may) for _ in range(min(count, risky))]
        stolen += [self.queue.pop() for _ in range(count - len(stolen))]
        if risky:
            self._note_risky_taken()
        if stolen:
            tasks = sum(batch.tasks() for batch in stolen)
            self._given += tasks
            if self._observers:
                self._observers.tell(events.WasStolenFrom(self.name, sender, tasks))
        else:
            self.neighbours.got_nothing(thief, len(self.risky))
        return [*self._send_on(stolen, thief), *self._settle()]

    def _nobody_takes_risky(self) -> bool:
        """Return whether risky tasks have waited for a while, so that those may have them who should not."""
        return self._ticks - self._risky_tick > self._policy.risky_ticks

    def _note_risky_taken(self) -> None:
        """Note that somebody takes risky tasks, unless it is one who should not: then the rest need not wait anew."""
        if not self._nobody_takes_risky():
            self._risky_tick = self._ticks

    def _may_have(self, thief: BrokerName) -> Callable[[Batch], bool]:
        """Return whether a peer may have a risky task: where a worker of its has died in that, others try it first."""
        if self._nobody_takes_risky():
            return lambda batch: True
        node = node_of(thief)
        return lambda batch: not _died_on(node, batch)

    def _send_on(self, batches: Sequence[Batch], peer: BrokerName) -> list[Send]:
        """Send *batches* to a peer; whose home this is not, that is told first, as it may be asked next."""
        batches = [replace(batch, hops=batch.hops + 1) for batch in batches]
        moved: dict[tuple[WorkerName, int, tuple[Loss, ...]], list[int]] = {}
        for batch in batches:
            home = broker_of(batch.owner)
            if home == self.name:
                self._home.add(batch, peer)
            elif home != peer:
                moved.setdefault((batch.owner, batch.hops, batch.losses), []).extend(serials_in(batch))
        sends = [
            Send(broker_of(owner), Moved(owner, tuple(serials), peer, hops, losses))
            for (owner, hops, losses), serials in moved.items()
        ]
        self.neighbours.gave(peer, len(batches))
        return [*sends, Send(peer, Tasks(batches))]

    def _pass_on(self, source: BrokerName) -> list[Send]:
        """Send what has come from a peer on to neighbours that wait for it, or it could be asked for from both sides.

        Then it would go to and fro between this broker and the *source*, each of which has idle workers behind it. None
        of them gets all that it wants while the others have nothing.
        """
        sends = []
        hungry = self.neighbours.hungry(source)
        for ways, (peer, wanted) in zip(range(len(hungry), 0, -1), hungry):
            part = max(self._policy.lot, -(-len(self.queue) // ways))
            batches = [self.queue.pop() for _ in range(min(wanted, part, len(self.queue)))]
            if not batches:
                break
            sends += self._send_on(batches, peer)
        return sends

    def _on_moved(self, message: Moved, sender: ProcessName) -> list[Send]:
        _check(is_broker(sender), message, sender)
        self._home.moved(message, BrokerName(sender))
        if message.to in self._gone:
            lost = self._home.lost((message.to,), _SENT_TO_THE_DEAD, True)
            return self._queue_again(lost, AGENT) + self._settle()
        return []

    def _on_load(self, message: Load, sender: ProcessName) -> list[Send]:
        _check(is_broker(sender), message, sender)
        self.neighbours.hear(message, BrokerName(sender))
        return self._settle()

    def _on_question(self, message: Question, sender: ProcessName) -> list[Send]:
        return self._seek(message)

    def _seek(self, question: Question) -> list[Send]:
        """Look for a task in the queue, then at the workers, then, if its owner is here, at the peer that has it."""
        owner, serial = question.owner, question.serial
        drop = isinstance(question, Cancel)
        if any(queue.find(owner, serial, drop) for queue in (self.queue, self.risky)):
            return self._answer(_answer_to(question, True))
        for name, worker in self.workers.items():
            if worker.may_hold(question):
                worker.ask(question)
                return [Send(name, question)]
        place = self._home.place_of(owner, serial)
        if place is None:
            return self._answer(_answer_to(question, False))
        if question.number is not None:
            self._searches[owner, question.number] = _Search(question, place)
        else:
            self._home.strike(owner, (serial,))  # nobody waits for it
        return [Send(place, question)]

    def _on_answer(self, message: Answer, sender: ProcessName) -> list[Send]:
        is_found = message.is_queued if isinstance(message, QueryAnswer) else message.is_dropped
        is_dropped = is_found and isinstance(message, CancelAnswer)
        if sender in self.workers:
            worker = self.workers[WorkerName(sender)]
            if is_dropped:
                worker.ledger.strike(message.owner, (message.serial,))
            question = worker.take_question(message)
            if question is not None and not is_found:
                worker.does_not_hold(question)
                return self._seek(question)  # it may have given the task back
            return self._answer(message) if question is not None or is_dropped else []
        if is_dropped:
            self._home.strike(message.owner, (message.serial,))
        if message.number is None:
            return []
        search = self._searches.get((message.owner, message.number))
        if search is None or search.place != sender:
            return []
        del self._searches[message.owner, message.number]
        if not is_found and self._home.place_of(message.owner, message.serial) != sender:
            return self._seek(search.question)  # it may be elsewhere by now
        return [Send(message.owner, message)]

    def _answer(self, answer: Answer) -> list[Send]:
        """Return *answer* on its way to the owner, if an answer is wanted."""
        return [] if answer.number is None else [Send(self._way_to(answer.owner), answer)]

    def _on_set_shared(self, message: SetShared, sender: ProcessName) -> list[Send]:
        return [Send(self._way_to(send.to), send.message) for send in self._shared.set(message)]

    def _on_shared_set(self, message: SharedSet, sender: ProcessName) -> list[Send]:
        return [Send(self._way_to(message.owner), message)]

    def _on_get_shared(self, message: GetShared, sender: ProcessName) -> list[Send]:
        return self._shared.get(message, sender)

    def _on_shared(self, message: Shared, sender: ProcessName) -> list[Send]:
        _check(is_broker(sender), message, sender)
        return self._shared.heard(message)

    def _way_to(self, name: ProcessName) -> ProcessName:
        """Return the next stop on the way to a worker or broker."""
        node = broker_of(name)
        return name if node == self.name else node

    def _on_fault(self, message: Fault, sender: ProcessName) -> list[Send]:
        _check(sender in self.workers, message, sender)
        return [Send(AGENT, message)]

    def _on_stop(self, message: Stop, sender: ProcessName) -> list[Send]:
        _check(sender == AGENT, message, sender)
        return [Send(worker, message) for worker in sorted(self.workers)]

    def _on_beat(self, message: Beat, sender: ProcessName) -> list[Send]:
        _check(sender == AGENT, message, sender)
        return [Send(AGENT, Standing(len(self.queue) + len(self.risky), self._stolen, self._given, self._repeated))]

    def connection_broke(self, peer: BrokerName, now: float) -> None:
        """Note that the connection to *peer* broke."""
        if peer not in self._gone:
            self._broken.setdefault(peer, now + self._policy.broken)

    def connection_made(self, peer: BrokerName) -> None:
        """Note that there is a connection to *peer* again."""
        self._broken.pop(peer, None)

    def tick(self, now: float) -> list[Send]:
        """Return the messages that are due at the time *now*; to be called often."""
        if now < self._next_tick:
            return []
        self._next_tick = now + self._policy.tick
        self._ticks += 1
        while self._in_memory and next(iter(self._in_memory.values())).tick < self._ticks - self._policy.memory_ticks:
            self._in_memory.popitem(last=False)
        sends = self._settle()
        return sends + self.neighbours.tick(*self._load()) + self._complain(now)

    @property
    def is_at_rest(self) -> bool:
        """True if ticks come to nothing until something happens."""
        waits = self.queue.batches or self.risky.batches or self._in_memory or self._broken
        return not waits and self.neighbours.all_know(*self._load())

    def _complain(self, now: float) -> list[Send]:
        """Tell of connections that have been broken for too long, until one of the two nodes is given up."""
        sends = []
        for peer, due in self._broken.items():
            if now > due:
                self._broken[peer] = now + self._policy.broken_again
                sends.append(Send(AGENT, LinkBroken(peer)))
        return sends

    @property
    def leaves(self) -> bool:
        """True from the word on that this node leaves."""
        return self._leaving.is_own

    @property
    def is_drained(self) -> bool:
        """True if this node leaves, and has nothing that the run still needs."""
        return self._leaving.is_own and not (
            self.queue.batches
            or self.risky.batches
            or self._stealing is not None
            or len(self._home)
            or any(name not in self.waiting or worker.ledger for name, worker in self.workers.items())
        )

    def _hand_back(self) -> list[Send]:
        """Send what is queued to where it is executed in the place of this node, which leaves."""
        batches = [queue.pop() for queue in (self.risky, self.queue) for _ in range(len(queue))]
        return self._send_on(batches, broker_name(0)) if batches else []

    def _settle(self, source: BrokerName | None = None) -> list[Send]:
        """Give tasks to those that wait, and ask for more; what has come from the *source* is for others, too."""
        if self._leaving.is_own:
            return self._hand_back()
        queue = self.queue.batches
        sends = self._match() if queue or self.risky.batches else []
        if source is not None and queue:
            sends += self._pass_on(source)
        if self._stealing is None and (self.waiting or self.ahead or (self.neighbours.idle_beyond and not queue)):
            sends += self._steal()
        if not queue:
            sends = self._with_demand(sends)
        if not self.peers or (self._stealing is not None and not queue):  # what is stolen may suffice
            return sends
        return sends + self.neighbours.news(*self._load())

    def _steal(self) -> list[Send]:
        """Ask a neighbour for tasks, if one has some: for workers here, and for those on the way to which this is."""
        peer = self.neighbours.victim(bool(self.waiting or self.ahead))
        if peer is None:
            return []
        self._stealing = peer
        passed_on = self.neighbours.beyond(peer)
        own = sum(request.count for request in (*self.waiting.values(), *self.ahead.values()))
        for_origin = not passed_on and all(name == ORIGIN for name in (*self.waiting, *self.ahead))
        return [Send(peer, Steal(own + passed_on, for_origin))]

    def _match(self) -> list[Send]:
        """Give queued tasks to workers: to the idle first, in the order of their requests.

        Nobody gets more than its share of the queue, for the others will ask, too: so all end at about the same time
        [guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers C-36 (1987) 1425].
        """
        sends = []
        queue, risky = self.queue.batches, self.risky.batches
        asks = ORIGIN in self.waiting or ORIGIN in self.ahead  # it does not where there are others
        takers = len(self.workers) - (ORIGIN in self.workers and not asks)
        fair = -(-(len(queue) + len(risky)) // max(1, takers))
        for requests in (self.waiting, self.ahead):
            while requests and (queue or risky):
                # whoever waited last has its caches warm still; for whoever will soon be idle, tasks are in time anyhow
                order = reversed(requests) if requests is self.waiting else iter(requests)
                name = next(order) if queue else next((name for name in order if self._risky_for(name)), None)
                if name is None:  # those who ask do not get what is left
                    break
                request = requests.pop(name)
                batches: list[Batch] = []
                count = 0
                while len(batches) < fair and count < request.count:
                    batch = self._next_for(name, takers) if risky or queue else None
                    if batch is None:
                        break
                    batches.append(batch)
                    count += batch.tasks()
                self.workers[name].give(batches, name)
                self._unaware.add(name)
                sends.append(Send(name, Tasks(batches, request.number)))
        return sends

    def _next_for(self, name: WorkerName, takers: int) -> Batch | None:
        """Take the next task for this worker, one of so many *takers*; None if there is none that it may have."""
        owner = self._risky_for(name) if self.risky.batches else None
        if owner is not None:
            self._note_risky_taken()
            return self.risky.pop_of(owner)
        return self.queue.pop_for_worker(self._policy.many * takers) if self.queue.batches else None

    def _risky_for(self, name: WorkerName) -> WorkerName | None:
        """Return whose risky task this worker may have.

        Not one of its own, for it may wait for that, unless there is no other worker, or all others are busy for
        longer, or dead; and the origin none.
        """
        if name == ORIGIN:
            return None
        is_alone = not self.peers and self._takers == 1
        takes_own = is_alone or self._nobody_takes_risky()
        return next((batch.owner for batch in self.risky if batch.owner != name or takes_own), None)

    def _with_demand(self, sends: list[Send]) -> list[Send]:
        """Return *sends*, and what is wanted: with the tasks of who gets some, for each message wakes its receiver."""
        demands = self._demands()
        if not demands:
            return sends
        for place, send in enumerate(sends):
            given = send.message
            if send.to in demands and type(given) is Tasks:
                sends[place] = Send(send.to, Tasks(given.batches, given.answer, demands.pop(WorkerName(send.to))))
        return sends + [Send(name, demand) for name, demand in demands.items()]

    def _demands(self) -> dict[WorkerName, Demand]:
        """Return how many more batches are welcome of each busy worker that does not know."""
        idle = len(self.waiting) + self.neighbours.idle
        hunger = idle + len(self.ahead)
        return self._unaware.demands(self.workers, self.waiting, hunger, idle) if hunger else {}

    def _load(self) -> tuple[int, int, int]:
        """Return how many tasks wait here, how many of them for any worker, and how many workers are idle."""
        for_any = len(self.queue.batches)
        return for_any + len(self.risky.batches), for_any, len(self.waiting)


_HANDLERS: dict[type[Message], Callable[..., list[Send]]] = {  # singledispatchmethod takes 0.7 us more for a message
    Ready: BrokerState._on_ready,
    Peers: BrokerState._on_peers,
    Request: BrokerState._on_request,
    Withdraw: BrokerState._on_request,
    Tasks: BrokerState._on_tasks,
    Results: BrokerState._on_results,
    TaskLost: BrokerState._on_task_lost,
    OutcomeLost: BrokerState._on_outcome_lost,
    WorkerDied: BrokerState._on_worker_died,
    Gone: BrokerState._on_gone,
    Steal: BrokerState._on_steal,
    Moved: BrokerState._on_moved,
    Query: BrokerState._on_question,
    QueryAnswer: BrokerState._on_answer,
    Cancel: BrokerState._on_question,
    CancelAnswer: BrokerState._on_answer,
    SetShared: BrokerState._on_set_shared,
    SharedSet: BrokerState._on_shared_set,
    GetShared: BrokerState._on_get_shared,
    Shared: BrokerState._on_shared,
    Load: BrokerState._on_load,
    Beat: BrokerState._on_beat,
    Fault: BrokerState._on_fault,
    Stop: BrokerState._on_stop,
}
