"""What takes how long in a federation, and how much memory and how many open files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Times in seconds, sizes in bytes.

    Those of the owner, for a task that leaves and for its outcome, are CPU times of a saturated run: 8 workers on 2
    CPUs of a cloud machine, tasks of 2 ms. A broker took 25 to 43 us for a task there; what that is for a message is an
    estimate, and so is all else.
    """

    submit: float = 25e-6  # of the owner, for a task that leaves, or a chunk of a map
    item: float = 0.3e-6  # of the owner, for an item of a chunk
    outcome: float = 13e-6  # of the owner
    broker_in: float = 10e-6  # of a broker, for a message that it gets
    broker_out: float = 6e-6  # for one that it sends
    message: float = 10e-6  # of a worker, for a message that it sends or gets
    opening: float = 10e-6  # of a worker, for a batch that it unpickles
    latency: float = 30e-6  # between nodes
    local: float = 20e-6  # inside a node
    bandwidth: float = 1e9  # bytes per second of a connection
    call: int = 90  # bytes of a pickled call
    result: int = 30  # of a pickled outcome


@dataclass(frozen=True, slots=True)
class Footprint:
    """Open files of a broker's process, as counted on local nodes, and its memory, as estimated."""

    files: int = 19  # without any peer
    files_out: int = 1  # for each peer that it has connected to
    files_in: int = 1  # for each that has connected to it
    bytes_alone: int = 4_300_000
    bytes_connection: int = 45_000  # for each connection, whoever has made it
    bytes_known: int = 500  # for each peer whose address it knows
    bytes_task: int = 800  # for each task in its queue or in one of its ledgers
