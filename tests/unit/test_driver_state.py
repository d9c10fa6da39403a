"""The driver's decisions."""

from __future__ import annotations

from signal import SIGINT, SIGTERM, SIGUSR1

import pytest
from msgspec.structs import replace

from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import Event, Observers, Waits, WorkersBusy
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    VERSION,
    Accounts,
    Awaited,
    BrokerUp,
    Bye,
    Exited,
    Fault,
    FileLost,
    FunctionAccount,
    Gone,
    Hello,
    Interrupt,
    Message,
    Open,
    Peers,
    Pool,
    Program,
    Progress,
    Ready,
    Seen,
    Shutdown,
    Watch,
    Welcome,
    WorkerSeen,
)
from scoop_hpc.protocol.names import ORIGIN, AgentName, NodeIndex, ProcessName, broker_name, worker_name
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving.actions import (
    Action,
    LookAtMemory,
    Probe,
    RemoveEnvironment,
    Report,
    Send,
    ShowLastWords,
    ShowNode,
    ShowReason,
    ShowTraceback,
    Start,
    Warn,
)
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.witnesses import CommandEnd
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.schedulers.job_state import JobState

PLAN = RunPlan(
    nodes=(NodePlan("n1.site", 2), NodePlan("n2.site", 1)),
    program=Program(b"p.py", (), b"/", {}),
    curve=None,
    directory=None,
    inherit=(),
    driver_process="",
    driver_pid=7,
    python="3.11",
    host="head",
    patience=30.0,
)
FAILING = replace(PLAN, ends_on_loss=True)
FIRST, SECOND = AgentName("n1/0"), AgentName("n2/0")
LOST, BROKER = worker_name(1, 0), broker_name(1)


class Run:
    """A driver's state, the time, and all that it has asked for so far."""

    def __init__(self, plan: RunPlan = PLAN, policy: DriverPolicy | None = None) -> None:
        self.observed: list[Event] = []
        self.state = DriverState(plan, policy, Observers([self.observed.append]))
        self.now = 0.0
        self.done: list[Action] = []
        self.listening: set[AgentName] = set()  # whose brokers accept connections; others' machines refuse them
        self.silent: set[AgentName] = set()  # whose machines do neither

    @property
    def ending(self) -> Ending | None:
        return self.state.ending

    @property
    def phase(self) -> Phase:
        return self.state.phase

    def do(self, actions: list[Action]) -> list[Send]:
        """Keep *actions*; return those that send messages."""
        self.done += actions
        return [action for action in actions if isinstance(action, Send)]

    def say(self, message: Message, sender: str) -> list[Send]:
        return self.do(self.state.handle(codec.decode(codec.encode(message)), AgentName(sender), self.now))

    def hello(self, node: str, sender: str | None = None, python: str = "3.11", cpus: int = 4) -> list[Send]:
        return self.say(Hello(VERSION, python, node, "host", 42, cpus), sender or f"{node}/0")

    def end(self, status: int, reason: str, number: int | None = None) -> list[Send]:
        return self.do(self.state.end(status, reason, self.now, number))

    def signal(self, number: int) -> list[Send]:
        return self.do(self.state.signalled(number, self.now))

    def disconnect(self, agent: AgentName) -> None:
        self.do(self.state.disconnected(agent, self.now))

    def command_ends(self, end: CommandEnd) -> None:
        self.do(self.state.command_ended(end, self.now))

    def wait(self, seconds: float) -> list[Action]:
        """Let *seconds* pass, from one time that something is due to the next; return what was done."""
        until, before = self.now + seconds, len(self.done)
        while (due := self.state.deadline()) is not None and due <= until:
            self.now = due
            self._pass_time()
        self.now = until
        self._pass_time()
        return self.done[before:]

    def _pass_time(self) -> None:
        actions = self.state.pass_time(self.now)
        self.done += actions
        for action in actions:
            if isinstance(action, Probe) and action.agent in self.listening:
                self.state.answered(action.agent, self.now)
            elif isinstance(action, Probe) and action.agent not in self.silent:
                self.done += self.state.refused(action.agent, self.now)

    def begin(self) -> Run:
        """Let all agents and brokers report."""
        for index, node in enumerate(("n1", "n2")):
            self.hello(node)
            self.say(BrokerUp(NodeIndex(index), (f"main{index}",)), f"{node}/0")
        assert self.phase is Phase.RUNNING
        return self


@pytest.fixture
def running() -> Run:
    return Run().begin()


@pytest.fixture
def failing() -> Run:
    """Return a run that ends when it loses a node."""
    return Run(FAILING).begin()


COUNTED = replace(PLAN, nodes=(NodePlan("n1.site", 2), NodePlan("n2.site", None)))  # n2: as many as it has CPUs


def test_nobody_is_welcome_before_all_workers_can_be_counted() -> None:
    run = Run(COUNTED)
    assert run.hello("n1") == []
    sends = run.hello("n2", cpus=5)
    welcomes = {send.to: send.message for send in sends if isinstance(send.message, Welcome)}
    assert {agent: (each.workers, each.size) for agent, each in welcomes.items()} == {"n1/0": (2, 7), "n2/0": (5, 7)}
    assert not any(isinstance(action, Warn) for action in run.done)


def test_those_that_can_be_counted_wait_for_no_others() -> None:
    run = Run(COUNTED)
    assert [send.to for send in run.hello("n2", cpus=5)] == ["n2/0"]
    assert [send.to for send in run.hello("n1")] == ["n1/0"]


def test_end_before_a_welcome_waits_for_no_farewell() -> None:
    run = Run(COUNTED)
    run.hello("n1")
    assert run.end(1, "no n2") == [Send(FIRST, Shutdown())]
    assert run.phase is Phase.OVER


def test_agent_is_told_its_part() -> None:
    (send,) = Run().hello("n2")
    assert isinstance(send.message, Welcome)
    assert (send.to, send.message.node, send.message.workers, send.message.size) == ("n2/0", 1, 1, 3)


def test_second_knock_of_an_agent_is_not_answered() -> None:
    run = Run()
    run.hello("n1", "n1/0")
    assert run.hello("n1", "n1/1") == []


def test_names_are_compared_by_their_first_label() -> None:
    assert isinstance(Run().hello("N1.other.domain")[0].message, Welcome)


def test_peers_are_told_when_the_last_broker_is_up() -> None:
    run = Run()
    run.hello("n1")
    run.hello("n2")
    up = BrokerUp(NodeIndex(1), ("b",)), BrokerUp(NodeIndex(0), ("a",))
    assert run.say(up[0], "n2/0") == []
    assert run.state.missing() == ["n1.site"]
    peers = Peers((up[1], up[0]))
    assert run.say(up[1], "n1/0") == [Send(FIRST, peers), Send(SECOND, peers)]
    first = next(action for action in run.done if isinstance(action, Send) and isinstance(action.message, Peers))
    assert run.done.index(RemoveEnvironment()) < run.done.index(first)  # the program may begin with it


def test_origins_exit_status_is_the_runs(running: Run) -> None:
    assert running.say(Exited(ORIGIN, 7, 3, False, True), "n1/0") == [
        Send(FIRST, Shutdown()),
        Send(SECOND, Shutdown()),
    ]
    assert running.ending == Ending(3, "")


@pytest.mark.parametrize(("status", "of_run"), [(0, 1), (3, 3)])
def test_only_the_programs_own_end_is_a_success(running: Run, status: int, of_run: int) -> None:
    running.say(Exited(ORIGIN, 7, status, False, False), "n1/0")
    assert running.ending is not None
    assert running.ending.status == of_run
    assert f"origin (pid 7) on n1.site died: exit status {status}, not at the program's end" in running.ending.reason


@pytest.mark.parametrize(
    ("name", "status", "ending"),
    [
        ("0.0", -9, Ending(137, "origin (pid 7) on n2.site died: killed by SIGKILL")),
        ("1", 1, Ending(1, "broker 1 (pid 7) on n2.site died: exit status 1")),
    ],
)
def test_death_ends_the_run_and_says_what_died_where(failing: Run, name: str, status: int, ending: Ending) -> None:
    failing.say(Exited(ProcessName(name), 7, status, False, False), "n2/0")
    assert failing.ending == ending


def test_run_goes_on_without_a_worker_and_all_nodes_forget_it(running: Run) -> None:
    task = "simulate(), attempt 1"
    sends = running.say(Exited(LOST, 7, -11, False, False, task, is_replaced=True), "n2/0")
    assert running.ending is None
    assert sends == [Send(agent, Gone((LOST,))) for agent in (FIRST, SECOND)]
    died = "worker 1.0 (pid 7) on n2.site died: killed by SIGSEGV, in simulate(), attempt 1; another takes its place"
    assert running.done[-1] == Warn(died)


def test_run_without_a_worker_left_ends(running: Run) -> None:
    for index in range(3):
        assert running.ending is None
        running.say(Exited(worker_name(1, index), 7, -9, False, False), "n2/0")
    last = "worker 1.2 (pid 7) on n2.site died: killed by SIGKILL; no worker is left"
    assert running.ending == Ending(1, last)


def test_worker_that_dies_while_the_run_is_starting_is_replaced_too() -> None:
    run = Run()
    run.hello("n2")
    run.say(Exited(LOST, 7, -9, False, False, is_replaced=True), "n2/0")
    assert (run.ending, run.phase) == (None, Phase.JOINING)
    assert run.done[-1] == Warn("worker 1.0 (pid 7) on n2.site died: killed by SIGKILL; another takes its place")
    run.begin()
    assert run.phase is Phase.RUNNING


def test_run_whose_workers_all_die_while_it_is_starting_ends() -> None:
    run = Run()
    run.hello("n2")
    run.say(Exited(LOST, 7, 1, False, False), "n2/0")
    assert run.ending is None  # the other node's workers may live
    run.hello("n1")
    for index in range(2):
        assert run.ending is None
        run.say(Exited(worker_name(0, index + 1), 7, 1, False, False), "n1/0")
    assert run.ending == Ending(1, "worker 0.2 (pid 7) on n1.site died: exit status 1; no worker is left")


@pytest.mark.parametrize("breaks", [False, True])
def test_pool_breaks_at_the_death_of_a_worker_if_it_is_told_to(breaks: bool) -> None:
    run = Run(replace(PLAN, pool=Pool((), None, breaks))).begin()
    run.say(Exited(LOST, 7, -9, False, False, is_replaced=True), "n2/0")
    assert (run.ending is not None) == breaks


@pytest.mark.parametrize(("name", "what", "status"), [("0.0", "origin", 137), ("1", "broker 1", 1)])
def test_want_of_memory_is_named(failing: Run, name: str, what: str, status: int) -> None:
    failing.say(Exited(ProcessName(name), 7, -9, True, False), "n2/0")
    died = f"{what} (pid 7) on n2.site died: killed by SIGKILL: out of memory (oom_kill of its cgroup)"
    assert failing.ending == Ending(status, died, out_of_memory=True)


def test_first_reason_counts(failing: Run) -> None:
    failing.say(Exited(BROKER, 7, -9, False, False), "n2/0")
    first = failing.ending
    assert failing.say(Exited(ORIGIN, 8, -9, False, False), "n1/0") == []
    assert failing.ending is first


def test_fault_ends_the_run_with_its_status(running: Run) -> None:
    running.say(Fault("no guard", 2), "n1/0")
    assert running.ending == Ending(2, "no guard")


def test_run_is_over_when_all_agents_have_left(running: Run) -> None:
    running.end(0, "")
    running.say(Bye(), "n1/0")
    before = running.phase
    assert running.state.remaining() == ["n2.site"]
    running.say(Bye(), "n2/0")
    assert (before, running.phase) == (Phase.ENDING, Phase.OVER)


def test_lost_agent_ends_the_run_for_the_others(failing: Run) -> None:
    failing.disconnect(SECOND)
    failing.wait(1.9)
    assert failing.ending is None
    failing.wait(0.1)
    assert failing.ending == Ending(1, "the agent (pid 42) on n2.site died, or the connection to it broke")
    failing.say(Bye(), "n1/0")
    assert failing.phase is Phase.OVER


def test_lost_agent_is_told_with_what_its_launcher_had_said_before() -> None:
    run = Run(replace(FAILING, outlived=True)).begin()
    run.command_ends(CommandEnd(N2, 8, 1, said="pbs_tmrsh: not connected"))
    run.wait(60)
    assert run.ending is None
    run.disconnect(SECOND)
    run.wait(2)
    assert run.ending == Ending(
        1,
        "the agent (pid 42) on n2.site died, or the connection to it broke, after its launcher had ended: "
        "pbs_tmrsh: not connected",
    )


N2 = Command(("/usr/bin/pbs_tmrsh", "n2.site"), {}, ("n2.site",))
BOTH = Command(("srun",), {}, ("n1.site", "n2.site"))


def test_agent_and_launcher_that_end_together_are_one_loss_and_no_time_is_lost() -> None:
    run = Run(replace(FAILING, outlived=True)).begin()
    run.command_ends(CommandEnd(N2, 8, 1, said="node n2.site: out of disk"))
    assert run.ending is None
    run.wait(1)
    run.disconnect(SECOND)
    assert run.ending == Ending(1, "lost the agent on n2.site: out of disk")


def test_launcher_that_its_agent_does_not_outlive_ends_the_run(running: Run) -> None:
    running.command_ends(CommandEnd(BOTH, 8, -9))
    assert running.ending == Ending(1, "srun (pid 8) on head died: killed by SIGKILL")
    assert ShowLastWords() in running.done


KILLED = "process rank 1 with PID 9 on node n2 exited on signal 9 (Killed)"


def test_launcher_that_has_killed_the_origin_for_another_process_names_that(running: Run) -> None:
    running.say(Exited(ORIGIN, 7, -15, False, False), "n1/0")
    running.command_ends(CommandEnd(BOTH, 8, 137, first_death=KILLED))
    died = f"srun (pid 8) on head died: exit status 137: {KILLED}"
    assert running.ending == Ending(1, died)
    assert running.done[-1] == ShowReason(died)


def test_launcher_that_ends_all_as_the_run_ends_explains_nothing(running: Run) -> None:
    running.signal(SIGTERM)
    running.command_ends(CommandEnd(BOTH, 8, 137, first_death=KILLED))
    assert running.ending == Ending(143, "ended by SIGTERM")


def test_launcher_that_ends_before_its_agent_has_reported_ends_the_run() -> None:
    run = Run(replace(PLAN, outlived=True))
    run.hello("n1")
    run.command_ends(CommandEnd(N2, 8, 1, said="pbs_tmrsh: no such host", complaint=""))
    assert run.ending == Ending(1, "no agent on n2.site: pbs_tmrsh: no such host")
    other = Run(replace(PLAN, outlived=True))
    other.command_ends(CommandEnd(N2, 8, 0))
    assert other.ending == Ending(1, "pbs_tmrsh (pid 8) on head for n2.site died: exit status 0")


def test_agent_on_this_machine_that_is_killed_for_want_of_memory_is_named_so() -> None:
    run = Run(replace(FAILING, one_machine=True)).begin()
    run.command_ends(CommandEnd(N2, 8, -9, out_of_memory=True))
    died = "the agent (pid 8) on n2.site died: killed by SIGKILL: out of memory (oom_kill of its cgroup)"
    assert run.ending == Ending(1, died, out_of_memory=True)
    run.say(Bye(), "n1/0")
    assert run.phase is Phase.OVER


def test_memory_is_looked_at_again_and_again_on_one_machine() -> None:
    run = Run(replace(PLAN, one_machine=True))
    run.do(run.state.start([], 0.0))
    assert run.wait(10).count(LookAtMemory()) == 5


def commands(count: int) -> list[Command]:
    return [Command(("ssh", f"n{index + 1}"), {}, (f"n{index + 1}",)) for index in range(count)]


def test_few_agents_are_started_at_once_and_the_next_when_one_has_reported() -> None:
    nodes = tuple(NodePlan(f"n{index + 1}", 1) for index in range(4))
    run = Run(replace(PLAN, nodes=nodes), DriverPolicy(agents_at_once=2))
    first, second, third, fourth = commands(4)
    assert run.state.start([first, second, third, fourth], 0.0) == [Start(first), Start(second)]
    run.hello("n2")
    assert run.done[0] == Start(third)
    run.hello("n1")
    assert Start(fourth) in run.done


def test_all_agents_of_one_machine_are_started_at_once() -> None:
    run = Run(replace(PLAN, one_machine=True), DriverPolicy(agents_at_once=1))
    assert run.state.start(commands(2), 0.0) == [Start(command) for command in commands(2)]


def test_command_that_cannot_be_started_ends_the_run_and_no_more_are_started() -> None:
    run = Run(PLAN, DriverPolicy(agents_at_once=1))
    run.do(run.state.start(commands(2), 0.0))
    run.do(run.state.command_failed("cannot start 'ssh' for n1", 0.0))
    assert run.ending == Ending(2, "cannot start 'ssh' for n1")
    assert (run.done.count(Start(commands(2)[1])), run.phase) == (0, Phase.OVER)


def test_command_that_cannot_be_started_once_the_run_has_begun_is_no_bad_input(running: Run) -> None:
    running.do(running.state.command_failed("cannot start 'ssh' for n2", running.now))
    assert running.ending == Ending(1, "cannot start 'ssh' for n2")


def test_nodes_that_do_not_report_in_time_are_named() -> None:
    run = Run()
    run.do(run.state.start(commands(2), 0.0))
    run.hello("n1")
    run.wait(29)
    assert run.ending is None
    assert ShowLastWords() in run.wait(1)
    assert run.ending == Ending(1, "no word within 30 s from: n1.site,n2.site; --patience gives them more time")


def test_nobody_waits_longer_for_a_farewell_than_is_agreed(running: Run) -> None:
    running.end(0, "")
    running.say(Bye(), "n1/0")
    assert running.wait(3) == []
    assert running.wait(1) == [Warn("no farewell within 4 s from: n2.site")]
    assert running.phase is Phase.OVER


def test_many_nodes_that_say_no_farewell_are_named_in_few_words() -> None:
    names = tuple(f"n{number}" for number in range(1, 21))
    run = Run(replace(PLAN, nodes=tuple(NodePlan(name, 1) for name in names)))
    run.do(run.state.start([Command(("srun",), {}, names)], 0.0))
    for name in names:
        run.hello(name)
    run.end(1, "no licence")
    assert Warn("no farewell within 4 s from: n[1-9,10-20]") in run.wait(4)


def test_ctrl_c_is_the_programs_and_ends_the_run_when_it_goes_on(running: Run) -> None:
    assert running.signal(SIGINT) == [Send(FIRST, Interrupt(SIGINT))]
    running.wait(1)
    assert running.ending is None
    running.wait(1)
    assert running.ending == Ending(130, "interrupted")
    assert Send(FIRST, Shutdown(SIGTERM, "interrupted")) in running.done


def test_second_ctrl_c_ends_the_run(running: Run) -> None:
    running.signal(SIGINT)
    assert running.signal(SIGINT) == [Send(FIRST, Shutdown()), Send(SECOND, Shutdown())]  # at once
    assert running.ending == Ending(130, "interrupted")


@pytest.mark.parametrize("number", [SIGINT, SIGUSR1])
def test_signal_before_there_is_a_program_ends_the_run(number: int) -> None:
    run = Run()
    run.hello("n1")
    run.signal(number)
    assert run.ending == (Ending(130, "interrupted") if number == SIGINT else Ending(138, "ended by SIGUSR1"))


def test_warning_of_a_scheduler_is_the_programs(running: Run) -> None:
    assert running.signal(SIGUSR1) == [Send(FIRST, Interrupt(SIGUSR1))]
    running.wait(60)
    assert running.ending is None


@pytest.mark.parametrize(
    ("now", "reason", "state"),
    [
        (994.0, "ended by SIGTERM", JobState.CANCELLED),
        (995.0, "ended by SIGTERM: its walltime was over", JobState.TIMEOUT),
    ],
)
def test_sigterm_at_the_end_of_the_walltime_is_a_timeout(now: float, reason: str, state: JobState) -> None:
    run = Run(replace(PLAN, ends_at=1000.0)).begin()
    run.now = now
    assert run.signal(SIGTERM) == [Send(agent, Shutdown(SIGTERM, reason)) for agent in (FIRST, SECOND)]
    assert run.ending == Ending(143, reason)
    assert run.state.job_state(now) is state


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending(0), JobState.COMPLETED),
        (Ending(3), JobState.FAILED),
        (Ending(143), JobState.FAILED),  # the program's own
        (Ending(130, "interrupted"), JobState.CANCELLED),
    ],
)
def test_ending_makes_the_jobs_state(running: Run, ending: Ending, state: JobState) -> None:
    running.end(ending.status, ending.reason)
    assert running.state.job_state(0.0) is state


def test_want_of_memory_makes_the_jobs_state(running: Run) -> None:
    running.say(Exited(BROKER, 7, -9, True, False), "n1/0")
    assert running.state.job_state(0.0) is JobState.OUT_OF_MEMORY


def test_output_that_is_lost_after_the_programs_end_is_no_success(running: Run) -> None:
    running.say(Exited(ORIGIN, 7, 0, False, True), "n1/0")
    running.do(running.state.output_failed("cannot write", 0.0))
    assert running.ending == Ending(1, "cannot write")


def test_driver_that_cannot_go_on_says_why_whatever_the_run_ended_by(running: Run) -> None:
    running.end(0, "")
    running.do(running.state.fail(2, "no directory"))
    assert (running.ending, running.phase) == (Ending(2, "no directory"), Phase.OVER)


@pytest.mark.parametrize("known", [True, False])
def test_invalid_message_ends_the_run_if_an_agent_sends_it_and_is_told_of_once_if_not(
    failing: Run, known: bool
) -> None:
    sender = SECOND if known else AgentName("evil")
    for _ in range(2):
        failing.do(failing.state.refuse(sender, ProtocolError("what?"), 0.0))
    if known:
        assert failing.ending == Ending(1, "invalid message of the agent on n2.site: what?")
    else:
        assert failing.ending is None
        assert failing.done[-2:].count(Warn("dropped a message of 'evil': what?")) == 1


def test_agent_that_leaves_by_itself_ends_the_run(failing: Run) -> None:
    assert failing.say(Bye(), "n2/0")
    assert failing.ending == Ending(1, "the agent on n2.site left")


FULL = "cannot write the log '/full/log': No space left on device"


def test_file_that_is_lost_on_several_nodes_is_one_line_that_names_them(running: Run) -> None:
    running.say(FileLost(FULL), "n2/0")
    assert running.wait(0.9) == []
    running.say(FileLost(FULL), "n1/0")
    assert running.wait(0.1) == [Warn(f"nodes n1.site,n2.site: {FULL}")]


def test_nodes_that_lose_a_file_later_are_named_once_a_minute_and_at_the_end(running: Run) -> None:
    running.say(FileLost(FULL), "n1/0")
    running.wait(1)
    running.say(FileLost(FULL), "n2/0")
    assert [action for action in running.wait(59) if isinstance(action, Warn)] == []
    assert Warn(f"node n2.site: {FULL}") in running.wait(1)
    running.say(FileLost("cannot write the profile"), "n1/0")
    assert running.state.sum_up() == [Warn("node n1.site: cannot write the profile")]
    assert running.state.sum_up() == []


def test_file_that_is_lost_on_one_machine_needs_no_node() -> None:
    run = Run(replace(PLAN, one_machine=True))
    run.do(run.state.start(commands(2), 0.0))
    run.hello("n1")
    run.say(FileLost(FULL), "n1/0")
    assert Warn(FULL) in run.wait(1)


def test_signal_is_passed_on_with_the_shutdown(running: Run) -> None:
    assert Send(FIRST, Shutdown(15, "ended by SIGTERM")) in running.end(143, "ended by SIGTERM", 15)


def test_program_is_told_why_the_run_ends_and_has_its_time(running: Run) -> None:
    assert Send(FIRST, Shutdown(None, "no licence")) in running.say(Fault("no licence", 3), "n2/0")
    running.say(Exited(ORIGIN, 9, 0, False, own_end=True), "n1/0")  # whatever the program makes of it
    running.say(Bye(), "n2/0")
    assert running.wait(8.9) == []
    assert running.wait(0.1) == [Warn("no farewell within 9 s from: n1.site")]
    assert running.ending == Ending(3, "no licence")


def test_traceback_that_workers_share_is_shown_once_and_before_the_reason(running: Run) -> None:
    running.say(Fault("worker 0.1: no licence", 3, traceback="Traceback\n"), "n1/0")
    running.say(Fault("worker 1.0: no licence", 3, traceback="Traceback\n"), "n2/0")
    running.say(Fault("worker 1.1: no disk", 3, traceback="Other\n"), "n2/0")
    shown = [action for action in running.done if isinstance(action, (ShowTraceback, ShowReason))]
    assert shown == [ShowTraceback("Traceback\n"), ShowReason("worker 0.1: no licence"), ShowTraceback("Other\n")]


def test_ctrl_c_while_the_program_has_its_time_ends_all_at_once(running: Run) -> None:
    running.say(Fault("no licence", 3), "n2/0")
    running.wait(1)
    assert running.signal(SIGINT) == [Send(FIRST, Shutdown()), Send(SECOND, Shutdown())]
    running.wait(4)
    assert (running.ending, running.phase) == (Ending(3, "no licence"), Phase.OVER)


def test_nobody_is_told_in_a_pool() -> None:
    run = Run(replace(PLAN, pool=Pool((), ()))).begin()
    assert run.end(1, "why") == [Send(FIRST, Shutdown()), Send(SECOND, Shutdown())]


def test_late_word_of_an_agent_does_not_cut_the_programs_time_short(running: Run) -> None:
    running.end(1, "why")
    assert running.hello("n1") == []


def test_end_before_anyone_reported_is_over_at_once() -> None:
    run = Run()
    assert run.end(130, "interrupted") == []
    assert run.phase is Phase.OVER


def test_agent_of_a_foreign_node_is_refused() -> None:
    run = Run()
    run.hello("n9")
    assert run.ending == Ending(1, "an agent reports from node 'n9', which is not part of the run")


def test_other_python_is_refused() -> None:
    run = Run()
    run.hello("n1", python="3.9")
    assert run.ending is not None
    assert "Python 3.9" in run.ending.reason


def test_more_workers_than_cpus_is_a_warning() -> None:
    run = Run()
    run.hello("n1", cpus=1)
    assert run.done[0] == Warn("node n1.site: 2 workers on 1 CPUs")


def test_agent_that_reports_after_the_end_is_sent_away() -> None:
    run = Run()
    run.hello("n1")
    run.say(Fault("no guard", 2), "n1/0")
    assert run.hello("n2") == [Send(SECOND, Shutdown())]
    run.say(Bye(), "n1/0")
    assert run.phase is Phase.OVER


def test_foreign_message_is_an_error(running: Run) -> None:
    with pytest.raises(ProtocolError):
        running.say(Ready(), "n1/0")


POOL = replace(PLAN, pool=Pool((), ()))


def reports(run: Run) -> list[Open | Fault]:
    return [action.message for action in run.done if isinstance(action, Report)]


def test_client_of_a_pool_is_told_the_first_broker_once_all_are_up() -> None:
    run = Run(POOL)
    run.hello("n1")
    run.say(BrokerUp(NodeIndex(0), ("main0",)), "n1/0")
    assert reports(run) == []
    assert reports(Run(POOL).begin()) == [Open(3, BrokerUp(NodeIndex(0), ("main0",)), None)]


def test_client_of_a_pool_is_told_once_why_it_ended() -> None:
    run = Run(POOL).begin()
    run.say(Fault("out of disk", 3), "n2/0")
    run.do(run.state.fail(1, "worse"))
    assert reports(run)[1:] == [Fault("out of disk", 3)]


@pytest.mark.parametrize("lost", [True, False])
def test_pool_ends_with_its_client_who_need_not_be_told(lost: bool) -> None:
    run = Run(POOL).begin()
    run.do(run.state.client_left(0.0, lost))
    assert (run.ending, reports(run)[1:], run.state.is_abandoned) == (Ending(0), [], lost)


def test_what_happens_is_told_to_observers_in_its_order() -> None:
    run = Run(FAILING)
    run.do(run.state.start(commands(2), 0.0))
    run.state.command_started(commands(1)[0], 8, 0.0)
    run.begin()
    run.command_ends(CommandEnd(N2, 8, 1))
    names = [type(event).__name__ for event in run.observed]
    joined = ["NodeJoined", "BrokerJoined"] * 2
    assert names == ["RunStarting", "CommandStarted", *joined, "RunBegan", "CommandEnded", "RunFailing"]
    assert str(run.observed[2]) == "node n1.site joined: agent (pid 42) on host, 4 CPUs, 2 workers"


def test_progress_is_told_to_who_observes(running: Run) -> None:
    running.say(Progress(3, (Awaited(1, "simulate", 10, 4, 1),)), FIRST)
    running.say(Progress(1), SECOND)
    assert running.observed[-3:] == [
        WorkersBusy("n1.site", 3),
        Waits(1, "simulate", 10, 4, 1),
        WorkersBusy("n2.site", 1),
    ]
    with pytest.raises(ProtocolError):
        running.say(Progress(1), "stranger")


def test_accounts_of_nodes_are_told_to_who_observes(running: Run) -> None:
    accounts = Accounts((FunctionAccount("simulate", 7, 1, 0, 1.5, 0.5, ((40, 7),)),), ())
    running.say(accounts, SECOND)
    assert running.observed[-1] == NodeAccounted("n2.site", NodeIndex(1), accounts)
    assert str(running.observed[-1]) == "node n2.site has done 7 tasks, 0 have failed since"
    with pytest.raises(ProtocolError):
        running.say(accounts, "stranger")


def test_agents_hear_whether_somebody_watches_and_of_terminals() -> None:
    run = Run(replace(PLAN, progress=0.25, terminals=(1, 2)))
    (send,) = run.hello("n1")
    assert isinstance(send.message, Welcome)
    assert (send.message.progress, send.message.terminals) == (0.25, (1, 2))


# whoever looks at the run


def test_all_nodes_are_watched_while_somebody_looks(running: Run) -> None:
    watched = [Send(FIRST, Watch(1.0)), Send(SECOND, Watch(1.0))]
    assert [running.do(running.state.watch(interval)) for interval in (None, 1.0, 1.0)] == [[], watched, []]
    seen = Seen((WorkerSeen(LOST, 9, "idle", "", 1.5, 7, None, 4096),), 7)
    running.say(seen, SECOND)
    assert running.done[-1] == ShowNode(NodeIndex(1), seen)
    assert running.do(running.state.watch(None)) == [Send(FIRST, Watch(None)), Send(SECOND, Watch(None))]


def test_node_that_joins_while_somebody_looks_is_watched_too() -> None:
    run = Run()
    assert run.do(run.state.watch(1.0)) == []
    run.hello("n1")
    assert run.hello("n2")[-1] == Send(SECOND, Watch(1.0))


def test_who_is_no_agent_is_not_shown(running: Run) -> None:
    with pytest.raises(ProtocolError, match="no agent of this run"):
        running.say(Seen((), 7), "n3/0")
