"""The command line of the cluster: ``python -m minicluster``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import NoReturn

from minicluster import cluster, files
from minicluster.scheduler import SCHEDULERS
from minicluster.shell import environment
from minicluster.state import HEAD, ClusterError, Settings, make_settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minicluster", description="A real Slurm or Grid Engine of simulated nodes.")
    parser.add_argument(
        "--dir", type=Path, default=Path("/run/scoop-minicluster"), help="state directory (%(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "bring a cluster up"),
        ("hold", "bring it up, print its state directory, and take it down when stdin ends"),
    ):
        _add_settings(commands.add_parser(name, help=text))
    commands.add_parser("down", help="end the cluster and remove every trace of it")
    commands.add_parser("status", help="show the hosts as JSON; exit status 3 when nothing is up")
    run = commands.add_parser(
        "run", help="run a command on a host", usage="minicluster run [-u USER] HOST -- COMMAND..."
    )
    run.add_argument("-u", "--user", help=f"as whom; {files.USER!r} is an ordinary user")
    run.add_argument("host")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    for name, text in (
        ("cut", "drop every packet of a node, silently"),
        ("heal", "undo cut"),
        ("kill-node", "power a node off"),
        ("start-node", "boot a killed node again"),
    ):
        commands.add_parser(name, help=text).add_argument("host")
    commands.add_parser("logs", help="print the tails of a host's logs").add_argument("host", nargs="?", default=HEAD)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.add_argument("--scheduler", choices=SCHEDULERS, default=default.scheduler, help="whose (%(default)s)")
    parser.add_argument("--nodes", type=int, default=default.nodes, help="compute nodes (%(default)s)")
    parser.add_argument("--cpus", type=int, default=default.cpus, help="CPUs that each pretends to have (%(default)s)")
    parser.add_argument(
        "--memory", type=int, default=default.memory, help="MiB that each pretends to have (%(default)s)"
    )
    parser.add_argument(
        "--slots", type=int, action="append", default=[], help="Grid Engine's, of the next node; as many as CPUs"
    )
    parser.add_argument("--prefix", default=default.prefix, help="nodes are PREFIX001... (%(default)s)")
    parser.add_argument(
        "--common-tmp", dest="private_tmp", action="store_false", help="one /tmp for all hosts, not one for each"
    )
    parser.add_argument(
        "--plain-names", dest="own_name_is_loopback", action="store_false", help="a host's own name is its real address"
    )
    parser.add_argument("--no-docker0", dest="docker_interface", action="store_false", help="one interface per host")
    parser.add_argument("--shared", action="append", default=[], help="directory below /tmp to be seen by all hosts")
    parser.add_argument(
        "--slurm-conf", action="append", default=[], metavar="KEY=VALUE", help="replace a line of slurm.conf"
    )
    parser.add_argument("--node-timeout", type=int, default=default.node_timeout, help="seconds (%(default)s)")


def _settings(arguments: argparse.Namespace) -> Settings:
    return make_settings({field.name: getattr(arguments, field.name) for field in fields(Settings)})


def _hold(directory: Path, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C for the tests: they end first, then stdin does
    held = cluster.up(directory, settings)
    try:
        print(held.directory, flush=True)
        sys.stdin.read()
    finally:
        cluster.find(directory).down()  # as it is now: other processes may have killed and started nodes


def _exec(found: cluster.Cluster, arguments: argparse.Namespace) -> NoReturn:
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    words = found.enter_argv(arguments.host, argv or ["/bin/bash"], os.getcwd(), arguments.user)
    os.execvpe(words[0], words, environment())


def _command(arguments: argparse.Namespace) -> int:
    if arguments.command == "up":
        print(cluster.up(arguments.dir, _settings(arguments)).directory)
        return 0
    if arguments.command == "hold":
        _hold(arguments.dir, _settings(arguments))
        return 0
    if not cluster.exists(arguments.dir) and arguments.command in ("down", "status"):
        print("nothing is up")
        return 3 if arguments.command == "status" else 0
    found = cluster.find(arguments.dir)
    actions: dict[str, Callable[[], object]] = {
        "down": found.down,
        "status": lambda: print(json.dumps(found.status(), indent=1)),
        "run": lambda: _exec(found, arguments),
        "cut": lambda: found.cut(arguments.host),
        "heal": lambda: found.heal(arguments.host),
        "kill-node": lambda: found.kill_node(arguments.host),
        "start-node": lambda: found.start_node(arguments.host),
        "logs": lambda: print(found.logs(arguments.host)),
    }
    actions[arguments.command]()
    return 0


def _end(signum: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + signum)


def main() -> int:
    """Do one command; an expected error is a message and exit status 1."""
    signal.signal(signal.SIGTERM, _end)
    try:
        return _command(_parser().parse_args())
    except ClusterError as error:
        print(f"minicluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
