"""A process that has the keys of a run and is no part of it may send what it likes: one line tells of it."""

from __future__ import annotations

import os

import pytest
from conftest import Runs, until
from test_losses import WAITING, Peer

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Hello
from tests.fuzz.damage import make_frames

_MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "1000"))


@pytest.mark.parametrize(("socket", "who"), [("driver", "scoop-hpc: warning: dropped"), ("0", "broker 0 dropped")])
def test_a_run_goes_on_whatever_a_stranger_sends(runs: Runs, socket: str, who: str) -> None:
    run = runs.start("-n", "3", runs.write(WAITING))
    until((runs.directory / "begun").exists)
    peer = Peer(runs, socket, "evil")
    for seed in range(_MESSAGES):
        peer.send(*(make_frames(seed) or [b""]))
    peer.send(*[bytes(frame) for frame in codec.encode(Hello(1, "2.7", "elsewhere", "h", 1, 1))])
    peer.close()
    last = Peer(runs, socket, "last")
    last.send(b"\xc1")
    assert run.stderr is not None
    seen = [run.stderr.readline(), run.stderr.readline()]  # all was taken in
    (runs.directory / "go").touch()
    stdout, stderr = run.communicate(timeout=120)
    last.close()
    assert (stdout, stderr, run.returncode) == ("4950\n", "", 0)
    assert [who in line and name in line for line, name in zip(seen, ("'evil'", "'last'"))] == [True, True]
