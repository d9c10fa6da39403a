"""pbsdsh and pbs_tmrsh: they ask the job's mom to start tasks, and see nothing of what those print."""

from __future__ import annotations

import getopt
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from minipbs.requests import Refused

_NEEDED = ("PBS_JOBID", "PBS_JOBCOOKIE", "PBS_NODENUM", "PBS_TASKNUM", "PBS_MOMPORT")
_SIGNALLED = 3  # how many tasks of one pbsdsh get a signal that it passes on; recorded: 2 or 3
_PBSDSH = """Usage: {0} [-c copies][-s][-v][-o] -- program [args...]
       {0} [-n node_index][-s][-v][-o] -- program [args...]
       {0} --version
Where -c copies =  run a copy of "program" on the first "copies" nodes,
      -n node_index = run a copy of "program" on the "node_index"-th node,
      -s = forces synchronous execution,
      -v = forces verbose output.
      -o = no obits are waited for.
"""
_TMRSH = """usage: pbs_tmrsh [-n][-l username] host [-n][-l username] command
       pbs_tmrsh --version
"""


class Connection:
    """To the mom of the job that *environ* speaks of."""

    def __init__(self, command: str, environ: Mapping[str, str], status: int) -> None:
        if "PBS_ENVIRONMENT" not in environ:
            raise Refused(f"{command}: not executing under PBS", status)
        if any(name not in environ for name in _NEEDED):
            raise Refused(f"{command}: tm_init failed, rc = bad environment (17005) (17005)", status)
        self._cookie = environ["PBS_JOBCOOKIE"]
        try:
            self._socket = socket.create_connection(("127.0.0.1", int(environ["PBS_MOMPORT"])))
        except OSError as error:
            raise Refused(f"{command}: tm_init failed, rc = system error (17000) (17000)", status) from error
        self._file = self._socket.makefile("r")
        self.ask(do="lines")
        answer = self.hear()
        if answer is None or "error" in answer:
            raise Refused(f"{command}: tm_init failed, rc = not connected (17002) (17002)", status)
        self.lines: list[str] = answer["lines"]

    def ask(self, **what: Any) -> None:
        """Ask the mom."""
        self._socket.sendall(json.dumps({**what, "cookie": self._cookie}).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """Return the mom's next words, None if there will be none."""
        line = self._file.readline()
        return json.loads(line) if line else None


def pbsdsh(words: Sequence[str], environ: Mapping[str, str], name: str = "pbsdsh") -> int:
    """Start one task for each line of the node file, or as the options say; return 0 whatever they do."""
    usage = _PBSDSH.format(name)
    try:
        options, argv = getopt.gnu_getopt(list(words), "c:n:svo")  # without --, also those of the program
    except getopt.GetoptError as error:
        raise Refused(f"pbsdsh: invalid option -- '{error.opt[0]}'\n{usage}", 1) from error
    said = dict(options)
    if not argv or ("-c" in said and "-n" in said):
        raise Refused(usage, 1)
    if any(not said.get(option, "0").isdigit() for option in ("-n", "-c")):
        raise Refused(usage, 1)
    mom = Connection("pbsdsh", environ, 1)
    count = len(mom.lines)
    if "-n" in said:
        if not count:
            os.kill(os.getpid(), signal.SIGFPE)  # recorded
        wanted = [int(said["-n"])]
    else:
        wanted = list(range(int(said.get("-c", count))))
    for number, line in enumerate(wanted):
        mom.ask(do="spawn", line=line, argv=list(argv), number=number)
        if "-v" in said:
            print(f"pbsdsh: spawned task 0x{number:08X} on logical node {line} event {number + 2}", flush=True)
    if "-o" in said:
        return 0

    def pass_on(signalled: int, frame: FrameType | None) -> None:
        for number in range(len(wanted)):
            print(f"pbsdsh: killing task 0x{number:08X} signal {signalled}", flush=True)
            if number < _SIGNALLED:
                mom.ask(do="signal", task=number, signal=signalled)
        os._exit(1)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, pass_on)
    for _ in wanted:
        ended = mom.hear()
        if ended is None:
            return 2
        if ended["exit"] or "-v" in said:
            print(f"pbsdsh: task 0x{ended['task']:08X} exit status {ended['exit']}", flush=True)
    return 0


def pbs_tmrsh(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Start one task on a host; return its exit status modulo 256."""
    host, argv = "", list(words)
    for _ in range(2):
        while argv and argv[0].startswith("-"):
            if argv[0] == "-n":
                del argv[0]
            elif argv[0] == "-l" and len(argv) > 1:
                if argv[1] != environ.get("PBS_O_LOGNAME"):
                    raise Refused(f'pbs_tmrsh: bad user "{argv[1]}"\n{_TMRSH}', 255)
                del argv[:2]
            else:
                raise Refused(_TMRSH, 255)
        if not host and argv:
            host = argv.pop(0)
    if not argv:
        raise Refused(_TMRSH, 255)
    if "PBS_ENVIRONMENT" in environ and "PBS_NODEFILE" not in environ:
        raise Refused("pbs_tmrsh: cannot find PBS_NODEFILE", 255)
    mom = Connection("pbs_tmrsh", environ, 255)
    if host not in mom.lines:
        raise Refused(f'pbs_tmrsh: host "{host}" is not a node in job <{environ["PBS_JOBID"]}>', 255)
    mom.ask(do="spawn", line=mom.lines.index(host), argv=argv, number=0)
    ended = mom.hear()
    if ended is None:
        print(f'pbs_tmrsh: tm_poll(obit): host "{host}" err not connected (17002)', file=sys.stderr)
        return 255
    return int(ended["exit"]) % 256
