"""A job on four Slurm nodes, from the login node: from its submission to its end, and whatever end it comes to."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path

import pytest
from minicluster.state import HEAD
from under_test import SUBMIT, ClusterUnderTest

SCOOP_HPC = f"{sys.executable} -m scoop_hpc"

HOSTS = """
import collections, socket, time
from scoop_hpc import futures

def where(i):
    time.sleep(0.02)
    return socket.gethostname()

if __name__ == "__main__":
    for host, tasks in sorted(collections.Counter(futures.map(where, range(200), chunksize=1)).items()):
        print(host, tasks > 0)
"""

BUFFERS = """
import os, socket, time
from scoop_hpc import futures

def echo(sent, size):
    time.sleep(0.02)
    return socket.gethostname(), len(os.listdir("/proc/self/fd")), bytearray(sent[:1]) * size

if __name__ == "__main__":
    hosts, most = set(), 0
    for round in range(3):
        under_way = [(n, futures.submit(echo, bytearray([n]) * 5_000_000, 5_000_000)) for n in range(40)]
        for n, future in under_way:
            host, descriptors, back = future.result(timeout=60)
            assert back == bytearray([n]) * 5_000_000
            hosts.add(host)
            most = max(most, descriptors)
    print(len(hosts), most < 100, len(os.listdir("/proc/self/fd")) < 100)
"""


def submit_and_wait(cluster: ClusterUnderTest, program: Path, *arguments: str) -> str:
    """Submit *program* and see it through; return what it printed."""
    done = cluster.scoop_hpc(*SUBMIT, "--wait", str(program), *arguments, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pi_on_every_node(cluster: ClusterUnderTest, examples: Path) -> None:
    printed = submit_and_wait(cluster, examples / "pi.py", "--tasks", "1000", "--samples", "5000", "--hosts")
    assert re.search(r"^pi is about 3\.1[34]", printed, re.MULTILINE)
    assert re.findall(r"^(node\d+) \d+$", printed, re.MULTILINE) == cluster.nodes


def test_large_buffers_travel_between_nodes(cluster: ClusterUnderTest) -> None:
    program = cluster.directory / "buffers.py"
    program.write_text(BUFFERS)
    printed = submit_and_wait(cluster, program)
    assert printed.splitlines()[-1] == f"{len(cluster.nodes)} True True", printed  # below the progress, if it took long


def test_tree(cluster: ClusterUnderTest, examples: Path) -> None:
    assert "729 leaves, total 36942\n" in submit_and_wait(cluster, examples / "tree.py")


def test_scoops_pi_calc(cluster: ClusterUnderTest, scoop_examples: Path) -> None:
    found = re.search(r"^pi = (.*)$", submit_and_wait(cluster, scoop_examples / "pi_calc.py"), re.MULTILINE)
    assert found is not None
    assert abs(float(found[1]) - math.pi) < 0.01


def test_one_step_and_no_ssh(cluster: ClusterUnderTest) -> None:
    traces = cluster.directory / "ssh-was-called"
    for name in ("ssh", "rsh"):
        fake = cluster.directory / name
        fake.write_text(f"#!/bin/sh\necho $0 >>{traces}\nexit 1\n")
        fake.chmod(0o755)
    cluster.environ["PATH"] = f"{cluster.directory}:/usr/bin:/bin:/usr/sbin:/sbin"
    job = cluster.submit_held()
    listed = cluster.check(HEAD, ["squeue", "--steps", "--noheader", f"--jobs={job}", "--format=%i"]).split()
    assert [step for step in listed if not step.endswith((".batch", ".extern"))] == [f"{job}.0"]
    shown = cluster.check(HEAD, ["scontrol", "--oneliner", "show", "steps", job])
    assert re.findall(rf"^StepId={job}\.(\d+) .*NodeList=node\[001-004\]", shown, re.MULTILINE) == ["0"]
    assert not [
        process for _, process in cluster.all_processes() if os.path.basename(process.argv[0]) in ("ssh", "rsh")
    ]
    cluster.check(HEAD, ["scancel", job])
    cluster.wait_until_clean()
    assert not traces.exists()


def test_two_workers_on_each_node(cluster: ClusterUnderTest) -> None:
    cluster.submit_held()
    for node in cluster.nodes:
        titles = sorted(process.title for process in cluster.processes(node) if process.title.startswith("scoop-"))
        origin = ["scoop-origin"] if node == "node001" else []
        assert titles == ["scoop-broker", *origin, "scoop-worker", "scoop-worker"]


def test_no_key_in_any_argv(cluster: ClusterUnderTest) -> None:
    cluster.submit_held()
    for _, process in cluster.all_processes():
        assert not any(re.search(r"[^ /]{40}", word) for word in process.argv if "import" not in word), process


def test_whole_nodes_have_a_worker_on_every_cpu(cluster: ClusterUnderTest) -> None:
    program = cluster.write("if __name__ == '__main__':\n    import os; print(os.environ['SLURM_JOB_NUM_NODES'])\n")
    done = cluster.scoop_hpc("submit", "--nodes", "2", "--wait", str(program))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2"), done.stderr
    hosts = cluster.write(f"#!/bin/sh\n{SCOOP_HPC} hosts\n", "hosts.sh")
    cluster.check(HEAD, ["sbatch", "--wait", "--nodes=2", "--exclusive", "--output=hosts.out", str(hosts)])
    assert (cluster.directory / "hosts.out").read_text() == "node001 4\nnode002 4\n"


def test_status_logs_and_wait(cluster: ClusterUnderTest) -> None:
    cluster.write(HOSTS)
    done = cluster.scoop_hpc(*SUBMIT, "--parsable", "program.py")
    job = done.stdout.strip()
    assert re.fullmatch(r"\d+", job)
    assert cluster.scoop_hpc("wait", job).returncode == 0
    assert cluster.scoop_hpc("logs", job).stdout == "".join(f"{node} True\n" for node in cluster.nodes)
    answer = cluster.status(job)
    assert (answer["state"], answer["exit_status"]) == ("COMPLETED", 0)
    assert "COMPLETED" in cluster.scoop_hpc("status", job).stdout


def test_an_unknown_job_is_one_line(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("status", "4711")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "4711" in done.stderr


def test_an_impossible_request_is_one_line(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("submit", "--nodes", "4", "--queue", "nosuch", str(cluster.write(HOSTS)))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--queue" in done.stderr


@pytest.mark.parametrize(
    "text", ["two words", 'it\'s "quoted"', "$HOME `id` $(id)", "#SBATCH --nodes=9", "é ☃", "100%j %%"]
)
def test_any_text_survives_into_the_job(cluster: ClusterUnderTest, text: str) -> None:
    program = "import json, os, sys\nif __name__ == '__main__':\n"
    program += "    print(json.dumps([sys.argv[1:], os.environ['SLURM_JOB_NAME'], os.getcwd()]))\n"
    directory = cluster.directory / text
    directory.mkdir()
    cluster.write(program, f"{text}/program.py")
    arguments = [text, "line\nline", "--nodes=7", ""]
    file = text.replace("$HOME", "$OME") + ".out"  # $HOME is a pattern, of Grid Engine's
    output = file.replace("%", "%%")  # and so is % of Slurm's
    options = ["--nodes", "1", "--workers-per-node", "1", "--name", text, "--output", output, "--wait"]
    argv = [sys.executable, "-m", "scoop_hpc", "submit", *options, "program.py", *arguments]
    done = cluster.run(HEAD, argv, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((directory / file).read_text()) == [arguments, text, str(directory)]


def test_a_backslash_in_the_outputs_name_is_refused_in_one_line(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("submit", "--output", "a\\b", str(cluster.write(HOSTS)))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--output" in done.stderr


def test_run_in_a_script_of_the_users_own_takes_the_whole_allocation(cluster: ClusterUnderTest) -> None:
    script = cluster.write(f"#!/bin/sh\n{SCOOP_HPC} run {cluster.write(HOSTS)}\n", "own.sh")
    cluster.check(HEAD, ["sbatch", "--wait", "-N4", "--ntasks-per-node=2", "-c2", "--output=own.out", str(script)])
    assert cluster.output("own.out") == "".join(f"{node} True\n" for node in cluster.nodes)
    cluster.wait_until_clean()


def test_run_in_salloc_takes_the_whole_allocation(cluster: ClusterUnderTest) -> None:
    argv = ["salloc", "-N4", "--ntasks-per-node=1", *SCOOP_HPC.split(), "run", str(cluster.write(HOSTS))]
    assert cluster.check(HEAD, argv) == "".join(f"{node} True\n" for node in cluster.nodes)
    cluster.wait_until_clean()


def test_run_in_salloc_takes_the_hosts_that_are_named(cluster: ClusterUnderTest) -> None:
    third, second = cluster.nodes[2], cluster.nodes[1]
    cluster.write(f"{third} 2\n{second}.cluster.example.org\n", "hosts")
    program = str(cluster.write(HOSTS))
    for command in ("run", ""):  # ours, and SCOOP's
        run = [*SCOOP_HPC.split(), *command.split(), "--hostfile", "hosts", program]
        argv = ["salloc", "-N4", "--ntasks-per-node=1", *run]
        assert cluster.check(HEAD, argv) == f"{second} True\n{third} True\n"
    cluster.wait_until_clean()


def test_hosts_outside_a_job_is_one_line(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("hosts")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_job_without_the_environment_of_its_shell_finds_srun(cluster: ClusterUnderTest) -> None:
    cluster.write(
        "from scoop_hpc import futures\nif __name__ == '__main__': print(sum(futures.map(abs, range(9))))", "p.py"
    )
    words = ["--nodes", "2", "--workers-per-node", "1", "--walltime", "5", "--wait", "p.py"]
    done = cluster.run(HEAD, [sys.executable, "-m", "scoop_hpc", "submit", *words], env={"SBATCH_EXPORT": "NIL"})
    assert (done.returncode, done.stdout) == (0, "36\n"), done.stderr
