"""The driver's decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    VERSION,
    BrokerUp,
    Bye,
    Exited,
    Fault,
    Hello,
    Message,
    Peers,
    Program,
    Ready,
    Shutdown,
    Welcome,
)
from scoop_hpc.run.driver_state import DriverState, Ending, Phase, RunPlan, Send
from scoop_hpc.run.placement import NodePlan

PLAN = RunPlan(
    nodes=(NodePlan("n1.site", 2), NodePlan("n2.site", 1)),
    program=Program(b"p.py", (), b"/", {}),
    curve=None,
    directory="",
    inherit=(),
    driver_process="",
    driver_pid=7,
    python="3.11",
    driver="the driver",
)


class Run(DriverState):
    def __init__(self, plan: RunPlan = PLAN) -> None:
        super().__init__(plan)

    def say(self, message: Message, sender: str) -> list[Send]:
        return self.handle(codec.decode(codec.encode(message)), sender)

    def hello(self, node: str, sender: str | None = None, python: str = "3.11", cpus: int = 4) -> list[Send]:
        return self.say(Hello(VERSION, python, node, "host", 42, cpus), sender or f"{node}/0")


@pytest.fixture
def running() -> Run:
    run = Run()
    for index, node in enumerate(("n1", "n2")):
        run.hello(node)
        run.say(BrokerUp(index, (f"main{index}",), (f"meta{index}",)), f"{node}/0")
    assert run.phase is Phase.RUNNING
    return run


COUNTED = replace(PLAN, nodes=(NodePlan("n1.site", 2), NodePlan("n2.site", 0)))  # n2: as many as it has CPUs


def test_nobody_is_welcome_before_all_workers_can_be_counted() -> None:
    run = Run(COUNTED)
    assert run.hello("n1") == []
    sends = run.hello("n2", cpus=5)
    welcomes = {send.to: send.message for send in sends if isinstance(send.message, Welcome)}
    assert {agent: (each.workers, each.size) for agent, each in welcomes.items()} == {"n1/0": (2, 7), "n2/0": (5, 7)}
    assert not run.warnings


def test_those_that_can_be_counted_wait_for_no_others() -> None:
    run = Run(COUNTED)
    assert [send.to for send in run.hello("n2", cpus=5)] == ["n2/0"]
    assert [send.to for send in run.hello("n1")] == ["n1/0"]


def test_end_before_a_welcome_waits_for_no_farewell() -> None:
    run = Run(COUNTED)
    run.hello("n1")
    assert run.end(1, "no n2") == [Send("n1/0", Shutdown(0))]
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
    up = BrokerUp(1, ("b",), ("b2",)), BrokerUp(0, ("a",), ("a2",))
    assert run.say(up[0], "n2/0") == []
    assert run.missing() == ["n1.site"]
    peers = Peers((up[1], up[0]))
    assert run.say(up[1], "n1/0") == [Send("n1/0", peers), Send("n2/0", peers)]


def test_origins_exit_status_is_the_runs(running: Run) -> None:
    assert running.say(Exited("0.0", 7, 3, False, True), "n1/0") == [
        Send("n1/0", Shutdown(0)),
        Send("n2/0", Shutdown(0)),
    ]
    assert running.ending == Ending(3, "")


@pytest.mark.parametrize(("status", "of_run"), [(0, 1), (3, 3)])
def test_only_the_programs_own_end_is_a_success(running: Run, status: int, of_run: int) -> None:
    running.say(Exited("0.0", 7, status, False, False), "n1/0")
    assert running.ending is not None
    assert running.ending.status == of_run
    assert f"origin (pid 7) on n1.site died: exit status {status}, not at the program's end" in running.ending.reason


@pytest.mark.parametrize(
    ("name", "status", "ending"),
    [
        ("0.0", -9, Ending(137, "origin (pid 7) on n2.site died: killed by SIGKILL")),
        ("1.0", -11, Ending(1, "worker 1.0 (pid 7) on n2.site died: killed by SIGSEGV")),
        ("1.0", 0, Ending(1, "worker 1.0 (pid 7) on n2.site died: exit status 0")),
        ("1", 1, Ending(1, "broker 1 (pid 7) on n2.site died: exit status 1")),
    ],
)
def test_death_ends_the_run_and_says_what_died_where(running: Run, name: str, status: int, ending: Ending) -> None:
    running.say(Exited(name, 7, status, False, False), "n2/0")
    assert running.ending == ending


@pytest.mark.parametrize(("name", "what", "status"), [("0.0", "origin", 137), ("1.0", "worker 1.0", 1)])
def test_want_of_memory_is_named(running: Run, name: str, what: str, status: int) -> None:
    running.say(Exited(name, 7, -9, True, False), "n2/0")
    died = f"{what} (pid 7) on n2.site died: killed by SIGKILL: out of memory (oom_kill of its cgroup)"
    assert running.ending == Ending(status, died, starved=True)


def test_first_reason_counts(running: Run) -> None:
    running.say(Exited("1.0", 7, -9, False, False), "n2/0")
    first = running.ending
    assert running.say(Exited("0.0", 8, -9, False, False), "n1/0") == []
    assert running.ending is first


def test_fault_ends_the_run_with_its_status(running: Run) -> None:
    running.say(Fault("no guard", 2), "n1/0")
    assert running.ending == Ending(2, "no guard")


def test_run_is_over_when_all_agents_have_left(running: Run) -> None:
    running.end(0, "")
    running.say(Bye(), "n1/0")
    before = running.phase
    assert running.remaining() == ["n2.site"]
    running.say(Bye(), "n2/0")
    assert (before, running.phase) == (Phase.ENDING, Phase.OVER)


def test_lost_agent_ends_the_run_for_the_others(running: Run) -> None:
    running.lost("n2/0")
    assert running.ending == Ending(1, "the agent (pid 42) on n2.site died, or the connection to it broke")
    running.say(Bye(), "n1/0")
    assert running.phase is Phase.OVER


def test_lost_agent_is_told_with_what_its_launcher_had_said_before(running: Run) -> None:
    assert running.has_agents(["n1", "n2"])
    running.lost("n2/0", "pbs_tmrsh: not connected")
    assert running.ending == Ending(
        1,
        "the agent (pid 42) on n2.site died, or the connection to it broke, after its launcher had ended: "
        "pbs_tmrsh: not connected",
    )
    assert running.has_agents(["n1"])
    assert not running.has_agents(["n1", "n2"])


def test_agent_that_leaves_by_itself_ends_the_run(running: Run) -> None:
    assert running.say(Bye(), "n2/0")
    assert running.ending == Ending(1, "the agent on n2.site left")


def test_signal_is_passed_on_with_the_shutdown(running: Run) -> None:
    assert Send("n1/0", Shutdown(15)) in running.end(143, "ended by SIGTERM", 15)


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
    assert run.warnings == ["node n1.site: 2 workers on 1 CPUs"]


def test_agent_that_reports_after_the_end_is_sent_away() -> None:
    run = Run()
    run.hello("n1")
    run.say(Fault("no guard", 2), "n1/0")
    assert run.hello("n2") == [Send("n2/0", Shutdown(0))]
    run.say(Bye(), "n1/0")
    assert run.phase is Phase.OVER


def test_foreign_message_is_an_error(running: Run) -> None:
    with pytest.raises(ProtocolError):
        running.say(Ready(), "n1/0")


def test_entrance_of_a_pool_is_its_first_broker_once_all_are_up(running: Run) -> None:
    assert Run().entrance() is None
    assert running.entrance() == BrokerUp(0, ("main0",), ("meta0",))
    running.end(0, "")
    assert running.entrance() is None
