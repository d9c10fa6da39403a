"""`python -m scoop_hpc.sim`: run one seed or many, or print what the simulator predicts of large federations."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from scoop_hpc.sim.efficiency import rows
from scoop_hpc.sim.large import table
from scoop_hpc.sim.large.programs import PROGRAMS
from scoop_hpc.sim.many import try_seeds
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.scenario import Failure, Sizes, make_scenario, run
from scoop_hpc.sim.shrink import shrink

_MOST_NODES = 256  # of a run that is checked at every step


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"scoop_hpc.sim: {message}\n")


def _number(least: int, most: int) -> object:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def _counts(text: str) -> list[int]:
    number: Any = _number(1, 100_000)
    return [number(each) for each in text.split(",")]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0.002 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.002 and 1e6 seconds")
    return value


def _parser() -> _Parser:
    parser = _Parser(prog="python -m scoop_hpc.sim", description=__doc__, allow_abbrev=False)
    kinds = parser.add_mutually_exclusive_group(required=True)
    whole = _number(0, 2**63)
    kinds.add_argument("--seed", type=whole, help="run the scenario of this seed")  # type: ignore[arg-type]
    kinds.add_argument("--seeds", type=_number(1, 10**9), metavar="N", help="run N seeds")  # type: ignore[arg-type]
    kinds.add_argument("--efficiency", action="store_true", help="a table for 1, 2, 4, ... nodes, without faults")
    kinds.add_argument("--table", action="store_true", help="a table of large federations, without faults")
    parser.add_argument("--first", type=whole, help="of --seeds (default: 0)")  # type: ignore[arg-type]
    parser.add_argument(
        "--nodes", type=_counts, metavar="N", help="of the run; with --efficiency, at the most; with --table, N,N,..."
    )
    parser.add_argument("--kind", choices=tuple(PROGRAMS), help="of program, for --table (default: all)")
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="of a task, for --table (default: 1)")
    parser.add_argument("--heavy", action="store_true", help="tasks of uneven lengths, for --table")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the table, too")
    for name, least, most, what in (
        ("workers", 1, 64, "on each node"),
        ("tasks", 0, 100_000, "of the program, at the most; with --table, for each worker"),
        ("faults", 0, 100, "during the run"),
        ("deaths", 0, 100, "of workers, beside these faults"),
        ("losses", 0, 100, "of nodes and connections, beside these faults"),
        ("moves", 0, 100, "of nodes that join or leave, beside these faults"),
    ):
        parser.add_argument(f"--{name}", type=_number(least, most), metavar="N", help=what)  # type: ignore[arg-type]
    parser.add_argument("--trace", action="store_true", help="print each event; with --seed")
    parser.add_argument("--processes", type=_number(1, 1024), metavar="N", help="for --seeds")  # type: ignore[arg-type]
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what *argv* says; return the exit status: 1 if a promise was broken."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.trace and options.seed is None:
        parser.error("--trace needs --seed")
    for name in ("first", "processes"):
        if getattr(options, name) is not None and options.seeds is None:
            parser.error(f"--{name} needs --seeds")
    if options.table:
        for name in ("faults", "deaths", "losses", "moves"):
            if getattr(options, name) is not None:
                parser.error(f"nothing is lost in a --table: it takes no --{name}")
        return _show_table(parser, options)
    for name in ("kind", "seconds", "heavy", "plot"):
        if getattr(options, name):
            parser.error(f"--{name} needs --table")
    if options.nodes is not None and (len(options.nodes) > 1 or options.nodes[0] > _MOST_NODES):
        parser.error(f"--nodes is one number up to {_MOST_NODES}, unless there is --table")
    nodes = options.nodes[0] if options.nodes else None
    if options.efficiency:
        for name in ("workers", "tasks", "faults", "deaths", "losses", "moves"):
            if getattr(options, name) is not None:
                parser.error(f"--efficiency has a program of its own: it takes no --{name}")
        return _show_efficiency(nodes or _MOST_NODES)
    faults = (options.faults, options.deaths, options.losses, options.moves or 0)
    sizes = Sizes(nodes, options.workers, options.tasks, *faults)
    if options.seeds is None:
        return _run_one(options.seed, sizes, options.trace)
    return _run_many(options.first or 0, options.seeds, sizes, options.processes or len(os.sched_getaffinity(0)))


def _run_one(seed: int, sizes: Sizes, trace: bool) -> int:
    scenario = make_scenario(seed, sizes)
    print(f"seed {seed}: {_described(scenario)}")
    result = run(scenario, tell=print if trace else None)
    if isinstance(result, Failure):
        _show_failure(result, trace)
        return 1
    print(
        f"{result.executed} tasks executed in {result.seconds:.6f} s; {result.deaths} deaths, "
        f"{result.losses} nodes lost, "
        f"{result.messages} messages, {result.events} events, digest {result.digest:08x}"
    )
    return 0


def _run_many(first: int, count: int, sizes: Sizes, processes: int) -> int:
    failed = executed = events = deaths = losses = 0
    for outcome in try_seeds(range(first, first + count), sizes, processes):
        executed += outcome.executed
        events += outcome.events
        deaths += outcome.deaths
        losses += outcome.losses
        if outcome.reason is not None:
            failed += 1
            print(f"seed {outcome.seed}: {outcome.reason}", flush=True)
    print(
        f"{count} seeds, {executed} tasks, {events} events, {deaths} deaths, {losses} nodes lost: {failed} violations"
    )
    if failed:
        print("python -m scoop_hpc.sim --seed N shows the events of one, and shrinks it")
    return int(failed > 0)


def _show_failure(failure: Failure, traced: bool) -> None:
    if not traced:
        print(*failure.trace, sep="\n")
    print(f"VIOLATION: {failure.reason}", flush=True)
    smallest = shrink(failure, _failure_of)
    if smallest is failure:
        print("it does not fail when it is smaller")
        return
    print(f"\nshrunk to {_described(smallest.scenario)}:")
    for number, call in smallest.scenario.program.calls.items():
        print(f"  task {number}: {call.function}: {', '.join(map(str, call.steps))}")
    print(*smallest.trace, sep="\n")
    print(f"VIOLATION: {smallest.reason}")


def _failure_of(scenario: Scenario) -> Failure | None:
    result = run(scenario)
    return result if isinstance(result, Failure) else None


def _described(scenario: Scenario) -> str:
    workers = "+".join(map(str, scenario.nodes))
    faults = "".join(f"\n  {fault}" for fault in scenario.faults)
    return (
        f"{len(scenario.nodes)} nodes with {workers} workers, {len(scenario.program.calls) - 1} tasks, "
        f"{len(scenario.faults)} faults{faults}"
    )


def _show_table(parser: _Parser, options: argparse.Namespace) -> int:
    kinds = [options.kind] if options.kind else list(PROGRAMS)
    programs = [table.Program(kind, options.seconds or 1.0, options.heavy, options.tasks or 20) for kind in kinds]
    if options.plot and not options.plot.endswith(".svg"):
        parser.error(f"--plot {options.plot!r} is not the name of an SVG file: end it with .svg")
    shown: list[table.Row] = []
    for program in programs:
        print(f"{program}\n\n{table.HEADING}")
        for row in table.rows(program, options.nodes or [1, 16, 256], options.workers or 64):
            shown.append(row)
            print(row, flush=True)
        print()
    if options.plot:
        try:
            Path(options.plot).write_text(table.picture(shown))
        except OSError as error:
            parser.error(f"cannot write {options.plot!r}: {error.strerror}")
    return 0


def _show_efficiency(most_nodes: int) -> int:
    for kind, words in (
        ("flat", "the origin submits 20 tasks of 0.1 s for each worker"),
        ("nested", "the origin submits a task for each worker, which submits 20 of 0.1 s"),
    ):
        print(f"{words}; 4 workers on each node\n")
        print(" nodes  workers    tasks  seconds  efficiency  messages per task")
        for row in rows(most_nodes, kind):
            print(
                f"{row.nodes:6}  {row.workers:7}  {row.tasks:7}  {row.seconds:7.3f}"
                f"  {row.efficiency:10.1%}  {row.messages:17.2f}",
                flush=True,
            )
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
