"""The names of a run's processes. A name is also the ZeroMQ identity of its process on every socket that routes to it.

::

    node 3, an index --> its broker "3" --> its workers "3.0", "3.1", ...        the origin is the worker "0.0"
                                      '--> the client of a pool, "0.g1"          see `is_client`
    its agent, which comes with a token of its own, by each address of the driver: "n4/5f0c/0", "n4/5f0c/1", ...

A pool has no origin: its workers are counted from 1 on the first node. To a type checker the kinds of names differ; at
run time each is a plain string, so that a name costs nothing on the way through a broker. No other module takes a name
apart.
"""

from __future__ import annotations

import functools
import re
from typing import NewType, TypeGuard

NodeIndex = NewType("NodeIndex", int)  # of a node, in the order of the allocation
ProcessName = NewType("ProcessName", str)  # of any process that a broker talks to
BrokerName = NewType("BrokerName", ProcessName)
WorkerName = NewType("WorkerName", ProcessName)  # of a worker, or of a pool's client: who owns futures
AgentName = NewType("AgentName", str)  # of an agent towards the driver

AGENT = ProcessName("agent")  # the node's agent, towards its broker
ORIGIN = WorkerName(ProcessName("0.0"))
CLIENT = WorkerName(ProcessName("0.g1"))  # the client of a pool

# what names in messages are made of: nine digits at the most, so that `number_of` has room for them
_DIGITS = "[0-9]{1,9}"
BROKER_PATTERN = rf"\A{_DIGITS}\Z"
WORKER_PATTERN = rf"\A{_DIGITS}\.g?{_DIGITS}\Z"
PROCESS_PATTERN = rf"\A(?:{_DIGITS}(?:\.g?{_DIGITS})?|{AGENT})\Z"
MOST_NODES = 10**9
_MOST_KEPT = 2**14  # answers about names, in a third of the time; a run has so many workers at the most, or nearly


def broker_name(node: NodeIndex | int) -> BrokerName:
    """Return the name of a node's broker."""
    return BrokerName(ProcessName(str(node)))


def worker_name(node: NodeIndex | int, index: int) -> WorkerName:
    """Return the name of the worker number *index* on a node.

    >>> worker_name(3, 0)
    '3.0'
    """
    return WorkerName(ProcessName(f"{node}.{index}"))


def agent_name(node: str, token: str, address: int) -> AgentName:
    """Return the name of an agent, for one of the driver's addresses. Whoever reports anew has another *token*."""
    return AgentName(f"{node}/{token}/{address}")


def is_same_agent(name: AgentName, other: AgentName) -> bool:
    """Return whether two names are those of one agent.

    >>> first = agent_name("n4", "5f0c", 0)
    >>> is_same_agent(first, agent_name("n4", "5f0c", 1)), is_same_agent(first, agent_name("n4", "9be0", 0))
    (True, False)
    """
    return agent_identity(name) == agent_identity(other)


def agent_identity(name: AgentName) -> str:
    """Return what the names of one agent, for each of the driver's addresses, have in common.

    >>> agent_identity(agent_name("n4", "5f0c", 1))
    'n4/5f0c'
    """
    return name.rpartition("/")[0]


@functools.lru_cache(maxsize=_MOST_KEPT)
def broker_of(name: str) -> BrokerName:
    """Return the broker in charge of the worker *name*; of a broker, itself.

    >>> broker_of("3.0"), broker_of("3")
    ('3', '3')
    """
    return BrokerName(ProcessName(name.partition(".")[0]))


def node_of(broker: BrokerName) -> NodeIndex:
    """Return the index of a broker's node."""
    return NodeIndex(int(broker))


def is_broker(name: str) -> TypeGuard[BrokerName]:
    """Return whether *name* is a broker's.

    >>> is_broker("3"), is_broker("3.0"), is_broker("agent")
    (True, False, False)
    """
    return name.isdecimal()


def is_worker(name: str) -> TypeGuard[WorkerName]:
    """Return whether *name* is a worker's, which executes tasks.

    >>> is_worker("3.0"), is_worker("3"), is_worker("0.g1")
    (True, False, False)
    """
    return name.partition(".")[2].isdecimal()


@functools.lru_cache(maxsize=_MOST_KEPT)
def may_own(name: str) -> bool:
    """Return whether *name* is a worker's, or that of a pool's client.

    >>> may_own("3.0"), may_own("0.g1"), may_own("3"), may_own("0.x"), may_own("9999999999.0")
    (True, True, False, False, False)
    """
    return re.search(WORKER_PATTERN, name) is not None


def described(name: ProcessName) -> str:
    """Say what *name* is, for a user.

    >>> described(ORIGIN), described(worker_name(3, 1)), described(broker_name(3))
    ('origin', 'worker 3.1', 'broker 3')
    """
    return "origin" if name == ORIGIN else f"worker {name}" if is_worker(name) else f"broker {name}"


def is_client(name: str) -> TypeGuard[WorkerName]:
    """Return whether *name* is that of a pool's client, which may be on another machine than its broker.

    >>> is_client("0.g1"), is_client("0.1")
    (True, False)
    """
    return ".g" in name


def number_of(worker: WorkerName) -> int:
    """Return *worker* as a number, which `worker_numbered` turns back: it fits into 63 bits.

    >>> worker_numbered(number_of(worker_name(3, 1))), worker_numbered(number_of(CLIENT))
    ('3.1', '0.g1')
    """
    node, _, index = worker.partition(".")
    client = index.startswith("g")
    return int(node) << 32 | client << 31 | int(index[1:] if client else index)


def worker_numbered(number: int) -> WorkerName:
    """Return the name of the worker that has this *number*."""
    client = "g" if number >> 31 & 1 else ""
    return WorkerName(ProcessName(f"{number >> 32}.{client}{number & 0x7FFFFFFF}"))
