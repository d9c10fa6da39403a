"""Agent and driver, whose connection is cut at random moments: what one tells the other arrives, once, in order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
import zmq
from proxy import Proxy

from scoop_hpc.protocol.messages import (
    VERSION,
    Beat,
    Curve,
    GivenUp,
    Hello,
    Message,
    Output,
    OutputSeen,
    Program,
    Welcome,
)
from scoop_hpc.protocol.names import NodeIndex, worker_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.steady import SteadyDealer, SteadyRouter

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


class Ends:
    """Both ends, with a proxy between them."""

    def __init__(self, curve: Curve) -> None:
        self._context: sockets.Context = zmq.Context()
        self._authenticator = keys.Authenticator(self._context, curve)
        self._curve = curve
        self._router = sockets.make(self._context, zmq.ROUTER, silence=sockets.SILENCE)
        port = sockets.bind_tcp(self._router, curve)
        self.proxy, self.other_proxy = Proxy(port), Proxy(port)
        self.driver = SteadyRouter(self._router)
        self.agent = self._dial("agent")

    def _dial(self, name: str) -> SteadyDealer:
        def make() -> sockets.Socket:
            dealer = sockets.make(self._context, zmq.DEALER, name, silence=sockets.SILENCE)
            keys.dial(dealer, self._curve)
            return dealer

        return SteadyDealer(make, f"tcp://127.0.0.1:{self.proxy.port}", HELLO, seconds=0.3)

    def driver_hears(self) -> list[Message]:
        """Return what has arrived at the driver."""
        heard = []
        while self._authenticator.socket.poll(0):
            self._authenticator.step()
        while self._router.poll(0):
            name, *frames = self._router.recv_multipart()
            message = self.driver.take(name.decode(errors="backslashreplace"), frames).message
            if isinstance(message, Message):
                heard.append(message)
        return heard

    def agent_hears(self) -> list[Message]:
        """Return what has arrived at the agent."""
        self.agent.news()
        heard = []
        while (message := self.agent.receive()) is not None:
            heard.append(message)
        return heard

    def close(self) -> None:
        self._context.destroy(linger=0)
        self.proxy.close()
        self.other_proxy.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends(keys.make_keys())
    yield ends
    ends.close()


def until_one(ends: Ends, message: Message) -> None:
    """Wait until *message*, and nothing else, has arrived at one of the two ends."""
    deadline = time.monotonic() + 60
    heard: list[Message] = []
    while not heard:
        assert time.monotonic() < deadline
        heard = ends.driver_hears() if isinstance(message, Hello) else ends.agent_hears()
        if not isinstance(message, Hello):
            assert ends.driver_hears() == []
        time.sleep(0.001)
    assert heard == [message]


def welcome(ends: Ends) -> None:
    until_one(ends, HELLO)
    ends.driver.send(["agent"], WELCOME)
    until_one(ends, WELCOME)


def test_hello_that_is_lost_is_said_again(ends: Ends) -> None:
    ends.proxy.swallow(True)
    time.sleep(0.05)
    ends.proxy.cut(rudely=True)
    ends.proxy.swallow(False)
    deadline = time.monotonic() + 60
    heard: list[Message] = []
    while not heard:
        assert time.monotonic() < deadline
        assert ends.agent_hears() == []
        heard = ends.driver_hears()
    assert heard[0] == HELLO


def test_welcome_that_is_lost_comes_again(ends: Ends) -> None:
    until_one(ends, HELLO)
    ends.proxy.swallow(True)
    ends.driver.send(["agent"], WELCOME)
    time.sleep(0.05)
    ends.proxy.cut(rudely=True)
    ends.proxy.swallow(False)
    until_one(ends, WELCOME)


def test_who_is_not_welcome_is_told_without_a_number(ends: Ends) -> None:
    until_one(ends, HELLO)
    ends.driver.send(["agent"], GivenUp())
    until_one(ends, GivenUp())


def test_driver_is_reached_at_another_address_when_the_one_that_worked_is_dead(ends: Ends) -> None:
    welcome(ends)
    proxies = ends.proxy, ends.other_proxy
    addresses = [f"tcp://127.0.0.1:{proxy.port}" for proxy in proxies]
    ends.agent.may_dial(addresses)
    for number, (working, dead) in enumerate([(1, 0), (0, 1), (1, 0)], start=1):
        proxies[working].refuse(False)
        proxies[dead].refuse(True)
        ends.agent.send(Output(worker_name(0, 1), 1, b"%d" % number))
        ends.driver.send(["agent"], OutputSeen(number))
        told: list[Message] = []
        seen: list[Message] = []
        deadline = time.monotonic() + 60
        while not (told and seen and ends.agent.address == addresses[working]):
            assert time.monotonic() < deadline
            told += ends.driver_hears()
            seen += ends.agent_hears()
            ends.agent.keep_trying(time.monotonic())
        assert told == [Output(worker_name(0, 1), 1, b"%d" % number)]
        assert seen == [OutputSeen(number)]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_and_nothing_comes_twice_when_connections_are_cut(ends: Ends, seed: int) -> None:
    welcome(ends)
    chance = random.Random(seed)
    told, seen = 0, 0
    outputs: list[Message] = []
    answers: list[Message] = []

    def flow(seconds: float) -> None:
        nonlocal told, seen
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(chance.randrange(3)):
                told += 1
                ends.agent.send(Output(worker_name(0, 1), 1, b"%d" % told))
            for _ in range(chance.randrange(3)):
                seen += 1
                ends.driver.send(["agent"], OutputSeen(seen))
            hear()

    def hear() -> None:
        outputs.extend(ends.driver_hears())
        answers.extend(ends.agent_hears())
        if chance.random() < 0.01:
            ends.agent.tell()
            ends.driver.tell()

    for _ in range(20):
        flow(chance.uniform(0, 0.1))
        if chance.random() < 0.5:
            ends.proxy.swallow(True)
            flow(chance.uniform(0, 0.02))
            ends.proxy.cut(rudely=True)
            ends.proxy.swallow(False)
        else:
            ends.proxy.cut(rudely=chance.random() < 0.5)
    deadline = time.monotonic() + 60
    while len(outputs) < told or len(answers) < seen:
        assert time.monotonic() < deadline
        hear()
    ends.agent.send(Beat())
    while not isinstance(outputs[-1], Beat):
        hear()
    assert outputs == [*(Output(worker_name(0, 1), 1, b"%d" % number) for number in range(1, told + 1)), Beat()]
    assert answers == [OutputSeen(number) for number in range(1, seen + 1)]
