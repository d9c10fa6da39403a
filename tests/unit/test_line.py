"""What agent and driver have for each other, straight and by relays, whatever is lost on the way: no socket."""

from __future__ import annotations

import random
from collections import deque

import pytest

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    VERSION,
    Arrived,
    Beat,
    Bye,
    Forward,
    Hello,
    Message,
    Output,
    OutputSeen,
    Parted,
    Program,
    Relayed,
    Resume,
    UseRelay,
    Welcome,
)
from scoop_hpc.protocol.names import NodeIndex, worker_name
from scoop_hpc.transport.line import Act, AgentEnd, Dial, DriverEnd, Envelope, HangUp, Heard, Hop, Write
from scoop_hpc.transport.numbered import with_number

HELLO = Hello(VERSION, "3.11", "n1", "h1", 7, 4)
WELCOME = Welcome(
    node=NodeIndex(0),
    workers=1,
    size=1,
    program=Program(b"p.py", (), b"/", {}),
    nodes=("n1",),
    curve=None,
    directory=None,
    inherit=(),
    driver="",
    record=None,
    attempt="",
    driver_process="",
    driver_pid=1,
    complaints=None,
)
DRIVER, RELAYS = "tcp://d:1", ("tcp://r:1", "tcp://r:2")


class Pipe:
    """A connection of one agent: what is under way in it, each way."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.up: deque[list[bytes]] = deque()
        self.down: deque[list[bytes]] = deque()
        self.is_made = False


class Net:
    """A driver, agents with ways to it, and the relays ``r1`` and ``r2``, which are agents themselves."""

    def __init__(self, *names: str) -> None:
        self.driver = DriverEnd()
        self.agents = {name: AgentEnd(DRIVER, HELLO) for name in names}
        self.pipes: dict[tuple[str, Hop], Pipe] = {}
        self.heard: list[Heard] = []  # by the driver
        self.said: dict[str, list[Message]] = {name: [] for name in names}  # to the agents
        self.dead: set[str] = set()
        for name, agent in self.agents.items():
            self.act(name, agent.begin())

    def act(self, name: str, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case Dial(hop, address):
                    assert (name, hop) not in self.pipes
                    self.pipes[name, hop] = Pipe(address)
                case HangUp(hop):
                    self._drop(name, hop)
                case Write(hop, frames):
                    self.pipes[name, hop].up.append([bytes(frame) for frame in frames])

    def _drop(self, name: str, hop: Hop) -> None:
        pipe = self.pipes.pop((name, hop))
        relay = self.relay_at(pipe.address)
        if relay and pipe.is_made and relay not in self.dead:
            self.act(relay, self.agents[relay].send(Parted(name)))

    def relay_at(self, address: str) -> str:
        return f"r{address[-1]}" if address in RELAYS else ""

    def made(self, name: str, hop: Hop) -> None:
        pipe = self.pipes[name, hop]
        if not pipe.is_made and self.relay_at(pipe.address) not in self.dead:
            pipe.is_made = True
            self.act(name, self.agents[name].made(hop))

    def cut(self, name: str, hop: Hop) -> None:
        """Break a connection: what is under way is lost; the agent sees it, libzmq connects to the driver again."""
        pipe = self.pipes.get((name, hop))
        if pipe is None or not pipe.is_made:
            return
        pipe.up.clear()
        pipe.down.clear()
        pipe.is_made = hop is Hop.RELAY
        self.act(name, self.agents[name].lost(hop))

    def kill(self, relay: str) -> None:
        """Let a relay die: all it has is lost."""
        self.dead.add(relay)
        for (name, hop), pipe in list(self.pipes.items()):
            if self.relay_at(pipe.address) == relay:
                pipe.is_made = True
                self.cut(name, hop)

    def carry(self, chance: random.Random) -> None:
        """Let something go one step on."""
        (name, hop), pipe = chance.choice(list(self.pipes.items()))
        self.made(name, hop)
        if self.pipes.get((name, hop)) is not pipe or not pipe.is_made:
            return
        relay = self.relay_at(pipe.address)
        if name in self.dead or relay in self.dead:
            return
        if pipe.up and chance.random() < 0.5:
            frames = pipe.up.popleft()
            if relay:
                self.act(relay, self.agents[relay].send(Relayed(name, frames[0])))
            else:
                heard, envelopes = self.driver.take(name, frames)
                self.heard.append(heard)
                self.write(envelopes)
        elif pipe.down:
            message, acts = self.agents[name].take(hop, pipe.down.popleft())
            self.act(name, acts)
            if isinstance(message, Forward):
                for to in message.to:
                    frames_down = with_number(to.number, [message.frame]) if to.number else [message.frame]
                    below = self.pipes.get((to.agent, Hop.RELAY))
                    if below is not None and below.is_made and self.relay_at(below.address) == name:
                        below.down.append([bytes(frame) for frame in frames_down])
            elif message is not None:
                self.said[name].append(message)

    def write(self, envelopes: list[Envelope]) -> None:
        for to, frames in envelopes:
            pipe = self.pipes.get((to, Hop.DRIVER))
            if pipe is not None and pipe.is_made:  # a ROUTER drops what is for others
                pipe.down.append([bytes(frame) for frame in frames])

    def tell(self, message: Message, *names: str) -> None:
        self.write(self.driver.send(names, message))

    def settle(self, chance: random.Random) -> None:
        for _ in range(60 * len(self.pipes)):
            self.carry(chance)


def net_of(*names: str, seed: int = 0) -> tuple[Net, random.Random]:
    net, chance = Net(*names), random.Random(seed)
    net.settle(chance)
    net.tell(WELCOME, *names)
    net.settle(chance)
    assert all(said == [WELCOME] for said in net.said.values())
    net.said = {name: [] for name in names}
    net.heard.clear()
    return net, chance


def behind_relay(seed: int = 0) -> tuple[Net, random.Random]:
    net, chance = net_of("a", "b", "r1", seed=seed)
    net.tell(UseRelay(RELAYS[0]), "a", "b")
    net.settle(chance)
    assert net.driver.behind("r1") == ["a", "b"]
    return net, chance


def test_agent_gives_up_its_own_connection_once_a_relay_works() -> None:
    net, _ = behind_relay()
    assert set(net.pipes) == {("a", Hop.RELAY), ("b", Hop.RELAY), ("r1", Hop.DRIVER)}
    assert [heard.sender for heard in net.heard if heard.is_connected] in (["a", "b"], ["b", "a"])


def test_what_is_for_many_goes_to_their_relay_once() -> None:
    net, chance = behind_relay()
    envelopes = net.driver.send(["a", "b", "r1"], OutputSeen(1))
    assert [envelope.to for envelope in envelopes] == ["r1", "r1"]  # its own, and the one for the others
    net.write(envelopes)
    net.settle(chance)
    assert net.said == {"a": [OutputSeen(1)], "b": [OutputSeen(1)], "r1": [OutputSeen(1)]}


@pytest.mark.parametrize("name", ["a", "r1"])
def test_who_leaves_is_told_at_once_that_its_last_word_has_come(name: str) -> None:
    net, chance = behind_relay()
    agent = net.agents[name]
    net.act(name, agent.send(Beat()))
    net.settle(chance)
    assert not agent.all_has_arrived  # as far as it knows: it is told of many together, or after some time
    net.act(name, agent.send(Bye()))
    net.settle(chance)
    assert agent.all_has_arrived


def test_relay_that_is_not_reached_is_tried_for_some_looks_and_costs_nothing() -> None:
    net, chance = net_of("a", "r1")
    net.dead.add("r1")
    net.tell(UseRelay(RELAYS[0]), "a")
    net.settle(chance)
    agent = net.agents["a"]
    assert not agent.has_relay
    for _ in range(9):
        net.act("a", agent.look())
    assert set(net.pipes) == {("a", Hop.DRIVER), ("r1", Hop.DRIVER)}
    assert agent.is_connected


def test_relay_whose_process_hangs_is_left_after_some_looks_and_nothing_is_lost() -> None:
    net, chance = behind_relay()
    agent = net.agents["a"]
    for _ in range(20):
        assert agent.take(Hop.RELAY, [bytes(frame) for frame in codec.encode(Beat())]) == (None, [])
        assert agent.look() == []
    net.tell(OutputSeen(1), "a")
    net.dead.add("r1")  # it passes nothing on
    net.settle(chance)
    for _ in range(9):
        assert net.said["a"] == []
        net.act("a", agent.look())
    assert not agent.is_connected
    net.settle(chance)
    assert agent.is_connected
    assert (net.said["a"], net.driver.relay_of("a")) == ([OutputSeen(1)], "")


def test_relay_that_beats_but_does_not_reach_the_driver_is_not_relied_on() -> None:
    net, _ = net_of("a", "r1")
    agent = net.agents["a"]
    net.act("a", agent.take(Hop.DRIVER, next(iter(_numbered(net, "a", UseRelay(RELAYS[0])))))[1])
    net.made("a", Hop.RELAY)
    assert agent.has_relay
    for _ in range(9):
        net.act("a", agent.take(Hop.RELAY, [bytes(frame) for frame in codec.encode(Beat())])[1])
        net.act("a", agent.look())
    assert not agent.has_relay
    assert set(net.pipes) == {("a", Hop.DRIVER), ("r1", Hop.DRIVER)}


def _numbered(net: Net, name: str, message: Message) -> list[list[bytes]]:
    return [[bytes(frame) for frame in envelope.frames] for envelope in net.driver.send([name], message)]


def test_word_of_an_earlier_way_that_comes_late_changes_nothing() -> None:
    net, _ = behind_relay()
    late = Relayed("a", bytes(codec.encode(Resume(1, 1))[0]))
    net.cut("a", Hop.RELAY)
    net.settle(random.Random(1))
    assert net.driver.relay_of("a") == ""
    heard, envelopes = net.driver.take("r1", [bytes(frame) for frame in codec.encode(late)])
    assert (heard, envelopes, net.driver.relay_of("a")) == (Heard("a"), [], "")


def test_agent_behind_a_relay_that_is_parted_has_no_way() -> None:
    net, _ = behind_relay()
    parted = [bytes(frame) for frame in codec.encode(Parted("a"))]
    assert net.driver.take("r1", parted)[0] == Heard("a", None, False)
    assert net.driver.take("b", parted)[0] == Heard("b")  # it is not behind that


def by_relay(net: Net, message: Message) -> tuple[Heard, list[Envelope]]:
    """Return what the driver hears, and answers, when "a" sends a *message* by its relay."""
    relayed = Relayed("a", bytes(codec.encode(message)[0]))
    return net.driver.take("r1", [bytes(frame) for frame in codec.encode(relayed)])


def test_who_has_a_relay_does_not_begin_anew() -> None:
    net, _ = behind_relay()
    heard, _ = by_relay(net, HELLO)
    assert heard.sender == "a"
    assert isinstance(heard.message, ProtocolError)


@pytest.mark.parametrize("late", [Parted("b"), Relayed("b", bytes(codec.encode(Resume(1, 9))[0]))])
def test_late_words_of_who_was_a_relay_and_has_one_by_now_change_nothing(late: Message) -> None:
    net, _ = behind_relay()
    assert by_relay(net, late) == (Heard("a"), [])
    assert net.driver.relay_of("b") == "r1"


def test_nothing_is_sent_to_who_was_a_relay_for_those_who_have_not_left_it_yet() -> None:
    net, chance = net_of("a", "r1", "r2")
    net.tell(UseRelay(RELAYS[0]), "a")
    net.settle(chance)
    net.tell(UseRelay(RELAYS[1]), "r1")
    net.settle(chance)
    assert (net.driver.relay_of("a"), net.driver.relay_of("r1")) == ("r1", "r2")
    net.tell(OutputSeen(1), "a")
    net.tell(OutputSeen(2), "r1")
    net.settle(chance)
    assert net.said["r1"] == [OutputSeen(2)]  # in its numbers there is no gap
    net.cut("a", Hop.RELAY)
    net.settle(chance)
    assert net.said["a"] == [OutputSeen(1)]


@pytest.mark.parametrize("sender", ["x", "r1"])
def test_relay_speaks_for_no_strangers_and_not_for_itself(sender: str) -> None:
    net, _ = behind_relay()
    relayed = codec.encode(Relayed(sender, bytes(codec.encode(Arrived(0))[0])))
    with pytest.raises(ProtocolError, match="no other agent of this run"):
        net.driver.take("r1", [bytes(frame) for frame in relayed])


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_lost_and_nothing_comes_twice_whatever_becomes_of_the_ways(seed: int) -> None:
    names = ("a", "b", "c", "r1", "r2")
    net, chance = net_of(*names, seed=seed)
    told = dict.fromkeys(names, 0)
    outputs: dict[str, int] = dict.fromkeys("abc", 0)
    killed = chance.choice(("", "r1", "r2"))
    step = 0
    for step in range(600):
        name = chance.choice("abc")
        match chance.randrange(12):
            case 0 | 1 | 2:
                outputs[name] += 1
                net.act(name, net.agents[name].send(Output(worker_name(0, 1), 1, b"%d" % outputs[name])))
            case 3 | 4:
                to = [each for each in "abc" if chance.random() < 0.6]
                for each in to:
                    told[each] += 1
                for count in {told[each] for each in to}:
                    net.tell(OutputSeen(count), *(each for each in to if told[each] == count))
            case 5 if chance.random() < 0.3:
                net.tell(UseRelay(chance.choice(RELAYS)), name)
            case 6 if chance.random() < 0.3:
                net.cut(chance.choice(names), chance.choice(tuple(Hop)))
            case 7:
                net.act(name, net.agents[name].tell())
                net.write(net.driver.tell())
            case 8 if chance.random() < 0.2:
                net.act(name, net.agents[name].look())
        if killed and step == 300:
            net.kill(killed)
        for _ in range(6):
            net.carry(chance)
    while any(len(arrived(net, name)) < outputs[name] or len(seen(net, name)) < told[name] for name in "abc"):
        assert step < 1000, "something is lost"
        step += 1
        for _ in range(100):
            net.carry(chance)
        for name in "abc":
            net.act(name, net.agents[name].look() if net.driver.relay_of(name) in net.dead or step % 10 == 0 else [])
    for name in "abc":
        assert arrived(net, name) == list(range(1, outputs[name] + 1))
        assert seen(net, name) == list(range(1, told[name] + 1))


def arrived(net: Net, name: str) -> list[int]:
    """Return the numbers of what *name* has printed, as the driver has heard them."""
    said = [heard.message for heard in net.heard if heard.sender == name]
    return [int(message.text) for message in said if isinstance(message, Output)]


def seen(net: Net, name: str) -> list[int]:
    return [message.count for message in net.said[name] if isinstance(message, OutputSeen)]
