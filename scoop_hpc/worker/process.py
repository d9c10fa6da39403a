"""The worker's process, forked by its node's agent."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from dataclasses import dataclass

from scoop_hpc.errors import ProgramError
from scoop_hpc.protocol.messages import ORIGIN, Fault, Program, Ready
from scoop_hpc.worker import program
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import BrokerLink


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker must know to start."""

    name: str
    size: int  # workers of the whole run
    endpoint: str  # its broker's
    program: Program


def main(plan: WorkerPlan) -> int:
    """Be the worker *plan.name* until the end; return the exit status."""
    link = BrokerLink(plan.endpoint, plan.name)
    link.send(Ready())
    controller = Controller(link, plan.name, plan.size)
    controller.install()
    origin = plan.name == ORIGIN
    path = os.fsdecode(plan.program.path)
    arguments = [os.fsdecode(argument) for argument in plan.program.arguments]
    where = f"worker {plan.name} on {socket.gethostname()}"
    try:
        code, module = program.prepare(path, arguments, "__main__" if origin else "__mp_main__")
    except ProgramError as error:
        return _fail(link, f"{where}: {error}", 2)
    if origin:
        return controller.run_program(lambda: program.run(code, module))
    controller.loading = True
    try:
        program.load(code, module)
    except ProgramError as error:
        return _fail(link, f"{path}: {error}", 2)
    except SystemExit:
        reason = "the program ends while it is imported: put what it does under `if __name__ == '__main__':`"
        return _fail(link, f"{path}: {reason}", 2)
    except BaseException as error:  # the user's module: it may raise anything
        traceback.print_exc()
        return _fail(link, f"{where} cannot import {path!r}: {type(error).__name__}: {error}", 1)
    controller.loading = False
    controller.serve()
    link.close()
    return 0


def _fail(link: BrokerLink, reason: str, status: int) -> int:
    """Report why this worker cannot go on, and wait for the end that the driver will make."""
    link.send(Fault(reason, status))
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getppid()
    while os.getppid() == parent:
        link.receive(1.0)
    return status
