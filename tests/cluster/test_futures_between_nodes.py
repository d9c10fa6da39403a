"""Futures between nodes: what a single machine cannot show."""

from __future__ import annotations

from under_test import SUBMIT, ClusterUnderTest

HEAD = "import os, socket, sys, time, concurrent.futures\nfrom scoop_hpc import futures, shared\n"

REDUCED = (
    HEAD
    + """
def text(n):
    time.sleep(0.0005)
    return f"{n}."

def where(n):
    time.sleep(0.02)
    return socket.gethostname()

if __name__ == "__main__":
    hosts = set(futures.map(where, range(400), chunksize=1))
    joined = futures.map_reduce(text, lambda left, right: left + right, range(5000))
    scanned = list(futures.map_scan(int, lambda left, right: left + right, range(3000)))
    print(sorted(hosts), joined == "".join(f"{n}." for n in range(5000)), scanned[-1] == sum(range(3000)))
"""
)

CONSTANTS = (
    HEAD
    + """
def set_here(n):
    shared.set_const(**{f"from{n}": socket.gethostname()})
    return n

def read(n):
    time.sleep(0.01)
    return socket.gethostname(), shared.get_const("table")[n % 7], [shared.get_const(f"from{k}") for k in range(20)]

if __name__ == "__main__":
    shared.set_const(table=list(range(7)))
    print(sorted(future.result() for future in [futures.submit(set_here, n) for n in range(20)]) == list(range(20)))
    seen = [future.result() for future in [futures.submit(read, n) for n in range(300)]]
    print(sorted({host for host, _, _ in seen}), all(value == n % 7 for n, (_, value, _) in enumerate(seen)))
    print(len({tuple(names) for _, _, names in seen}))
"""
)

# every worker but the origin's is held; what waits then lies in the queues of all four brokers
CANCELLED = (
    HEAD
    + """
def hold(name):
    open(os.path.join(sys.argv[1], name), "w").close()
    while not os.path.exists(os.path.join(sys.argv[1], "go")):
        time.sleep(0.01)
    return name

if __name__ == "__main__":
    folder, workers = sys.argv[1], 8
    held = [futures.submit(hold, f"held{n}") for n in range(40)]
    while sum(name.startswith("held") for name in os.listdir(folder)) < workers:
        time.sleep(0.01)
    began = {f"held{n}" for n in range(40) if os.path.exists(os.path.join(folder, f"held{n}"))}
    answers = {f"held{n}": (future.running(), future.cancel()) for n, future in enumerate(held)}
    open(os.path.join(folder, "go"), "w").close()
    done, not_done = concurrent.futures.wait(held)
    ran = {future.result() for future in done if not future.cancelled()}
    print(len(began), began == ran, not not_done)
    print({answers[name] for name in began}, {answer for name, answer in answers.items() if name not in began})
    print({name for name in os.listdir(folder) if name.startswith("held")} == began)
"""
)


def printed(cluster: ClusterUnderTest, program: str, *arguments: str) -> str:
    done = cluster.scoop_hpc(*SUBMIT, "--wait", str(cluster.write(program)), *arguments, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_reductions_and_scans_keep_their_order_across_nodes(cluster: ClusterUnderTest) -> None:
    assert f"{cluster.nodes} True True\n" in printed(cluster, REDUCED)


def test_constants_set_on_any_node_are_seen_on_all(cluster: ClusterUnderTest) -> None:
    assert f"True\n{cluster.nodes} True\n1\n" in printed(cluster, CONSTANTS)


def test_task_is_cancelled_in_whichever_queue_of_the_federation_it_waits(cluster: ClusterUnderTest) -> None:
    folder = cluster.directory / "cancelled"
    folder.mkdir()
    out = printed(cluster, CANCELLED, str(folder))
    assert "8 True True\n{(True, False)} {(False, True)}\nTrue\n" in out
