"""A broker's policy: every number that decides how work is shared among nodes, and when a peer is given up."""

from __future__ import annotations

import math

from msgspec import Struct

from scoop_hpc.transport.limits import LINKS


class Policy(Struct, frozen=True):
    """The numbers of one broker. Times are in seconds."""

    rest: float = 1.0  # between looks around while nothing happens
    tick: float = 0.25  # between words to neighbours of what is much more or less than they know
    all_direct: int = 8  # brokers of a run, up to which each tells all others of its load
    branches: int = 16  # children of a broker in the tree by which more of them tell each other
    memory_ticks: int = 40  # for which a task is kept whose outcome its owner has yet to take from shared memory
    risky_ticks: int = 1  # for which nobody has taken a risky task, and after which who waits for it may
    stolen_share: float = 0.5  # of a queue, for one thief at the most, unless more workers ask than there are here
    lot: int = 4  # tasks that go on to one of several neighbours in the tree at the least
    many: int = 16  # tasks of the program for each worker here: where more wait, what tasks have submitted comes first
    next_address: float = 1.0  # for an answer from one address of a peer
    most_links: int = LINKS  # to peers at once; of those that are known, the ones unused for longest rest
    unused: float = 10.0  # for which nothing was sent to a peer, until the connection to it is closed
    unheard: float = 3.0  # without word of a peer that is reached by way of others, until all is sent again
    broken: float = 60.0  # from a broken connection to the word that one of the two nodes has to be given up
    broken_again: float = 5.0  # from that word to the next, as long as neither is
    messages_at_once: int = 100  # of the main socket, before other sockets have their turn
    linger: float = 0.2  # for messages that are still to be sent at the end

    def share(self, queued: int, asked: int, elsewhere: int, behind: float, here: int | None = None) -> int:
        """Return how many of *queued* batches to give to a peer that *asked* for some for idle workers: both keep work.

        In a tree a peer asks for all workers behind it. With half of the queue they would have too little, and those
        that are *here* too much: there each worker counts.
        Where so many workers are idle *elsewhere*, each gets the same part. Of a long queue, each way on which tasks
        may go gets half of its part at once, as a stock, so that what is left over at the end is small: its part is
        what is *behind* it of all nodes [factoring: Hummel, Schonberg and Flynn, Comm. ACM 35 (1992) 8, 90].

        >>> policy = Policy()
        >>> policy.share(5, 100, 0, 0.5), policy.share(1, 100, 0, 0.5), policy.share(0, 100, 0, 0.5)
        (3, 1, 0)
        >>> policy.share(50, 20, 80, 0.125), policy.share(800, 4, 0, 0.125)
        (10, 50)
        >>> policy.share(2000, 960, 0, 0.125), policy.share(2000, 960, 0, 0.125, here=64)
        (960, 960)
        >>> policy.share(1000, 960, 0, 0.125), policy.share(1000, 960, 0, 0.125, here=64)
        (500, 938)
        """
        most = self.stolen_share if here is None else max(self.stolen_share, asked / max(1, asked + here))
        part = min(most, asked / max(1, asked + elsewhere))
        return max(min(asked, math.ceil(queued * part)), int(queued * behind / 2))
