"""Every error that scoop_hpc raises on purpose, in one tree.

::

    ScoopError
    ├── InputError (ValueError)      what the user wrote cannot be right; the command line exits with 2
    │   ├── HostlistError            an invalid nodelist
    │   ├── AllocationError          the scheduler's environment contradicts itself
    │   ├── JobSpecError             a job that cannot be asked for, here or anywhere
    │   ├── SettingsError            an unknown setting, or an invalid value, in a file, a variable or a program
    │   ├── TemplateError            a template that does not render
    │   ├── ProgramError             the program to run is missing, or unfit to be run by many workers
    │   └── ConstantError (LookupError)  a shared constant that is set already, or is not there
    ├── SchedulerError               a scheduler's command is missing, failed, or printed what cannot be read; status 2
    │   └── UnansweredError          a scheduler's command gave no answer, or none in time
    ├── PerhapsSubmittedError        a submission had no clear answer: the job may exist; the command line exits with 1
    ├── LaunchError                  the run could not be started
    ├── ProtocolError                a process of the run said what it may not say
    ├── SegmentError                 memory that another process shares cannot be had
    ├── NotRunningError (RuntimeError)  futures were used outside a run
    ├── BrokenPoolError (BrokenExecutor)  an Executor has lost its pool, or could not start one
    ├── WorkerLostError              a task has cost several workers, or exceeded its time limit
    │   └── TimeLimitError           it has taken too long
    └── TaskError                    a task failed with an exception that could not travel
        └── UnpicklableError         a call or a result cannot be pickled

    SystemExit
    └── RunEndedError                the run ends, and the program with it
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor


class ScoopError(Exception):
    """The root of the tree."""


class InputError(ScoopError, ValueError):
    """Bad input of a user: the message is one line that shows the value and says what to do.

    *options* are the options that it is about, as in ``"--walltime"``: who set one learns where.
    """

    def __init__(self, message: str, *options: str) -> None:
        super().__init__(message)
        self.options = options


@contextlib.contextmanager
def about(*options: str) -> Iterator[None]:
    """Attribute the InputErrors that leave this block to *options*, unless they name some themselves.

    >>> try:
    ...     with about("--walltime"):
    ...         raise InputError("cannot read the walltime 'x'")
    ... except InputError as error:
    ...     print(error.options)
    ('--walltime',)
    """
    try:
        yield
    except InputError as error:
        error.options = error.options or options
        raise


class HostlistError(InputError):
    """An invalid nodelist."""


class AllocationError(InputError):
    """An allocation that is missing, unreadable or contradicts itself."""


class JobSpecError(InputError):
    """A field of a job that has no meaning, or that the scheduler at hand cannot express."""


class SettingsError(InputError):
    """An unknown setting, or one with an invalid value; the message says where it is set."""


class TemplateError(InputError):
    """A job script template that is missing or does not render."""


class ProgramError(InputError):
    """A program that cannot be run, or that lacks its ``__main__`` guard."""


class ConstantError(InputError, LookupError):
    """A shared constant that cannot be set, for it is set already, or cannot be read, for nobody has set it."""


class SchedulerError(ScoopError):
    """A scheduler's command is missing, failed, or printed something that cannot be read."""


class UnansweredError(SchedulerError):
    """A scheduler's command gave no answer, or none in time: the scheduler may have done what it was asked."""


class PerhapsSubmittedError(ScoopError):
    """A submission had no answer, or none that can be understood: the job may exist. Look before you submit again."""


class LaunchError(ScoopError):
    """The agents of a run could not be started, or did not report in time."""


class ProtocolError(ScoopError):
    """A message that has no meaning where it arrived."""


class SegmentError(ScoopError):
    """A large buffer stayed where it was made, and cannot be had from there: the process that made it has ended."""


class NotRunningError(ScoopError, RuntimeError):
    """Futures were used outside a run, or outside the thread that may use them."""


class BrokenPoolError(ScoopError, BrokenExecutor):
    """The pool of an Executor could not be started, has ended, or its initializer failed; the text says why.

    A worker that dies is a reason only where `Executor` was told so: ``on_worker_loss="break"``.
    """

    executor = ""  # in a run: the key of the one whose initializer failed


class WorkerLostError(ScoopError):
    """A task took its worker down in each of its attempts; the text says where, when and how.

    *losses* has a line for each attempt: the worker, its process id and node, and how it ended.
    """

    def __init__(self, message: str, losses: tuple[str, ...] = ()) -> None:
        super().__init__(message, losses)
        self.losses = losses

    def __str__(self) -> str:
        return str(self.args[0])


class TimeLimitError(WorkerLostError):
    """A task has exceeded its time limit, as often as it may: its worker was killed each time.

    It is no `TimeoutError`, which `result` raises when the caller's own patience ends.
    """


class TaskError(ScoopError):
    """A task failed with an exception that does not survive the trip, or could not be taken in; the text says which."""


class UnpicklableError(TaskError):
    """A call, which was not run then, or the result of one cannot be pickled; the cause says why."""


class RunEndedError(SystemExit):
    """The run has to end, and this is the program's chance to save what it has: it is killed after some seconds.

    It is raised where the program waits for futures, or is about to, each time; and by SIGTERM and SIGHUP, wherever the
    program is, unless it handles them itself. It is what `sys.exit` raises, and no `Exception`, so that a program which
    tries again whatever fails does not try again for ever; that threads and event loops end by it, and the program
    itself, having run what it has in `finally` and `atexit`, without a traceback: the run says itself why it ends.

    >>> str(RunEndedError("broker 1 died")), RunEndedError("broker 1 died").code
    ('the run is ending: broker 1 died', 1)
    """

    code: int  # exit status, of 128 more than the number of a signal if that was the reason

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason, status)
        self.code = status

    def __str__(self) -> str:
        return f"the run is ending: {self.args[0]}"
