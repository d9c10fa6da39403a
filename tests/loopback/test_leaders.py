"""Who waits for a result of an Executor, and listens to its link, while the pool's thread is in a callback.

The link's descriptor tells of what has come only once: it is silent when anybody has looked, though a message is left.
Each program makes that happen at the worst moment, so that only a nudge, or a look, can show the message to the leader.
"""

from __future__ import annotations

import sys

import pytest
from conftest import Runs

HEAD = """
import os, threading, time
from scoop_hpc import Executor
from scoop_hpc.pool.link import ClientLink
from scoop_hpc.pool.pool import WorkerPool

in_callback, released, waits, goes_on = [threading.Event() for _ in range(4)]
pools, left = [], []
start, look, send = WorkerPool.start, ClientLink.look, ClientLink.send

def let(name):
    open(name, "w").close()

def end_after(name):
    while not os.path.exists(name): time.sleep(0.005)
    return name

def hold(_):
    in_callback.set()
    released.wait()

def leave_a_message(link):
    "Let the second call end, and look at the link until its result is there: nothing tells of it any more."
    left.append(link)
    let("second")
    while not link.has_arrived(): time.sleep(0.001)

def noted_start(pool):
    pools.append(pool)
    start(pool)

WorkerPool.start = noted_start

class Ears:
    "The leader's: it is held before it listens for the time of this *number*."
    def __init__(self, ears, number):
        self.ears, self.number = ears, number
    def poll(self, milliseconds):
        self.number -= 1
        if self.number == 0:
            waits.set()
            goes_on.wait()
        elif self.number > 0:
            pools[0]._nudge_by_another()
        return self.ears.poll(milliseconds)

def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread

def let_first_and_second():
    first, second = executor.submit(end_after, "first"), executor.submit(end_after, "second")
    first.add_done_callback(hold)
    return second

def finish(second):
    try:
        print(second.result(timeout=20))
    finally:
        released.set()
        let("third")
"""

BY_THE_THREAD = """
def look_and_leave(link):
    look(link)
    if not left and threading.current_thread() is pools[0]._thread and pools[0]._client.has_news:
        leave_a_message(link)

ClientLink.look = look_and_leave
"""

# it leads when the pool's thread is in the callback already
LATER = (
    HEAD
    + BY_THE_THREAD
    + """
with Executor(2) as executor:
    second = let_first_and_second()
    let("first")
    in_callback.wait()
    finish(second)
"""
)

# it is about to listen when the pool's thread leaves a message and goes into the callback
BEFORE = (
    HEAD
    + BY_THE_THREAD
    + """
def meanwhile():
    waits.wait()
    let("first")
    in_callback.wait()
    goes_on.set()

with Executor(2) as executor:
    second = let_first_and_second()
    while pools[0]._segments is None: time.sleep(0.001)  # it is open then; nobody leads before
    pools[0]._leaders_ears = Ears(pools[0]._leaders_ears, 1)
    in_a_thread(meanwhile)
    finish(second)
"""
)

# it is about to listen, while the pool's thread is in the callback, when another thread submits and leaves a message
BY_ANOTHER = """
def send_and_leave(link, message):
    send(link, message)
    if waits.is_set() and not left:
        leave_a_message(link)

ClientLink.send = send_and_leave

def meanwhile():
    waits.wait()
    executor.submit(end_after, "third")
    goes_on.set()

with Executor(2) as executor:
    second = let_first_and_second()
    let("first")
    in_callback.wait()
    pools[0]._leaders_ears = Ears(pools[0]._leaders_ears, {number})
    in_a_thread(meanwhile)
    finish(second)
"""
SUBMITTED = HEAD + BY_ANOTHER.format(number=1)

# the same, after two nudges that it took at once
NUDGED = (
    HEAD
    + """
class Nudged:
    "Where the leader takes nudges: another comes just before it does."
    def __init__(self, end):
        self.end = end
        self.close = end.close
    def recv(self, size):
        in_a_thread(pools[0]._nudge).join()
        return self.end.recv(size)

def nudge_by_another(pool):
    pool._nudged = Nudged(pool._nudged)
    in_a_thread(pool._nudge).join()

WorkerPool._nudge_by_another = nudge_by_another
"""
    + BY_ANOTHER.format(number=2)
)


@pytest.mark.parametrize("program", [LATER, BEFORE, SUBMITTED, NUDGED], ids=["later", "before", "submitted", "nudged"])
def test_result_that_nothing_tells_of_is_seen_while_the_pools_thread_is_in_a_callback(runs: Runs, program: str) -> None:
    process = runs.start_command([sys.executable, runs.write(program)])
    stdout, stderr = process.communicate(timeout=60)
    assert (stdout, stderr, process.returncode) == ("second\n", "", 0)
