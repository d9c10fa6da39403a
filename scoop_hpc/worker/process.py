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
    try:
        code, module = program.prepare(
            plan.program.path, plan.program.arguments, "__main__" if origin else "__mp_main__"
        )
        if origin:
            return controller.run_program(lambda: program.run(code, module))
        controller.loading = True
        program.load(code, module)
        controller.loading = False
    except ProgramError as error:
        return _fail(link, f"{plan.program.path}: {error}", 2)
    except BaseException as error:  # the user's module: it may raise anything, SystemExit as well
        if origin:
            raise
        traceback.print_exc()
        where = f"worker {plan.name} on {socket.gethostname()}"
        return _fail(link, f"{where} cannot import {plan.program.path!r}: {type(error).__name__}: {error}", 1)
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
