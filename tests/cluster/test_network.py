"""What crosses the network: found by itself, open to nobody else, and missed when it is gone."""

from __future__ import annotations

import re
import sys

import pytest
from minicluster.state import HEAD
from under_test import FAIL, HOLD, ClusterUnderTest

from scoop_hpc.hostlist import expand

SCOOP_HPC = [sys.executable, "-m", "scoop_hpc"]
SLURMD = 6818

# a stranger: knocks at PORTS of HOST without a key, then with keys of its own; prints what it is answered
STRANGER = """
import sys, zmq
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import VERSION, Greet, Hello, Ready, Request
from scoop_hpc.transport import curve

host, *ports = sys.argv[1:]
context = zmq.Context()
sockets = []
for port in ports:
    for keys in (None, curve.make_keys()):
        for kind in (zmq.DEALER, zmq.SUB):
            socket = context.socket(kind)
            socket.linger = 0
            if keys is not None:
                curve.dial(socket, keys)
            socket.connect(f"tcp://{host}:{port}")
            if kind == zmq.SUB:
                socket.subscribe(b"")
            else:
                for message in (Hello(VERSION, "3.11", host, host, 1, 1), Greet("1", 0), Ready(), Request(9, 1)):
                    socket.send_multipart(codec.encode(message))
            sockets.append(socket)
poller = zmq.Poller()
for socket in sockets:
    poller.register(socket, zmq.POLLIN)
print(len(sockets), "sockets,", len(poller.poll(1500)), "answers")
"""


def listening(cluster: ClusterUnderTest, host: str) -> list[str]:
    """Return the TCP ports that are open on a host, but for Slurm's [proc_pid_net(5)]."""
    text = cluster.check(host, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])
    rows = [line.split() for line in text.splitlines()]
    ports = {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == "0A"}
    return sorted(str(port) for port in ports - {SLURMD})


def test_a_stranger_is_not_answered(cluster: ClusterUnderTest) -> None:
    cluster.submit_held()
    ports = listening(cluster, "node001")
    assert len(ports) >= 3  # the driver's, the broker's main and meta socket; srun has some, too
    stranger = cluster.write(STRANGER, "stranger.py")
    answer = cluster.check(HEAD, [sys.executable, str(stranger), "node001", *ports])
    assert answer == f"{4 * len(ports)} sockets, 0 answers\n"
    assert "error" not in cluster.output()


def test_a_node_that_does_not_report_is_named(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(HOLD))
    argv = ["salloc", "-N4", "--ntasks-per-node=1", *SCOOP_HPC, "run", "--patience", "5", program]
    cluster.machine.cut("node003")
    try:
        done = cluster.run(HEAD, argv)
    finally:
        cluster.machine.heal("node003")
    assert done.returncode == 1
    said = re.search(r"no word within 5 s from: ([^;\s]+)", done.stderr)
    assert said is not None, done.stderr
    assert "node003" in expand(said[1])  # a loaded machine may be too slow for others, too
    assert not list(cluster.directory.glob("held.*"))


def test_a_node_that_falls_silent_ends_the_run_where_that_is_wanted(cluster: ClusterUnderTest) -> None:
    job = cluster.submit_held(*FAIL, "--grace", "3")
    cluster.machine.cut("node003")
    try:
        cluster.wait_until(lambda: "scoop-hpc: error:" in cluster.output(), 60, "the loss of node003 is noticed")
        # but for the lost node's agent, which looks for the driver for as long as --patience says
        cluster.wait_until(
            lambda: {host for host, _ in cluster.all_processes()} <= {"node003"} and len(cluster.all_processes()) <= 1,
            90,
            "nothing is left, on the lost node neither",
        )
    finally:
        cluster.machine.heal("node003")
    cluster.wait_until_clean()
    (line,) = [line for line in cluster.output().splitlines() if line.startswith("scoop-hpc: error: ")]
    assert "on node003 has had no connection to the driver for 3 s" in line
    assert cluster.scoop_hpc("wait", job).returncode == 1


@pytest.mark.parametrize("interface", ["docker0", "eth0"])
def test_an_interface_may_be_chosen(cluster: ClusterUnderTest, interface: str) -> None:
    program = cluster.write(
        "from scoop_hpc import futures\nif __name__ == '__main__':\n    print(*futures.map(abs, [-1]))\n"
    )
    patience = "60" if interface == "eth0" else "20"
    argv = ["salloc", "-N2", "--ntasks-per-node=1", *SCOOP_HPC, "run", "--patience", patience]
    done = cluster.run(HEAD, [*argv, "--interface", interface, str(program)])
    if interface == "eth0":
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    else:  # it leads every node to itself
        assert done.returncode != 0
        assert "nothing listens at tcp://" in done.stderr


def test_an_interface_that_is_not_there_is_refused(cluster: ClusterUnderTest) -> None:
    done = cluster.run(
        HEAD, ["salloc", "-Q", "-N1", *SCOOP_HPC, "run", "--interface", "ib0", str(cluster.write("pass"))]
    )
    assert done.returncode == 2
    assert "the interface 'ib0' has no address" in done.stderr.splitlines()[-1]
