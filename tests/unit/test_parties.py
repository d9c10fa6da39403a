"""The driver's decisions about nodes of other allocations, and nodes that leave."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from test_driver_state import PLAN, Run
from test_membership import AGENTS, FOUR, begun, come_back, lose, sent, up, warnings

from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import AgentLeft, NodeLeft, NodeLost, PartyJoins
from scoop_hpc.protocol.messages import (
    VERSION,
    Accepted,
    Accounts,
    Beat,
    Bye,
    Drained,
    Exited,
    GivenUp,
    Gone,
    Hello,
    Join,
    Joined,
    JoinerLost,
    JoiningNode,
    Leave,
    Message,
    Peers,
    Refused,
    Shutdown,
    Welcome,
)
from scoop_hpc.protocol.names import AgentName, NodeIndex, worker_name
from scoop_hpc.run.driving.actions import Send
from scoop_hpc.run.driving.life import Phase
from scoop_hpc.run.heard import Heard
from scoop_hpc.run.watching.accounts import NodeAccounted

JOINER = AgentName("login/5f0c/0")
USER = AgentName("login/9be0/0")
JOIN = Join(VERSION, "43", "m1", 7, (JoiningNode("m1", 2), JoiningNode("n1", 2)))
GUEST, NAMESAKE = AgentName("m1/1/0"), AgentName("n1/1/0")


def answer(run: Run, message: Message, sender: AgentName = USER) -> Message:
    (found,) = [send.message for send in run.say(message, sender) if send.to == sender]
    return found


def report(run: Run, node: str, agent: AgentName, party: int = 1) -> Welcome:
    """Let the agent of a node that joins report, whose broker is up at once; return its welcome."""
    sends = run.say(Hello(VERSION, "3.11", node, "host", 42, 4, party), agent)
    (welcome,) = [send.message for send in sends if isinstance(send.message, Welcome)]
    run.say(up(welcome.node), agent)
    return welcome


def joined(run: Run) -> Run:
    """Let a node of another job take part, as node 4."""
    assert answer(run, JOIN, JOINER) == Joined(1)
    report(run, "m1", GUEST)
    return run


def test_nodes_of_another_allocation_join_as_nodes_that_are_late() -> None:
    run = begun()
    assert answer(run, JOIN, JOINER) == Joined(1)
    assert PartyJoins(1, "43", "m1", "m1,n1") in run.observed
    welcome = report(run, "m1", GUEST)
    assert (welcome.node, welcome.workers, welcome.party) == (4, 2, 1)
    assert (welcome.size, welcome.first_rank, welcome.ranks) == (6, 4, 6)
    assert warnings(run) == ["node m1 takes part from now on, as broker 4: 5 of 5 nodes"]
    told = [send for send in sent(run, Peers) if send.to in AGENTS and send.message == Peers((up(4),))]
    assert [send.to for send in told] == list(AGENTS)


def test_node_on_a_machine_that_takes_part_already_is_another_one() -> None:
    run = begun()
    answer(run, JOIN, JOINER)
    welcome = report(run, "n1", NAMESAKE)
    assert (welcome.node, welcome.nodes[4], welcome.party) == (4, "n1+1", 1)
    assert not sent(run, Gone)
    lose(run, 1)
    assert come_back(run, 2, "again") == "n2/again/0"
    assert run.phase is Phase.RUNNING


def test_joiner_that_asks_twice_or_by_another_address_is_one_party() -> None:
    run = begun()
    assert answer(run, JOIN, JOINER) == Joined(1)
    assert answer(run, JOIN, JOINER) == Joined(1)
    assert answer(run, JOIN, AgentName("login/5f0c/1")) == Joined(1)
    assert answer(run, JOIN, AgentName("login/9be0/0")) == Joined(2)


def test_run_that_has_not_begun_is_to_be_asked_again() -> None:
    run = Run()
    run.do(run.state.start((), 0.0))
    assert answer(run, JOIN, JOINER) == Refused("it has not begun", is_early=True)


def test_run_whose_program_is_its_only_worker_takes_no_nodes() -> None:
    run = Run(replace(PLAN, nodes=PLAN.nodes[1:]))
    run.do(run.state.start((), 0.0))
    run.hello("n2.site")
    run.say(up(0), "n2.site/0")
    refused = answer(run, JOIN, JOINER)
    assert refused == Refused("its program is its only worker: start it with two workers, or more")


def test_run_that_ends_or_speaks_another_protocol_takes_no_nodes() -> None:
    run = begun()
    other = answer(run, replace(JOIN, version=1), JOINER)
    assert isinstance(other, Refused)
    assert "protocol 1: install the same version" in other.reason.replace("this is", "protocol")
    run.end(0, "")
    assert answer(run, JOIN, JOINER) == Refused("it ends")


def test_agent_of_an_unknown_party_or_node_is_no_part_of_the_run() -> None:
    run = begun()
    answer(run, JOIN, JOINER)
    for node, party in (("m1", 2), ("m7", 1)):
        with pytest.raises(ProtocolError, match="which is not part of the run"):
            run.say(Hello(VERSION, "3.11", node, "host", 42, 4, party), "x/0/0")
    assert run.phase is Phase.RUNNING


def test_end_of_the_run_is_told_to_joiners() -> None:
    run = joined(begun())
    told = [send.to for send in run.end(0, "") if isinstance(send.message, Shutdown)]
    assert set(told) == {*AGENTS, GUEST, JOINER}


def test_guest_that_is_lost_comes_back_with_its_ranks() -> None:
    run = joined(begun())
    run.disconnect(GUEST)
    run.wait(2)
    assert [event.node for event in run.observed if isinstance(event, NodeLost)] == ["m1"]
    again = report(run, "m1", AgentName("m1/2/0"))
    assert (again.node, again.first_rank, again.party) == (5, 4, 1)
    assert warnings(run)[-1] == "node m1 takes part again from now on, as broker 5: 5 of 5 nodes"


def test_loss_of_the_joiner_s_node_is_told_to_the_others_of_its_job() -> None:
    run = joined(begun())
    report(run, "n1", NAMESAKE)
    run.disconnect(GUEST)
    run.wait(2)
    assert [send.to for send in sent(run, JoinerLost)] == [NAMESAKE]
    assert warnings(run)[-1] == "the script of the job that brought n1+1 was on m1; n1+1 stays to the end of the run"


def test_loss_of_another_node_than_the_joiner_s_is_not() -> None:
    run = joined(begun())
    report(run, "n1", NAMESAKE)
    run.disconnect(NAMESAKE)
    run.wait(2)
    lose(run, 2)
    assert not sent(run, JoinerLost)


# leaving


def test_drained_node_has_left_and_nothing_is_lost() -> None:
    run = begun()
    assert answer(run, Leave(node="n3")) == Accepted(("n3",), 1)
    assert {send.to for send in sent(run, Peers) if send.message == Peers((), leaving=(NodeIndex(2),))} == set(AGENTS)
    run.wait(3600)
    sends = run.say(Drained(), AGENTS[2])
    assert Send(AGENTS[2], Shutdown()) in sends
    assert {send.to for send in sent(run, Gone)} == {agent for agent in AGENTS if agent != AGENTS[2]}
    assert {send.message for send in sent(run, Gone)} == {Gone(cause="node n3 has left", left=(NodeIndex(2),))}
    assert NodeLeft("n3", "drained") in run.observed
    assert warnings(run) == [
        "n3 leaves the run (drained): no more tasks go there",
        "node n3 has left: drained; 3 of 3 nodes are left",
    ]
    accounts = Accounts((), ())
    run.say(accounts, AGENTS[2])  # it ends orderly, so all that was done there counts
    run.say(Bye(), AGENTS[2])
    assert run.observed[-2:] == [NodeAccounted("n3", NodeIndex(2), accounts), AgentLeft("n3")]
    run.disconnect(AGENTS[2])
    run.wait(60)
    run.end(0, "")
    assert run.do(run.state.sum_up()) == []
    assert len(warnings(run)) == 2


def test_who_asks_again_or_joins_later_hears_of_the_nodes_that_leave_and_have_left() -> None:
    run = begun()
    answer(run, Leave(node="n3"))
    run.say(Drained(), AGENTS[2])
    answer(run, Leave(node="n2"))
    peers, gone = [send.message for send in run.say(Beat(), AGENTS[3])]
    assert peers == Peers((up(0), up(1), up(3)), leaving=(NodeIndex(1),), left=(NodeIndex(2),))
    assert gone == Gone(left=(NodeIndex(2),))


def heard_by(run: Run, agent: AgentName) -> Beat:
    """Return what an agent asks that has heard all that it was told."""
    heard = Heard()
    for send in (*sent(run, Peers), *sent(run, Gone)):
        if send.to == agent:
            assert isinstance(send.message, Peers | Gone)
            heard.hear(send.message)
    return Beat(heard.known())


def test_who_asks_again_and_knows_all_is_told_nothing() -> None:
    run = begun()
    assert run.say(heard_by(run, AGENTS[3]), AGENTS[3]) == []
    before = heard_by(run, AGENTS[3])
    run.say(Exited(worker_name(1, 0), 7, -11, False, False, is_replaced=True), AGENTS[1])
    assert len(run.say(before, AGENTS[3])) == 2
    lose(run, 1)
    newcomer = come_back(run, 2, "b")
    answer(run, Leave(node="n3"))
    assert run.say(heard_by(run, AGENTS[3]), AGENTS[3]) == []
    assert len(run.say(heard_by(run, newcomer), newcomer)) == 2  # nobody has told it of the worker that was dead before
    assert run.say(heard_by(run, newcomer), newcomer) == []
    before = heard_by(run, AGENTS[3])
    run.say(Drained(), AGENTS[2])
    assert len(run.say(before, AGENTS[3])) == 2
    for agent in (AGENTS[3], newcomer):
        assert run.say(heard_by(run, agent), agent) == []


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("n1", "its program runs on n1, which cannot leave before its end"),
        ("n7", "no node 'n7' takes part in it: n[1-4]"),
    ],
)
def test_node_that_cannot_leave_stays(node: str, reason: str) -> None:
    run = begun()
    assert answer(run, Leave(node=node)) == Refused(reason)
    assert not warnings(run)


def test_so_many_nodes_stay_as_it_takes_to_go_on() -> None:
    run = begun()
    for node in ("n2", "n3"):
        assert isinstance(answer(run, Leave(node=node)), Accepted)
    reason = "1 node would be left, fewer than the 2 that it takes to go on (--min-nodes)"
    assert answer(run, Leave(node="n4")) == Refused(reason)


def leaving(run: Run) -> set[int]:
    """Return the nodes of which the others were told that they leave."""
    return {node for send in sent(run, Peers) if isinstance(send.message, Peers) for node in send.message.leaving}


def deadly(run: Run, node: int, times: int, may_be_node: bool = True) -> None:
    """Let so many workers of a *node* die in a task."""
    for number in range(times):
        name = worker_name(node, 1 + number)
        died = Exited(name, 7, -11, False, False, "f(), attempt 1", is_replaced=True, may_be_node=may_be_node)
        run.say(died, AGENTS[node])


def test_node_on_which_one_worker_after_the_other_dies_in_a_task_is_left_alone() -> None:
    run = begun()
    deadly(run, 2, 5)
    deadly(run, 2, 1, may_be_node=False)
    deadly(run, 2, 5)
    deadly(run, 3, 1)
    deadly(run, 2, 5)
    assert not leaving(run)
    deadly(run, 2, 1)
    assert warnings(run)[-1] == (
        "n3 leaves the run (its last 6 workers died in a task, and none did elsewhere): no more tasks go there"
    )
    assert leaving(run) == {2}


def test_node_of_the_program_and_those_that_it_takes_to_go_on_stay_whoever_dies_there() -> None:
    run = begun()
    deadly(run, 0, 20)
    for node in ("n2", "n3"):
        answer(run, Leave(node=node))
    deadly(run, 3, 20)
    assert leaving(run) == {1, 2}


def test_node_that_is_not_done_in_time_is_lost_and_does_not_return() -> None:
    run = begun()
    answer(run, Leave(10.0, "n3"))
    answer(run, Leave(60.0, "n3"))  # no more time than it had
    run.wait(9.9)
    assert not sent(run, Gone)
    run.wait(0.2)
    assert [send.message for send in sent(run, Gone) if send.to == AGENTS[0]] == [
        Gone(nodes=(NodeIndex(2),), cause="node n3 was lost: it had to leave (drained) while it had tasks to do")
    ]
    assert Send(AGENTS[2], Shutdown()) in run.done
    assert not sent(run, GivenUp)
    hello = run.hello("n3", "n3/again/0")
    assert hello == [Send(AgentName("n3/again/0"), Shutdown())]


def test_all_nodes_of_a_joiner_leave_when_it_says_so_and_an_agent_speaks_for_its_own() -> None:
    run = joined(begun())
    report(run, "n1", NAMESAKE)
    run.say(Leave(5.0, why="SIGTERM"), GUEST)
    assert warnings(run)[-1] == "m1 leaves the run (SIGTERM): no more tasks go there"
    run.say(Leave(20.0, why="the walltime of its job ends"), JOINER)
    assert warnings(run)[-1] == "n1+1 leaves the run (the walltime of its job ends): no more tasks go there"
    run.say(Drained(), GUEST)
    run.say(Drained(), NAMESAKE)
    assert warnings(run)[-1] == "node n1+1 has left: the walltime of its job ends; 4 of 4 nodes are left"
    assert run.phase is Phase.RUNNING


def test_guest_by_the_name_of_a_machine_leaves_by_its_own_name() -> None:
    run = begun()
    answer(run, JOIN, JOINER)
    report(run, "n1", NAMESAKE)
    assert isinstance(answer(run, Leave(node="n1")), Refused)
    assert answer(run, Leave(node="n1+1")) == Accepted(("n1+1",), 2)


def test_who_has_nothing_to_do_while_it_does_not_leave_is_not_heeded() -> None:
    run = begun(FOUR)
    assert run.say(Drained(), AGENTS[2]) == []
    assert run.state.remaining() == ["n1", "n2", "n3", "n4"]
