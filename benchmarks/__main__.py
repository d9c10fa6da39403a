"""`python -m benchmarks [NAME...]`: run benchmarks, print their tables."""

from __future__ import annotations

import sys

from benchmarks import memory, start, tasks

ALL = {"start": start.main, "tasks": tasks.main, "memory": memory.main}


def main() -> None:
    """Run those that are named, or all."""
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"benchmarks: no benchmark {unknown[0]!r}: there are {', '.join(ALL)}", file=sys.stderr)
        sys.exit(2)
    for name in names:
        ALL[name]()


if __name__ == "__main__":
    main()
