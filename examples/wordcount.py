"""Count words in text files: by default, in the modules of Python's standard library.

::

    scoop-hpc run examples/wordcount.py
    scoop-hpc run examples/wordcount.py --top 5 *.txt

The files are read where a task runs: on a cluster they lie in a directory that all nodes see. The counts are added up
where they were made, too.
"""

from __future__ import annotations

import argparse
import re
import sysconfig
from collections import Counter
from pathlib import Path

from scoop_hpc import futures

WORD = re.compile(r"[^\W\d_]+")


def count(path: Path) -> Counter[str]:
    """Count the words of one file, in lower case."""
    return Counter(WORD.findall(path.read_text(encoding="utf-8", errors="replace").lower()))


def add(words: Counter[str], more: Counter[str]) -> Counter[str]:
    """Add the counts of two lots of files."""
    words.update(more)
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words in text files.")
    parser.add_argument("files", nargs="*", type=Path, help="default: the standard library's modules")
    parser.add_argument("--top", type=int, default=10, help="how many words to show")
    arguments = parser.parse_args()

    files = arguments.files or sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    words = futures.map_reduce(count, add, files, initial=Counter())
    print(f"{sum(words.values())} words in {len(files)} files")
    for word, times in sorted(words.items(), key=lambda item: (-item[1], item[0]))[: arguments.top]:
        print(f"{times:8} {word}")


if __name__ == "__main__":
    main()
