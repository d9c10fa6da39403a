"""`python -m benchmarks`: measure scoop_hpc and its peers, print the tables, write JSON and a picture."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import table
from benchmarks.figures import EXECUTOR, OURS, Figures
from benchmarks.measure import adopt_orphans, measure
from benchmarks.peers import ALLOCATED_NODES, PEERS, Peer, of_build
from benchmarks.rows import ROWS, Row
from benchmarks.suite import Suite


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; return 1 if scoop_hpc itself failed in a row, else 0."""
    arguments = parsed(argv)
    if not sys.platform.startswith("linux"):
        print(
            f"benchmarks: cannot measure on {sys.platform}: processes are followed by way of Linux's /proc",
            file=sys.stderr,
        )
        return 2
    nodes = int(os.environ.get(ALLOCATED_NODES, 0))
    rows = [row.sized(arguments.quick, nodes) for row in ROWS if row.name in arguments.rows]
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"benchmarks: cannot write to {str(arguments.out)!r} ({error.strerror}): name another --out",
            file=sys.stderr,
        )
        return 2
    adopt_orphans()
    suite = Suite(
        measure,
        lambda line: print(line, file=sys.stderr, flush=True),
        repeat=arguments.repeat,
        timeout=arguments.timeout,
    )
    measured = {row.name: suite.run(row, _peers(row, arguments)) for row in rows}
    about = _about(arguments.repeat, arguments.quick)
    heading = ", ".join(str(about[key]) for key in ("date", "cores", "python", "runs", "sizes"))
    print(table.document(heading, rows, measured))
    _write(arguments.out, about, heading, rows, measured)
    ours = [figures[name] for figures in measured.values() for name in (OURS, EXECUTOR) if name in figures]
    return int(any(each.failure for each in ours))


def _peers(row: Row, arguments: argparse.Namespace) -> list[Peer]:
    """Return those who are to be measured in *row*, each of ours with the build before it beside it."""
    before = {} if arguments.before is None else of_build(arguments.before)
    named = [name for name in row.peers if name in arguments.peers]
    return [peer for name in named for peer in (PEERS[name], before.get(name)) if peer is not None]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message}\n")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the words of the command line, with all names checked."""
    parser = _Parser(prog="python -m benchmarks", description="Measure scoop_hpc beside its peers.")
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", default=names, type=_names_among("row", names), help=f"of {','.join(names)}")
    parser.add_argument("--peers", default=list(PEERS), type=_names_among("peer", PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument(
        "--before", type=_build, help="directory with another build of scoop_hpc, measured beside this one"
    )
    parser.add_argument("--repeat", default=3, type=_positive, help="runs of each, of which the median counts; 3")
    parser.add_argument("--timeout", default=120, type=_positive, help="seconds for one measurement; 120")
    parser.add_argument("--out", default=Path("build/benchmarks"), type=Path, help="directory; build/benchmarks")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that all works, measures nothing")
    return parser.parse_args(argv)


def _names_among(kind: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    known = list(known)

    def names(text: str) -> list[str]:
        named = []
        for name in text.split(","):
            group = [name] if name in known else [each for each in known if each.startswith(f"{name}-")]
            if not group:
                raise argparse.ArgumentTypeError(f"there is no {kind} {name!r}: there are {', '.join(known)}")
            named += group
        return named

    return names


def _build(text: str) -> Path:
    if not Path(text, "scoop_hpc", "__init__.py").exists():
        raise argparse.ArgumentTypeError(f"no package scoop_hpc is in {text!r}: name a directory where one is")
    return Path(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _about(repeat: int, quick: bool) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "cores": f"{len(os.sched_getaffinity(0))} cores",
        "python": f"Python {platform.python_version()}",
        "runs": f"{repeat} runs of each",
        "sizes": "quick sizes: no measurement" if quick else "full sizes",
        "versions": {peer.name: peer.version() for peer in PEERS.values() if peer.version()},
    }


def _write(
    out: Path,
    about: Mapping[str, Any],
    heading: str,
    rows: Sequence[Row],
    measured: Mapping[str, Mapping[str, Figures]],
) -> None:
    results = out / "benchmarks.json"
    results.write_text(json.dumps(table.as_json(about, rows, measured), indent=2) + "\n", encoding="utf-8")
    written = [results]
    if importlib.util.find_spec("matplotlib") is None:
        print("benchmarks: no picture without matplotlib: pip install 'scoop_hpc[bench]'", file=sys.stderr)
    else:
        written.append(out / "benchmarks.svg")
        importlib.import_module("benchmarks.plot").draw(
            rows, measured, f"scoop_hpc beside its peers: {heading}", written[-1]
        )
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # what was under way has been ended
        sys.exit(130)
