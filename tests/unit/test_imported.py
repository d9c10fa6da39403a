"""A program that is imported, and is ``__main__`` all the same."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from scoop_hpc.pickling.imported import compile_imported, load

VISIBLE = [
    "if __name__ == '__main__':\n    ran()",
    "if '__main__' == __name__:\n    ran()",
    "if __name__ == '__main__' and x:\n    ran()",
    "if not __name__ != '__main__':\n    ran()",
    "if __name__ in ('__main__',):\n    ran()",
    "if __name__.endswith('main__') and not __name__.startswith('__mp'):\n    ran()",
    "if (name := __name__) == '__main__':\n    ran()",
    "if __name__ != '__main__':\n    pass\nelse:\n    ran()",
    "if __name__ == '__mp_main__':\n    pass\nelif x:\n    ran()",
    "__name__ == '__main__' and ran()",
    "ran() if __name__ == '__main__' else None",
    "try:\n    if x:\n        if __name__ == '__main__': ran()\nfinally:\n    pass",
    "def main():\n    if __name__ != '__main__':\n        return\n    ran()\nmain()",
    "class Main:\n    if __name__ == '__main__':\n        ran()",
    "is_main = __name__ == '__main__'\nif is_main:\n    ran()",
    "while __name__ == '__main__':\n    ran()\n    break",
]
VISIBLE.append("match __name__:\n    case '__main__':\n        ran()")
HIDDEN = [
    "def automain(f):\n    if f.__module__ == '__main__':\n        ran()\n    return f\n@automain\ndef main(): pass",
    "exec('if __name__ == \"__main__\": ran()')",
    "name = __name__\nif name == '__main__':\n    ran()",
    "{'__main__': ran}.get(__name__, int)()",
    "def main(__name__):\n    if __name__ == '__main__':\n        ran()\nmain(__name__)",
    "if globals()['__name__'] == '__main__':\n    ran()",
]


def imported(text: str, monkeypatch: pytest.MonkeyPatch, **names: object) -> ModuleType:
    """Import a program, as a worker does."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    module.__dict__.update(names)
    code, tests_name = compile_imported(text.encode(), "program.py")
    load(code, module, tests_name)
    return module


@pytest.mark.parametrize("guard", [*VISIBLE, *HIDDEN, *(f"{guard}\n{VISIBLE[0]}" for guard in VISIBLE)])
def test_guard_of_any_spelling_holds_in_a_worker(monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    told: list[int] = []
    imported(guard, monkeypatch, x=True, ran=lambda: told.append(1))
    assert told == []


DEFINITIONS = """
import collections, dataclasses, enum, logging, sys, typing
from __future__ import annotations

log = logging.getLogger(__name__)
@dataclasses.dataclass(frozen=True)
class Data:
    number: int = 0
    other: typing.Optional[Data] = None
    class Inner: pass
class Colour(enum.Enum):
    RED = 1
class Meta(type):
    def __setattr__(cls, name, value): raise TypeError("frozen")
class Frozen(metaclass=Meta): pass
class Slots:
    __slots__ = ("a",)
Shape = enum.Enum("Shape", "ROUND")
Pair = collections.namedtuple("Pair", "a b")
class Typed(typing.NamedTuple):
    a: int
class Keys(typing.TypedDict):
    a: int
class Odd(Exception): pass
class Generic(typing.Generic[typing.TypeVar("T")]): pass
def function(x: Data) -> Data:
    def inner(): pass
    return inner
seen = function.__module__
here = sys.modules[__name__]
def name():
    return __name__
""".replace("from __future__ import annotations\n", "")


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__':\n    raise OSError\n"])
def test_what_a_worker_defines_is_of_main(monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    module = imported("from __future__ import annotations\n" + DEFINITIONS + guard, monkeypatch)
    kinds = ["Data", "Colour", "Meta", "Frozen", "Slots", "Shape", "Pair", "Typed", "Keys", "Odd", "Generic"]
    assert {getattr(module, kind).__module__ for kind in [*kinds, "function"]} == {"__main__"}
    assert module.Data.Inner.__module__ == module.function(0).__module__ == module.name() == "__main__"
    assert module.here is module
    if guard:  # else only another name could tell what runs from what is imported
        assert (module.log.name, module.seen) == ("__main__", "__main__")


def test_imported_code_has_the_lines_and_names_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '"""Doc."""\n\ndef f():\n    if __name__ == "__main__":\n        return 1 / 0\n'
    module = imported(text, monkeypatch)
    assert module.__doc__ == "Doc."
    with pytest.raises(ZeroDivisionError) as caught:
        module.f()
    assert (caught.traceback[-1].lineno, str(caught.traceback[-1].path)[-10:]) == (4, "program.py")
