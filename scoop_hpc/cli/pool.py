"""The command line of a pool, for Executors: a driver without a program, which works for a client.

It can be looked at as any run; a report is kept where the Executor asks for one.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence

from scoop_hpc.cli.allocated import refuse_second_pool
from scoop_hpc.cli.start import SIGNALS, look_file, open_missing_streams, run_request
from scoop_hpc.errors import ProtocolError, ScoopError
from scoop_hpc.events import Observers
from scoop_hpc.protocol.messages import Fault
from scoop_hpc.run.client_pipes import ClientPipes
from scoop_hpc.run.driver import Driver
from scoop_hpc.run.driving.life import Ending
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.signal_fd import SignalFd


def main() -> None:
    """Be the driver of a pool: its order comes through standard input."""
    parser = argparse.ArgumentParser(prog="scoop-hpc pool")
    parser.add_argument("--reports", type=int, required=True, help="the descriptor of the pipe to the client")
    parser.add_argument("--report", default="", help="the file for what the pool was worth")
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
        observers = Observers()
        request = run_request(b"", order.arguments, order.workers)
        request = dataclasses.replace(request, pool=order.pool, called=_name(order.arguments))
        request = dataclasses.replace(request, look=look_file(request, observers))
        driver = Driver(request, signals, client, observers)
        ending = _with_report(driver, request, arguments.report, observers) if arguments.report else driver.run()
    except ScoopError as error:  # what is wrong with the environment or the allocation
        client.report(Fault(str(error), 2))
        sys.exit(2)
    sys.exit(ending.status)


def _name(arguments: Sequence[bytes]) -> str:
    """Return what looks and reports call a pool, of the program with these *arguments*.

    >>> _name([b"/home/me/study.py", b"-v"]), _name([b""])
    ('Executor in study.py', 'Executor')
    """
    program = os.path.basename(os.fsdecode(arguments[0])) if arguments else ""
    return f"Executor in {program}" if program else "Executor"


def _with_report(driver: Driver, request: RunRequest, report: str, observers: Observers) -> Ending:
    """Run *driver*, whose *observers* keep a *report*; say what the pool was worth if it has lasted."""
    # 100 ms to import, for those only who want it
    from scoop_hpc.cli.reporting import collect, say_what_it_was_worth  # noqa: PLC0415

    collector = collect(request, [report], observers)
    ending = driver.run()
    say_what_it_was_worth(collector)
    return ending
