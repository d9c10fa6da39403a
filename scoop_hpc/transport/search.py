"""Which address of a process to try, and for how long: at first, and after the connection was lost. It has no clock.

::

    at first        a  b  c  a  b  c ...      the same time for each
    b answered, and the connection was lost:
                    b  a  b  c | b  a  b  c | ...      the time is twice that of the round before

An address that has answered is likely to do so again, and libzmq dials it by itself; but the interface that it belongs
to may be what failed. The longer nobody answers, the more time an address gets: thousands may be dialling.
"""

from __future__ import annotations

from collections.abc import Sequence


class Search:
    """Several addresses, each tried in turn for some *seconds*, again and again, until one answers.

    *growth*: how much longer an address is tried in each round than in the one before.
    """

    def __init__(self, addresses: Sequence[str], seconds: float, growth: float = 1.0) -> None:
        self.attempt = -1  # the number of the last one
        self.is_over = False
        self._addresses = addresses
        self._seconds = seconds
        self._growth = growth
        self._until = float("-inf")  # the end of the last attempt

    def address(self) -> str:
        """Return the address of the last attempt."""
        return self._addresses[self.attempt % len(self._addresses)]

    def goes_on(self, now: float) -> bool:
        """Return whether an attempt begins now, at the next address."""
        if self.is_over or now < self._until:
            return False
        self.attempt += 1
        self._until = now + self._seconds * self._growth ** self.rounds()
        return True

    def rounds(self) -> int:
        """Return how often all addresses were tried before this attempt."""
        return self.attempt // len(self._addresses)

    def is_ended_by(self, attempt: int) -> bool:
        """Take in an answer to an *attempt*; return whether it ends the search: old ones, and second ones, do not."""
        if self.is_over or attempt != self.attempt:
            return False
        self.is_over = True
        return True


def search_again(addresses: Sequence[str], lost: str, seconds: float, now: float) -> Search:
    """Return a search that begins *now*, where the connection to the address *lost* is: others follow in turn with it.

    >>> search = search_again(["a", "b", "c"], "b", 3.0, now=0.0)
    >>> [search.address() for now in range(13) if now == 0 or search.goes_on(now)]
    ['b', 'a', 'b', 'c', 'b']
    """
    others = [address for address in addresses if address != lost]
    search = Search([each for other in others for each in (lost, other)] or [lost], seconds, growth=2.0)
    search.goes_on(now)
    return search
