"""The driver's decisions about a launcher's command that cannot start all agents, and ends those that it could."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from test_driver_state import PLAN, Run
from test_membership import AGENTS, FOUR, THREE_WILL_DO, join, sent, up, warnings

from scoop_hpc.errors import ProtocolError
from scoop_hpc.launchers.base import Command, FailedLaunch
from scoop_hpc.launchers.srun import SrunLauncher
from scoop_hpc.protocol.messages import VERSION, Bye, Exited, Fault, GivenUp, Hello, Relay, Shutdown, Welcome
from scoop_hpc.protocol.names import AgentName, broker_name
from scoop_hpc.run.driving.actions import EndAlone, Send, StartAgain
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.witnesses import CommandEnd
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy

OUTLIVED = replace(FOUR, outlived=True)
WORDS = "Communication connection failure"
OBSTACLE = f"srun could not start its agent: {WORDS}"
SILENCE = "Socket timed out on send/recv operation"
NAMES = ("n1", "n2", "n3", "n4")


class Launched(Run):
    """A run whose agents are started by srun."""

    def __init__(self, plan: RunPlan = OUTLIVED, policy: DriverPolicy | None = None) -> None:
        super().__init__(replace(plan, outlived=True), policy)
        self.pid = 7
        self.command = self._launch(tuple(node.name for node in plan.nodes))
        self.do(self.state.start([self.command], 0.0))
        self.state.command_started(self.command, self.pid, 0.0)

    def _launch(self, names: Iterable[str]) -> Command:
        (command,) = SrunLauncher().commands(["agent"], list(names), {})
        self.pid += 1
        return command

    def nodes(self) -> list[str]:
        """Return the nodes of the srun that was started last."""
        return list(self.command.nodes)

    def fail(self, *nodes: str) -> list[Send]:
        """Let srun say that it cannot start the agents on *nodes*."""
        failed = (FailedLaunch(self.command, self.pid, node, WORDS) for node in nodes)
        return [send for each in failed for send in self.do(self.state.launch_failed(each))]

    def over(self, said: str = "srun: Job step aborted") -> None:
        """Let srun end."""
        self.command_ends(CommandEnd(self.command, self.pid, 1, said=said))

    def unanswered(self) -> None:
        """Let srun end because Slurm was silent."""
        self.command_ends(CommandEnd(self.command, self.pid, 1, said="Expired or invalid job 7", unanswered=SILENCE))

    def wait_for_another(self, seconds: float) -> None:
        """Let the agents be started again within *seconds*."""
        (again,) = [action for action in self.wait(seconds) if isinstance(action, StartAgain)]
        self.command = self._launch(again.nodes)
        self.state.command_started(self.command, self.pid, self.now)

    def try_in_vain(self, node: str, seconds: float) -> None:
        """Let srun fail because of *node*, and start another one within *seconds*."""
        self.fail(node)
        self.over()
        self.wait_for_another(seconds)


def anew(run: Run, *indices: int, life: str = "second") -> None:
    """Let agents of another launch report, and their brokers."""
    for index in indices:
        agent = f"n{index + 1}/{life}/0"
        run.hello(f"n{index + 1}", agent)
        run.say(up(index), agent)


def test_what_srun_says_of_a_node_is_understood() -> None:
    (command,) = SrunLauncher().commands(["agent"], NAMES, {})
    line = "srun: error: Task launch for StepId=8.1 failed on node n3: Communication connection failure"
    match = re.fullmatch(command.failed_launch, line)
    assert match is not None
    assert match.groupdict() == {"node": "n3", "words": WORDS}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"srun: error: Unable to confirm allocation for job 68: {SILENCE}", SILENCE),
        (
            "srun: error: Unable to create step for job 68: Unable to contact slurm controller (connect failure)",
            "Unable to contact slurm controller (connect failure)",
        ),
        ("srun: error: Unable to confirm allocation for job 68: Invalid job id specified", None),
        ("srun: error: Unable to create step for job 68: Requested node configuration is not available", None),
    ],
)
def test_what_srun_says_of_a_silent_slurm_is_understood(line: str, words: str | None) -> None:
    (command,) = SrunLauncher().commands(["agent"], NAMES, {})
    match = re.fullmatch(command.unanswered, line)
    assert (match and match["words"]) == words


@pytest.mark.parametrize("plan", [OUTLIVED, replace(OUTLIVED, ends_on_loss=True)])
def test_a_srun_to_which_slurm_was_silent_is_started_again(plan: RunPlan) -> None:
    run = Launched(plan)
    run.unanswered()
    assert warnings(run) == [f"srun got no answer: {SILENCE}; it is started again in 1 s"]
    run.wait_for_another(1)
    run.unanswered()
    run.wait_for_another(2)
    assert run.nodes() == [*NAMES]
    join(run, 0, 1, 2, 3)
    assert run.phase is Phase.RUNNING
    run.unanswered()  # a later one has brought agents
    assert not [action for action in run.wait(20) if isinstance(action, StartAgain)]


def test_a_slurm_that_stays_silent_is_the_reason_for_the_end() -> None:
    run = Launched()
    for pause in (1, 2, 4, 8):
        run.unanswered()
        run.wait_for_another(pause)
    run.unanswered()
    run.wait(15)
    assert run.ending is not None
    assert run.ending.reason.startswith("no word within 30 s from: n[1-4]; ")
    assert f"; node n1: srun got no answer: {SILENCE}; " in run.ending.reason


def test_agents_that_srun_ends_before_the_run_has_begun_are_no_loss() -> None:
    run = Launched()
    join(run, 0, 1, 3)
    assert run.fail("n3") == [Send(AGENTS[index], Shutdown()) for index in (0, 1, 3)]
    run.disconnect(AGENTS[0])
    run.say(Exited(broker_name(1), 7, -9, False, False), AGENTS[1])
    run.say(Fault("broker 3 is gone"), AGENTS[3])
    run.say(Bye(), AGENTS[3])
    run.do(run.state.refuse(AGENTS[3], ProtocolError("half a message"), run.now))
    run.wait(4)
    assert run.ending is None
    assert warnings(run) == []
    assert run.state.missing() == list(NAMES)
    run.over()
    assert warnings(run) == [
        f"srun could not start an agent on n3: {WORDS}; those of n[1-4] are started again in 1 s",
    ]
    run.wait_for_another(1)
    assert run.nodes() == [*NAMES]
    anew(run, 0, 1, 2, 3)
    assert run.phase is Phase.RUNNING
    assert not sent(run, GivenUp)


def test_agent_of_a_launch_that_fails_is_welcome_neither_late_nor_by_another_address() -> None:
    run = Launched()
    join(run, 0)
    run.fail("n3")
    assert run.hello("n2") == [Send(AGENTS[1], Shutdown())]
    run.over()
    run.wait_for_another(1)
    assert run.hello("n1", "n1/1") == [Send(AgentName("n1/1"), Shutdown())]
    assert run.hello("n2", "n2/1") == [Send(AgentName("n2/1"), Shutdown())]
    assert isinstance(run.hello("n2", "n2/second/0")[0].message, Welcome)


def test_all_nodes_are_tried_until_nobody_waits_any_more_and_the_end_names_the_one() -> None:
    run = Launched()
    for pause in (1, 2, 4, 8):
        join(run, 0, 1, 3)
        run.try_in_vain("n3", pause)
    assert run.now == 15
    anew(run, 0, 1, 3)
    run.wait(15)
    reason = f"no word within 30 s from: n3; node n3: {OBSTACLE}; --patience gives them more time"
    assert run.ending == Ending(1, reason)


def test_run_ends_at_once_where_no_further_srun_can_be_started() -> None:
    run = Launched()
    run.try_in_vain("n3", 1)
    run.over("srun: error: Only allocated 3 nodes asked for 4")
    then = "the next srun died: exit status 1: srun: error: Only allocated 3 nodes asked for 4"
    assert run.ending == Ending(1, f"node n3: {OBSTACLE}; {then}")


def test_node_that_was_tried_twice_is_left_out_if_the_run_may_begin_without() -> None:
    run = Launched(THREE_WILL_DO)
    join(run, 0, 3)
    run.try_in_vain("n2", 1)
    assert run.nodes() == [*NAMES]
    run.try_in_vain("n2", 0)
    assert run.nodes() == ["n1", "n3", "n4"]
    assert warnings(run)[1:] == [f"node n2 is lost: {OBSTACLE}; 3 of 4 nodes"]
    anew(run, 0, 2, 3)
    assert run.phase is Phase.RUNNING


def test_node_that_a_job_has_lost_is_left_out_at_once() -> None:
    run = Launched(THREE_WILL_DO)
    run.try_in_vain("n2", 1)
    run.over("srun: error: Only allocated 3 nodes asked for 4")
    run.wait_for_another(0)
    assert run.nodes() == ["n1", "n3", "n4"]


def test_all_nodes_that_could_not_be_reached_are_named() -> None:
    run = Launched()
    run.fail("n2", "n4")
    run.over()
    assert warnings(run) == [
        f"srun could not start an agent on n[2,4]: {WORDS}; those of n[1-4] are started again in 1 s"
    ]


def test_first_node_is_never_left_out() -> None:
    run = Launched(THREE_WILL_DO)
    run.try_in_vain("n1", 1)
    run.try_in_vain("n1", 2)
    assert run.nodes() == [*NAMES]


def test_nothing_is_started_again_when_the_run_ends() -> None:
    run = Launched()
    run.fail("n3")
    run.over()
    run.end(1, "interrupted")
    assert not any(isinstance(action, StartAgain) for action in run.wait(60))
    assert run.phase is Phase.OVER


@pytest.mark.parametrize("plan", [replace(FOUR, ends_on_loss=True), FOUR])
def test_failed_launch_ends_a_run_that_is_to_end_at_any_loss_and_nothing_hides_a_refusal(plan: RunPlan) -> None:
    run = Launched(plan)
    join(run, 0, 1)
    if not plan.ends_on_loss:
        run.say(Fault("node n2: no space", 1, of_node=True), AGENTS[1])
    assert run.fail("n3") == []
    run.over()
    run.wait(1)
    assert run.ending is not None


def test_relays_of_a_launch_that_failed_are_forgotten() -> None:
    plan = replace(PLAN, nodes=tuple(NodePlan(f"n{number}", 1) for number in range(1, 6)))
    run = Launched(plan, DriverPolicy(all_connected=2))
    join(run, 0, 1, 2, 3)
    run.try_in_vain("n5", 1)
    anew(run, 0, 1, 2, 3, 4)
    assert run.phase is Phase.RUNNING
    of_second = [send.to for send in sent(run, Relay) if "second" in send.to]
    assert of_second == ["n2/second/0", "n3/second/0", "n4/second/0"]


# a run that has begun without some nodes


def test_run_that_has_begun_ends_srun_before_that_can_end_its_agents() -> None:
    run = Launched(replace(FOUR, min_nodes=2))
    join(run, 0, 1)
    assert run.phase is Phase.RUNNING
    assert EndAlone(8) not in run.wait(1.9)
    assert EndAlone(8) in run.wait(0.1)
    run.command_ends(CommandEnd(run.command, 8, -9))
    join(run, 2)
    run.wait_for_another(10)
    assert run.nodes() == ["n4"]
    assert run.ending is None


def test_node_that_cannot_be_reached_costs_a_run_that_has_begun_nothing_else() -> None:
    run = Launched(replace(FOUR, min_nodes=2))
    join(run, 0, 1, 3)
    run.wait(2)
    run.command_ends(CommandEnd(run.command, 8, -9))
    run.wait_for_another(10)
    run.try_in_vain("n3", 1)
    run.fail("n3")
    run.over()
    run.wait(60)
    assert [text for text in warnings(run) if "lost" in text] == [f"node n3 is lost: {OBSTACLE}; 3 of 4 nodes are left"]
    assert run.done.count(StartAgain(("n3",))) == 2


def test_second_agent_on_a_node_gives_way_to_the_first() -> None:
    run = Launched(replace(FOUR, min_nodes=2))
    join(run, 0, 1)
    run.wait(12)
    join(run, 2)
    second = AgentName("n3/second/0")
    assert run.say(Hello(VERSION, "3.11", "n3", "host", 43, 4), second) == [Send(second, Shutdown())]
    run.say(Bye(), second)
    run.disconnect(second)
    run.wait(5)
    assert [text for text in warnings(run) if "lost" in text] == []
