"""Read the allocation of an LSF job from its environment [IBM Spectrum LSF, Environment variables for job execution].

``LSB_MCPU_HOSTS`` is the shortest of three that say the same, and is there in large jobs as well; slots are CPUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile, Starter
from scoop_hpc.schedulers.slots import check_host, cpus_per_worker, read_hosts, read_index, read_positive, share_cpus

_JOB_ID = "LSB_JOBID"
_INDEX = "LSB_JOBINDEX"  # 0 outside an array
_PAIRS = "LSB_MCPU_HOSTS"  # host slots host slots ...
_FILE = "LSB_DJOB_HOSTFILE"  # a line for each slot
_WORDS = "LSB_HOSTS"  # a word for each slot
_LAUNCH_NODE = "CSM_ALLOCATION_ID"  # of clusters whose jobs' first host is a launch node, with one slot, for no work


class LsfReader(Reader):
    """LSF's environment."""

    name = "lsf"
    title = "LSF"
    needed = ((_JOB_ID,), (_PAIRS, _FILE, _WORDS))
    proofs = (_JOB_ID, _PAIRS, _FILE)
    prefixes = ("LSB_", "JSM_NAMESPACE_")
    starters = (Starter("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        job_id, index = environ[_JOB_ID], read_index(environ, _INDEX) or None
        nodes = merge(_read_slots(environ, read_file))
        if environ.get(_LAUNCH_NODE) and len(nodes) > 1 and nodes[0].slots == 1:
            nodes = nodes[1:]
        if not nodes:
            raise AllocationError(f"the LSF job {job_id!r} names no host: look at {_PAIRS}, {_FILE} and {_WORDS}")
        per_worker = cpus_per_worker(environ)
        own_id = job_id if index is None else f"{job_id}[{index}]"
        return Allocation("lsf", share_cpus(nodes, per_worker), own_id, per_worker, index)


def _read_slots(environ: Mapping[str, str], read_file: ReadFile) -> Iterable[Node]:
    if environ.get(_PAIRS):
        return _read_pairs(environ[_PAIRS])
    if environ.get(_FILE):
        return read_hosts(environ[_FILE], _FILE, read_file)
    return _read_words(environ[_WORDS])


def _read_pairs(text: str) -> Iterator[Node]:
    words = text.split()
    if len(words) % 2:
        raise AllocationError(f"{_PAIRS} is {text!r}, with an odd number of words: it should be hosts and their slots")
    for number, (name, count) in enumerate(zip(words[::2], words[1::2]), 1):
        where = f"pair {number} of {_PAIRS} {text!r}"
        check_host(name, f"the host in {where}")
        slots = read_positive(count, f"the number of slots in {where}")
        yield Node(name, slots, slots)


def _read_words(text: str) -> Iterator[Node]:
    for number, name in enumerate(text.split(), 1):
        check_host(name, f"word {number} of {_WORDS} {text!r}")
        yield Node(name, 1, 1)
