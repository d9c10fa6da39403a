"""The policy of a pool's client: how much it sends ahead, and how long it waits for the pool."""

from __future__ import annotations

from msgspec import Struct


class ClientPolicy(Struct, frozen=True):
    """The numbers of one client. Times are in seconds."""

    per_worker: int = 2  # calls under way: one that runs, and one to go on with
    ahead: float = 0.05  # of work besides; a result and the next task take less than a tenth of it
    quickest: float = 1e-5  # for a call, in this reckoning: 5,000 calls for each worker are enough
    tick: float = 1.0  # that the client sleeps at most
    look: float = 0.25  # between looks at the connection
    answer: float = 1.0  # to wait for an answer; a worker that executes no Python code meanwhile gives none
    next_address: float = 1.0  # to wait for an answer from one address of the broker
    rounds: int = 10  # tries of all addresses
    broken: float = 5.0  # that a connection may be lost: its end may have a better name by then
    end: float = 10.0  # that a pool has to end: its agents have four
