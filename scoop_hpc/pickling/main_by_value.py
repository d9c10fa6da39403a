"""The ``__main__`` of a pool's client, carried by value to workers that have none of their own.

A task's pickle refers to functions and classes of the client's ``__main__`` by their names, and begins with all globals
that it may use, as they are now: its environment. In a worker, all of them live in one module ``__main__``, so that an
initializer may set a global that a task reads. There, a global is what the client has last given, or what the worker
has made of it since. What in a client cannot be pickled is replaced there by a stand-in that says so when it is used.

::

    client                                                        worker
    __main__ --names that f uses--> {f: 1, helper: 1, data: 7} -- enter: what has another version --> __main__
                                     name: version, pickle        then the call, in which f is `named`
"""

from __future__ import annotations

import copyreg
import functools
import io
import itertools
import pickle
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import main_received, pickles, reducers
from scoop_hpc.pickling.global_dependencies import names_in, settled_by
from scoop_hpc.pickling.main_received import MISSING, SMALL, Environment, Given, Prefix, Sent
from scoop_hpc.pickling.placeholder import Unsent
from scoop_hpc.pickling.unpicklable import go_on_after, path_of, reason_of
from scoop_hpc.task import TaskFunction

_MOST = 1_000  # prefixes kept
# of functions that make objects from pickles: most of those in one
_MAKERS = frozenset({"cloudpickle.cloudpickle", main_received.__name__, pickles.__name__, reducers.__name__})
_versions = itertools.count(1)


def become_worker() -> None:
    """Give this process an empty ``__main__`` that fills with what a client gives, and pass calls on by value, too."""
    module = ModuleType("__main__")
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    main_received.names.given = {}
    send_by_value()


def send_by_value() -> None:
    """Send tasks from this process to workers that do not have its ``__main__``."""
    pickles.carry_main(_Pickler)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, but functions and classes of ``__main__`` go by name, with their globals before everything else.

    In a worker, it passes on what is given by the *environment*, of which that in force is the default.
    """

    def __init__(
        self,
        file: io.BytesIO,
        protocol: int = 5,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        environment: Environment | None = None,
    ) -> None:
        super().__init__(file, protocol, buffer_callback)
        self._stream = file
        self._main = main_received.main()
        self._environment = main_received.names.given if environment is None else environment
        self._named: set[str] = set()  # what is referred to
        self._used: set[str] = set()  # globals besides, by functions that go by value
        self._own: Any = None  # the global whose definition is being pickled
        self._own_name = ""
        self._defines = False
        self._careful = False

    def prefix(self) -> bytes:
        """Return what goes before the pickle: it enters the environment; raise UnpicklableError."""
        if not (self._named or self._used):
            return b""
        return _prefix(frozenset(self._named), frozenset(self._used), self._environment)

    def definition(self, name: str, value: Any, careful: bool = False) -> tuple[bytes, tuple[str, ...]]:
        """Return the pickle of the global *name*, or of a part of one, and the names of the globals that it may use.

        With stand-ins, if *careful*, for attributes of a class that cannot be pickled.
        """
        self._defines, self._careful = True, careful
        if name:
            self._own_name, self._own = name, value
        self.dump(value)
        return self._stream.getvalue(), tuple(sorted((self._named | self._used) - {name}))

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is CodeType:
            return pickles.reduce_code(self, value)
        if kind is FunctionType:
            return self._reduce_function(value)
        if isinstance(value, type):
            return self._reduce_class(value)
        if kind is functools._lru_cache_wrapper and self._refers_to(value):
            return self._by_name(value)
        if kind is TaskFunction:
            return self._reduce_task(value)
        special = reducers.reduced(value, pickles.MAIN_NAMES)
        if special is None and self._defines:
            special = reducers.reduced_in_definition(value)
        return NotImplemented if special is None else special

    def _reduce_function(self, function: FunctionType) -> Any:
        if function.__module__ in _MAKERS:
            return NotImplemented
        if self._refers_to(function):
            return self._by_name(function)
        if reducers.is_dispatcher(function) and function.__module__ in pickles.MAIN_NAMES:
            return self._defined(function, reducers.reduced_dispatcher(function))
        if function.__globals__ is not self._main:
            return self._defined(function, super().reducer_override(function))
        # whatever module it says it is from: one that was put into a module, by functools.wraps, is not there elsewhere
        self.globals_ref[id(self._main)] = _Namespace(__name__="__main__")  # what cloudpickle takes for its globals
        make, arguments, (plain, slots), _, _, set_state = self._dynamic_function_reduce(function)
        slots["__globals__"] = {}
        self._used.update(names_in(function.__code__))
        return self._defined(function, (make, arguments, (plain, slots), None, None, set_state))

    def _reduce_task(self, value: TaskFunction[..., Any]) -> Any:
        if self._refers_to(value):
            return self._by_name(value)
        if (
            _has_globals(value.__wrapped__, self._main)
            or value.__module__ in pickles.MAIN_NAMES
            or _goes_by_value(value)
        ):
            return self._defined(value, value.reduced_by_value())
        return NotImplemented

    def _reduce_class(self, kind: type) -> Any:
        if type(kind) in copyreg.dispatch_table:  # its metaclass says how
            return NotImplemented
        if self._refers_to(kind):
            return self._by_name(kind)
        reduced = super().reducer_override(kind)
        if reduced is NotImplemented or len(reduced) < 6:
            return reduced
        make, arguments, (attributes, slots), _, _, set_state = reduced
        if self._careful and kind is self._own:
            attributes = _with_stand_ins(self._own_name, attributes)
        return self._defined(
            kind, (make, arguments, (set_state, (attributes, slots)), None, None, main_received.set_class)
        )

    def _refers_to(self, value: Any) -> bool:
        """Return whether *value* is what a name in ``__main__`` means, here and in workers."""
        if value is self._own:
            return False
        name = getattr(value, "__name__", "")
        function = value.__wrapped__ if type(value) is TaskFunction else value
        if value.__module__ not in pickles.MAIN_NAMES and not _has_globals(function, self._main):
            return False
        known = self._main if self._environment is None else main_received.names.values
        if known.get(name) is not value:
            return False
        return self._environment is None or name in self._environment

    def _by_name(self, value: Any) -> tuple[Any, ...]:
        self._named.add(value.__name__)
        return main_received.named, (value.__name__,)

    def _defined(self, value: Any, reduced: Any) -> Any:
        """Let a definition be known by its name before what it is made of, which may refer to it."""
        if value is not self._own or reduced is NotImplemented:
            return reduced
        make, arguments, *rest = reduced
        return (main_received.made, (self._own_name, make, arguments), *rest)


def _has_globals(function: Any, main: dict[str, Any]) -> bool:
    return type(function) is FunctionType and function.__globals__ is main


def _goes_by_value(value: Any) -> bool:
    """Return whether the user has asked for that, for the module of *value* or a package that has it."""
    module = f"{value.__module__}."
    return any(module.startswith(f"{name}.") for name in cloudpickle.list_registry_pickle_by_value())


class _Namespace(dict):  # type: ignore[type-arg]
    """The globals of ``__main__``: in a worker, those there."""

    def __reduce__(self) -> tuple[Any, ...]:
        main = main_received.main()
        return main_received.namespace, ({name: main[name] for name in ("__package__", "__file__") if name in main},)


# what goes before a task


def _prefix(named: frozenset[str], used: frozenset[str], environment: Environment | None) -> bytes:
    """Return the operations by which a pickle enters the environment of these names; raise UnpicklableError."""
    names, wanted = main_received.names, named | used
    known = names.prefixes.get(wanted)
    if known is not None and known.holds(environment):
        return known.text
    checks: list[tuple[str, Sent | None]] = []
    if environment is None:
        found, settled = _current(wanted, checks)
        for name in named:
            if name in found and names.sent[name].refused:
                raise UnpicklableError(f"cannot pickle {names.sent[name].refused}")
    else:
        found, settled = _passed_on(wanted, environment), True
    text = _entering(pickle.dumps({name: tuple(given) for name, given in found.items()}, 5)) if found else b""
    if settled:
        if len(names.prefixes) >= _MOST:
            names.prefixes.clear()
        names.prefixes[wanted] = Prefix(text, environment, checks)
    return text


def _entering(text: bytes) -> bytes:
    """Return a pickle's first operations: call `arrived.enter`, and forget what it returns.

    No STOP and no memo in it, so that the pickle of the call itself may follow.
    """
    enter = f"c{main_received.enter.__module__}\n{main_received.enter.__name__}\n".encode()
    size = len(text).to_bytes(8, "little")
    return b"".join(
        (pickle.PROTO, b"\x05", enter, pickle.BINBYTES8, size, text, pickle.TUPLE1, pickle.REDUCE, pickle.POP)
    )


def _passed_on(wanted: Iterable[str], environment: Environment) -> Environment:
    """Return what of *environment* the names *wanted* may use: the rest is a worker's own."""
    found: dict[str, Given] = {}
    left = list(wanted)
    while left:
        name = left.pop()
        if name in environment and name not in found:
            found[name] = environment[name]
            left.extend(found[name].uses)
    return found


def _current(wanted: Iterable[str], checks: list[tuple[str, Sent | None]]) -> tuple[Environment, bool]:
    """Return what the names *wanted* may use in the client, and whether that stays so while all *checks* hold."""
    found: dict[str, Given] = {}
    seen: set[str] = set()
    left, settled = list(wanted), True
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        sent = _sent(name)
        checks.append((name, sent))
        if sent is None:
            continue
        found[name] = sent.given
        left.extend(sent.given.uses)
        settled = settled and sent.settled
    return found, settled


def _sent(name: str) -> Sent | None:
    """Return the global *name* as it is now; None if it is not there, and no worker was ever given one."""
    value = main_received.main().get(name, MISSING)
    known = main_received.names.sent.get(name)
    if value is MISSING:
        if known is None or known.value is MISSING:
            return known
        sent = Sent(MISSING, Given(next(_versions), b"", ()), True, None, "", b"")
    else:
        same = known is not None and known.value is value
        if known is not None and known.same(value):
            return known
        settled, body = settled_by(value)
        text, uses, refused = _definition(name, value, known if same else None)
        mark = text if len(text) <= SMALL else _digest(text)
        version = known.given.version if known is not None and known.mark == mark else next(_versions)
        sent = Sent(value, Given(version, text, uses), settled and not refused, body, refused, mark)
    large = not sent.settled and sent.mark is not sent.given.text  # which is pickled for each call
    main_received.names.sent[name] = sent._replace(given=sent.given._replace(text=b"")) if large else sent
    return sent


def _digest(text: bytes) -> bytes:
    import hashlib  # noqa: PLC0415  it loads OpenSSL, for 5 ms, and few programs have large globals

    return hashlib.blake2b(text).digest()


def _definition(name: str, value: Any, known: Sent | None) -> tuple[bytes, tuple[str, ...], str]:
    """Return a global's pickle, the names that it may use, and why it cannot be pickled: then, that of a stand-in."""
    for careful in (False, True) if isinstance(value, type) else (False,):
        try:
            return (*_Pickler(io.BytesIO()).definition(name, value, careful), "")
        except BaseException as error:  # the user's __reduce__ may raise anything
            go_on_after(error)
            reason = reason_of(error)
    if known is not None and known.refused.endswith(reason):
        return known.given.text, known.given.uses, known.refused
    refused = f"{path_of(value, name, _pickles)}: {reason}"
    return pickle.dumps(Unsent(refused), 5), (), refused


def _pickles(part: Any) -> bool:
    """Return whether a part of a definition can be pickled."""
    return not _refusal(part)


def _refusal(part: Any) -> str:
    """Return why a part of a definition cannot be pickled, empty if it can."""
    try:
        _Pickler(io.BytesIO()).definition("", part)
    except BaseException as error:  # as above
        go_on_after(error)
        return reason_of(error)
    return ""


def _with_stand_ins(label: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a class's *attributes* with stand-ins for those that cannot be pickled."""
    found = {}
    for name, part in attributes.items():
        reason = _refusal(part)
        found[name] = Unsent(f"{path_of(part, f'{label}.{name}', _pickles)}: {reason}") if reason else part
    return found
