"""The worker's process, forked by its node's agent."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Optional

from scoop_hpc.errors import ProgramError
from scoop_hpc.protocol.messages import ORIGIN, Fault, Pool, Program, Ready
from scoop_hpc.transport import maps
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker import bundles, calls, current, namespace, program
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.guarded import guarded_names
from scoop_hpc.worker.link import BrokerLink


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker must know to start."""

    name: str
    size: int  # workers of the whole run
    endpoint: str  # its broker's
    program: Program
    pool: Optional[Pool]  # instead of a program to run


def main(plan: WorkerPlan) -> int:
    """Be the worker *plan.name* until the end; return the exit status."""
    link = BrokerLink(plan.endpoint, plan.name)
    link.send(Ready())
    # the only worker of a pool is not alone: the client has tasks for it
    size = plan.size if plan.pool is None else max(2, plan.size)
    controller = Controller(link, plan.name, size, segments=_segments())
    current.install(controller)
    origin = plan.name == ORIGIN
    path = os.fsdecode(plan.program.path)
    arguments = [os.fsdecode(argument) for argument in plan.program.arguments]
    where = f"worker {plan.name} on {socket.gethostname()}"
    if plan.pool is not None:
        return _serve_pool(controller, link, plan.pool, arguments, where)
    try:
        code, module = program.prepare(path, arguments, "__main__" if origin else "__mp_main__")
    except ProgramError as error:
        return _fail(link, f"{where}: {error}", 2)
    if origin:
        with open(path, "rb") as file:
            here_only = guarded_names(file.read())
        if here_only:
            calls.carry(here_only)
        status = controller.hub.run_program(lambda: program.run(code, module))
        controller.exchange.end()
        return status
    controller.bar()
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
    controller.unbar()
    return _serve(controller, link)


def _serve(controller: Controller, link: BrokerLink) -> int:
    controller.hub.serve()
    controller.exchange.end()
    link.close()
    return 0


def _serve_pool(controller: Controller, link: BrokerLink, pool: Pool, arguments: list[str], where: str) -> int:
    """Execute what the client of a pool submits: functions of its own ``__main__``, too, which is nowhere here."""
    modules = [os.fsdecode(entry) for entry in pool.modules]
    sys.path[:] = [*modules, *(entry for entry in sys.path if entry not in modules)]
    sys.argv = arguments
    namespace.become_worker()
    try:
        if pool.initializer:
            initializer, args, kwargs = bundles.load_call(pool.initializer)
            initializer(*args, **kwargs)
    except BaseException as error:  # the user's function: it may raise anything
        traceback.print_exc()
        return _fail(link, f"the initializer failed in {where}: {type(error).__name__}: {error}", 1)
    return _serve(controller, link)


def _segments() -> Optional[Segments]:
    """Return the means to share memory with the node's other processes, None if there are none."""
    if not maps.usable():
        return None
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Segments(most=descriptors // 2)  # the others are the program's


def _fail(link: BrokerLink, reason: str, status: int) -> int:
    """Report why this worker cannot go on, and wait for the end that the driver will make."""
    link.send(Fault(reason, status))
    for name in ("stdout", "stderr"):
        with contextlib.suppress(Exception):  # the program may have put anything there
            getattr(getattr(sys, name, None), "flush", bool)()
    parent = os.getppid()
    while os.getppid() == parent:
        link.receive(1.0)
    return status
