"""`python -m tests.fuzz`: read many damaged messages; what is neither a message nor a ProtocolError is shown."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import resource
import sys
import time

from tests.fuzz.reading import fault_of

_CHUNK = 5000
_MEMORY = 2**30  # bytes of addresses that a process may have: a message that asks for more ends in a MemoryError


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _read(seeds: range) -> list[str]:
    return [f"seed {seed}: {fault}" for seed in seeds if (fault := fault_of(seed))]


def main() -> int:
    """Read the messages of so many seeds; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    options = parser.parse_args()
    began = time.monotonic()
    last = options.first + options.messages
    chunks = [range(at, min(at + _CHUNK, last)) for at in range(options.first, last, _CHUNK)]
    with concurrent.futures.ProcessPoolExecutor(options.processes, initializer=_limit_memory) as pool:
        faults = [fault for found in pool.map(_read, chunks) for fault in found]
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{options.messages} messages in {time.monotonic() - began:.0f} s: {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
