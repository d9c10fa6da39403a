"""What qsub asks for: its options, and the directives of a script."""

from __future__ import annotations

import getopt
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

USAGE = """usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""
_OPTIONS = "a:A:c:C:e:fhIJ:j:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
_VALUES = {  # option: what its value must match
    "N": r"[A-Za-z0-9_+.-]+",
    "j": "oe|eo|n",
    "k": "[oed]{1,3}|n",
    "m": "[abej]+|n",
    "r": "[yn]",
    "a": "[0-9]{4,12}(\\.[0-9]{2})?",
    "c": "[nsucw](=[0-9]+)?",
    "J": "[0-9]+-[0-9]+(:[0-9]+)?(%[0-9]+)?",
    "R": "[oe]{1,2}",
}
_TIME = re.compile(r"(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+(?:\.[0-9]+)?)")
_SIZE = re.compile(r"([0-9]+)([kmgtp]?)([bw]?)", re.IGNORECASE)
_CHUNK_RESOURCES = ("ncpus", "mpiprocs", "mem", "ompthreads", "host", "vnode", "ngpus", "arch")
_JOB_RESOURCES = ("walltime", "select", "place", "nodes", "ncpus", "mem", "mpiprocs", "ompthreads", "cput", "vmem")
_PLACES = {"free", "pack", "scatter", "vscatter", "excl", "exclhost", "shared"}
_DEPENDENCIES = ("after", "afterok", "afternotok", "afterany", "before", "beforeok", "beforenotok", "beforeany", "on")
_ATTRIBUTES = (
    "depend",
    "umask",
    "block",
    "sandbox",
    "group_list",
    "run_count",
    "stagein",
    "stageout",
    "release_nodes",
    "tolerate_node_failures",
)


NO_RERUN_ARRAY = "qsub:  cannot submit non-rerunable Array Job\n"


class Refused(Exception):
    """A command's end: what it says, and its exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text if text.endswith("\n") else text + "\n"
        self.status = status


class NotRerunnable(Exception):
    """An array that is not to be run again: qsub.c refuses one since its first public source."""


@dataclass
class Request:
    """One submission."""

    options: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    attributes: dict[str, str] = field(default_factory=dict)
    script: str | None = None
    command: tuple[str, ...] = ()
    script_name: str = "STDIN"
    arguments: tuple[str, ...] = ()  # as they were given


def read_request(words: Sequence[str], read_script: Any) -> Request:
    """Return what the command line *words* asks for; *read_script* gives the text of a file, or of stdin for None."""
    options, rest = _getopt(words)
    before = words[: len(words) - len(rest)]
    request = Request(arguments=tuple(words))
    if before and before[-1] == "--":
        request.command = tuple(rest)
        request.script_name = "STDIN"
    elif len(rest) > 1:
        raise Refused(USAGE, 2)
    else:
        request.script = read_script(rest[0] if rest else None)
        request.script_name = rest[0].rpartition("/")[2] if rest else "STDIN"
    seen: dict[str, str] = {}
    try:
        _apply(request, options, seen)
    except NotRerunnable as error:
        raise Refused(NO_RERUN_ARRAY + USAGE, 2) from error
    if request.script is not None:
        if "\r\n" in request.script:
            raise Refused("qsub: script contains cr, lf", 1)
        directives = Request()
        for found in _directives(request.script, dict(options).get("-C", "#PBS")):
            try:
                _apply(directives, found, seen)
            except NotRerunnable as error:
                said = " ".join(word for option in found for word in option)
                raise Refused(f"{NO_RERUN_ARRAY}qsub: directive error: {said} ", 1) from error
        request.options = {**directives.options, **request.options}
        request.resources = {**directives.resources, **request.resources}
        request.attributes = {**directives.attributes, **request.attributes}
        request.flags |= directives.flags
    return request


def _getopt(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        return getopt.getopt(list(words), _OPTIONS)
    except getopt.GetoptError as error:
        letters = f"-{error.opt}" if len(error.opt) > 1 else error.opt
        bad = [letter for letter in letters if letter not in _OPTIONS or letter == "-"]
        raise Refused("".join(f"qsub: invalid option -- '{letter}'\n" for letter in bad[:2]) + USAGE, 2) from error


def _directives(script: str, prefix: str) -> list[list[tuple[str, str]]]:
    found = []
    lines = iter(script.splitlines())
    for line in lines:
        text = line.strip()
        if prefix and text.startswith(prefix):
            rest = text[len(prefix) :]
            while rest.endswith("\\"):
                rest = rest[:-1] + next(lines, "")
            if rest.strip():
                found.append(_directive(rest.strip()))
        elif text and not text.startswith(("#", ":")):
            break
    return found


def _directive(text: str) -> list[tuple[str, str]]:
    try:
        options, rest = getopt.getopt(shlex.split(text), _OPTIONS)
    except getopt.GetoptError as error:
        raise Refused(f"qsub: invalid option -- '{error.opt}'\nqsub: directive error: {text} ", 1) from error
    except ValueError as error:
        raise Refused(f"qsub: directive error: {text} ", 1) from error
    if rest:
        raise Refused(f"qsub: directive error: {text} ", 1)
    return options


def _apply(request: Request, options: Sequence[tuple[str, str]], seen: dict[str, str]) -> None:
    """Take in *options*; *seen* is what was said of ``-J`` and ``-r`` until now, wherever that was."""
    said: dict[str, str] = {}
    for option, value in options:
        letter = option[1:]
        if letter in "fhIVXz":
            request.flags.add(letter)
            continue
        pattern = _VALUES.get(letter)
        if pattern is not None and not re.fullmatch(pattern, value):
            raise Refused(f"qsub: illegal -{letter} value\n{USAGE}", 2)
        if letter in "oeM" and not value.isascii():  # isprint() of each byte, in the locale C
            raise Refused(f"qsub: illegal -{letter} value\n{USAGE}", 2)
        if letter in "Jr":
            seen[letter] = value
            if "J" in seen and seen.get("r") == "n":
                raise NotRerunnable
        if letter == "N" and len(value) > 230:
            raise Refused("qsub: Job name is too long ", 2)
        if letter == "J":
            first, last = re.findall("[0-9]+", value)[:2]
            if int(first) >= int(last):
                raise Refused(f"qsub: illegal -J value\n{USAGE}", 2)
        if letter == "l":
            for resource, wanted in _resources(value):
                said.setdefault(resource, wanted)  # of several -l, the first counts
        elif letter == "W":
            request.attributes.update(_attributes(value))
        else:
            request.options[letter] = value  # of the others, the last
    for resource, wanted in said.items():
        request.resources.setdefault(resource, wanted)


def _resources(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split(","))]


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for part in text.split(","):
        head, equals, tail = part.partition("=")
        if equals:
            name = head
            found[name] = tail
        else:
            found[name] += "," + part
    for part in found.get("depend", "").split(",") if "depend" in found else ():
        if part.partition(":")[0] not in _DEPENDENCIES:
            raise Refused(f"qsub: illegal -W value\n{USAGE}", 2)
    if set(found) - set(_ATTRIBUTES):
        raise Refused("qsub: Error (15002) submitting job", 154)
    return found


def parse_time(text: str) -> float:
    """Return the seconds of a walltime."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise Refused("qsub: Illegal attribute or resource value Resource_List.walltime", 166)
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def format_time(seconds: float) -> str:
    """Write a walltime as qstat does."""
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def parse_size(text: str) -> int:
    """Return the kilobytes of a size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise Refused("qsub: Illegal attribute or resource value Resource_List.mem", 166)
    return max(1, (int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}[match[2].lower()]) >> 10)


def parse_select(text: str) -> list[dict[str, str]]:
    """Return the chunks of a select, one by one."""
    chunks = []
    for part in text.split("+"):
        count, *resources = part.split(":")
        if "=" in count:
            count, resources = "1", [count, *resources]
        if not count.isdigit():
            raise Refused("qsub: Illegal attribute or resource value Resource_List.select", 166)
        if not int(count):
            raise Refused("qsub: Illegal attribute or resource value", 166)
        chunk = dict(resource.partition("=")[::2] for resource in resources)
        for name, value in chunk.items():
            if name not in _CHUNK_RESOURCES:
                raise Refused(f"qsub: Unknown resource: {name}", 187)
            if name in ("ncpus", "mpiprocs", "ompthreads", "ngpus") and not value.isdigit():
                raise Refused(f"qsub: Illegal attribute or resource value select.{name}", 166)
            if name == "mem":
                parse_size(value)
        chunks += [chunk] * int(count)
    return chunks


def settle_resources(asked: Mapping[str, str]) -> dict[str, str]:
    """Return the Resource_List of a job that asks for *asked*, in qstat's order."""
    asked = dict(asked)
    for name in asked:
        if name not in _JOB_RESOURCES:
            raise Refused(f"qsub: Unknown resource Resource_List.{name}", 187)
    if "mem" in asked:
        parse_size(asked["mem"])
    if "nodes" in asked:
        if "select" in asked or "place" in asked:
            raise Refused("qsub: Cannot be used with select or place: nodes", 6)
        nodes, *properties = asked["nodes"].split(":")
        ppn = dict(each.partition("=")[::2] for each in properties).get("ppn")
        parts = [nodes if nodes.isdigit() else "1", f"ncpus={ppn or 1}"]
        if not nodes.isdigit():
            parts.append(f"host={nodes}")
        if "mem" in asked:
            parts.append(f"mem={parse_size(asked['mem'])}KB")
            asked["mem"] = f"{parse_size(asked['mem'])}kb"
        asked["select"] = ":".join(parts + ([f"mpiprocs={ppn}"] if ppn else []))
        asked["place"] = "scatter"
    elif "select" in asked or "place" in asked:
        for name in ("ncpus", "mem", "mpiprocs", "ompthreads", "vmem"):
            if name in asked:
                what = f'"-lresource=" cannot be used with "select" or "place", resource is: {name}'
                raise Refused(f"qsub: {what}", 5)
        asked.setdefault("select", "1:ncpus=1")
        asked.setdefault("place", "free")
    else:
        mem = f"mem={asked['mem']}:" if "mem" in asked else ""
        asked["select"] = f"1:{mem}ncpus={asked.get('ncpus', '1')}"
        asked["place"] = "pack"
    if set(asked["place"].split(":")) - _PLACES:
        raise Refused("qsub: Illegal attribute or resource value Resource_List.place", 166)
    chunks = parse_select(asked["select"])
    settled = {**asked, "nodect": str(len(chunks)), "ncpus": str(sum(int(chunk.get("ncpus", 1)) for chunk in chunks))}
    if any("mpiprocs" in chunk for chunk in chunks):
        settled["mpiprocs"] = str(sum(int(chunk.get("mpiprocs", 0)) for chunk in chunks))
    sizes = [chunk["mem"] for chunk in chunks if "mem" in chunk]
    if len(sizes) == 1:
        settled["mem"] = sizes[0].lower()
    elif sizes:
        units = {size.lstrip("0123456789") for size in sizes}
        if len(units) == 1:
            settled["mem"] = f"{sum(int(size[: -len(unit)]) for unit in units for size in sizes)}{min(units)}"
        else:
            settled["mem"] = f"{sum(map(parse_size, sizes))}kb"
    if "walltime" in settled:
        settled["walltime"] = format_time(parse_time(settled["walltime"]))
    return dict(sorted(settled.items()))


def read_variables(request: Request, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what ``-V`` and ``-v`` pass on."""
    variables = dict(environ) if "V" in request.flags else {}
    for name, value in _variable_list(request.options.get("v", "")):
        if value is None:
            if name not in environ:
                raise Refused("qsub: cannot send environment with the job", 1)
            value = environ[name]
        variables[name] = value
    return variables


def _variable_list(text: str) -> list[tuple[str, str | None]]:
    r"""Split at commas outside quotes; a backslash keeps the next comma, and is doubled before anything else."""
    parts = [""]
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif letter == "\\":
            following = next(letters, "")
            parts[-1] += following if following == "," else "\\\\" + following
        elif letter == "," and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    if quote:
        raise Refused("qsub: cannot send environment with the job", 1)
    split = [part.partition("=") for part in parts if part]
    return [(name, value if equals else None) for name, equals, value in split]
