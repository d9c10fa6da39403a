"""Every message of a run, declared once.

============ =================== ====== ===============================================================================
message      from -> to          socket meaning
============ =================== ====== ===============================================================================
Hello        agent -> driver     meet   I run on this node; sent to each of the driver's addresses
Welcome      driver -> agent     meet   this address works; run this
BrokerUp     broker -> agent     main   my main socket is bound to these addresses
             agent -> driver     meet   the same, passed on
Peers        driver -> agent     meet   where these brokers are reached, from now on; which nodes are gone, or leave
             agent -> broker     main   the same, passed on
RunSize      broker -> worker    main   so many workers take tasks in the whole run now
Drained      broker -> agent     main   my node leaves, and has nothing to do any more: all that it had is elsewhere
             agent -> driver     meet   the same, passed on
Join         joiner -> driver    meet   let these nodes of another allocation take part in the run
Joined       driver -> joiner    meet   they may: start their agents, as this party
Leave        joiner -> driver    meet   my party's nodes leave, in so many seconds at the latest
             agent -> driver     meet   the same of my node: its allocation ends
             drain -> driver     meet   the same of the nodes of this name; answered by Accepted
Accepted     driver -> drain     meet   they leave
Refused      driver -> joiner    meet   they may not, because; or not yet
             driver -> drain     meet   the same
Output       agent -> driver     meet   whole lines that a worker printed, or of its trace
OutputSeen   driver -> agent     meet   so many Outputs were written; bounds those under way
Progress     agent -> driver     meet   what the program waits for, if it is here, and how many workers are busy
Accounts     agent -> driver     meet   what the workers of my node have executed so far, and which tasks failed since
Watch        driver -> agent     meet   somebody looks at the run: tell me so often what your node does; or no more
Seen         agent -> driver     meet   what the node's workers do now, and what they and the broker have done so far
Exited       agent -> driver     meet   a broker or worker ended, and how
FileLost     agent -> driver     meet   a file that the user wants, such as the log, cannot be written on my node
Gone         driver -> agents    meet   these workers, or nodes, are gone: drop their tasks, run again what they had
             agent -> broker     main   the same, passed on
GivenUp      driver -> agent     meet   your node counts as lost: end everything on it, then report anew
JoinerLost   driver -> agent     meet   the node of your joiner is lost: nobody else will end what is left of your job
LinkBroken   broker -> agent     main   there has been no connection to this peer for too long
             agent -> driver     meet   the same, passed on
WorkerDied   agent -> broker     main   a worker of yours is gone, and had begun these tasks
Fault        worker -> broker    main   I cannot go on, because
             broker -> agent     main   the same, passed on, or my own
             agent -> driver     meet   the same, passed on, or the agent's own
Interrupt    driver -> agent     meet   send this signal to the origin: the user pressed Ctrl-C, or the scheduler warns
Shutdown     driver -> agent     meet   end everything on your node; the program is told the reason first
             driver -> joiner    meet   the run ends
Bye          agent -> driver     meet   everything on my node has ended
Relay        driver -> agent     meet   pass on what other agents and I have for each other: where may they reach you?
RelayUp      agent -> driver     meet   here
UseRelay     driver -> agent     meet   what we have for each other goes by a relay from now on, if you reach it here
Relayed      agent -> driver     meet   one that I relay for sends you this
Forward      driver -> agent     meet   send this to those that you relay for
Parted       agent -> driver     meet   I have no connection any more to one that I relay for
Ready        worker -> broker    main   I am here
             agent -> broker     main   the same; answered by BrokerUp
Request      worker -> broker    main   send me up to so many tasks: I have nothing to do, or soon shall
Withdraw     worker -> broker    main   forget my last Request: I have enough to do after all; answered where I ask so
Demand       broker -> worker    main   so many more batches of your tasks are welcome
Tasks        worker <-> broker   main   tasks to be executed by their receiver, or to be passed on
             broker -> broker    main   the answer to Steal, perhaps without any; or what others were asked for
             broker -> worker    main   the answer to Withdraw, without any
Results      worker <-> broker   main   outcomes, each on the way to the owner of its future
             broker -> broker    main   the same
TaskLost     broker -> worker    main   the task has cost its last attempt; goes the way of an outcome
             broker -> broker    main   the same
OutcomeLost  worker -> broker    main   outcomes were in the memory of a process that is gone: run their tasks again
Steal        broker -> broker    main   my workers are idle: send me up to so many tasks
Query        worker -> broker    main   is this task still in a queue?
             broker -> broker    main   the same, asked of the peer that has it, as far as its owner's broker knows
             broker -> worker    main   the same, asked of a worker that may not have begun it
QueryAnswer  broker -> worker    main   it is, or it is not; goes back the way of the Query
             broker -> broker    main   the same
             worker -> broker    main   the same
Cancel       worker -> broker    main   drop this task if it is still in a queue; goes the way of a Query
             broker -> broker    main   the same
             broker -> worker    main   the same
CancelAnswer broker -> worker    main   it is dropped, or it was in no queue; goes back the way of the Cancel
             broker -> broker    main   the same
             worker -> broker    main   the same
SetShared    worker -> broker    main   from now on these shared values have these names
             broker -> broker    main   the same, on the way to broker 0
SharedSet    broker -> broker    main   they have; or there were such names already, and nothing was set
             broker -> worker    main   the same
GetShared    worker -> broker    main   send me the shared value of this name
             broker -> broker    main   the same, on the way to broker 0
Shared       broker -> broker    main   here it is, or there is none; the answer to GetShared
             broker -> worker    main   the same
Greet        broker -> broker    main   is this you? answered by Greeted if it is
             client -> broker    main   the same
Greeted      broker -> broker    main   this address works, and so many of your messages have arrived
             broker -> client    main   the same
Arrived      broker -> broker    main   so many of your messages have arrived: you need not keep them; see `numbered`
             broker <-> client   main   the same
             agent <-> driver    meet   the same
             agent -> agent      relay  the same, passed on, as is all that agent and driver have for each other
Resume       agent -> driver     meet   the connection broke: so many of your messages have arrived, send the rest again
Load         broker -> broker    main   so many tasks wait here, so many workers are idle here and behind me
Moved        broker -> broker    main   tasks of a worker of yours, which I had, are now at this broker
Beat         agent -> broker     main   do you still answer?
             agent -> driver     meet   there is a connection again: am I still part of the run, and what is new?
             agent -> agent      relay  I still relay for you
Standing     broker -> agent     main   I do, and so stand my queue and my exchange with peers; the answer to Beat
Stop         agent -> broker     main   end; passed on to the workers
Order        client -> driver    pipe   be a pool like this
Open         driver -> client    pipe   the pool works; the way to its first broker
Fault        driver -> client    pipe   the pool has ended, because
Shutdown     client -> driver    pipe   end the pool
============ =================== ====== ===============================================================================

A pool is a run without a program, for an Executor in some other process, its client. It has no origin: workers are
counted from 1 there. The client, ``"0.g1"``, sends Tasks, Query and Cancel as workers do, to the broker whose index its
name begins with. It is never asked to execute anything, because it sends no Ready and no Request.

For the names in messages see `names`. No message names its sender: its socket does.

Annotations are values here, and not the texts that ``from __future__ import annotations`` makes of them: msgspec would
compile each of these when the codec is made, which takes 5 ms of every start.
"""

from mmap import mmap
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scoop_hpc.protocol.names import (
    BROKER_PATTERN,
    MOST_NODES,
    PROCESS_PATTERN,
    WORKER_PATTERN,
    BrokerName,
    NodeIndex,
    ProcessName,
    WorkerName,
)

VERSION = 21  # raised whenever a field changes; Hello carries it

Buffer = bytes | bytearray | memoryview | mmap
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]
Serial = Annotated[int, Meta(ge=0, le=2**62)]  # of a task: it is kept in 63 bits elsewhere
Size = Annotated[int, Meta(ge=1, le=2**16)]  # of a batch of tasks: brokers count them one by one
Seconds = Annotated[float, Meta(gt=0, le=1e9)]
Duration = Annotated[float, Meta(ge=0, le=1e12)]  # seconds
Index = Annotated[NodeIndex, Meta(ge=0, lt=MOST_NODES)]
Broker = Annotated[BrokerName, Meta(pattern=BROKER_PATTERN)]
Worker = Annotated[WorkerName, Meta(pattern=WORKER_PATTERN)]  # or the client of a pool
Process = Annotated[ProcessName, Meta(pattern=PROCESS_PATTERN)]
Status = Annotated[int, Meta(ge=0, le=255)]  # of a process that has ended
Signal = Annotated[int, Meta(ge=1, le=64)]
Addresses = Annotated[tuple[str, ...], Meta(min_length=1)]  # the most promising first


class Reference(bytes):
    """A frame that stands for a large one in shared memory of the sender's machine.

    The header of a message says which frames of a batch are references; `transport.segments` makes and follows them.
    """


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The root of all messages."""


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """An attempt of a task that was lost with its worker."""

    cause: str  # worker, node and pid, and how it ended
    too_long: bool = False  # it had exceeded its time limit
    waited: bool = False  # it only waited, for others, when its worker died
    node: Index | None = None  # whose worker died in it


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """The terms on which a task is executed, where they are not the usual ones."""

    attempts: Number = 3  # that may be lost with their workers, until the task fails
    time_limit: Seconds | None = None  # seconds: after them its worker is killed
    in_time: Number = 1  # attempts that may take longer than that, until the task fails


USUAL = Terms()


class Batch(msgspec.Struct, frozen=True):
    """Tasks on their way to a worker, or outcomes on the way back: opaque to all but workers.

    ``owner`` is the worker that holds the futures. Tasks are calls of one function, numbered there from ``serial`` on,
    ``count`` of them without those in ``dropped``; outcomes are of the tasks in ``done``. ``frames`` is a pickle and
    its out-of-band buffers (PEP 574); the large among them may be of the type `Reference`.
    """

    owner: WorkerName
    serial: int
    frames: list[Buffer]
    count: int = 1
    dropped: tuple[int, ...] = ()  # serials: cancelled on the way, or in another batch since a worker was lost
    terms: Terms = USUAL
    losses: tuple[Loss, ...] = ()  # the attempts so far
    hops: int = 0  # how often a broker has sent the tasks to another
    done: tuple[int, ...] = ()  # serials, of outcomes
    positions: tuple[int, ...] = ()  # of each of the ``count`` tasks in its map, from 1 on, 0: in none; empty: all 0

    def first(self) -> int:
        """Return the lowest serial of the tasks that are to be executed: no other batch has it."""
        if not self.dropped:
            return self.serial
        dropped = set(self.dropped)
        return next(serial for serial in range(self.serial, self.serial + self.count) if serial not in dropped)

    def holds(self, owner: WorkerName, serial: int) -> bool:
        """Return whether a task is among those that are to be executed."""
        inside = self.owner == owner and self.serial <= serial < self.serial + self.count
        return inside and serial not in self.dropped

    def tasks(self) -> int:
        """Return how many tasks are to be executed.

        >>> from scoop_hpc.protocol.names import ORIGIN
        >>> Batch(ORIGIN, 1, [], count=3, dropped=(2,)).tasks()
        2
        """
        return self.count - len(self.dropped)


class Hello(Message, frozen=True):
    version: int
    python: str  # "3.11": pickles and code objects must agree
    node: str
    host: str
    pid: Number
    cpus: Number  # that the process may use: len(os.sched_getaffinity(0))
    party: Count = 0  # of the allocation that brought the node, as of Joined; 0: the run's own


class Curve(msgspec.Struct, frozen=True):
    """The keys of a run, Z85: one pair of the listening side, one of the dialling side (RFC 26/CurveZMQ)."""

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str


class Program(msgspec.Struct, frozen=True):
    """The program that the origin runs and every worker imports, in the bytes of the operating system [os.fsencode]."""

    path: bytes
    arguments: tuple[bytes, ...]
    directory: bytes
    environ: dict[bytes, bytes]
    is_module: bool = False  # *path* is the dotted name of a module, to be found and run as by `python -m`


class Pool(msgspec.Struct, frozen=True):
    """The client's settings for the workers of its pool."""

    modules: tuple[bytes, ...]  # where they are found: the client's sys.path
    initializer: tuple[bytes, ...] | None  # frames of a call, for each worker to make before its first task
    breaks: bool = False  # it ends when a worker dies


class Welcome(Message, frozen=True):
    node: Index
    workers: Count
    size: Count  # workers of the whole run
    program: Program
    nodes: tuple[str, ...]  # names, by index
    curve: Curve | None  # of the federation; None if all brokers are on this machine
    directory: str | None  # for the sockets of all nodes, if all are on the driver's machine
    inherit: tuple[int, ...]  # the standard streams that the origin shares with the driver
    driver: str  # a description of the driver, for the error when it is dead
    record: str | None  # the run's record file
    attempt: str  # stands in the record, to tell this run from another of the same job
    driver_process: str  # see `proc.identity`
    driver_pid: Number
    complaints: str | None  # the file behind the driver's stderr, if it is a file
    pool: Pool | None = None  # instead of a program to run
    grace: Seconds = 60.0  # without a connection between two brokers, until one of their nodes is given up
    progress: Seconds | None = None  # between two messages of that kind at least; None: they are not wanted
    terminals: tuple[int, ...] = ()  # the standard streams of which the origin gets terminals of its own
    accounts: Seconds = 30.0  # between two messages of that kind, unless a task has failed
    first_rank: Count = 0  # of the node's workers
    ranks: Number = 1  # workers that the run was planned with: those of nodes that are lost, or late, are counted
    party: Count = 0  # as in Hello

    def is_alone(self) -> bool:
        """Return whether the origin is the only process that executes tasks."""
        return self.pool is None and self.size == 1

    def processes(self) -> int:
        """Return how many processes the node has that are workers to its broker: the origin is no worker else."""
        has_origin = self.pool is None and self.node == 0
        return self.workers + int(has_origin and not self.is_alone())


class BrokerUp(Message, frozen=True):
    node: Index
    main: Addresses
    workers: Count = 0  # of the node


class Peers(Message, frozen=True):
    brokers: tuple[BrokerUp, ...]  # beside those that are known
    gone: tuple[Index, ...] = ()  # nodes
    leaving: tuple[Index, ...] = ()  # nodes that take no more tasks, and hand back those that wait there
    left: tuple[Index, ...] = ()  # nodes that have left with nothing to do


class RunSize(Message, frozen=True):
    workers: Number


class Drained(Message, frozen=True):
    pass


class JoiningNode(msgspec.Struct, frozen=True, array_like=True):
    """A node of another allocation than the run's own."""

    name: str
    workers: Count | None  # None: as many as it has CPUs


class Join(Message, frozen=True):
    version: int
    job: str  # that the nodes are of; empty: they are of none
    host: str
    pid: Number
    nodes: Annotated[tuple[JoiningNode, ...], Meta(min_length=1)]


class Joined(Message, frozen=True):
    party: Number


class Leave(Message, frozen=True):
    within: Seconds | None = None  # after which what still runs there is executed again elsewhere; None: no limit
    node: str = ""  # its name; empty: that of the agent that says so, or all of the joiner's
    why: str = ""


class Accepted(Message, frozen=True):
    nodes: tuple[str, ...]
    running: Count  # workers there, that may execute tasks


class Refused(Message, frozen=True):
    reason: str
    is_early: bool = False  # it may be asked again soon


class Output(Message, frozen=True):
    worker: Process  # or broker
    stream: Annotated[int, Meta(ge=1, le=3)]  # 3: the trace
    text: bytes


class OutputSeen(Message, frozen=True):
    count: Count


class Awaited(msgspec.Struct, frozen=True, array_like=True):
    """Calls that the program has made, or items of its maps, which are waited for together."""

    number: Number  # of all that was waited for in this run
    label: str  # the program's; empty: it has given none
    total: Count | None  # None: it is not known yet
    done: Count  # failed ones among them
    failed: Count


class Progress(Message, frozen=True):
    busy: Count  # workers of the node that execute tasks
    awaited: tuple[Awaited, ...] = ()


class FunctionAccount(msgspec.Struct, frozen=True, array_like=True):
    """The calls of one function that have ended, wherever on a node.

    The seconds are those of the function itself: without waits for other tasks, and without tasks that ran meanwhile.
    """

    name: str
    count: Count  # failed ones among them
    failed: Count
    repeated: Count  # after an exception, as ``retries`` says, or begun by a worker that died in it
    total: Duration
    longest: Duration  # of short items of a map, the average of those that were timed together
    durations: tuple[tuple[Count, Count], ...]  # see `histogram`


class WorkerAccount(msgspec.Struct, frozen=True, array_like=True):
    """The time of one worker, in seconds before the message was sent."""

    name: Worker
    own: Duration  # with the functions of tasks
    busy: Duration  # with tasks in its event loop, and with what it takes to unpack and pack them
    began: Duration | None = None  # since its first task began; None: it had none
    ended: Duration | None = None  # since its last task ended


class FailedTask(msgspec.Struct, frozen=True, array_like=True):
    """A task that has raised an exception."""

    function: str
    position: Count | None  # among the items of its map, from 1 on; None: it was submitted by itself
    arguments: str  # shortened
    error: str  # the last line of the traceback
    traceback: str  # shortened
    worker: Worker
    attempt: Number
    time: Duration  # in seconds since the epoch, by the clock of its node


class Accounts(Message, frozen=True):
    functions: tuple[FunctionAccount, ...]  # all since the beginning of the run
    workers: tuple[WorkerAccount, ...]  # the same; those that died, too
    failures: tuple[FailedTask, ...] = ()  # since the last message
    lost: Count = 0  # other tasks that had begun when their workers died: they are executed again, or have failed
    memory: Count = 0  # bytes of the processes of the node, at their most
    memory_limit: Count = 0  # bytes that they may have together


class Watch(Message, frozen=True):
    interval: Seconds | None  # between two Seen at least; None: nobody looks any more


class WorkerSeen(msgspec.Struct, frozen=True, array_like=True):
    """A worker, or the origin, as its agent sees it."""

    name: Worker
    pid: Number
    state: Literal["starting", "idle", "busy", "waiting"]  # waiting: its tasks have begun, and wait for others
    task: str  # the function that it executes, or has executed last; empty: it is not known
    since: Duration  # seconds that it is in this state, with this task
    done: Count  # tasks of others; a chunk of a map is one
    cpu: Duration | None  # percent of a CPU, since the look before; None: that cannot be told
    memory: Count  # bytes that are resident


class Standing(Message, frozen=True):
    queued: Count  # batches of tasks that wait here
    stolen: Count  # tasks that have come from peers, since the beginning
    given: Count  # tasks that peers have stolen
    repeated: Count  # tasks that were queued again, for their worker or node was lost


class Gpu(msgspec.Struct, frozen=True, array_like=True):
    """A GPU of a node."""

    name: str
    percent: Duration  # of the time that it computes
    memory: Count  # bytes in use
    memory_limit: Count


class Seen(Message, frozen=True):
    workers: tuple[WorkerSeen, ...]
    done: Count  # tasks, also of workers that have died
    standing: Standing | None = None  # the broker's; None: it has not answered yet
    memory: Count = 0  # bytes, of all processes of the run here
    memory_limit: Count | None = None  # bytes that they may have; None: as many as there are
    gpus: tuple[Gpu, ...] = ()


class Exited(Message, frozen=True):
    name: Process  # of a broker or worker
    pid: Number
    status: Annotated[int, Meta(ge=-64, le=255)]  # as os.waitstatus_to_exitcode: negative for a signal
    out_of_memory: bool  # the kernel killed it for that, says its cgroup
    own_end: bool  # it meant to end; else it was killed, or something called exit() in it
    task: str = ""  # the function that it executed, and which attempt that was
    is_too_long: bool = False  # it was killed because a task had exceeded its time limit
    is_replaced: bool = False  # another worker was started in its place
    was_stopped: bool = False  # it was killed because it had been stopped for long
    may_be_node: bool = False  # it died in the first task that it began, which no other node has tried


class TaskId(msgspec.Struct, frozen=True, array_like=True):
    """A task of somebody: its name in a run."""

    owner: Worker
    serial: Serial


class WorkerDied(Message, frozen=True):
    name: Worker
    cause: str
    begun: tuple[TaskId, ...]  # the task that ran; all that had begun, if it was the worker's own
    too_long: tuple[TaskId, ...] = ()  # of these, the ones that had exceeded their time limits: they are to blame
    is_replaced: bool = False
    waited: tuple[TaskId, ...] = ()  # the others that had begun: it was hardly their fault


class Gone(Message, frozen=True):
    workers: tuple[Worker, ...] = ()
    nodes: tuple[Index, ...] = ()
    cause: str = ""  # of the nodes' loss, for the errors of tasks
    left: tuple[Index, ...] = ()  # nodes that have left with nothing to do: nothing of theirs is lost


class GivenUp(Message, frozen=True):
    pass


class JoinerLost(Message, frozen=True):
    pass


class FileLost(Message, frozen=True):
    what: str  # which one, and why


class LinkBroken(Message, frozen=True):
    peer: Broker


class Moved(Message, frozen=True):
    owner: Worker
    serials: tuple[Serial, ...]
    to: Broker
    hops: Number  # of the tasks: of two that cross, the higher counts
    losses: tuple[Loss, ...] = ()  # of the tasks


class TaskLost(Message, frozen=True):
    owner: Worker
    serials: tuple[Serial, ...]
    losses: tuple[Loss, ...]
    time_limit: Seconds | None = None  # that it has exceeded at last


class OutcomeLost(Message, frozen=True):
    owner: Worker
    serials: tuple[Serial, ...]


class Fault(Message, frozen=True):
    reason: str
    status: Status = 1  # the exit status of the run
    of_node: bool = False  # it is a matter of the agent's node: the others can do without it
    traceback: str = ""  # the program's, as a worker imported it: to be shown once, before the reason


class Interrupt(Message, frozen=True):
    signal: Signal  # that the origin gets: SIGINT, SIGUSR1 or SIGUSR2


class Shutdown(Message, frozen=True):
    signal: Signal | None = None  # that the origin gets first, if it still runs
    reason: str = ""  # for the program, which has some time then; without, and without a signal, all ends at once


class Bye(Message, frozen=True):
    pass


class Ready(Message, frozen=True):
    pass


class Request(Message, frozen=True):
    count: Number
    number: Number = 1  # of this worker's requests: the answer carries it, so that an old answer is known as such
    idle: bool = True  # nothing to do; else there is still something, but not for long
    begun: Count = 0  # tasks of all that came to this worker so far: the others may yet be cancelled


class Withdraw(Message, frozen=True):
    begun: Count = 0  # as in Request
    number: Number | None = None  # as in Request, where an answer is wanted: it says that nothing more is under way


class Demand(Message, frozen=True):
    count: Count  # batches
    idle: Count = 0  # of these for workers that are idle, not only soon to be


class Tasks(Message, frozen=True):
    batches: list[Batch]
    answer: Number | None = None  # the number of the Request that this answers
    wanted: Demand | None = None  # by the broker that sends them to a worker


class Results(Message, frozen=True):
    batches: list[Batch]
    request: Request | Withdraw | None = None  # of the worker that sends them to its broker
    wanted: Demand | None = None  # by the broker that sends them to their owner


class Steal(Message, frozen=True):
    count: Count
    for_origin: bool = False  # only tasks that the origin may have: not those that have cost a worker


class Query(Message, frozen=True):
    owner: Worker
    serial: Serial
    number: Number  # of the owner's questions


class QueryAnswer(Message, frozen=True):
    owner: Worker
    serial: Serial
    number: Number
    is_queued: bool


class Cancel(Message, frozen=True):
    owner: Worker
    serial: Serial
    number: Number | None = None  # of the owner's questions; None: no answer is wanted


class CancelAnswer(Message, frozen=True):
    owner: Worker
    serial: Serial
    number: Number | None
    is_dropped: bool


class SetShared(Message, frozen=True):
    owner: Worker  # the worker that sets them
    number: Number | None  # of the owner's questions; None: no answer is wanted
    values: dict[str, bytes]  # pickles


class SharedSet(Message, frozen=True):
    owner: Worker
    number: Number
    clashes: tuple[str, ...]  # names that were taken before; if there are any, nothing was set


class GetShared(Message, frozen=True):
    name: str
    number: Number | None  # of a worker's questions; a broker asks its parent without one
    wait: bool  # until there is a value of this name


class Shared(Message, frozen=True):
    name: str
    number: Number | None  # of the question
    value: bytes | None  # a pickle; None: there is no value of this name


class Greet(Message, frozen=True):
    to: Broker  # the broker that is meant: an address may lead to another one
    attempt: Count  # of the sender's attempts to find it
    arrived: Count = 0  # as in Arrived; only a client gets messages by this way


class Greeted(Message, frozen=True):
    attempt: Count  # the same
    arrived: Count = 0  # as in Arrived


class Arrived(Message, frozen=True):
    count: Count  # messages, from the first one on without a gap


class Resume(Message, frozen=True):
    arrived: Count  # as in Arrived
    attempt: Count = 0  # of the agent to have a connection: what says less than the last one was held up on its way


class Relay(Message, frozen=True):
    pass


class RelayUp(Message, frozen=True):
    address: str


class UseRelay(Message, frozen=True):
    address: str


class Relayed(Message, frozen=True):
    agent: str  # that it comes from
    frame: bytes


class Addressee(msgspec.Struct, frozen=True, array_like=True):
    """An agent that a message is forwarded to."""

    agent: str
    number: Count  # of the message, see `numbered`; 0: it has none


class Forward(Message, frozen=True):
    to: tuple[Addressee, ...]
    frame: bytes


class Parted(Message, frozen=True):
    agent: str


class Load(Message, frozen=True):
    queued: Count
    idle: Count


class Known(msgspec.Struct, frozen=True, array_like=True):
    """How many nodes and workers an agent knows to be part of the run, or not any more."""

    up: Count  # nodes whose brokers take part
    lost: Count  # nodes
    leaving: Count
    left: Count
    dead: Count  # workers


class Beat(Message, frozen=True):
    known: Known | None = None  # to the driver: what need not be told again


class Stop(Message, frozen=True):
    pass


class Order(Message, frozen=True):
    workers: int | None  # None: as many as fit
    arguments: tuple[bytes, ...]  # the client's sys.argv
    pool: Pool


class Open(Message, frozen=True):
    workers: int
    broker: BrokerUp
    curve: Curve | None  # None if the broker is reached by ipc


MESSAGES = (
    Hello, Welcome, BrokerUp, Peers, RunSize, Drained, Join, Joined, Leave, Accepted, Refused,
    Output, OutputSeen, Progress, Accounts, Watch, Seen, Exited, FileLost, Fault, Interrupt,
    Shutdown, Bye, Relay, RelayUp, UseRelay, Relayed, Forward, Parted,
    Gone, GivenUp, JoinerLost, LinkBroken, Moved, WorkerDied, TaskLost, OutcomeLost,
    Ready, Request, Withdraw, Demand, Tasks, Results, Steal, Query, QueryAnswer, Cancel, CancelAnswer,
    SetShared, SharedSet, GetShared, Shared, Greet, Greeted, Arrived, Resume, Load, Beat, Standing, Stop,
    Order, Open,
)  # fmt: skip
