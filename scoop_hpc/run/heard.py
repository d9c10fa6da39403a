"""What an agent has heard of who takes part in the run: the driver repeats that after a break, unless it is all.

Between driver and agent nothing is lost, and all stays in order, so the agent knows what was true at some time. Since
then a node has come, or gone, or has begun to leave, or a worker has died: each is one more of a number that never
gets less. So where the numbers are the same as the driver's, there was nothing.
"""

from __future__ import annotations

from scoop_hpc.protocol.messages import Gone, Known, Peers


class Heard:
    """What was heard, by the indices of nodes and the names of workers."""

    def __init__(self) -> None:
        self._brokers: set[int] = set()
        self._lost: set[int] = set()
        self._left: set[int] = set()
        self._leaving: set[int] = set()
        self._workers: set[str] = set()  # that have died

    def hear(self, message: Peers | Gone) -> None:
        """Note what the driver says."""
        if isinstance(message, Peers):
            self._brokers.update(broker.node for broker in message.brokers)
            self._leaving.update(message.leaving)
            self._lost.update(message.gone)
        else:
            self._lost.update(message.nodes)
            self._workers.update(message.workers)
        self._left.update(message.left)

    def known(self) -> Known:
        """Return how many there are of each kind.

        >>> heard = Heard()
        >>> heard.hear(Peers((), gone=(3, 4), leaving=(4, 5)))
        >>> heard.known()
        Known(up=0, lost=2, leaving=1, left=0, dead=0)
        """
        away = self._lost | self._left
        up, leaving = len(self._brokers - away), len(self._leaving - away)
        return Known(up, len(self._lost), leaving, len(self._left), len(self._workers))
