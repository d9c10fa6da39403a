"""Every error that scoop_hpc raises on purpose, in one tree.

::

    ScoopError
    ├── InputError (ValueError)      what the user wrote cannot be right; the command line exits with 2
    │   ├── HostlistError            a nodelist that is none
    │   ├── AllocationError          the scheduler's environment contradicts itself
    │   ├── JobSpecError             a job that cannot be asked for, here or anywhere
    │   ├── TemplateError            a template that does not render
    │   └── ProgramError             the program to run is missing, or unfit to be run by many workers
    ├── SchedulerError               a scheduler's command is missing, failed, or printed what cannot be read
    ├── LaunchError                  the run could not be started
    ├── ProtocolError                a process of the run said what it may not say
    ├── NotRunningError (RuntimeError)  futures were used outside a run
    └── TaskError                    a task failed with an exception that could not travel
        └── UnpicklableError         a call or a result cannot be pickled
"""

from __future__ import annotations


class ScoopError(Exception):
    """The root of the tree."""


class InputError(ScoopError, ValueError):
    """Bad input of a user: the message is one line that shows the value and says what to do."""


class HostlistError(InputError):
    """A nodelist text that is not one."""


class AllocationError(InputError):
    """An allocation that is missing, unreadable or contradicts itself."""


class JobSpecError(InputError):
    """A field of a job that has no meaning, or that the scheduler at hand cannot express."""


class TemplateError(InputError):
    """A job script template that is missing or does not render."""


class ProgramError(InputError):
    """A program that cannot be run, or that lacks its ``__main__`` guard."""


class SchedulerError(ScoopError):
    """A scheduler's command is missing, failed, or printed something that cannot be read."""


class LaunchError(ScoopError):
    """The agents of a run could not be started, or did not report in time."""


class ProtocolError(ScoopError):
    """A message that has no meaning where it arrived."""


class NotRunningError(ScoopError, RuntimeError):
    """Futures were used outside a run, or outside the thread that may use them."""


class TaskError(ScoopError):
    """A task failed with an exception that does not survive the trip, or could not be taken in; the text says which."""


class UnpicklableError(TaskError):
    """A call, which was not run then, or the result of one cannot be pickled; the cause says why."""
