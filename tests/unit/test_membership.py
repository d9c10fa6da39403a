"""The driver's decisions about nodes that are lost, late, or come back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from test_driver_state import FIRST, PLAN, Run, commands

from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import LauncherGone, NodeLost, NodeTakenIn
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import (
    Beat,
    BrokerUp,
    Bye,
    Exited,
    Fault,
    GivenUp,
    Gone,
    LinkBroken,
    Message,
    Peers,
    Pool,
    Shutdown,
    Welcome,
)
from scoop_hpc.protocol.names import ORIGIN, AgentName, NodeIndex, broker_name, worker_name
from scoop_hpc.run.driving.actions import EndAlone, Probe, RemoveEnvironment, Send, Start, Warn
from scoop_hpc.run.driving.broken_links import BrokenLinks, Verdict
from scoop_hpc.run.driving.life import Ending, Phase
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.witnesses import CommandEnd
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy

FOUR = replace(PLAN, nodes=tuple(NodePlan(f"n{number}", 1) for number in (1, 2, 3, 4)))
THREE_WILL_DO = replace(FOUR, min_nodes=3)
AGENTS = tuple(AgentName(f"n{number}/0") for number in (1, 2, 3, 4))
HANGS = "(pid 7) on n3 has not answered for 60 s"
DIED = "its agent (pid 42) died, or the connection to it broke"


def up(index: int) -> BrokerUp:
    return BrokerUp(NodeIndex(index), (f"main{index}",))


def join(run: Run, *indices: int) -> list[Send]:
    """Let the nodes of these *indices* report, and their brokers; return what was sent at the last."""
    sends = []
    for index in indices:
        run.hello(f"n{index + 1}")
        sends = run.say(up(index), AGENTS[index])
    return sends


def begun(plan: RunPlan = FOUR, *indices: int) -> Run:
    run = Run(plan)
    run.do(run.state.start(commands(4), 0.0))
    join(run, *(indices or range(4)))
    assert run.phase is Phase.RUNNING
    return run


def lose(run: Run, index: int) -> None:
    """Let the connection to an agent break for too long."""
    run.disconnect(AGENTS[index])
    run.wait(2)


def come_back(run: Run, number: int, life: str) -> AgentName:
    """Let a node report anew, whose broker is up at once; return the agent's name."""
    agent = AgentName(f"n{number}/{life}/0")
    welcome = next(send.message for send in run.hello(f"n{number}", agent) if isinstance(send.message, Welcome))
    run.say(up(welcome.node), agent)
    return agent


def sent(run: Run, kind: type[Message]) -> list[Send]:
    return [action for action in run.done if isinstance(action, Send) and isinstance(action.message, kind)]


def warnings(run: Run) -> list[str]:
    return [action.text for action in run.done if isinstance(action, Warn)]


# losses


def test_node_whose_machine_does_not_answer_is_lost_sooner() -> None:
    run = begun(replace(FOUR, grace=30.0))
    run.listening.add(AGENTS[2])
    run.disconnect(AGENTS[2])
    run.wait(10)
    run.listening.clear()
    run.silent.add(AGENTS[2])
    run.wait(11.9)
    assert warnings(run) == []
    run.wait(0.2)
    assert warnings(run) == [
        "node n3 is lost: neither its agent (pid 42) nor its machine has answered for 12 s; 3 of 4 nodes are left"
    ]


def test_agent_whose_machine_answers_has_the_grace_to_connect_again() -> None:
    run = begun(replace(FOUR, grace=30.0))
    run.listening.add(AGENTS[2])
    run.disconnect(AGENTS[2])
    run.wait(29)
    assert [action for action in run.done if isinstance(action, Probe)] == 14 * [Probe(AGENTS[2], "main2")]
    run.state.connected(AGENTS[2])
    run.wait(60)
    assert run.do(run.state.refused(AGENTS[2], run.now)) == []  # the answer to a question of before
    assert not sent(run, Gone)
    run.disconnect(AGENTS[2])
    run.wait(30)
    assert warnings(run) == [
        "node n3 is lost: its agent (pid 42) has had no connection to the driver for 30 s; 3 of 4 nodes are left"
    ]


def test_agent_whose_launcher_has_ended_is_not_waited_for() -> None:
    run = begun()
    run.silent.add(AGENTS[2])
    run.disconnect(AGENTS[2])
    run.command_ends(CommandEnd(commands(4)[2], 8, 1, said="Connection to n3 closed"))
    assert warnings(run) == ["node n3 is lost: Connection to n3 closed; 3 of 4 nodes are left"]


def test_run_goes_on_without_a_node_whose_agent_is_lost() -> None:
    run = begun()
    lose(run, 2)
    gone = Gone(nodes=(NodeIndex(2),), cause=f"node n3 was lost: {DIED}")
    assert sent(run, Gone) == [Send(AGENTS[index], gone) for index in (0, 1, 3)]
    assert (run.ending, warnings(run)) == (None, [f"node n3 is lost: {DIED}; 3 of 4 nodes are left"])
    assert [event for event in run.observed if isinstance(event, NodeLost)] == [NodeLost("n3", DIED)]


def test_connection_that_is_made_again_in_time_is_no_loss() -> None:
    run = begun()
    run.disconnect(AGENTS[2])
    run.wait(1.9)
    run.state.connected(AGENTS[2])
    run.wait(60)
    assert warnings(run) == []


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (Exited(broker_name(2), 7, -11, False, False), "its broker (pid 7) died: killed by SIGSEGV"),
        (Fault(f"broker 2 {HANGS}", of_node=True), f"broker 2 {HANGS}"),
        (Fault("node n3: cannot start it", 2, of_node=True), "cannot start it"),
        (Bye(), "its agent left"),
    ],
)
def test_word_of_an_agent_that_its_node_cannot_go_on_costs_that_node(message: Message, cause: str) -> None:
    run = begun()
    assert run.say(message, AGENTS[2])[0] == Send(AGENTS[2], GivenUp())
    assert warnings(run) == [f"node n3 is lost: {cause}; 3 of 4 nodes are left"]
    other = begun()
    other.say(replace(message, name=broker_name(0)) if isinstance(message, Exited) else message, FIRST)
    assert other.ending is not None
    assert other.ending.status != 0


def test_fault_of_the_program_ends_the_run_wherever_it_comes_from() -> None:
    run = begun()
    run.say(Fault("no guard", 2), AGENTS[2])
    assert run.ending == Ending(2, "no guard")


def test_agent_that_sends_nonsense_is_given_up() -> None:
    run = begun()
    run.do(run.state.refuse(AGENTS[1], ProtocolError("what?"), 0.0))
    assert warnings(run) == ["node n2 is lost: invalid message of its agent: what?; 3 of 4 nodes are left"]


def test_loss_of_the_first_node_ends_the_run() -> None:
    run = begun()
    lose(run, 0)
    assert run.ending == Ending(1, "the agent (pid 42) on n1 died, or the connection to it broke")


@pytest.mark.parametrize("plan", [replace(FOUR, ends_on_loss=True), replace(FOUR, pool=Pool((), None, breaks=True))])
def test_loss_ends_a_run_that_is_told_to(plan: RunPlan) -> None:
    run = begun(plan)
    lose(run, 2)
    assert run.ending == Ending(1, "the agent (pid 42) on n3 died, or the connection to it broke")


def test_agent_on_this_machine_that_is_killed_costs_its_node() -> None:
    run = begun(replace(FOUR, one_machine=True))
    run.command_ends(CommandEnd(commands(4)[1], 8, -9))
    assert warnings(run) == ["node n2 is lost: its agent (pid 8) died: killed by SIGKILL; 3 of 4 nodes are left"]


def test_launcher_of_one_node_that_ends_with_its_agent_costs_that_node() -> None:
    run = begun(replace(FOUR, outlived=True))
    run.command_ends(CommandEnd(commands(4)[1], 8, 255, said="Connection closed"))
    assert warnings(run) == []
    run.disconnect(AGENTS[1])
    assert warnings(run) == ["node n2 is lost: Connection closed; 3 of 4 nodes are left"]


def test_launcher_of_all_nodes_that_ends_costs_none_that_is_connected() -> None:
    run = begun(replace(FOUR, outlived=True))
    run.disconnect(AGENTS[3])
    run.command_ends(CommandEnd(Command(("srun",), {}, ("n1", "n2", "n3", "n4")), 8, 1))
    assert warnings(run) == ["node n4 is lost: srun (pid 8) on head died: exit status 1; 3 of 4 nodes are left"]


SRUN = Command(("srun",), {}, ("n1", "n2", "n3", "n4"), may_end_all=True)


def started_by_srun(plan: RunPlan, *indices: int) -> Run:
    run = Run(replace(plan, outlived=True))
    run.do(run.state.start([SRUN], 0.0))
    run.state.command_started(SRUN, 8, 0.0)
    join(run, *indices)
    assert run.phase is Phase.RUNNING
    return run


def test_launcher_that_may_end_all_is_ended_when_a_node_is_missed_and_that_costs_no_other() -> None:
    run = started_by_srun(FOUR, 0, 1, 2, 3)
    run.wait(1)
    assert EndAlone(8) not in run.done
    run.disconnect(AGENTS[3])  # for a moment
    assert EndAlone(8) in run.wait(0)
    run.command_ends(CommandEnd(SRUN, 8, -9))
    run.do(run.state.has_way(AGENTS[3], by_relay=False))
    lose(run, 1)
    run.wait(100)
    assert run.done.count(EndAlone(8)) == 1
    assert warnings(run) == [f"node n2 is lost: {DIED}; 3 of 4 nodes are left"]
    assert [event.nodes for event in run.observed if isinstance(event, LauncherGone)] == ["n[1-4]"]


def test_launcher_that_may_end_all_lives_until_all_have_reported() -> None:
    run = started_by_srun(replace(FOUR, min_nodes=2), 0, 1)
    join(run, 2)
    run.say(Exited(broker_name(2), 7, -11, False, False), AGENTS[2])
    come_back(run, 3, "again")
    assert EndAlone(8) not in run.wait(1)
    run.hello("n4")
    assert EndAlone(8) in run.wait(0)


def test_end_of_the_launcher_of_a_lost_node_is_no_second_loss() -> None:
    run = begun()
    lose(run, 1)
    run.command_ends(CommandEnd(commands(4)[1], 8, 255, said="Connection closed"))
    assert len(warnings(run)) == 1


def test_nobody_waits_for_the_farewell_of_a_lost_node() -> None:
    run = begun()
    lose(run, 1)
    run.say(Exited(ORIGIN, 7, 0, False, own_end=True), FIRST)
    for index in (0, 2, 3):
        run.say(Bye(), AGENTS[index])
    assert (run.ending, run.phase) == (Ending(0), Phase.OVER)


def test_end_of_the_run_names_what_was_lost() -> None:
    run = begun()
    assert run.state.sum_up() == []
    lose(run, 1)
    run.say(Exited(broker_name(2), 7, -11, False, False), AGENTS[2])
    come_back(run, 3, "again")
    lost = f"lost: n2 ({DIED}), n3 (its broker (pid 7) died: killed by SIGSEGV; it came back)"
    assert run.state.sum_up() == [Warn(lost)]


def test_many_lost_nodes_are_not_all_named() -> None:
    run = Run(replace(PLAN, nodes=tuple(NodePlan(f"n{number}", 1) for number in range(1, 31))))
    for number in range(1, 31):
        run.hello(f"n{number}")
        run.say(up(number - 1), f"n{number}/0")
    for number in range(2, 13):
        run.say(Bye(), f"n{number}/0")
    (said,) = run.state.sum_up()
    assert isinstance(said, Warn)
    assert said.text.endswith("n9 (its agent left), and 3 more")


# the floor


def test_run_ends_when_less_than_half_of_its_nodes_are_left() -> None:
    run = begun()
    lose(run, 1)
    lose(run, 2)
    assert run.ending is None
    lose(run, 3)
    reason = f"node n4 is lost: {DIED}; 1 of 4 nodes is left, fewer than the 2 that it takes to go on (--min-nodes)"
    assert run.ending == Ending(1, reason)


def test_run_ends_with_fewer_nodes_than_it_was_told_to_begin_with() -> None:
    run = begun(THREE_WILL_DO)
    lose(run, 1)
    assert run.ending is None
    lose(run, 2)
    assert run.ending is not None
    assert run.ending.reason.endswith("2 of 4 nodes are left, fewer than the 3 that it takes to go on (--min-nodes)")


def test_run_whose_last_workers_are_lost_with_their_node_ends() -> None:
    run = begun(replace(FOUR, nodes=FOUR.nodes[:2]), 0, 1)
    run.say(Exited(worker_name(0, 1), 7, -9, False, False), FIRST)
    assert run.ending is None
    lose(run, 1)
    assert run.ending is not None
    assert run.ending.reason.endswith("; no worker is left")


# the beginning


def test_run_begins_with_as_many_nodes_as_will_do_and_says_who_is_missing() -> None:
    run = Run(THREE_WILL_DO)
    assert join(run, 1, 2, 3) == []  # the first is always needed
    assert join(run, 0)[0] == Send(FIRST, Peers((up(0), up(1), up(2), up(3))))
    other = begun(THREE_WILL_DO, 0, 1, 3)
    peers = Peers((up(0), up(1), up(3)))
    assert sent(other, Peers) == [Send(AGENTS[index], peers) for index in (0, 1, 3)]
    assert warnings(other) == ["the run begins with 3 of 4 nodes, without n3"]


def test_node_that_reports_late_is_taken_in() -> None:
    run = begun(THREE_WILL_DO, 0, 1, 3)
    others = [Send(AGENTS[index], Peers((up(2),))) for index in (0, 1, 3)]
    assert join(run, 2) == [*others, Send(AGENTS[2], Peers((up(0), up(1), up(2), up(3))))]
    assert warnings(run)[-1] == "node n3 takes part from now on, as broker 2: 4 of 4 nodes"
    assert NodeTakenIn("n3", "2") in run.observed


def test_too_few_nodes_in_time_end_the_run() -> None:
    run = Run(THREE_WILL_DO)
    run.do(run.state.start(commands(4), 0.0))
    join(run, 0, 1)
    run.wait(30)
    waited = "no word within 30 s from: n[3-4]; 2 nodes are ready, --min-nodes is 3; --patience gives them more time"
    assert run.ending == Ending(1, waited)


def test_loss_while_the_run_is_starting_ends_it_if_the_others_are_too_few() -> None:
    run = Run(FOUR)
    join(run, 0, 1)
    lose(run, 1)
    assert run.ending == Ending(1, "the agent (pid 42) on n2 died, or the connection to it broke")
    other = Run(THREE_WILL_DO)
    join(other, 0, 1)
    lose(other, 1)
    assert (other.ending, warnings(other)) == (None, [f"node n2 is lost: {DIED}; 3 of 4 nodes"])
    join(other, 2, 3)
    assert sent(other, Peers)[0] == Send(FIRST, Peers((up(0), up(2), up(3)), (NodeIndex(1),)))


def test_node_whose_agent_cannot_be_started_is_done_without() -> None:
    run = begun(THREE_WILL_DO, 0, 1, 3)
    run.command_ends(CommandEnd(commands(4)[2], 8, 255, said="no route to host"))
    assert warnings(run)[-1] == "node n3 is lost: no route to host; 3 of 4 nodes are left"
    assert run.ending is None


def test_workers_that_cannot_be_counted_keep_none_waiting_who_can_do_without() -> None:
    nodes = (*FOUR.nodes[:3], NodePlan("n4", None))
    run = Run(replace(THREE_WILL_DO, nodes=nodes))
    run.hello("n1")
    assert sent(run, Welcome) == []
    run.hello("n2")
    welcomes = [send.message for send in run.hello("n3") if isinstance(send.message, Welcome)]
    assert [each.size for each in welcomes if isinstance(each, Welcome)] == [4, 4, 4]


def test_environment_of_agents_stays_until_none_can_need_it() -> None:
    run = begun(THREE_WILL_DO, 0, 1, 3)
    assert RemoveEnvironment() not in run.done
    run.hello("n3")
    assert run.done.count(RemoveEnvironment()) == 1
    run.end(0, "")
    assert run.done.count(RemoveEnvironment()) == 1


def test_nodes_that_never_report_do_not_keep_others_from_being_started() -> None:
    run = Run(replace(FOUR, min_nodes=1), DriverPolicy(agents_at_once=1))
    first, second, third, _ = commands(4)
    assert run.state.start(commands(4), 0.0) == [Start(first)]
    run.hello("n1")
    assert run.done[0] == Start(second)
    run.command_ends(CommandEnd(second, 8, 1, said="no route to host"))
    assert Start(third) in run.done


# those that come back


def test_node_that_comes_back_is_another_one() -> None:
    run = begun()
    run.say(Exited(broker_name(2), 7, -11, False, False), AGENTS[2])
    back = AgentName("n3/again/0")
    (send,) = run.hello("n3", back)
    assert isinstance(send.message, Welcome)
    assert (send.to, send.message.node, send.message.workers) == (back, 4, 1)
    assert send.message.nodes == ("n1", "n2", "n3", "n4", "n3")
    others = [Send(AGENTS[index], Peers((up(4),))) for index in (0, 1, 3)]
    peers = Peers((up(0), up(1), up(3), up(4)), gone=(NodeIndex(2),))
    assert run.say(up(4), back) == [*others, Send(back, peers)]
    assert warnings(run)[-1] == "node n3 takes part again from now on, as broker 4: 4 of 4 nodes"


def test_lost_node_that_is_heard_of_again_is_told_that_it_is_given_up() -> None:
    run = begun()
    lose(run, 2)
    assert run.say(Beat(), AGENTS[2]) == [Send(AGENTS[2], GivenUp())]
    assert run.say(Exited(worker_name(2, 0), 9, -9, False, False), AGENTS[2]) == [Send(AGENTS[2], GivenUp())]
    assert run.say(Bye(), AGENTS[2]) == []
    assert len(warnings(run)) == 1
    run.end(0, "")
    assert run.say(Beat(), AGENTS[2]) == [Send(AGENTS[2], Shutdown())]


def test_second_knock_of_a_lost_agent_is_no_return() -> None:
    run = begun()
    lose(run, 2)
    assert run.hello("n3", "n3/1") == []


def test_agent_that_has_begun_anew_before_it_was_missed_is_lost_and_back() -> None:
    run = begun()
    come_back(run, 3, "again")
    assert warnings(run)[0] == "node n3 is lost: its agent has begun anew; 3 of 4 nodes are left"
    assert run.state.missing() == []
    assert run.ending is None


def test_node_that_is_lost_again_and_again_is_left_out() -> None:
    run = begun()
    agent = AGENTS[2]
    for life in "abc":
        run.say(Bye(), agent)
        agent = come_back(run, 3, life)
    run.say(Bye(), agent)
    assert run.hello("n3", "n3/d/0") == [Send(AgentName("n3/d/0"), Shutdown())]
    assert warnings(run)[-1] == "node n3 was lost 4 times: it is left out from now on"
    assert run.ending is None


def test_agent_with_another_python_is_sent_away_when_the_run_has_begun() -> None:
    run = begun()
    lose(run, 2)
    agent = AgentName("n3/again/0")
    assert Send(agent, Shutdown()) in run.hello("n3", agent, python="3.9")
    assert run.ending is None


def test_agent_whose_connection_was_lost_for_a_moment_is_told_again_who_is_gone() -> None:
    run = begun()
    run.say(Exited(worker_name(1, 0), 7, -11, False, False, is_replaced=True), AGENTS[1])
    lose(run, 2)
    gone = Gone((worker_name(1, 0),), (NodeIndex(2),))
    peers = Peers((up(0), up(1), up(3)), gone=(NodeIndex(2),))
    assert run.say(Beat(), AGENTS[3]) == [Send(AGENTS[3], peers), Send(AGENTS[3], gone)]


# links


def test_of_a_node_without_links_and_the_others_that_one_is_given_up() -> None:
    run = begun(replace(FOUR, grace=60.0))
    run.say(LinkBroken(broker_name(1)), AGENTS[3])
    run.wait(2)
    for index in (0, 2):
        run.say(LinkBroken(broker_name(1)), AGENTS[index])
    assert warnings(run) == []
    run.wait(1)
    how = "its broker has had no connection to n[1,3-4] for 60 s"
    assert warnings(run) == [f"node n2 is lost: {how}; 3 of 4 nodes are left"]
    assert Send(AGENTS[1], GivenUp()) in run.done


def test_link_to_a_node_that_is_lost_meanwhile_costs_no_other() -> None:
    run = begun()
    run.say(LinkBroken(broker_name(1)), AGENTS[3])
    run.say(Bye(), AGENTS[1])
    run.wait(10)
    assert len(warnings(run)) == 1


def test_link_of_unknown_ends_is_an_error() -> None:
    run = begun()
    for peer in ("3", "9"):
        with pytest.raises(ProtocolError):
            run.say(LinkBroken(broker_name(NodeIndex(int(peer)))), AGENTS[3])


def links(*pairs: tuple[int, int]) -> list[Verdict]:
    broken = BrokenLinks(3.0)
    for node, other in pairs:
        broken.report(NodeIndex(node), NodeIndex(other), 0.0)
    return broken.judge([NodeIndex(index) for index in range(5)])


def test_the_first_node_is_never_given_up_and_of_equals_the_last_is() -> None:
    assert links((3, 0)) == [Verdict(NodeIndex(3), (NodeIndex(0),))]
    assert links((1, 2), (2, 1)) == [Verdict(NodeIndex(2), (NodeIndex(1),))]


def test_no_more_nodes_are_given_up_than_it_takes() -> None:
    assert [verdict.node for verdict in links((0, 1), (2, 1), (3, 1), (3, 4))] == [1, 4]


def test_links_are_judged_some_time_after_the_first_report_and_forgotten() -> None:
    broken = BrokenLinks(3.0)
    assert broken.due() is None
    broken.report(NodeIndex(1), NodeIndex(2), 5.0)
    broken.report(NodeIndex(1), NodeIndex(3), 6.0)
    assert broken.due() == 8.0
    broken.judge([])
    assert (broken.due(), broken.judge([NodeIndex(1), NodeIndex(2)])) == (None, [])


# ranks


def test_workers_are_counted_in_the_order_of_the_nodes_whoever_comes_first() -> None:
    run = Run(replace(FOUR, nodes=tuple(NodePlan(f"n{number}", number) for number in (1, 2, 3, 4))))
    run.do(run.state.start(commands(4), 0.0))
    join(run, 3, 1, 2, 0)
    welcomes = {send.message.node: send.message for send in sent(run, Welcome) if isinstance(send.message, Welcome)}
    assert [welcomes[NodeIndex(index)].first_rank for index in range(4)] == [0, 1, 3, 6]
    assert {welcome.ranks for welcome in welcomes.values()} == {10}


def test_a_node_that_comes_back_has_its_ranks_again() -> None:
    run = begun()
    lose(run, 1)
    lose(run, 2)
    come_back(run, 3, "again")
    welcome = sent(run, Welcome)[-1].message
    assert isinstance(welcome, Welcome)
    assert (welcome.node, welcome.first_rank, welcome.ranks) == (4, 2, 4)


# whom the run waits for


def test_nodes_that_are_late_are_named_once() -> None:
    run = Run(FOUR)
    run.do(run.state.start(commands(4), 0.0))
    join(run, 0, 3)
    run.wait(4.9)
    assert warnings(run) == []
    run.wait(20)
    assert warnings(run) == ["waiting for 2 of 4 nodes, 25 s more (--patience): n[2-3]"]
    join(run, 1, 2)
    assert run.phase is Phase.RUNNING


def test_nobody_is_waited_for_in_words_on_one_machine_nor_when_all_are_there() -> None:
    for plan, joined in ((replace(FOUR, one_machine=True), (0,)), (FOUR, (0, 1, 2, 3))):
        run = Run(plan)
        run.do(run.state.start(commands(4), 0.0))
        join(run, *joined)
        run.wait(20)
        assert warnings(run) == []


# nodes that say what keeps them from taking part

LIMIT = "1272 more open files are needed, the system grants 1024 (ulimit -n): raise that"


def refuse(run: Run, *numbers: int, what: str = LIMIT) -> None:
    for number in numbers:
        run.hello(f"n{number}")
        run.say(Fault(f"node n{number}: {what}", 2, of_node=True), AGENTS[number - 1])
        run.say(Bye(), AGENTS[number - 1])


def test_nodes_that_cannot_take_part_for_the_same_reason_are_named_in_one_line() -> None:
    run = Run(FOUR)
    run.do(run.state.start(commands(4), 0.0))
    refuse(run, 2, 3)
    run.wait(0.3)
    refuse(run, 4)
    refuse(run, 1, what="64 MiB of memory are needed")
    assert run.ending is None
    run.wait(0.2)
    assert run.ending == Ending(2, f"node n1: 64 MiB of memory are needed; nodes n[2-4]: {LIMIT}")


def test_end_of_a_launchers_command_says_nothing_of_a_node_that_has_said_why() -> None:
    run = Run(FOUR)
    run.do(run.state.start(commands(4), 0.0))
    refuse(run, 2)
    run.command_ends(CommandEnd(Command(("qrsh",), {}, ("n2",)), 7, 2, "killed"))
    run.wait(4)
    assert run.ending == Ending(2, f"node n2: {LIMIT}")


def test_nodes_that_have_not_said_yet_whether_they_can_take_part_are_waited_for_some_seconds() -> None:
    runs = [Run(FOUR), Run(FOUR)]
    for run in runs:
        run.do(run.state.start(commands(4), 0.0))
        refuse(run, 2, 3)
        run.wait(2.0)
        refuse(run, 1)
        assert run.ending is None
    all_have, one_has_not = runs
    refuse(all_have, 4)
    all_have.wait(0.5)
    assert all_have.ending == Ending(2, f"nodes n[1-4]: {LIMIT}")
    one_has_not.wait(1.9)
    assert one_has_not.ending is None
    one_has_not.wait(0.1)
    assert one_has_not.ending == Ending(2, f"nodes n[1-3]: {LIMIT}")


def test_run_that_can_do_without_a_node_does_so_when_that_cannot_take_part() -> None:
    run = Run(THREE_WILL_DO)
    run.do(run.state.start(commands(4), 0.0))
    refuse(run, 2)
    assert warnings(run) == [f"node n2 is lost: {LIMIT}; 3 of 4 nodes"]
    join(run, 0, 2, 3)
    assert run.phase is Phase.RUNNING
