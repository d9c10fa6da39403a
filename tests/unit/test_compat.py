"""SCOOP's names, without a run or with one that is pretended."""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from scoop_hpc import compat, futures, shared
from scoop_hpc.cli import alias
from scoop_hpc.compat import fallbacks
from scoop_hpc.compat import futures as scoop_futures
from scoop_hpc.compat import shared as scoop_shared
from scoop_hpc.errors import InputError, NotRunningError
from scoop_hpc.pickling import pickles
from scoop_hpc.worker import current


@pytest.fixture
def scoop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `scoop` be found."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    alias.install("scoop", "scoop_hpc.compat")
    yield
    for name in [name for name in sys.modules if name == "scoop" or name.startswith("scoop.")]:
        del sys.modules[name]


def be_worker(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Pretend that this process is the worker *name* of five."""
    monkeypatch.setattr(current, "_worker", SimpleNamespace(name=name, size=5))


# the module `scoop`


@pytest.mark.usefixtures("scoop")
def test_modules_are_the_same_under_both_names() -> None:
    assert importlib.import_module("scoop.futures") is scoop_futures
    assert importlib.import_module("scoop") is compat
    assert importlib.import_module("scoop").futures is scoop_futures
    assert compat.__name__ == compat.__spec__.name == "scoop_hpc.compat"


@pytest.mark.usefixtures("scoop")
def test_function_is_pickled_by_its_real_name() -> None:
    assert b"scoop_hpc.compat.futures" in pickle.dumps(importlib.import_module("scoop.futures").submit)


@pytest.mark.usefixtures("scoop")
@pytest.mark.parametrize("name", ["scoop._control", "scoop.alias", "scoop.futures.map"])
def test_what_is_not_there_is_missing_by_the_name_that_was_asked_for(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=name) as caught:
        importlib.import_module(name)
    assert caught.value.name == name
    assert name not in sys.modules


def test_other_names_are_left_to_others() -> None:
    finder = alias.Alias("scoop", "scoop_hpc.compat")
    assert finder.find_spec("scoop_hpc") is None
    assert finder.find_spec("scoopy.futures") is None


@pytest.mark.usefixtures("scoop")
def test_failing_import_inside_a_module_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("import there_is_no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    alias.install("broken", "broken_package")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        importlib.import_module("broken")


# values


@pytest.mark.parametrize(("name", "is_origin"), [("0.0", True), ("0.1", False), ("1.0", False)])
def test_values_are_the_workers(monkeypatch: pytest.MonkeyPatch, name: str, is_origin: bool) -> None:
    be_worker(monkeypatch, name)
    assert compat.IS_RUNNING
    assert compat.IS_ORIGIN is is_origin
    assert compat.SIZE == 5
    assert isinstance(compat.worker, bytes)
    assert compat.worker.endswith(f":{name}".encode())
    assert compat.BROKER.hostname.encode() == compat.worker.rpartition(b":")[0]


def test_outside_a_run_the_values_of_a_run_are_absent() -> None:
    assert compat.IS_RUNNING is False
    assert not hasattr(compat, "IS_ORIGIN")
    assert getattr(compat, "SIZE", 1) == 1
    with pytest.raises(AttributeError, match="outside a run"):
        _ = compat.worker


def test_all_public_names_of_scoop_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    be_worker(monkeypatch, "0.0")
    names = (
        "BROKER CONFIGURATION DEBUG IS_ORIGIN IS_RUNNING MAIN_MODULE SHUTDOWN_REQUESTED SIZE VALID WORKING_DIRECTORY"
    )
    names += " TIME_BETWEEN_PARTIALDEBUG TIME_BETWEEN_STATUS_PRUNING TIME_BETWEEN_STATUS_REPORTS logger worker"
    names += " __author__ __revision__ __version__"
    assert [name for name in names.split() if not hasattr(compat, name)] == []
    assert set(names.split()) <= set(dir(compat))
    verbs = "ALL_COMPLETED FIRST_COMPLETED FIRST_EXCEPTION as_completed map mapReduce mapScan map_as_completed shutdown"
    assert [name for name in f"{verbs} submit wait".split() if not hasattr(scoop_futures, name)] == []


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'scoop' has no attribute 'nothing'"):
        _ = compat.nothing


# verbs


@pytest.mark.filterwarnings("ignore:futures run one after the other:RuntimeWarning")
def test_verbs_outside_a_run_are_done_here() -> None:
    assert list(scoop_futures.map(pow, [2, 3], [2, 2])) == [4, 9]
    assert scoop_futures.submit(abs, -1).result() == 1
    assert fallbacks.NotStartedProperly is NotRunningError


@pytest.mark.parametrize(
    ("words", "timeout"), [({}, None), ({"timeout": -1}, None), ({"timeout": None}, None), ({"timeout": 0}, 0)]
)
def test_time_out_of_wait(monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], timeout: object) -> None:
    seen: list[object] = []
    monkeypatch.setattr(futures, "wait", lambda fs, timeout, return_when: seen.append(timeout))
    scoop_futures.wait([], **words)
    assert seen == [timeout]


def test_what_was_typed_into_a_shell_travels_by_value() -> None:
    main = sys.modules["__main__"]
    code = compile("def typed(n, *, by=2): return n * by", "<console>", "exec")
    exec(code, main.__dict__)
    function = main.__dict__.pop("typed")
    sent = scoop_futures.travelling(function)
    frames = pickles.dump(sent)  # the name is gone from here, as it is absent elsewhere
    assert pickles.load(frames)(4) == 8
    assert isinstance(sent, FunctionType)


def test_what_every_worker_can_find_travels_by_name() -> None:
    for function in (abs, be_worker, scoop_futures.map, functools.wraps(be_worker)(lambda: None), str.upper):
        assert scoop_futures.travelling(function) is function


# constants


def test_constant_that_is_there_already_is_a_type_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**constants: object) -> None:
        raise InputError("there is a constant 'a' already")

    monkeypatch.setattr(shared, "set_const", refuse)
    with pytest.raises(TypeError, match="'a'"):
        scoop_shared.setConst(a=1)


def test_constant_that_does_not_come_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def miss(name: str, timeout: float) -> None:
        raise futures.TimeoutError(name)

    monkeypatch.setattr(shared, "get_const", miss)
    assert scoop_shared.getConst("a") is None


def test_endless_time_out_of_a_constant_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "get_const", lambda name, timeout: timeout)
    assert scoop_shared.getConst("a", timeout=float("inf")) is None
    assert scoop_shared.getConst("a", 3) == 3
