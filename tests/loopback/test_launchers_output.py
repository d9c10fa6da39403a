"""What the driver reads of the output of a launcher's commands."""

from __future__ import annotations

import os
import signal
import sys

import zmq
from conftest import until

from scoop_hpc.launchers.base import Command
from scoop_hpc.run.processes import Processes

PROGRAM = "import time; print('cannot start n1: it is down', flush=True); time.sleep(600)"


def test_what_was_read_since_it_was_polled_is_not_waited_for() -> None:
    poller = zmq.Poller()
    processes = Processes(poller, False)
    argv = (sys.executable, "-c", PROGRAM)
    pid = processes.start(
        Command(argv, dict(os.environ), ("n1", "n2"), failed_launch="cannot start (?P<node>..): (?P<words>.*)")
    )
    ((descriptor, _),) = poller.poll(60_000)
    (failed,) = processes.failed_launches()
    assert (failed.pid, failed.node, failed.words) == (pid, "n1", "it is down")
    assert not processes.hear(descriptor)  # as the driver does, which has been told of it before
    assert processes.failed_launches() == []
    os.kill(pid, signal.SIGKILL)
    until(lambda: [ended.pid for ended in processes.reap()] == [pid])
