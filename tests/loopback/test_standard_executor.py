"""CPython's own tests of executors, on `Executor`, in both ways to take the death of a worker.

They come with the interpreter, in its package ``test``; where an installation leaves that out, there is nothing to run.
Where they ask for a broken pool, since a worker has died, the way ``"break"`` has to break, and ``"replace"`` to fail
that one future, after its attempts.
"""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import importlib
import subprocess
import sys
import unittest
from concurrent.futures import BrokenExecutor
from types import ModuleType
from typing import Any

import pytest

from scoop_hpc import Executor
from scoop_hpc.errors import TaskError, UnpicklableError, WorkerLostError
from scoop_hpc.pickling.pickles import RemoteTraceback

_PACKAGE = "test.test_concurrent_futures"
pytest.importorskip(_PACKAGE, reason="this Python has no package 'test', or not that part of it")

_SUITES = {  # the part of the package, which is one module before Python 3.12, and its test cases for any executor
    "test_wait": ("WaitTests",),
    "test_as_completed": ("AsCompletedTests",),
    "test_process_pool": ("ProcessPoolExecutorTest",),
    "test_shutdown": ("ExecutorShutdownTest",),
    "test_init": ("InitializerMixin", "FailingInitializerMixin"),
    "test_deadlock": ("ExecutorDeadlockTest",),
}
_NO_DEATHS = {"test_wait", "test_as_completed"}  # parts, where both ways are one
# Tests of what other executors have not: processes, threads and queues of ProcessPoolExecutor, that are to be killed,
# counted or delayed; semaphores and managers of multiprocessing, for its own children only; workers that end after so
# many tasks; Windows; and that a task has begun when submit() returns, where our workers are only being started.
_OF_PROCESS_POOLS = {
    *("test_killed_child", "test_idle_process_reuse_one", "test_idle_process_reuse_multiple"),
    *("test_python_finalization_error", "test_shutdown_deadlock_pickle"),
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full",
    *("test_ressources_gced_in_workers", "test_saturation"),
    *("test_max_tasks_per_child", "test_max_tasks_per_child_defaults_to_spawn_context"),
    *("test_max_tasks_early_shutdown", "test_max_workers_too_large"),
    "test_cancel_futures",
}
_BY_THE_CLOCK = {"test_map_timeout"}  # it gives two tasks 5 s, however busy the machine is
# What cannot be pickled, or opened, fails its own future in ours, by an error of its own, and no worker dies of it.
_OWN_ERRORS: dict[str, type[Exception]] = {
    "test_error_at_task_pickle": UnpicklableError,
    "test_error_at_task_unpickle": TaskError,
    "test_exit_at_task_unpickle": TaskError,
    "test_error_during_result_pickle_on_worker": UnpicklableError,
    "test_exit_during_result_pickle_on_worker": UnpicklableError,
    "test_error_during_result_unpickle_in_result_handler": TaskError,
    "test_exit_during_result_unpickle_in_result_handler": TaskError,
}


class ReplacingExecutor(Executor):
    """Ours, by the arguments of the standard library's."""

    on_worker_loss = "replace"

    def __init__(self, *arguments: Any, mp_context: None = None, **options: Any) -> None:
        super().__init__(*arguments, on_worker_loss=self.on_worker_loss, **options)

    @property
    def _broken(self) -> bool:
        """Whether it takes no calls any more."""
        try:
            self.submit(int)
        except BrokenExecutor:
            return True
        return False


class BreakingExecutor(ReplacingExecutor):
    """The same, which breaks when a worker dies."""

    on_worker_loss = "break"


class _Ours:
    """What a test case has in place of their mixins, which are for one executor of the standard library each."""

    def get_context(self) -> None:
        """Return how processes are started: that is no affair of theirs."""

    def _assert_logged(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Ours has the text in its error, not in a log."""
        return contextlib.nullcontext()


def _module(part: str) -> ModuleType:
    package = importlib.import_module(_PACKAGE)
    return importlib.import_module(f"{_PACKAGE}.{part}") if hasattr(package, "__path__") else package


def _cases() -> list[tuple[type[ReplacingExecutor], str, str, str]]:
    """Return all tests for any executor: which of ours, the part of the package, the test case, the name."""
    return [
        (executor, part, case, name)
        for part, cases in _SUITES.items()
        for executor in (ReplacingExecutor, BreakingExecutor)[: 1 if part in _NO_DEATHS else 2]
        for case in cases
        for name in unittest.defaultTestLoader.getTestCaseNames(getattr(_module(part), case))
        if name not in _OF_PROCESS_POOLS | _BY_THE_CLOCK
    ]


def _run_python(option: str, script: str) -> tuple[int, bytes, bytes]:
    """Run a script of theirs, which imports the executor from the standard library, to a good end."""
    head = "import concurrent.futures, functools, scoop_hpc\n"
    for each in (ReplacingExecutor, BreakingExecutor):
        ours = f"functools.partial(scoop_hpc.Executor, on_worker_loss={each.on_worker_loss!r})"
        head += f"concurrent.futures.{each.__name__} = {ours}\n"
    done = subprocess.run([sys.executable, option, head + script], capture_output=True, timeout=120, check=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("executor", "part", "suite", "name"), _cases(), ids=lambda word: getattr(word, "__name__", word)
)
def test_of_cpython(
    executor: type[ReplacingExecutor], part: str, suite: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, util = _module(part), _module("util")
    monkeypatch.setattr(module, "assert_python_ok", _run_python, raising=False)
    monkeypatch.setattr(concurrent.futures.process, "_RemoteTraceback", RemoteTraceback)
    monkeypatch.setattr(RemoteTraceback, "tb", property(lambda self: self.text), raising=False)
    died = BrokenExecutor if executor is BreakingExecutor else WorkerLostError
    monkeypatch.setattr(module, "BrokenProcessPool", died, raising=False)
    if (error := _OWN_ERRORS.get(name)) is not None:
        for asked in ("BrokenProcessPool", "PicklingError", "SystemExit"):
            monkeypatch.setattr(module, asked, error, raising=False)
    bases = (_Ours, getattr(module, suite), util.ExecutorMixin, util.BaseTestCase)
    case: unittest.TestCase = type(suite, bases, {"executor_type": executor})(name)
    result = unittest.TestResult()
    case.run(result)
    for _, text in result.errors + result.failures:
        pytest.fail(text)
    for _, reason in result.skipped:
        pytest.skip(reason)
