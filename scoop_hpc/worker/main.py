"""The worker's process, forked by its node's agent."""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from scoop_hpc import tracebacks
from scoop_hpc.errors import ProgramError, RunEndedError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.pickling import batching, main_by_value, pickles
from scoop_hpc.pickling.guard import guarded_names
from scoop_hpc.pickling.unpicklable import reason_of
from scoop_hpc.protocol.messages import (
    Fault,
    Pool,
    Program,
    Ready,
    Shared,
    Stop,
)
from scoop_hpc.protocol.names import ORIGIN, WorkerName
from scoop_hpc.transport import maps
from scoop_hpc.transport.last_word import LastWord
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import BrokerLink
from scoop_hpc.worker.program import failure, leaving, module
from scoop_hpc.worker.program.ending import Ending
from scoop_hpc.worker.program.import_check import ENDS, ImportCheck, question, testify
from scoop_hpc.worker.program.process_state import ProcessState
from scoop_hpc.worker.watched.accounts import Accounts
from scoop_hpc.worker.watched.awaited import Awaiting


class WorkerPlan(Struct, frozen=True):
    """The settings that a worker starts with."""

    name: WorkerName
    size: int  # workers of the whole run
    endpoint: str  # its broker's
    program: Program
    pool: Pool | None  # instead of a program to run


def main(plan: WorkerPlan, last_word: LastWord, observers: Observers = NOBODY) -> int:
    """Be the worker *plan.name* until the end, and tell *observers* what it does; return the exit status."""
    link = BrokerLink(plan.endpoint, plan.name)
    link.send(Ready())
    # the only worker of a pool is not alone: the client has tasks for it
    size = plan.size if plan.pool is None else max(2, plan.size)
    origin = plan.name == ORIGIN
    begun = None if origin else last_word.begun
    controller = Controller(
        link,
        plan.name,
        size,
        segments=maps.own_segments(),
        observers=observers,
        begun=begun,
        is_spared=origin and size > 1,
        awaiting=Awaiting(last_word.tally) if origin and last_word.tally.is_wanted else None,
        accounts=Accounts(last_word.accounts, plan.name),
    )
    ending = Ending(controller, last_word.notice)
    if origin:
        ending.listen()
    current.install(controller)
    path = os.fsdecode(plan.program.path)
    arguments = [os.fsdecode(argument) for argument in plan.program.arguments]
    where = f"worker {plan.name} on {socket.gethostname()}"
    if plan.pool is not None:
        return _serve_pool(controller, link, plan.pool, arguments, where)
    if plan.program.is_module:
        prepare = functools.partial(module.prepare_module, path, arguments, os.fsdecode(plan.program.directory))
    else:
        prepare = functools.partial(module.prepare, path, arguments)
    try:
        prepared = prepare(origin)
    except ProgramError as error:
        return _fail(link, f"{where}: {error}", 2)
    if origin:
        tree = ast.parse(prepared.source)
        here_only = guarded_names(tree)
        if here_only:
            pickles.carry(here_only)
        verdict = ImportCheck(
            controller,
            prepared.code,
            tree,
            load=lambda: module.load(prepare(False)),
            refuse=functools.partial(_refuse, controller, link, path, ending),
        )
        controller.bar_until(verdict.on_first_use)
        state = controller.runner.state = ProcessState()
        leaving.announce(last_word, controller.runs_task, ending.number)
        shown = failure.OriginFailure(controller, path)
        show = functools.partial(_show, controller, link, ending, verdict, shown)
        status = controller.loop.run_program(
            lambda: _run_program(prepared, verdict, show),
            _join_threads,
            functools.partial(_call_exit_functions, state),
        )
        ending.over = True
        state.to_program(monotonic())  # what is done at the end of a process, is the program's
        controller.end()
        return ending.status(status)
    controller.bar()
    try:
        module.load(prepared)
    except SystemExit:
        if not controller.refused:
            return _hold_back(link, plan.name, f"{path}: {ENDS}")
    except BaseException as error:  # the user's module: it may raise anything
        if not controller.refused:
            text = failure.claim_in_worker(link, plan.name, error)
            return 0 if text is None else _fail(link, f"{where} {failure.import_error(path, error)}", 1, text)
    if controller.refused:
        return _fail(link, f"{path}: {controller.refused}", 2)
    controller.unbar()
    testify(link, plan.name, "")
    return _serve(controller, link)


def _join_threads() -> None:
    """Wait for the program's threads, as the interpreter does at its end."""
    threading._shutdown()  # type: ignore[attr-defined]


def _call_exit_functions(state: ProcessState) -> None:
    """Call what the program has registered for its end, as the interpreter does once the threads have ended."""
    state.to_program(monotonic())
    tracebacks.run_exit_functions()


def _run_program(prepared: module.Prepared, verdict: ImportCheck, show: Callable[[BaseException], None]) -> int:
    status = module.run(prepared, show)
    try:
        if status == 0:
            verdict.at_end()
    except KeyboardInterrupt:
        return 130
    except RunEndedError as end:
        return end.code
    return status


def _show(
    controller: Controller,
    link: BrokerLink,
    ending: Ending,
    verdict: ImportCheck,
    shown: failure.OriginFailure,
    error: BaseException,
) -> None:
    """Show what the program has not caught; where that of another worker stands for it, wait for the end of the run."""
    shown.is_shared = not verdict.is_passed
    if not shown.show(error, ending.reason):
        controller.end()
        with contextlib.suppress(KeyboardInterrupt, RunEndedError):
            _wait_for_end(link, ending)


def _refuse(controller: Controller, link: BrokerLink, path: str, ending: Ending, reason: str) -> None:
    """End the run of a program without a guard."""
    controller.end()
    sys.exit(_fail(link, f"{path}: {reason}", 2, ending=ending))


def _hold_back(link: BrokerLink, name: WorkerName, reason: str) -> int:
    """Do nothing: the program has ended while it was imported, which is a fault only if it uses futures.

    That the origin decides, by what the witness says. Where the witness could import it, the fault is this worker's.
    """
    testify(link, name, ENDS)
    link.send(question(1))
    while True:
        for message in link.receive():
            if isinstance(message, Stop):
                return 0
            if isinstance(message, Shared) and message.value == b"":
                return _fail(link, reason, 2)
        link.wait(None)


def _serve(controller: Controller, link: BrokerLink) -> int:
    if controller.exchange.begun is not None:
        controller.exchange.begun.serve()
    controller.loop.serve()
    controller.end()
    link.close()
    return 0


def _serve_pool(controller: Controller, link: BrokerLink, pool: Pool, arguments: list[str], where: str) -> int:
    """Execute what the client of a pool submits: functions of its own ``__main__``, too, which is nowhere here."""
    modules = [os.fsdecode(entry) for entry in pool.modules]
    sys.path[:] = [*modules, *(entry for entry in sys.path if entry not in modules)]
    sys.argv = arguments
    main_by_value.become_worker()
    try:
        if pool.initializer is not None:
            initializer, args, kwargs = batching.load_call(pool.initializer)
            initializer(*args, **kwargs)
    except BaseException as error:  # the user's function: it may raise anything
        print(tracebacks.text_of(error), file=sys.stderr, end="")
        return _fail(link, f"the initializer failed in {where}: {reason_of(error)}", 1)
    return _serve(controller, link)


def _fail(link: BrokerLink, reason: str, status: int, traceback: str = "", ending: Ending | None = None) -> int:
    """Report why this worker cannot go on, and wait for the *ending* that the driver will make."""
    link.send(Fault(reason, status, traceback=traceback))
    for name in ("stdout", "stderr"):
        with contextlib.suppress(Exception):  # the program may have put anything there
            getattr(getattr(sys, name, None), "flush", bool)()
    _wait_for_end(link, ending)
    return status


def _wait_for_end(link: BrokerLink, ending: Ending | None) -> None:
    """Wait for the *ending* of which the origin hears; another worker is killed."""
    parent = os.getppid()
    while os.getppid() == parent and not (ending is not None and ending.reason):
        link.receive()
        link.wait(1.0)
