"""Render a job script: a JobSpec, a scheduler's template, and the command that the script becomes.

A template sees ``job`` (the JobSpec), ``command``, and what a scheduler has words of its own for: the files ``output``
and ``error``, ``array``, ``dependency``, and the truth of ``whole_nodes``; ``scheduler`` (the adapter) is for its
own template, which may call what that has of its own. Its filters are ``directive`` (one word of a
directive), ``quote`` (one word of the shell), ``walltime`` and ``memory``. All of ours have the blocks directives,
output, environment, prologue, run and epilogue. A template of one's own goes into a directory of one's own, extends
ours by ``{% extends "scoop_hpc/slurm.sh.j2" %}``, and says anew the block that shall differ; ``{{ super() }}`` is what
the block was. With anything in its epilogue, the run is a child of the script, not what the script becomes.
"""

from __future__ import annotations

import difflib
import functools
import os.path
import re
import shlex
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

import jinja2
import jinja2.nodes

from scoop_hpc.errors import InputError, TemplateError
from scoop_hpc.fields.checks import check_line
from scoop_hpc.fields.spec import JobSpec, default_output, whole_nodes
from scoop_hpc.fields.units import format_memory, format_walltime
from scoop_hpc.files.reading import read_file
from scoop_hpc.schedulers.base import Scheduler

SUFFIX = ".sh.j2"
OURS = "scoop_hpc/"  # before the name of a template: ours, whatever others there are of that name
BLOCKS = ("directives", "output", "environment", "prologue", "run", "epilogue")

_FILTERS = ("directive", "quote", "walltime", "memory")
_NAMES = ("array", "command", "dependency", "error", "output", "scheduler", "whole_nodes")

# Jinja2's words [jinja2.runtime.Undefined, jinja2.compiler]
_NO_NAME = re.compile(r"^'(\w+)' is undefined$")
_NO_FIELD = re.compile(rf"{JobSpec.__name__} object' has no attribute '(\w+)'$")
_NO_FILTER = re.compile(r"No filter named '(\w+)'")


def render(
    spec: JobSpec,
    scheduler: Scheduler,
    command: Sequence[str],
    directories: Sequence[str] = (),
    template: str | None = None,
    trust: str = "",
) -> str:
    """Return the job script that asks *scheduler* for what *spec* says, and becomes *command* by its last line.

    *template* is a file, or a name in one of *directories*, whose templates go before ours; those of other users are
    refused, but in what *trust* names, as `scoop_hpc.files.reading` has it. Raise JobSpecError for what
    the scheduler cannot express, TemplateError for a template that does not render.
    """
    scheduler.check(spec)
    if template is not None and os.path.isdir(template):
        raise TemplateError(f"the template {template!r} is a directory: name a file", "--template")
    if template is not None and os.path.exists(template) and not os.path.isfile(template):
        raise TemplateError(f"the template {template!r} is a pipe or a device: name a file", "--template")
    if template is not None and os.path.isfile(template):
        directories = [os.path.dirname(os.path.abspath(template)), *directories]
        template = os.path.basename(template)
    environment = _environment(scheduler, tuple(directories), trust)
    name = scheduler.name + SUFFIX if template is None else template
    names = {
        "job": spec,
        "command": tuple(command),
        "output": scheduler.file_pattern(spec, spec.output or default_output(spec)),
        "error": None if spec.error is None else scheduler.file_pattern(spec, spec.error),
        "array": _array(spec),
        "dependency": _dependency(spec),
        "whole_nodes": whole_nodes(spec),
        "scheduler": scheduler,
    }
    try:
        script = environment.get_template(name).render(names)
        _check_blocks(environment, name)
        return script
    except InputError:
        raise
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise TemplateError(
            f"the template {_place(error, name)} does not render: {_words(error, environment)}", "--template"
        ) from error


def read_template(
    name: str, directories: Sequence[str] = (), trust: str = "", schedulers: Iterable[Scheduler] = ()
) -> tuple[str, str]:
    """Return the file of the template *name*, the one of ``scoop_hpc/`` or of the first directory that has it, and its
    text; raise TemplateError. Ours are also those that *schedulers* bring."""
    environment = jinja2.Environment(loader=_loader(directories, trust, schedulers), autoescape=False)
    try:
        assert environment.loader is not None
        text, file, _ = environment.loader.get_source(environment, name)
    except (jinja2.TemplateNotFound, OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"cannot read the template {name!r}: {_words(error, environment)}") from error
    return file or name, text


def list_templates(directories: Sequence[str] = (), schedulers: Iterable[Scheduler] = ()) -> list[str]:
    """Return the names of all templates, ours twice: by ``scoop_hpc/``, too. Ours are also those of *schedulers*."""
    return _loader(directories, "", schedulers).list_templates()


def _array(spec: JobSpec) -> str | None:
    """Return the array as sbatch(1), qsub(1B) -J and our own directives have it."""
    if spec.array is None:
        return None
    step = f":{spec.array.step}" if spec.array.step > 1 else ""
    limit = f"%{spec.array.limit}" if spec.array.limit is not None else ""
    return f"{spec.array.first}-{spec.array.last}{step}{limit}"


def _dependency(spec: JobSpec) -> str | None:
    """Return the dependencies as sbatch(1) and qsub(1B) have them."""
    kinds = {"afterok": spec.after, "afterany": spec.after_any, "afternotok": spec.after_failure}
    return ",".join(":".join((kind, *ids)) for kind, ids in kinds.items() if ids) or None


def _loader(directories: Sequence[str], trust: str, schedulers: Iterable[Scheduler]) -> jinja2.BaseLoader:
    ours = jinja2.ChoiceLoader([jinja2.PackageLoader("scoop_hpc", "templates"), _Brought(schedulers)])
    theirs = [_Believed(directory, trust) for directory in directories]
    return jinja2.ChoiceLoader([*theirs, ours, jinja2.PrefixLoader({OURS.rstrip("/"): ours})])


class _Believed(jinja2.FileSystemLoader):
    """Loads templates of a directory, but none that another user may have written."""

    def __init__(self, directory: str, trust: str) -> None:
        super().__init__(directory)
        self._trust = trust

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        path = os.path.join(self.searchpath[0], *jinja2.loaders.split_template_path(template))
        content = read_file(path, "the template", self._trust)
        if content is None:
            raise jinja2.TemplateNotFound(template)
        return content.decode(), path, lambda: False


class _Brought(jinja2.BaseLoader):
    """Loads the templates that schedulers of other packages bring."""

    def __init__(self, schedulers: Iterable[Scheduler]) -> None:
        files = {scheduler.name + SUFFIX: scheduler.template() for scheduler in schedulers}
        self._files = {name: file for name, file in files.items() if file is not None}

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if template not in self._files:
            raise jinja2.TemplateNotFound(template)
        with open(self._files[template], encoding="utf-8") as file:
            return file.read(), self._files[template], lambda: False

    def list_templates(self) -> list[str]:
        return sorted(self._files)


@functools.lru_cache(maxsize=8)  # it keeps its templates compiled, which takes 20 ms; a file that changes is read again
def _environment(scheduler: Scheduler, directories: tuple[str, ...], trust: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=_loader(directories, trust, [scheduler]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # a shell script is no HTML: the filters quote
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        directive=lambda value: scheduler.directive_word(_checked(value)),
        quote=quote,
        walltime=format_walltime,
        memory=format_memory,
    )
    return environment


def quote(value: object) -> str:
    r"""Return *value* as one word of bash, on one line whatever is in it, bytes that are no text included.

    >>> print(quote("it's $HOME"), quote("a\nb"))
    'it'"'"'s $HOME' $'a\nb'
    """
    text = str(value)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escape, text)) + "'"


def _escape(character: str) -> str:
    """Return one character within bash's ``$'...'`` [bash(1), QUOTING]."""
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    if character == "\n":
        return "\\n"
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _checked(value: object) -> str:
    text = str(value)
    check_line("directive's word", text)
    return text


def _place(error: BaseException, name: str) -> str:
    """Return which template, and where in it, an error comes from: jinja2 puts templates into tracebacks."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or error.name or name!r}, line {error.lineno},"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{frames[-1].filename!r}, line {frames[-1].lineno}," if frames else repr(name)


def _words(error: BaseException, environment: jinja2.Environment) -> str:
    if isinstance(error, RecursionError):
        return f'it extends or includes itself: ours is called {OURS}..., as in {{% extends "{OURS}slurm{SUFFIX}" %}}'
    if isinstance(error, jinja2.TemplateNotFound):
        return f"there is no template {error.name!r}, but {', '.join(environment.list_templates())}"
    text = str(error) or type(error).__name__
    if isinstance(error, jinja2.UndefinedError) and (name := _NO_NAME.search(text)) is not None:
        return f"there is no {name[1]!r}: {_advice(name[1], ['job', *_NAMES])}"
    if isinstance(error, jinja2.UndefinedError) and (field := _NO_FIELD.search(text)) is not None:
        of_job = [f"job.{each.name}" for each in fields(JobSpec)]
        return f"there is no 'job.{field[1]}': {_advice(f'job.{field[1]}', of_job)}"
    if isinstance(error, jinja2.TemplateAssertionError) and (name := _NO_FILTER.search(text)) is not None:
        return f"there is no filter {name[1]!r}: {_advice(name[1], _FILTERS)}"
    return text


def _advice(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _check_blocks(environment: jinja2.Environment, name: str) -> None:
    """Raise TemplateError where the template *name*, or one that it extends, says what would be passed over: a block
    that what it extends has not, or text outside of blocks."""
    assert environment.loader is not None
    above: list[tuple[str, jinja2.nodes.Template]] = []  # this one, and those that it extends
    ours = _file_of(environment, OURS + name) == _file_of(environment, name)
    while not ours:
        text, file, _ = environment.loader.get_source(environment, name)
        tree = environment.parse(text, name, file)
        above.append((file or name, tree))
        extends = _extends(tree)
        if extends is None or not isinstance(extends.template, jinja2.nodes.Const):
            break  # it is the first of all, or only its text can tell
        name = extends.template.value
    else:
        return
    for (file, tree), *parents in (above[position:] for position in range(len(above) - 1)):
        known = {block.name for _, parent in parents for block in parent.find_all(jinja2.nodes.Block)}
        _check_child(file, tree, known)


def _extends(tree: jinja2.nodes.Template) -> jinja2.nodes.Extends | None:
    return next((node for node in tree.body if isinstance(node, jinja2.nodes.Extends)), None)


def _file_of(environment: jinja2.Environment, name: str) -> str | None:
    assert environment.loader is not None
    try:
        return environment.loader.get_source(environment, name)[1]
    except jinja2.TemplateNotFound:
        return None


def _check_child(file: str, tree: jinja2.nodes.Template, known: Iterable[str]) -> None:
    """Raise TemplateError for what is passed over in a template that extends one with the blocks *known*."""
    own = {block.name: block for block in tree.find_all(jinja2.nodes.Block)}
    inner = {nested.name for block in own.values() for nested in block.find_all(jinja2.nodes.Block)}
    for block in own.values():
        if block.name not in known and block.name not in inner:
            raise TemplateError(
                f"the template {file!r}, line {block.lineno}, has a block {block.name!r}, which what it extends "
                f"has not: {_advice(block.name, sorted(known))}",
                "--template",
            )
    extends = _extends(tree)
    assert extends is not None
    for node in tree.body[tree.body.index(extends) :]:  # what is before it is printed
        for part in node.nodes if isinstance(node, jinja2.nodes.Output) else ():
            text = part.data if isinstance(part, jinja2.nodes.TemplateData) else "{{"
            if text.strip():
                line = part.lineno + text[: len(text) - len(text.lstrip())].count("\n")
                what = "a value" if text == "{{" else repr(text.strip().splitlines()[0])
                raise TemplateError(
                    f"the template {file!r}, line {line}, has {what} outside of blocks, where it says nothing: "
                    "put it into a block",
                    "--template",
                )
