"""The command line of a pool, for Executors: a driver without a program, which works for a client."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys

from scoop_hpc.cli.allocated import refuse_second_pool
from scoop_hpc.cli.start import SIGNALS, open_missing_streams, run_request
from scoop_hpc.errors import ProtocolError, ScoopError
from scoop_hpc.protocol.messages import Fault
from scoop_hpc.run.client_pipes import ClientPipes
from scoop_hpc.run.driver import Driver
from scoop_hpc.run.signal_fd import SignalFd


def main() -> None:
    """Be the driver of a pool: its order comes through standard input."""
    parser = argparse.ArgumentParser(prog="scoop-hpc pool")
    parser.add_argument("--reports", type=int, required=True, help="the descriptor of the pipe to the client")
    arguments = parser.parse_args()
    open_missing_streams()
    client = ClientPipes(0, arguments.reports)
    os.set_inheritable(arguments.reports, False)
    signals = SignalFd(SIGNALS)
    try:
        order = client.read_order()
    except ProtocolError:
        return
    try:
        refuse_second_pool()
        request = dataclasses.replace(run_request(b"", order.arguments, order.workers), pool=order.pool)
        ending = Driver(request, signals, client).run()
    except ScoopError as error:  # what is wrong with the environment or the allocation
        client.report(Fault(str(error), 2))
        sys.exit(2)
    sys.exit(ending.status)
