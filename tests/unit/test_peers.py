"""Messages for peers whose place a broker does not know: held back before it hears of its peers, refused after."""

from __future__ import annotations

import pytest
import zmq

from scoop_hpc.broker.peers import PeerLinks
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Beat, BrokerUp, Peers
from scoop_hpc.protocol.names import NodeIndex, broker_name


def links() -> PeerLinks:
    """Return the links of a broker that is alone: it makes no socket."""
    return PeerLinks(zmq.Context(), broker_name(0), None, 1.0, poll=lambda socket: None, found=lambda address: None)


def test_message_waits_until_the_peers_are_known() -> None:
    links().send(broker_name(7), Beat())


def test_message_for_no_broker_of_the_run_is_refused() -> None:
    alone = links()
    alone.meet(Peers((BrokerUp(NodeIndex(0), ("a",), ("b",)),)), now=0.0)
    with pytest.raises(ProtocolError, match="there is no broker 7"):
        alone.send(broker_name(7), Beat())
