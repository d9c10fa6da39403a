"""The ``__main__`` of a pool's client as a worker has it: what was given, and what of it is in force.

How it is sent: see `main_by_value`.

A task's pickle begins by entering its *environment*: the globals that it may use, as they were when it was sent. What
differs from the environment that was entered last is put into ``__main__`` (or removed from it), and nothing else, so
that what a task or an initializer has made of a global stays until the client gives another value.
"""

from __future__ import annotations

import pickle
import sys
import weakref
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, NamedTuple

from scoop_hpc.pickling.packed import ATOMS
from scoop_hpc.pickling.placeholder import Unsent
from scoop_hpc.pickling.unpicklable import reason_of
from scoop_hpc.task import TaskFunction

MISSING = object()
_MOST = 1_000  # environments kept
SMALL = 65_536  # bytes of an environment, or of a value, that is kept


class Given(NamedTuple):
    """A global as the client gave it. Each value that differs from the one before has a *version* of its own."""

    version: int
    text: bytes  # its pickle, empty if the name was deleted
    uses: tuple[str, ...]  # names of globals that it may use


Environment = Mapping[str, Given]


class Body(NamedTuple):
    """The parts of a function, besides its globals."""

    code: CodeType
    defaults: tuple[Any, ...] | None
    more: bool

    @classmethod
    def of(cls, function: Any) -> Body:
        """Return what *function*, or the one in a task function, is made of now."""
        more = False
        if type(function) is TaskFunction:
            more, function = bool(function.attributes()), function.__wrapped__
        more = more or bool(function.__closure__ or function.__kwdefaults__ or function.__dict__)
        return cls(function.__code__, function.__defaults__, more)


class Sent(NamedTuple):
    """The last value that the client has given for a name."""

    value: Any  # MISSING if it had none
    given: Given
    settled: bool  # the value stays what it is as long as it is the same object, made of the same *body*
    body: Body | None
    refused: str  # why it could not be pickled, empty if it was
    mark: bytes  # its pickle, or a digest of that

    def same(self, value: Any) -> bool:
        """Return whether *value* can be seen to be what was given."""
        return value is self.value and self.settled and (self.body is None or self.body == Body.of(value))


class Prefix(NamedTuple):
    """The beginning of the pickle of a task that refers to certain names, and what it depends on."""

    text: bytes
    snapshot: Environment | None  # in a worker: what was in force
    sent: list[tuple[str, Sent | None]]  # in the client: what was given for each name, None for one that never was

    def holds(self, environment: Environment | None) -> bool:
        """Return whether it would be the same now: in a worker, from this *environment*."""
        if environment is not None:
            return self.snapshot is environment
        variables, given = main(), names.sent
        for name, sent in self.sent:
            value = variables.get(name, MISSING)
            if given.get(name) is not sent or not (value is MISSING if sent is None else sent.same(value)):
                return False
        return True


class Names:
    """The names in ``__main__`` as this process knows them. There is one of it."""

    def __init__(self) -> None:
        self.given: Environment | None = None  # in force; never changed, but replaced; None in the client itself
        self.values: dict[str, Any] = {}  # of the names that are given
        self.pending: dict[str, Given] = {}  # being entered
        self.unmade: dict[str, bytes] = {}  # whose pickles are being opened, until there is something to refer to
        self.environments: dict[bytes, Environment] = {}  # that have arrived, by their pickles
        self.agreeing: dict[int, Environment] = {}  # environments that have nothing else than what is in force, by id
        self.attributes: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()  # given
        self.sent: dict[str, Sent] = {}  # by the client
        self.prefixes: dict[frozenset[str], Prefix] = {}  # of what has left


names = Names()


def main() -> dict[str, Any]:
    """Return the globals of ``__main__``."""
    return sys.modules["__main__"].__dict__


def namespace(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of ``__main__`` here; in the client itself, a copy, which a result may not change."""
    if names.given is None:
        return dict(main())
    main().update(attributes)
    return main()


def enter(text: bytes) -> None:
    """Put the environment in a pickle into force."""
    environment = names.environments.get(text)
    if environment is not None and id(environment) in names.agreeing or names.given is None:
        return
    if environment is None:
        environment = {name: Given(*given) for name, given in pickle.loads(text).items()}
        if len(text) <= SMALL:
            if len(names.environments) >= _MOST:
                names.environments.clear()
            names.environments[text] = environment
    enter_again(environment, len(text) <= SMALL)


def enter_again(environment: Environment | None, known: bool = True) -> None:
    """Put an environment into force once more: another task may have entered its own meanwhile.

    It is kept in mind if it is *known*, and so may be entered again.
    """
    given = names.given
    if given is None or environment is None or environment is given or id(environment) in names.agreeing:
        return
    changed = {name: new for name, new in environment.items() if name not in given or given[name][0] != new[0]}
    if changed:
        outer, names.pending = names.pending, dict(changed)
        try:
            while names.pending:
                _take(next(iter(names.pending)))
        finally:
            taken = {name: new for name, new in changed.items() if name not in names.pending}
            names.pending = outer
            names.given = {**given, **taken}
            names.agreeing.clear()
    if known:
        if len(names.agreeing) >= _MOST:
            names.agreeing.clear()
        names.agreeing[id(environment)] = environment


def _take(name: str) -> None:
    """Give a global of ``__main__`` its pending value."""
    text = names.pending.pop(name).text
    variables = main()
    if not text:
        names.values.pop(name, None)
        variables.pop(name, None)
        return
    names.unmade[name] = text
    try:
        value = pickle.loads(text)
    except Exception as error:  # the user's code, or a module that is not here: whoever uses the name is told
        value = Unsent(f"{name}: cannot be unpickled: {reason_of(error)}")
    finally:
        names.unmade.pop(name, None)
    names.values[name] = variables[name] = value


def named(name: str) -> Any:
    """Return the function or class that the client has given for a global."""
    if name in names.pending:
        _take(name)
    elif name in names.unmade:  # a class whose base has it for an attribute: the base is there by now
        return pickle.loads(names.unmade.pop(name))
    return main()[name] if names.given is None else names.values[name]


def made(name: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Make the function or class *name*, which is known from now on: its parts, which follow, may refer to it."""
    value = make(*arguments)
    if names.given is not None:
        names.values[name] = value
        names.unmade.pop(name, None)
    return value


def set_class(kind: type, state: tuple[Callable[..., Any], tuple[dict[str, Any], Any]]) -> None:
    """Complete a class, or bring one that is known up to date: only what is given anew is set, or deleted."""
    set_state, (attributes, slots) = state
    before = names.attributes.get(kind, {})
    for name in before:
        if name not in attributes and name in kind.__dict__:
            type.__delattr__(kind, name)
    changed = {name: value for name, value in attributes.items() if not _same(before.get(name, MISSING), value)}
    names.attributes[kind] = attributes
    set_state(kind, (changed, slots))


def _same(old: Any, new: Any) -> bool:
    return type(old) in ATOMS and type(old) is type(new) and old == new
