"""The decisions of a node's agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from signal import SIGINT, SIGKILL, SIGTERM

import msgspec
import pytest
from msgspec.structs import replace

from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import Event, Observers
from scoop_hpc.protocol.messages import (
    Accounts,
    Awaited,
    Beat,
    BrokerUp,
    Bye,
    Drained,
    Exited,
    Fault,
    GivenUp,
    Gone,
    Hello,
    Interrupt,
    JoinerLost,
    Known,
    Leave,
    LinkBroken,
    Message,
    Peers,
    Pool,
    Program,
    Progress,
    Ready,
    Relay,
    Seen,
    Shutdown,
    Standing,
    Stop,
    TaskId,
    Watch,
    Welcome,
    WorkerDied,
    WorkerSeen,
)
from scoop_hpc.protocol.names import ORIGIN, BrokerName, NodeIndex, WorkerName, broker_name, worker_name
from scoop_hpc.run.agent_state import (
    Action,
    AgentState,
    CloseRelay,
    ConnectBroker,
    Fork,
    InspectDriver,
    KillAll,
    KillDriver,
    LeaveWord,
    LookAtAccounts,
    LookAtProcesses,
    LookAtProgress,
    LookAtWorkers,
    OpenRelay,
    Phase,
    Signal,
    Tell,
    TellBroker,
    TellProgram,
    Unfinished,
)
from scoop_hpc.run.policy import AgentPolicy
from scoop_hpc.transport.begun import BegunTask
from scoop_hpc.transport.notice import REMINDER

FIRST, SECOND = NodeIndex(0), NodeIndex(1)
BROKER, WORKER, OTHER = broker_name(FIRST), worker_name(FIRST, 1), worker_name(FIRST, 2)
STANDING = Standing(3, 2, 1, 0)
UP = BrokerUp(FIRST, ("main",))
WELCOME = Welcome(
    node=FIRST,
    workers=2,
    size=3,
    program=Program(b"p.py", (), b"/", {}),
    nodes=("n1", "n2"),
    curve=None,
    directory="/tmp/d",
    inherit=(),
    driver="the driver (pid 7) on head",
    record=None,
    attempt="",
    driver_process="",
    driver_pid=7,
    complaints=None,
)


@dataclass
class Node:
    """An agent's state, the time, its children, and all that it has asked for."""

    welcome: Welcome = WELCOME
    now: float = 0.0
    done: list[Action] = field(default_factory=list)
    observed: list[Event] = field(default_factory=list)
    pids: dict[BrokerName | WorkerName, int] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)
    driver_is_stopped: bool = False
    driver_is_gone: bool = True  # when it is looked for

    def __post_init__(self) -> None:
        self.state = AgentState("n1", self.welcome, observers=Observers([self.observed.append]))

    @property
    def phase(self) -> Phase:
        return self.state.phase

    def do(self, actions: list[Action]) -> list[Action]:
        """Carry out *actions* that start or look; return them all."""
        self.done += actions
        for action in actions:
            if isinstance(action, Fork):
                self.pids[action.name] = 100 + len(self.pids)
                self.state.started(action.name, self.pids[action.name])
            elif isinstance(action, LookAtProcesses):
                self.do(self.state.looked(self.stopped))
            elif isinstance(action, InspectDriver):
                self.do(self.state.driver_inspected(self.driver_is_stopped, self.driver_is_gone, self.now))
        return actions

    def begin(self) -> Node:
        """Start everything, as far as the origin."""
        self.do(self.state.start(self.now))
        self.broker(UP)
        self.driver(Peers((UP,)))
        return self

    def driver(self, message: Message) -> list[Action]:
        return self.do(self.state.hear_driver(message, self.now))

    def broker(self, message: Message) -> list[Action]:
        return self.do(self.state.hear_broker(message, self.now))

    def exit(self, name: BrokerName | WorkerName, status: int = 0, own_end: bool = True) -> list[Action]:
        return self.do(self.state.exited(self.pids[name], status, self.now, False, own_end))

    def wait(self, seconds: float) -> list[Action]:
        """Let *seconds* pass, from one time that something is due to the next; return what was done."""
        until, before = self.now + seconds, len(self.done)
        while (due := self.state.deadline()) is not None and due <= until:
            self.now = due
            self.do(self.state.pass_time(due))
        self.now = until
        self.do(self.state.pass_time(until))
        return self.done[before:]


@pytest.fixture
def node() -> Node:
    return Node().begin()


@pytest.fixture
def other() -> Node:
    """Return a node that is not the first, on another machine than the driver."""
    return Node(msgspec.structs.replace(WELCOME, node=SECOND, directory=None)).begin()


def faults(node: Node) -> list[str]:
    told = [action.message for action in node.done if isinstance(action, Tell)]
    return [message.reason for message in told if isinstance(message, Fault)]


def test_broker_is_first_and_the_origin_comes_when_all_brokers_are_known() -> None:
    node = Node()
    forks = [Fork(BROKER), Fork(WORKER, 0), Fork(OTHER, 1)]
    assert node.do(node.state.start(0.0)) == [*forks, ConnectBroker(), TellBroker(Ready())]
    assert node.broker(UP) == [Tell(UP)]
    peers = Peers((UP,))
    assert node.driver(peers) == [TellBroker(peers), Fork(ORIGIN)]
    assert node.driver(peers) == [TellBroker(peers)]


def test_other_nodes_have_no_origin() -> None:
    node = Node(msgspec.structs.replace(WELCOME, node=NodeIndex(1)))
    forks = [action.name for action in node.do(node.state.start(0.0)) if isinstance(action, Fork)]
    assert forks == ["1", "1.0", "1.1"]
    assert node.driver(Peers((UP,))) == [TellBroker(Peers((UP,)))]


def test_pool_has_no_origin() -> None:
    node = Node(msgspec.structs.replace(WELCOME, pool=Pool((), ()))).begin()
    assert list(node.pids) == ["0", "0.1", "0.2"]


def test_exit_is_told_to_the_driver_with_what_is_known_of_it(node: Node) -> None:
    pid = node.pids[BROKER]
    assert node.do(node.state.exited(pid, -9, 1.0, True, False)) == [Tell(Exited(BROKER, pid, -9, True, False))]


def test_the_only_worker_is_the_origin() -> None:
    node = Node(msgspec.structs.replace(WELCOME, workers=1, size=1)).begin()
    assert list(node.pids) == ["0", "0.0"]


def test_another_worker_takes_the_place_of_one_that_dies(node: Node) -> None:
    pid = node.pids[WORKER]
    unfinished = Unfinished((BegunTask(ORIGIN, 5, 2, 1, 0), BegunTask(OTHER, 1, 1, 0, 0)), "simulate", 3, 0)
    broker, fork, driver = node.do(node.state.exited(pid, -11, 1.0, False, False, unfinished))
    cause = f"worker 0.1 (pid {pid}) on n1 died: killed by SIGSEGV"
    begun = TaskId(ORIGIN, 5), TaskId(ORIGIN, 6), TaskId(OTHER, 1)
    assert broker == TellBroker(WorkerDied(WORKER, cause, begun, is_replaced=True))
    assert fork == Fork(worker_name(FIRST, 3), 0)  # its own name is never used again
    task = "simulate(), attempt 2"
    assert driver == Tell(Exited(WORKER, pid, -11, False, False, task, is_replaced=True))


def blames_node(node: Node, index: int, *tasks: BegunTask, ended: int = 0, time: int = 0) -> bool:
    """Let the worker of this *index* die in *tasks*; return whether the driver hears that the node may be to blame."""
    pid = node.pids[worker_name(FIRST, index)]
    died = Unfinished(tasks, "simulate", ended, time)
    *_, told = node.do(node.state.exited(pid, -SIGKILL, 1.0, False, False, died))
    assert isinstance(told, Tell)
    assert isinstance(told.message, Exited)
    return told.message.may_be_node


def test_worker_may_die_of_a_signal_that_has_no_name(node: Node) -> None:
    pid = node.pids[WORKER]
    broker, fork, _ = node.do(node.state.exited(pid, -35, 1.0, False, False, Unfinished(ended=1)))
    cause = f"worker 0.1 (pid {pid}) on n1 died: killed by signal 35"
    assert broker == TellBroker(WorkerDied(WORKER, cause, (), is_replaced=True))
    assert fork == Fork(worker_name(FIRST, 3), 0)


def test_worker_that_cannot_be_started_in_the_place_of_a_dead_one_is_tried_again(node: Node) -> None:
    name = worker_name(FIRST, 3)
    node.state.exited(node.pids[WORKER], -SIGKILL, 1.0, False, False, Unfinished(ended=1))
    assert node.state.starts_later(name, 1.0)
    assert Fork(name) not in node.state.pass_time(1.0)
    assert node.state.deadline() == 1.0 + AgentPolicy().start_pause
    assert Fork(name) in node.state.pass_time(1.0 + AgentPolicy().start_pause)
    assert node.state.starts_later(name, 2.0)
    assert not node.state.starts_later(name, 1.0 + AgentPolicy().start_within)  # nor will there be what it takes
    node.state.started(name, 99)
    assert Fork(name) not in node.state.pass_time(3.0)


def test_worker_that_cannot_be_started_at_first_is_not_tried_again(node: Node) -> None:
    assert not node.state.starts_later(worker_name(FIRST, 1), 1.0)
    assert not node.state.starts_later(ORIGIN, 1.0)
    assert not node.state.starts_later(BROKER, 1.0)


def test_node_may_be_to_blame_for_deaths_in_tasks_that_have_cost_no_worker_elsewhere(node: Node) -> None:
    assert blames_node(node, 1, BegunTask(ORIGIN, 5, 1, 0, 0))
    assert blames_node(node, 3, BegunTask(ORIGIN, 5, 1, 1, 0))  # a second time here
    assert not blames_node(node, 4, BegunTask(ORIGIN, 5, 1, 3, 0))  # and once elsewhere
    assert not blames_node(node, 5, BegunTask(ORIGIN, 6, 1, 1, 0))
    assert not blames_node(node, 6, BegunTask(ORIGIN, 7, 1, 0, 0), ended=1)
    assert not blames_node(node, 7, BegunTask(ORIGIN, 8, 1, 0, 99), time=100)  # its time was over
    assert not blames_node(node, 8)


def test_the_share_of_a_dead_worker_is_that_of_the_one_in_its_place(node: Node) -> None:
    node.exit(OTHER, -9, own_end=False)
    node.exit(worker_name(FIRST, 3), -9, own_end=False)
    forks = [action for action in node.done if isinstance(action, Fork)]
    assert forks[-2:] == [Fork(worker_name(FIRST, 3), 1), Fork(worker_name(FIRST, 4), 1)]


def test_task_that_took_too_long_is_alone_to_blame(node: Node) -> None:
    pid = node.pids[WORKER]
    late = BegunTask(ORIGIN, 6, 1, 0, 99)
    unfinished = Unfinished((BegunTask(ORIGIN, 5, 1, 0, 0), late), "simulate", 3, 100)
    broker, _, driver = node.do(node.state.exited(pid, -SIGKILL, 1.0, False, False, unfinished))
    assert isinstance(broker, TellBroker)
    assert isinstance(broker.message, WorkerDied)
    assert broker.message.too_long == (TaskId(ORIGIN, 6),)
    assert broker.message.cause == f"worker 0.1 (pid {pid}) on n1 was killed: a task exceeded its time limit"
    assert isinstance(driver, Tell)
    assert isinstance(driver.message, Exited)
    assert driver.message.is_too_long


def test_workers_that_die_without_a_task_are_not_replaced_for_ever(node: Node) -> None:
    replaced = []
    for index in (1, 3, 4):
        actions = node.exit(worker_name(FIRST, index), -9, own_end=False)
        replaced.append(any(isinstance(action, Fork) for action in actions))
    assert replaced == [True, True, False]


def test_death_at_the_end_is_no_loss(node: Node) -> None:
    node.driver(Shutdown())
    assert not any(isinstance(action, Fork) for action in node.exit(WORKER, -9, own_end=False))


def test_fault_of_a_worker_is_passed_on(node: Node) -> None:
    assert node.broker(Fault("no guard", 2)) == [Tell(Fault("no guard", 2))]


@pytest.mark.parametrize("message", [Hello(1, "3.11", "n1", "h", 7, 4), Ready(), Stop(), Bye()], ids=repr)
def test_message_without_a_meaning_here_is_an_error(node: Node, message: Message) -> None:
    for hear in (node.driver, node.broker):
        with pytest.raises(ProtocolError):
            hear(message)


def test_agent_that_cannot_go_on_tells_why_and_ends_all(node: Node) -> None:
    node.exit(ORIGIN)
    actions = node.do(node.state.fail("the driver sent nonsense", 1, 0.0))
    assert actions == [Tell(Fault("node n1: the driver sent nonsense", 1, of_node=True)), TellBroker(Stop())]


def test_agent_that_cannot_go_on_tells_the_program_first(node: Node) -> None:
    node.do(node.state.fail("the driver sent nonsense", 1, 0.0))
    assert TellProgram(node.pids[ORIGIN], "the driver sent nonsense") in node.done
    assert TellBroker(Stop()) not in node.done


def test_interrupt_is_for_the_origin(node: Node) -> None:
    assert node.driver(Interrupt(SIGINT)) == [Signal(node.pids[ORIGIN], SIGINT)]
    node.exit(ORIGIN)
    assert node.driver(Interrupt(SIGINT)) == []


# children that hang


def test_child_that_is_stopped_for_too_long_is_told_of_once(node: Node) -> None:
    node.stopped = {node.pids[ORIGIN]}
    node.wait(19)
    assert faults(node) == []
    node.wait(20)
    pid = node.pids[ORIGIN]
    assert faults(node) == [f"origin (pid {pid}) on n1 has been stopped for 20 s, by SIGSTOP or the like"]


def test_worker_that_is_stopped_for_too_long_is_killed_and_replaced(node: Node) -> None:
    pid = node.pids[WORKER]
    node.stopped = {pid}
    assert Signal(pid, SIGKILL) not in node.wait(19)
    assert Signal(pid, SIGKILL) in node.wait(20)
    assert faults(node) == []
    broker, fork, driver = node.exit(WORKER, -SIGKILL)
    assert isinstance(broker, TellBroker)
    assert isinstance(broker.message, WorkerDied)
    assert "was killed: it had been stopped for long, by SIGSTOP" in broker.message.cause
    assert isinstance(fork, Fork)
    assert isinstance(driver, Tell)
    assert isinstance(driver.message, Exited)
    assert (driver.message.was_stopped, driver.message.is_replaced) == (True, True)


def test_child_that_goes_on_in_time_is_not(node: Node) -> None:
    for _ in range(3):
        node.stopped = {node.pids[WORKER]}
        node.wait(18)
        node.stopped = set()
        node.wait(2)
    assert faults(node) == []


def test_broker_that_does_not_answer_is_told_of(node: Node) -> None:
    assert TellBroker(Beat()) in node.wait(4)
    node.wait(56)
    assert faults(node) == []
    node.wait(4)
    assert faults(node) == ["broker 0 (pid 100) on n1 has not answered for 60 s"]


def test_broker_that_answers_is_asked_again(node: Node) -> None:
    for _ in range(30):
        assert TellBroker(Beat()) in node.wait(4)
        node.broker(STANDING)
    assert faults(node) == []


def test_broker_that_is_not_up_yet_is_not_asked() -> None:
    node = Node()
    node.do(node.state.start(0.0))
    assert TellBroker(Beat()) not in node.wait(120)


def test_run_that_was_suspended_for_an_hour_goes_on(node: Node) -> None:
    node.now += 3600  # nobody looked meanwhile
    node.stopped = {node.pids[WORKER]}
    node.do(node.state.pass_time(node.now))
    node.stopped = set()
    node.broker(STANDING)
    node.wait(10)
    assert (faults(node), node.phase) == ([], Phase.SERVING)


# a node that is given up


def test_news_of_lost_nodes_and_broken_links_is_passed_on(node: Node) -> None:
    gone = Gone(nodes=(SECOND,), cause="node n2 was lost")
    assert node.driver(gone) == [TellBroker(gone)]
    assert node.broker(LinkBroken(broker_name(1))) == [Tell(LinkBroken(broker_name(1)))]


def test_node_that_is_given_up_ends_all_and_is_to_return(other: Node) -> None:
    assert other.driver(GivenUp()) == [TellBroker(Stop())]
    assert other.driver(GivenUp()) == []  # one for each message that was under way
    other.wait(0.3)
    for name in list(other.pids):
        other.exit(name, -SIGKILL, own_end=False)
    assert (other.phase, other.state.is_to_return) == (Phase.OVER, True)


def test_node_that_is_to_end_for_good_does_not_return(other: Node) -> None:
    other.driver(Shutdown())
    other.driver(GivenUp())
    assert not other.state.is_to_return
    late = Node(msgspec.structs.replace(WELCOME, node=SECOND)).begin()
    late.driver(GivenUp())
    late.driver(Shutdown())
    assert not late.state.is_to_return


def test_agent_that_cannot_go_on_does_not_return(other: Node) -> None:
    other.do(other.state.fail("cannot start a worker", 2, 0.0))
    other.driver(GivenUp())
    assert not other.state.is_to_return


def test_workers_of_a_broker_that_died_are_not_replaced(other: Node) -> None:
    other.exit(broker_name(1), -11, own_end=False)
    assert not any(isinstance(action, Fork) for action in other.exit(worker_name(1, 0), 1, own_end=False))
    assert TellBroker(Beat()) not in other.wait(120)
    assert faults(other) == []


def test_agent_asks_what_became_of_its_node_when_it_is_connected_again(other: Node) -> None:
    assert other.state.connected(False, other.now) == []
    other.wait(1)
    assert other.state.connected(True, other.now) == [Tell(Beat(Known(1, 0, 0, 0, 0)))]
    assert other.state.connected(True, other.now) == []


def test_node_that_has_lost_the_driver_looks_for_it_again_unless_it_is_the_first(node: Node, other: Node) -> None:
    for each in (node, other):
        each.state.connected(False, each.now)
        each.wait(30)
        assert each.phase is Phase.OVER
    assert (node.state.is_to_return, other.state.is_to_return) == (False, True)


def test_agent_relays_until_it_has_no_way_to_the_driver_itself(other: Node) -> None:
    assert other.driver(Relay()) == [OpenRelay()]
    assert other.do(other.state.connected(False, other.now)) == [CloseRelay()]
    other.do(other.state.connected(True, other.now))
    assert other.do(other.state.connected(False, other.now)) == []
    assert other.driver(Relay()) == [OpenRelay()]  # once it is asked again


def test_agent_knows_that_its_joiner_is_lost(other: Node) -> None:
    assert not other.state.has_lost_joiner
    assert other.driver(JoinerLost()) == []
    assert (other.state.has_lost_joiner, other.phase) == (True, Phase.SERVING)


@pytest.mark.parametrize("end", [GivenUp(), Shutdown()])
def test_agent_relays_while_all_end_but_not_when_its_node_is_given_up(other: Node, end: Message) -> None:
    other.driver(Relay())
    assert (CloseRelay() in other.driver(end)) == isinstance(end, GivenUp)
    assert other.driver(Relay()) == []  # it is about to leave


def test_agent_that_cannot_go_on_relays_no_more(other: Node) -> None:
    other.driver(Relay())
    assert CloseRelay() in other.do(other.state.fail("no memory", 1, other.now))


# the end


def test_end_without_a_signal_stops_idle_workers_then_kills(node: Node) -> None:
    assert node.driver(Shutdown()) == [TellBroker(Stop())]
    assert node.wait(0.2) == []
    assert node.wait(0.1) == [KillAll()]
    for name in (ORIGIN, WORKER, OTHER, BROKER):
        assert node.phase is Phase.KILLING
        node.exit(name, -SIGKILL, own_end=False)
    assert node.phase is Phase.OVER


def test_end_is_over_as_soon_as_all_have_ended(node: Node) -> None:
    node.exit(ORIGIN)
    node.driver(Shutdown())
    node.exit(WORKER)
    node.exit(OTHER)
    assert node.exit(BROKER)[-1] == KillAll()  # what tasks have started is left
    assert node.phase is Phase.OVER


def test_end_waits_for_nobody_that_cannot_be_killed(node: Node) -> None:
    node.driver(Shutdown())
    node.wait(0.3 + 2.0)
    assert node.phase is Phase.OVER


def said(node: Node) -> list[tuple[float, Action]]:
    """Let all time pass; return what was said to the origin or its broker, and when."""
    words: list[tuple[float, Action]] = []
    start = node.now
    while node.phase is not Phase.OVER:
        due = node.state.deadline()
        assert due is not None
        node.now = due
        actions = node.do(node.state.pass_time(due))
        words += [(round(due - start, 2), each) for each in actions if isinstance(each, TellProgram | TellBroker)]
        words += [
            (round(due - start, 2), each) for each in actions if isinstance(each, Signal) and each.number != REMINDER
        ]
    return words


def test_program_is_told_then_gets_sigterm_then_is_killed(node: Node) -> None:
    origin = node.pids[ORIGIN]
    assert node.driver(Shutdown(None, "why")) == [TellProgram(origin, "why"), Signal(origin, REMINDER)]
    assert node.phase is Phase.TOLD
    assert said(node) == [(2.0, Signal(origin, SIGTERM)), (5.0, TellBroker(Stop()))]


def test_program_that_gets_a_signal_first_is_told_afterwards(node: Node) -> None:
    origin = node.pids[ORIGIN]
    node.driver(Shutdown(SIGTERM, "its walltime was over"))
    assert said(node) == [
        (0.1, Signal(origin, SIGTERM)),
        (2.1, TellProgram(origin, "its walltime was over")),
        (5.0, TellBroker(Stop())),
    ]


def test_program_that_ctrl_c_does_not_end_has_its_time_from_then_on(node: Node) -> None:
    origin = node.pids[ORIGIN]
    node.driver(Interrupt(SIGINT))
    node.wait(2)
    node.driver(Shutdown(SIGTERM, "interrupted"))
    words = said(node)
    assert words == [
        (0.1, Signal(origin, SIGTERM)),
        (2.1, TellProgram(origin, "interrupted")),
        (3.0, TellBroker(Stop())),
    ]


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_program_that_leaves_is_waited_for_no_longer(node: Node, seconds: float) -> None:
    node.driver(Shutdown(None, "why"))
    node.wait(seconds)
    assert node.exit(ORIGIN)[-1] == TellBroker(Stop())


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_second_shutdown_without_a_reason_takes_the_programs_time(node: Node, seconds: float) -> None:
    node.driver(Shutdown(None, "why"))
    node.wait(seconds)
    assert node.driver(Shutdown()) == [TellBroker(Stop())]


def test_driver_that_dies_while_the_program_has_its_time_changes_nothing(node: Node) -> None:
    node.driver(Shutdown(None, "why"))
    node.state.connected(False, node.now)
    assert said(node)[-1] == (5.0, TellBroker(Stop()))


def test_other_nodes_wait_for_no_program() -> None:
    node = Node(msgspec.structs.replace(WELCOME, node=NodeIndex(1))).begin()
    assert node.driver(Shutdown(None, "why")) == [TellBroker(Stop())]


def test_sigterm_from_a_scheduler_meanwhile_is_not_sent_again(node: Node) -> None:
    node.driver(Shutdown(None, "why"))
    node.wait(1.5)
    node.do(node.state.terminated(node.now))
    assert [each for _, each in said(node)] == [TellBroker(Stop())]


def test_origin_has_time_after_its_signal(node: Node) -> None:
    assert node.driver(Shutdown(SIGINT)) == [Signal(node.pids[ORIGIN], SIGINT)]
    node.wait(4.9)
    assert TellBroker(Stop()) not in node.done
    assert TellBroker(Stop()) in node.wait(0.1)


def test_origin_is_reminded_of_its_signal_until_it_ends(node: Node) -> None:
    reminder = Signal(node.pids[ORIGIN], REMINDER)
    node.driver(Interrupt(SIGINT))
    assert node.wait(0.04) == []
    assert node.wait(0.02) == [reminder]
    assert node.wait(0.8) == [reminder] * 4  # 0.1, 0.2, 0.4 and 0.8 s after the signal
    node.exit(ORIGIN)
    assert reminder not in node.wait(5.0)


def test_reminders_of_a_signal_have_an_end(node: Node) -> None:
    node.driver(Interrupt(SIGINT))
    node.wait(10.0)
    count = node.done.count(Signal(node.pids[ORIGIN], REMINDER))
    node.wait(100.0)
    assert count == node.done.count(Signal(node.pids[ORIGIN], REMINDER)) == 7


def test_origin_that_ends_in_time_is_waited_for_no_longer(node: Node) -> None:
    node.driver(Shutdown(SIGINT))
    assert node.exit(ORIGIN)[-1] == TellBroker(Stop())


def test_sigterm_is_sent_when_it_has_not_come_to_all_processes(node: Node) -> None:
    assert node.driver(Shutdown(SIGTERM)) == []
    assert node.wait(0.1) == [Signal(node.pids[ORIGIN], SIGTERM)]


@pytest.mark.parametrize("first", [True, False])
def test_sigterm_that_has_come_to_all_processes_is_not_sent_again(node: Node, first: bool) -> None:
    if first:
        node.do(node.state.terminated(node.now))
        node.wait(0.5)
        node.driver(Shutdown(SIGTERM))
    else:
        node.driver(Shutdown(SIGTERM))
        node.wait(0.05)
        node.do(node.state.terminated(node.now))
    node.wait(10)
    assert {action.number for action in node.done if isinstance(action, Signal)} <= {REMINDER}
    assert node.done.count(KillAll()) == 1


def test_sigterm_that_the_driver_does_not_speak_of_ends_the_node(node: Node) -> None:
    node.do(node.state.terminated(node.now))
    node.wait(1.9)
    assert (faults(node), node.phase) == ([], Phase.SERVING)
    node.wait(0.1)
    assert Tell(Fault("the agent on n1 was told to end by SIGTERM", 143, of_node=True)) in node.done
    assert node.phase is not Phase.SERVING


@pytest.mark.parametrize("driver_has_it", [True, False])
def test_program_that_ends_when_sigterm_has_come_has_no_status_if_the_driver_has_it_too(
    node: Node, driver_has_it: bool
) -> None:
    node.do(node.state.terminated(node.now))
    assert node.exit(ORIGIN) == []
    assert node.wait(0.09) == []
    if driver_has_it:
        assert node.driver(Shutdown(SIGTERM)) == [TellBroker(Stop())]
    told = [action.message for action in node.wait(1.0) if isinstance(action, Tell)]
    ends = [message.name for message in told if isinstance(message, Exited)]
    assert ends == ([] if driver_has_it else [ORIGIN])


def test_node_of_another_allocation_asks_to_leave_when_sigterm_comes() -> None:
    guest = Node(msgspec.structs.replace(WELCOME, node=SECOND, directory=None, party=1)).begin()
    guest.do(guest.state.terminated(guest.now))
    assert Tell(Leave(5.0, why="SIGTERM")) in guest.done
    guest.wait(6.9)
    assert (faults(guest), guest.phase) == ([], Phase.SERVING)
    guest.wait(0.1)  # the driver has not answered
    assert guest.phase is not Phase.SERVING


def test_node_says_when_it_has_nothing_to_do_any_more(other: Node) -> None:
    assert other.do(other.state.hear_broker(Drained(), other.now)) == [Tell(Drained())]


def test_second_shutdown_changes_nothing(node: Node) -> None:
    node.driver(Shutdown(SIGINT, "why"))
    assert node.driver(Shutdown(SIGTERM, "another reason")) == []
    assert node.phase is Phase.SIGNALLED


# the driver


def test_lost_driver_ends_the_node_and_the_origin_gets_sigterm_at_once(node: Node) -> None:
    node.state.connected(False, node.now)
    node.wait(1.9)
    assert node.phase is Phase.SERVING
    steps = [action for action in node.wait(0.1) if isinstance(action, InspectDriver | Signal)]
    assert steps == [InspectDriver(), Signal(node.pids[ORIGIN], SIGTERM)]
    assert not node.state.has_driver


def test_driver_that_is_found_again_in_time_is_not_lost(node: Node) -> None:
    node.state.connected(False, node.now)
    node.wait(1)
    node.state.connected(True, node.now)
    node.wait(60)
    assert (node.phase, node.state.has_driver) == (Phase.SERVING, True)


def lose_driver(node: Node, seconds: float) -> list[Action]:
    """Let the connection to the driver break; return what is done within some *seconds*."""
    node.do(node.state.connected(False, node.now))
    return node.wait(seconds)


def test_word_of_a_lost_driver_is_left_by_the_first_node() -> None:
    word = LeaveWord("the driver (pid 7) on head died, or its node was lost")
    for index, words in ((0, [word]), (1, [])):
        node = Node(msgspec.structs.replace(WELCOME, node=NodeIndex(index))).begin()
        assert [action for action in lose_driver(node, 2) if isinstance(action, LeaveWord)] == words
        assert node.phase is not Phase.SERVING


def test_driver_that_does_not_refuse_may_be_found_again_within_the_grace() -> None:
    node = Node(driver_is_gone=False).begin()
    lose_driver(node, 59)
    assert (node.phase, node.done.count(InspectDriver())) == (Phase.SERVING, 29)
    assert Tell(Beat(Known(1, 0, 0, 0, 0))) in node.do(node.state.connected(True, node.now))
    lose_driver(node, 59)
    assert node.phase is Phase.SERVING
    node.wait(1)
    assert node.phase is not Phase.SERVING


def test_driver_that_is_stopped_is_killed_by_the_node_that_it_is_on() -> None:
    node = Node(msgspec.structs.replace(WELCOME, node=NodeIndex(1)), driver_is_stopped=True, driver_is_gone=False)
    word, kill = (each for each in lose_driver(node.begin(), 2) if isinstance(each, LeaveWord | KillDriver))
    assert isinstance(word, LeaveWord)
    assert "head was stopped" in word.reason
    assert kill == KillDriver()


def test_what_happens_is_told_to_observers_in_its_order(node: Node) -> None:
    node.exit(BROKER, -11, own_end=False)
    node.driver(Shutdown())
    node.wait(5)
    names = [type(event).__name__ for event in node.observed]
    assert names == ["ProcessStarted"] * 4 + ["ProcessDied", "NodeEnding", "ProcessesKilled"]
    assert str(node.observed[4]) == "broker 0 (pid 100) died: killed by SIGSEGV"


WATCHED = replace(WELCOME, progress=0.25)


def told_of(node: Node) -> list[Progress]:
    told = [action.message for action in node.done if isinstance(action, Tell)]
    return [message for message in told if isinstance(message, Progress)]


def test_nobody_looks_at_the_progress_where_nobody_watches(node: Node) -> None:
    assert LookAtProgress() not in node.wait(100)


@pytest.mark.parametrize(
    ("index", "nodes", "seconds"), [(0, 1, 0.25), (0, 1000, 0.25), (1, 2, 1.0), (7, 64, 1.0), (7, 1000, 10.0)]
)
def test_many_nodes_tell_of_their_progress_more_seldom(index: int, nodes: int, seconds: float) -> None:
    welcome = replace(WATCHED, node=NodeIndex(index), nodes=tuple(f"n{number}" for number in range(nodes)))
    node = Node(welcome)
    node.do(node.state.start(0.0))
    node.wait(seconds / 2)
    assert node.wait(20 * seconds).count(LookAtProgress()) == 20


def test_progress_is_told_when_there_is_some() -> None:
    node = Node(WATCHED).begin()
    for done in (0, 1, 1, 1, 2):
        node.do(node.state.progressed(2, (Awaited(1, "", 2, done, 0),)))
    assert [progress.awaited[0].done for progress in told_of(node)] == [0, 1, 2]


def test_progress_is_not_looked_at_in_the_end() -> None:
    node = Node(WATCHED).begin()
    node.driver(Shutdown(None, "it is over"))
    assert LookAtProgress() not in node.wait(100)


def accounts_due(node: Node, seconds: float) -> int:
    """Let *seconds* pass; return how often all accounts are to be told, which they are."""
    due = 0
    for _ in range(round(seconds)):
        looks = [action for action in node.wait(1.0) if isinstance(action, LookAtAccounts)]
        assert len(looks) == 1
        if looks[0].is_due:
            due += 1
            node.do(node.state.accounted(Accounts((), ()), node.now))
    return due


@pytest.mark.parametrize(("nodes", "every", "seconds"), [(1, 30.0, 30), (1, 5.0, 5), (1000, 5.0, 50)])
def test_failures_are_looked_for_each_second_and_all_is_told_now_and_then(
    nodes: int, every: float, seconds: int
) -> None:
    welcome = replace(WELCOME, accounts=every, nodes=tuple(f"n{number}" for number in range(nodes)))
    assert accounts_due(Node(welcome).begin(), 4 * seconds) == 4


def test_accounts_are_told_each_second_while_somebody_looks() -> None:
    node = Node(WELCOME).begin()
    assert accounts_due(node, 10) == 0
    node.driver(Watch(1.0))
    assert accounts_due(node, 10) == 10
    node.driver(Watch(None))
    assert accounts_due(node, 20) <= 1


def test_accounts_are_looked_at_less_often_where_no_task_begins_unless_somebody_looks() -> None:
    node = Node(WELCOME).begin()
    assert LookAtAccounts(False) in node.wait(1.0)
    node.state.rested(node.now)
    assert LookAtAccounts(False) not in node.wait(3.9)
    assert LookAtAccounts(False) in node.wait(0.1)
    node.state.rested(node.now)
    node.driver(Watch(1.0))
    for _ in range(5):
        assert LookAtAccounts(True) in node.wait(1.0)
        node.do(node.state.accounted(Accounts((), ()), node.now))
        node.state.rested(node.now)


def test_accounts_are_not_looked_at_while_all_is_ended() -> None:
    node = Node(WELCOME).begin()
    node.driver(Shutdown(None, "it is over"))
    assert not any(isinstance(action, LookAtAccounts) for action in node.wait(100))


# whoever looks at the run


def looks(node: Node, seconds: float) -> int:
    return node.wait(seconds).count(LookAtWorkers())


def test_workers_are_looked_at_while_somebody_watches(node: Node) -> None:
    assert looks(node, 100) == 0
    assert node.driver(Watch(1.0)) == [TellBroker(Beat())]
    assert looks(node, 10) == 11
    node.driver(Watch(None))
    assert looks(node, 100) == 0


def test_many_nodes_are_looked_at_more_seldom() -> None:
    node = Node(replace(WELCOME, nodes=tuple(f"n{number}" for number in range(1000)))).begin()
    node.driver(Watch(1.0))
    assert looks(node, 95) == 10


def test_driver_is_told_what_workers_do_and_how_the_broker_stands(node: Node) -> None:
    worker = WorkerSeen(WORKER, 101, "busy", "simulate", 1.5, 7, None, 4096)
    assert node.do(node.state.saw(Seen((worker,), 7))) == [Tell(Seen((worker,), 7))]
    node.broker(STANDING)
    assert node.do(node.state.saw(Seen((worker,), 7))) == [Tell(Seen((worker,), 7, STANDING))]


def test_broker_that_is_watched_and_answers_does_not_count_as_hung(node: Node) -> None:
    node.driver(Watch(1.0))
    for _ in range(120):
        node.wait(1)
        node.broker(STANDING)
    assert node.phase is Phase.SERVING


def test_workers_are_not_looked_at_in_the_end(node: Node) -> None:
    node.driver(Watch(1.0))
    node.driver(Shutdown(None, "it is over"))
    assert looks(node, 100) == 0
