"""The nodes of a PBS, as ``pbsnodes -av -F json`` tells of them, and whether they could ever run a job [pbsnodes(8B)].

PBS says "Can Never Run" only where the whole cluster is too small: nine CPUs on nodes of four, or more nodes of a model
than there are, are "Not Running: Insufficient amount of resource" for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scoop_hpc.errors import SchedulerError

_UNUSABLE = ("down", "offline", "unknown", "stale", "provisioning", "maintenance")  # in a node's state
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:([kmgtp]?)([bw]))?", re.IGNORECASE)  # pbs_resources(7B), size
_POWERS = MappingProxyType({"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50})
_NOT_OF_NODES = ("mpiprocs", "ompthreads")
_BOOLEANS = MappingProxyType({"true": "true", "t": "true", "y": "true", "1": "true", "false": "false"})
_RESERVATION = re.compile(r"[RSM][0-9]+")  # a queue that a reservation has for itself
_OPTIONS = MappingProxyType(
    {
        "ncpus": "--workers-per-node, --cpus-per-worker, --workers or --nodes",
        "mem": "--memory or --memory-per-cpu",
        "vmem": "--memory or --memory-per-cpu",
        "ngpus": "--gpus-per-node",
    }
)
_WORDS = MappingProxyType({"ncpus": "CPUs", "ngpus": "GPUs"})
_JSON_LINE = re.compile(r'\s*(?:"[^"]*"\s*:|[{}\[\]])')
_NO_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9A-Fa-f]{4})')


@dataclass(frozen=True, slots=True)
class Node:
    """A vnode. *available* are its resources, in PBS's words."""

    host: str
    queue: str  # whose jobs it is for, empty for any
    is_usable: bool
    available: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """So many of a job's chunks, alike, and what each asks for."""

    count: int
    asked: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Never:
    """Why no nodes can run a job, and what to do about it."""

    why: str
    what: str


def read_nodes(text: str) -> list[Node]:
    r"""Return the nodes in what pbsnodes printed, whatever a site's wrapper printed around; raise SchedulerError.

    >>> read_nodes('Notice\n{"nodes": {"n1": {"state": "free", "resources_available": {"host": "n1", "ncpus": 4}}}}\n')
    [Node(host='n1', queue='', is_usable=True, available={'host': 'n1', 'ncpus': '4'})]
    """
    try:
        return [_read_node(node) for node in decode(text)["nodes"].values()]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise SchedulerError(f"cannot read pbsnodes's output ({error})") from error


def _read_node(node: Mapping[str, Any]) -> Node:
    available = {name: str(value) for name, value in node["resources_available"].items()}
    usable = not any(word in node["state"] for word in _UNUSABLE)
    return Node(available["host"], str(node.get("queue") or ""), usable, available)


def decode(text: str) -> Any:
    """Return the object in *text*, despite lines of a wrapper around and in it, and escapes that JSON does not have."""
    lines = [line for line in text.splitlines() if _JSON_LINE.match(line)]
    for attempt in (text, "\n".join(lines), _NO_ESCAPE.sub(r"\\\\", "\n".join(lines))):
        for start in re.finditer(r"^\s*\{", attempt, re.MULTILINE):
            try:
                return json.JSONDecoder(strict=False).raw_decode(attempt, start.end() - 1)[0]
            except ValueError:
                continue
    raise ValueError(f"no JSON object in {text[:200]!r}")


def of_queue(nodes: Sequence[Node], queue: str) -> list[Node]:
    """Return the nodes that jobs of *queue* may use: its own where it has any."""
    own = [node for node in nodes if queue and node.queue == queue]
    if own or not _RESERVATION.fullmatch(queue):
        return own or [node for node in nodes if not node.queue]
    return list(nodes)


def never(select: str, place: str, nodes: Sequence[Node]) -> Never | None:
    """Return why none of the *nodes* can run a job that asks for *select*, None if they could or that cannot be told.

    >>> nodes = [Node(name, "", True, {"host": name, "ncpus": "4", "model": "a"}) for name in ("n1", "n2")]
    >>> never("1:ncpus=9", "scatter", nodes).why
    'no node has 9 CPUs: the largest has 4'
    >>> never("1:ncpus=2:model=b", "free", nodes).why
    'no node has model=b: they have a'
    >>> never("3:ncpus=4", "scatter", nodes).why
    'it asks for 3 nodes with ncpus=4, and there are 2'
    >>> never("2:ncpus=4", "scatter", nodes)
    """
    chunks = _read_select(select)
    if not chunks or not nodes:
        return None
    refusal = _refusal(chunks, place, _Hosts(nodes))
    if refusal is not None:
        return refusal
    up = [node for node in nodes if node.is_usable]
    if _refusal(chunks, place, _Hosts(up)) is not None:
        off = list(dict.fromkeys(node.host for node in nodes if not node.is_usable))
        shown = ", ".join(off[:5]) + (f" and {len(off) - 5} more" if len(off) > 5 else "")
        return Never(f"nodes that it needs are down or offline: {shown}", "wait, or ask the site's staff")
    return None


def _refusal(chunks: Sequence[Chunk], place: str, hosts: _Hosts) -> Never | None:
    for chunk in chunks:
        if not any(hosts.room(host, chunk.asked) for host in hosts.names):
            return _no_such_node(chunk.asked, hosts)
        fitting = [host for host in hosts.names if hosts.room(host, chunk.asked)]
        room = len(fitting) if "scatter" in place else sum(hosts.room(host, chunk.asked) for host in fitting)
        if room < chunk.count:
            what = "nodes" if "scatter" in place else "times room on nodes"
            why = f"it asks for {chunk.count} {what} with {_shown(chunk.asked)}, and there are {room}"
            return Never(why, f"change --nodes or --workers{_also(chunk.asked)}")
    return None


def _no_such_node(asked: Mapping[str, str], hosts: _Hosts) -> Never:
    for name, value in asked.items():
        if any(hosts.room(host, {name: value}) for host in hosts.names):
            continue
        option = _OPTIONS.get(name, "--constraint or --directive")
        wanted = f"{value} {_WORDS[name]}" if name in _WORDS else f"{name}={value}"
        if _number(value) is not None and hosts.is_counted(name):
            return Never(f"no node has {wanted}: the largest has {hosts.largest(name)}", f"change {option}")
        return Never(f"no node has {wanted}: they have {hosts.known(name)}", f"change {option}")
    return Never(f"no node has all of {_shown(asked)} at once", f"change --nodes{_also(asked)}")


class _Hosts:
    """The resources of each host: those of its vnodes together."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._available: dict[str, dict[str, list[str]]] = {}
        for node in nodes:
            host = self._available.setdefault(node.host, {})
            for name, value in node.available.items():
                host.setdefault(name, []).append(value)
        self.names = tuple(self._available)
        self._counted: dict[str, bool] = {}  # whether all that hosts say they have of a resource are numbers
        for host in self._available.values():
            for name, values in host.items():
                self._counted[name] = self._counted.get(name, True) and None not in map(_number, values)

    def room(self, host: str, asked: Mapping[str, str]) -> int:
        """Return how many chunks that ask for this *host* has room for, as if it were empty."""
        return min((self._times(host, name, value) for name, value in asked.items()), default=1 << 30)

    def _times(self, host: str, name: str, value: str) -> int:
        many = 1 << 30
        wanted, there = _number(value), self._available[host].get(name)
        if name in _NOT_OF_NODES or name not in self._counted:
            return many  # no node says that it has such: then PBS counts them elsewhere
        if wanted is not None and self.is_counted(name):
            return int(self._sum(host, name) // wanted) if wanted else many
        words = {word for text in there or () for word in text.split(",")}
        if value.lower() in _BOOLEANS and words <= {"True", "False"}:
            return many if (_BOOLEANS[value.lower()] == "true") is ("True" in words) else 0
        if name in ("host", "vnode"):
            return many if value.partition(".")[0] in {word.partition(".")[0] for word in words} else 0
        return many if value in words else 0

    def is_counted(self, name: str) -> bool:
        """Return whether *name* is a resource of which hosts have a number."""
        return self._counted.get(name, False)

    def _sum(self, host: str, name: str) -> float:
        return sum(_number(value) or 0 for value in self._available[host].get(name, ()))

    def largest(self, name: str) -> str:
        """Return the most that a host has of *name*, as PBS writes it."""
        host = max(self.names, key=lambda each: self._sum(each, name))
        values = self._available[host].get(name, ["0"])
        return values[0] if len(values) == 1 else f"{self._sum(host, name):.0f}"

    def known(self, name: str) -> str:
        """Return the words that hosts have for *name*."""
        values = {word for host in self._available.values() for text in host.get(name, ()) for word in text.split(",")}
        return ", ".join(sorted(values)[:10])


def _read_select(select: str) -> list[Chunk]:
    """Return the chunks in the value of ``-l select=``, none where it is not understood.

    >>> _read_select("2:ncpus=4:model=a+mem=1gb")
    [Chunk(count=2, asked={'ncpus': '4', 'model': 'a'}), Chunk(count=1, asked={'mem': '1gb'})]
    """
    chunks = []
    for text in select.split("+"):
        count, *parts = text.split(":")
        if not count.isdecimal():
            count, parts = "1", [count, *parts]
        pairs = [part.partition("=") for part in parts]
        if not all(equals and value.strip("\"'") for _, equals, value in pairs):
            return []
        chunks.append(Chunk(int(count), {name: value.strip("\"'") for name, _, value in pairs}))
    return chunks


def _number(text: str) -> float | None:
    """Return a number or a size, None for another text.

    >>> _number("4"), _number("2kb"), _number("a")
    (4.0, 2048.0, None)
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    words = 8 if (match[3] or "").lower() == "w" else 1
    return float(match[1]) * words * 2.0 ** _POWERS[(match[2] or "").lower()]


def _shown(asked: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in asked.items() if name not in _NOT_OF_NODES)


def _also(asked: Mapping[str, str]) -> str:
    """Return the options that say what is *asked* of each node, to stand behind others."""
    options = dict.fromkeys(_OPTIONS.get(name, "--constraint") for name in asked if name not in _NOT_OF_NODES)
    return "".join(f", {option}" for option in options)
