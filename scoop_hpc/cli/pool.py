"""The command line of a pool, for Executors: a driver without a program, which works for a client.

It can be looked at as any run; a report is kept where the Executor asks for one.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
from collections.abc import Sequence

from msgspec import structs

from scoop_hpc.cli.allocated import refuse_second_pool
from scoop_hpc.cli.start import SIGNALS, leave, look_file, open_missing_streams, run_request
from scoop_hpc.errors import ProtocolError, ScoopError
from scoop_hpc.events import Observers
from scoop_hpc.protocol.messages import Fault, Order, Shutdown
from scoop_hpc.run.client_pipes import ClientPipes
from scoop_hpc.run.driver import Driver
from scoop_hpc.run.driving.life import Ending
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.signal_fd import SignalFd

_LOOK = 1000  # ms between looks whether the client lives, whose pipe a process that it has forked may hold open


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
        status = _work_on(client.read_order(), client, signals, arguments.report)
        while status is None:  # the pool has ended well: another one is served as soon as this one was
            client.report(Shutdown())
            if not _has_order(client, signals):
                break
            status = _work_on(client.read_order(), client, signals, arguments.report)
    except ProtocolError:
        status = 0
    leave(status or 0)


def _work_on(order: Order, client: ClientPipes, signals: SignalFd, report: str) -> int | None:
    """Be the driver of the pool that is ordered; return its exit status, None if another order may follow."""
    try:
        refuse_second_pool()
        observers = Observers()
        request = run_request(b"", order.arguments, order.workers)
        request = structs.replace(request, pool=order.pool, called=_name(order.arguments))
        request = structs.replace(request, look=look_file(request, observers))
        driver = Driver(request, signals, client, observers)
        ending = _with_report(driver, request, report, observers) if report else driver.run()
    except ScoopError as error:  # what is wrong with the environment or the allocation
        client.report(Fault(str(error), 2))
        return 2
    may_go_on = ending.status == 0 and not client.lost and request.launcher.one_machine and not report
    return None if may_go_on else ending.status


def _has_order(client: ClientPipes, signals: SignalFd) -> bool:
    """Wait until the client says something; return False if it is gone, or a signal is to end this process."""
    poll = select.poll()
    poll.register(client.fileno(), select.POLLIN)
    poll.register(signals.fileno(), select.POLLIN)
    while not client.lost:
        ready = [descriptor for descriptor, _ in poll.poll(_LOOK)]
        if signals.fileno() in ready and set(signals.take()) - {signal.SIGCHLD}:
            return False
        if client.fileno() in ready:
            return True
        client.look()
    return False


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
