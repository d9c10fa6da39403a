"""Jobs of PBS, from their submission to their end; a batch system of fakes behaves as a recorded OpenPBS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until, without_delays, without_warnings

from scoop_hpc.errors import SchedulerError
from scoop_hpc.jobs.commands import run_command

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes" / "pbs"))
from minipbs.install import configure, install

# every task waits until all are running, so that each has a worker of its own
MEET = """
import os, sys, time
from scoop_hpc import futures

def meet(number):
    open(f"here-{number}", "w").close()
    while len([name for name in os.listdir(".") if name.startswith("here-")]) < COUNT:
        time.sleep(0.02)
    return os.getppid(), os.getcwd(), os.environ["COLOUR"]

if __name__ == "__main__":
    told = list(futures.map(meet, range(COUNT)))
    print(len({parent for parent, *_ in told}), {directory for _, directory, _ in told}, {c for *_, c in told})
    sys.exit(int(sys.argv[1]))
"""
HOLD = """
import os, sys, time

if __name__ == "__main__":
    print("holding", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.02)
    sys.exit(int(sys.argv[1]))
"""
INDEX = """
import os, sys

if __name__ == "__main__":
    print("index", os.environ["SCOOP_HPC_JOB_ARRAY_INDEX"])
    sys.exit(int(os.environ["SCOOP_HPC_JOB_ARRAY_INDEX"]))
"""


class Site:
    """A cluster of four nodes, all of them here, and somebody who works there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "work"
        self.directory.mkdir()
        self.pbs = directory / "pbs"
        self.bin = install(self.pbs, os.environ["PATH"], kill_delay=8.0, lingering=0.5)
        self.environ = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "SCOOP_HPC_STATE": str(directory / "state"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.directory, env=self.environ, check=False, capture_output=True, text=True, timeout=120
        )

    def scoop_hpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.run(sys.executable, "-m", "scoop_hpc", *words)
        done.stdout = without_delays(done.stdout)  # of a job, for which `logs` asks: both its streams are one
        return done

    def submit(self, program: str, *words: str, arguments: tuple[str, ...] = ()) -> str:
        """Submit a program of this text; return the job's id."""
        (self.directory / "program.py").write_text(program)
        options = ("--scheduler", "pbs", "--parsable", *words)
        done = self.scoop_hpc("submit", *options, "program.py", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit_light(self, program: str, *words: str, arguments: tuple[str, ...] = ()) -> str:
        return self.submit(program, "--workers-per-node", "1", *words, arguments=arguments)

    def status(self, *jobs: str) -> list[dict[str, Any]]:
        done = self.scoop_hpc("status", "--json", *jobs)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def state(self, job: str) -> str:
        return str(self.status(job)[0]["state"])

    def output(self, job: str) -> str:
        path = self.directory / f"program.o{job.partition('.')[0]}"
        return without_warnings(path.read_text()) if path.exists() else ""

    def control(self, name: str, text: str = "") -> Path:
        """Play with the batch system; see minipbs."""
        path = self.pbs / "control" / name
        path.write_text(text)
        return path

    def calls(self, command: str) -> list[str]:
        """Return how a command was called, but for finding out whose it is."""
        lines = (self.pbs / "calls").read_text().splitlines()
        return [line for line in lines if f"{line} ".startswith(f"{command} ") and "--version" not in line]

    def go(self) -> None:
        (self.directory / "go").touch()

    def processes(self, word: str) -> list[int]:
        """Return the processes of this site that have *word* in their command line."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environ, argv = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if (str(self.pbs).encode() in environ or str(self.pbs).encode() in argv) and word.encode() in argv:
                found.append(int(entry.name))
        return found

    def parent_is_one_of(self, pid: int, word: str) -> bool:
        """Return whether the parent of *pid* has *word* in its command line as well."""
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1]) in self.processes(word)

    def close(self) -> None:
        for path in (self.pbs / "control").iterdir():
            path.unlink()
        self.control("scheduler.off")
        jobs = self.run("qselect").stdout.split()
        if jobs:
            self.run("qdel", "-W", "force", *jobs)
        until(lambda: not self.processes("minipbs.mom"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A cluster without jobs; those of the test are ended."""
    site = Site(tmp_path)
    yield site
    site.close()


# from the first command to the result


def test_a_job_on_four_nodes(site: Site) -> None:
    job = site.submit_light(MEET.replace("COUNT", "4"), "--nodes", "4", "--env", "COLOUR=red", arguments=("3",))
    assert job == "0.pbshead"
    done = site.scoop_hpc("wait", job)
    assert done.returncode == 3, site.output(job)
    assert site.scoop_hpc("logs", job).stdout == f"4 {{'{site.directory}'}} {{'red'}}\n" == site.output(job)
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"]) == ("FAILED", 3)
    assert told["nodes"] == ["pnode001", "pnode002", "pnode003", "pnode004"]
    assert sorted(call.split()[1] for call in site.calls("pbs_tmrsh")) == told["nodes"]


def test_whole_nodes_have_a_worker_for_each_cpu(site: Site) -> None:
    configure(site.pbs, hosts={"n1": {"ncpus": 2, "state": "free"}, "n2": {"ncpus": 2, "state": "free"}})
    job = site.submit(MEET.replace("COUNT", "4"), "--nodes", "2", "--env", "COLOUR=blue", arguments=("0",))
    assert site.scoop_hpc("wait", job).returncode == 0, site.output(job)
    assert site.output(job).startswith("2 ")
    listed = site.run("qstat", "-x", "-f", job).stdout
    assert "Resource_List.select = 2:ncpus=2:mpiprocs=2:ompthreads=1\n" in listed
    assert "Resource_List.place = scatter:excl\n" in listed


def test_where_there_is_no_pbs_tmrsh_pbsdsh_does(site: Site) -> None:
    (site.bin / "pbs_tmrsh").unlink()
    job = site.submit(
        MEET.replace("COUNT", "4"), "--nodes", "2", "--workers-per-node", "2", "--env", "COLOUR=x", arguments=("0",)
    )
    assert site.scoop_hpc("wait", job).returncode == 0, site.output(job)
    assert sorted(call.split()[1:4] for call in site.calls("pbsdsh")) == [["-n", "0", "--"], ["-n", "2", "--"]]


def test_a_pbs_that_the_machine_has_of_its_own_is_not_used(site: Site) -> None:
    other = site.directory.parent / "opt"
    other.mkdir()
    for name in ("pbs_tmrsh", "pbsdsh", "qsub", "qstat"):
        (other / name).write_text("#!/bin/sh\nexit 99\n")
        (other / name).chmod(0o755)
    profile = site.pbs / "home" / ".bash_profile"
    profile.write_text(f"PATH={other}:$PATH  # as /etc/profile.d/pbs.sh has it\n{profile.read_text()}")
    (site.bin / "pbs_tmrsh").unlink()
    job = site.submit_light(HOLD, "--nodes", "2", arguments=("3",))
    site.go()
    assert site.scoop_hpc("wait", job).returncode == 3, site.output(job)
    assert len(site.calls("pbsdsh")) == 2


def test_output_is_seen_while_the_job_runs(site: Site) -> None:
    job = site.submit_light(HOLD, arguments=("0",))
    until(lambda: site.output(job) == "holding\n")
    assert site.scoop_hpc("logs", job).stdout == "holding\n"
    assert site.state(job) == "RUNNING"
    site.go()
    assert site.scoop_hpc("wait", job).returncode == 0
    assert site.state(job) == "COMPLETED"


@pytest.mark.parametrize("usecp", [False, True])
@pytest.mark.parametrize("name", ["{name}-{job_id}.out", "größe: 'a' \"b\" $PATH, {job_id}"])
def test_the_script_opens_its_output_under_any_name(site: Site, name: str, usecp: bool) -> None:
    configure(site.pbs, usecp=usecp)
    program = "import sys\nif __name__ == '__main__':\n    print('out')\n    print('err', file=sys.stderr)\n"
    job = site.submit_light(program, "--output", name, "--error", "err {job_id}")
    assert site.scoop_hpc("wait", job).returncode == 0
    output = site.directory / name.replace("{name}", "program").replace("{job_id}", "0")
    assert output.read_text() == site.scoop_hpc("logs", job).stdout == "out\n"
    assert (site.directory / "err 0").read_text() == "err\n"
    assert {path.name for path in site.directory.iterdir()} == {"program.py", "err 0", output.name}
    assert not list((site.pbs / "spool" / "undelivered").iterdir())
    assert "Stageout_status = 1\n" in site.run("qstat", "-x", "-f", job).stdout


def test_logs_shows_nothing_of_an_earlier_job_with_the_same_output(site: Site) -> None:
    (site.directory / "fixed.out").write_text("of yesterday\n")
    job = site.submit_light(HOLD, "--output", "fixed.out", arguments=("0",))
    until(lambda: site.scoop_hpc("logs", job).stdout == "holding\n")
    site.go()
    assert site.scoop_hpc("wait", job).returncode == 0
    assert (site.directory / "fixed.out").read_text() == "holding\n"


def test_an_output_that_the_node_cannot_open_is_named(site: Site) -> None:
    off = site.control("scheduler.off")
    (site.directory / "here").mkdir()
    job = site.submit_light(HOLD, "--output", "here/out", arguments=("0",))
    (site.directory / "here").rmdir()  # as on a node that does not see it
    off.unlink()
    assert site.scoop_hpc("wait", job).returncode == 66
    told = site.scoop_hpc("logs", job)
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
    assert f"no output file '{site.directory / 'here' / 'out'}'" in told.stderr
    assert "its first node could not open it" in told.stderr


def test_submit_and_wait_in_one(site: Site) -> None:
    (site.directory / "program.py").write_text(
        "if __name__ == '__main__':\n    print('hello')\n    raise SystemExit(4)\n"
    )
    done = site.scoop_hpc("submit", "--scheduler", "pbs", "--workers-per-node", "1", "--wait", "program.py")
    assert (done.returncode, done.stdout) == (4, "hello\n"), done.stderr


def test_many_workers_on_any_nodes_come_unevenly(site: Site) -> None:
    job = site.submit(MEET.replace("COUNT", "5"), "--workers", "5", "--env", "COLOUR=x", arguments=("0",))
    assert site.scoop_hpc("wait", job).returncode == 0, site.output(job)
    assert site.status(job)[0]["nodes"] == ["pnode001", "pnode002"]  # four CPUs on the first


# how a job ends


def test_cancel_tells_the_agents_on_all_nodes(site: Site) -> None:
    job = site.submit_light(HOLD, "--nodes", "3", arguments=("0",))
    until(lambda: site.output(job))
    assert len(site.processes("--node\0pnode")) >= 3
    held = site.control("hold-deleted")  # PBS sends TERM to the first node, and nothing to the others, nor any KILL
    assert site.scoop_hpc("cancel", job).stdout == f"Cancelled job {job}\n"
    until(lambda: not site.processes("--node\0pnode"))
    assert site.state(job) == "RUNNING"  # qdel returns long before the job is gone
    held.unlink()
    site.scoop_hpc("wait", job)
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"]) == ("CANCELLED", 143)
    assert "pbsuser@pbshead" in told["reason"]
    assert site.scoop_hpc("cancel", job).returncode == 0


def test_walltime_ends_a_job(site: Site) -> None:
    job = site.submit_light(HOLD, "--walltime", "6s", arguments=("0",))
    site.scoop_hpc("wait", job)
    (told,) = site.status(job)
    assert told["state"] == "TIMEOUT"
    assert "exceeded resource walltime" in told["reason"]
    assert re.search("scoop-hpc: error: .* by SIGTERM", site.output(job))


def test_a_job_whose_driver_is_killed_ends_and_leaves_nothing(site: Site) -> None:
    job = site.submit_light(HOLD, "--nodes", "2", arguments=("0",))
    until(lambda: site.output(job))
    (driver,) = site.processes("scoop_hpc\0run")
    os.kill(driver, 9)
    assert site.scoop_hpc("wait", job).returncode == 137
    assert site.state(job) == "FAILED"
    until(lambda: not site.processes("--node\0pnode"))


def test_a_launcher_that_ends_with_0_before_its_agent_came_ends_the_run(site: Site) -> None:
    (site.bin / "pbs_tmrsh").unlink()
    site.control("pbsdsh.fail", "0\npbsdsh: task 0x00000000 exit status 254\n")
    job = site.submit_light(HOLD, "--nodes", "2", arguments=("0",))
    assert site.scoop_hpc("wait", job).returncode == 1
    assert re.search(r"no agent on pnode00[12]: pbsdsh: task 0x00000000 exit status 254\n", site.output(job))


def test_what_an_agent_says_of_itself_is_in_the_output(site: Site) -> None:
    real = site.bin / "real-pbs_tmrsh"
    (site.bin / "pbs_tmrsh").rename(real)
    environments = site.directory.parent / "state" / "environments"
    (site.bin / "pbs_tmrsh").write_text(f'#!/bin/sh\nrm -f {environments}/*\nexec {real} "$@"\n')
    (site.bin / "pbs_tmrsh").chmod(0o755)
    job = site.submit_light(HOLD, "--nodes", "2", arguments=("0",))
    assert site.scoop_hpc("wait", job).returncode == 1
    said = f"scoop-hpc: error: \\S+ cannot read {environments}/\\S+: let SCOOP_HPC_STATE name a directory"
    assert re.search(said, site.output(job))


def test_a_job_that_was_never_begun_is_cancelled_too(site: Site) -> None:
    site.control("scheduler.off")
    job = site.submit_light(HOLD, arguments=("0",))
    assert site.state(job) == "PENDING"
    site.scoop_hpc("cancel", job)
    assert site.state(job) == "CANCELLED"
    assert site.scoop_hpc("wait", job).returncode == 1


def test_a_walltime_that_is_over_is_told_where_pbs_keeps_no_history(site: Site) -> None:
    configure(site.pbs, history=False)
    job = site.submit_light(HOLD, "--walltime", "8s", arguments=("0",))
    site.scoop_hpc("wait", job)
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"]) == ("TIMEOUT", 143)
    assert "by SIGTERM" in told["reason"]  # driver, agent and origin have the signal at once, and one is the first


def test_a_job_that_is_cancelled_before_its_walltime_is_not_timed_out(site: Site) -> None:
    configure(site.pbs, history=False)
    job = site.submit_light(HOLD, "--walltime", "1h", arguments=("0",))
    until(lambda: site.output(job))
    site.scoop_hpc("cancel", job)
    site.scoop_hpc("wait", job)
    (told,) = site.status(job)
    assert told["state"] == "CANCELLED"
    assert "by SIGTERM" in told["reason"]


def test_a_run_goes_on_when_the_pbs_mom_of_its_first_node_is_restarted(site: Site) -> None:
    job = site.submit_light(HOLD, "--nodes", "2", arguments=("5",))
    until(lambda: site.output(job))
    assert len(site.processes("pbs_tmrsh")) == 2
    site.control("mom.restarted")
    until(lambda: not site.processes("pbs_tmrsh"))
    assert site.state(job) == "RUNNING"
    site.go()
    assert site.scoop_hpc("wait", job).returncode == 5
    assert site.output(job) == "holding\n"


def test_an_agent_that_dies_without_its_pbs_tmrsh_is_told_by_what_that_said(site: Site) -> None:
    job = site.submit_light(HOLD, "--nodes", "2", "--on-node-loss", "fail", arguments=("0",))
    until(lambda: site.output(job))
    site.control("mom.restarted")
    until(lambda: not site.processes("pbs_tmrsh"))
    (agent,) = [pid for pid in site.processes("--node\0pnode002") if not site.parent_is_one_of(pid, "--node\0pnode002")]
    os.kill(agent, 9)
    assert site.scoop_hpc("wait", job).returncode == 1
    said = 'pbs_tmrsh: tm_poll(obit): host "pnode002" err not connected (17002)'
    assert re.fullmatch(
        f"holding\nscoop-hpc: error: .*the agent .*on pnode002.*: {re.escape(said)}\n", site.output(job)
    )
    until(lambda: not site.processes("--node\0pnode"))


# arrays and dependencies


def test_an_array_is_told_job_by_job(site: Site) -> None:
    job = site.submit_light(INDEX, "--array", "0-3%2")
    assert job == "0[].pbshead"
    assert site.scoop_hpc("wait", job).returncode == 3
    (told,) = site.status(job)
    assert [(each["job_id"], each["exit_status"]) for each in told["elements"]] == [
        (f"0[{index}].pbshead", index) for index in range(4)
    ]
    assert [(site.directory / f"program.o0.{index}").read_text() for index in range(4)] == [
        f"index {index}\n" for index in range(4)
    ]
    assert site.scoop_hpc("logs", "0[2]").stdout == "index 2\n"
    assert site.scoop_hpc("wait", "0[0]").returncode == 0


def test_one_job_of_an_array_is_cancelled_alone(site: Site) -> None:
    job = site.submit_light(HOLD, "--array", "1-2", arguments=("0",))
    until(lambda: site.directory.joinpath("program.o0.1").exists() and site.directory.joinpath("program.o0.2").exists())
    until(lambda: (site.directory / "program.o0.2").read_text() == "holding\n")
    site.scoop_hpc("cancel", "0[1]")
    until(lambda: site.state("0[1]") == "CANCELLED")
    assert site.state("0[2]") == "RUNNING"
    site.go()
    site.scoop_hpc("wait", job)
    assert [each["state"] for each in site.status(job)[0]["elements"]] == ["CANCELLED", "COMPLETED"]


def test_what_had_ended_before_its_array_was_cancelled_keeps_its_end(site: Site) -> None:
    program = """
import os, sys, time

if __name__ == "__main__":
    index = int(os.environ["SCOOP_HPC_JOB_ARRAY_INDEX"])
    print("index", index, flush=True)
    while index == 2 and not os.path.exists("go"):
        time.sleep(0.02)
    sys.exit(index)
"""
    job = site.submit_light(program, "--array", "0-3%1")
    third = site.directory / "program.o0.2"
    until(lambda: third.exists() and third.read_text() == "index 2\n")
    site.run("qdel", job)  # by PBS's own command: nobody here has asked before how the others ended
    site.scoop_hpc("wait", job)
    listed = site.run("qstat", "-x", "-f", "-t", job).stdout
    assert listed.count("    comment = Subjob finished\n") == 4
    assert [(each["state"], each["exit_status"]) for each in site.status(job)[0]["elements"]] == [
        ("COMPLETED", 0),
        ("FAILED", 1),
        ("CANCELLED", 143),
        ("CANCELLED", None),
    ]
    assert site.scoop_hpc("wait", "0[0]").returncode == 0


def test_a_job_of_an_array_that_left_no_record_keeps_the_end_that_was_heard_of(site: Site) -> None:
    job = site.submit_light(HOLD, "--array", "0-1%1", "--prologue", "[ $PBS_ARRAY_INDEX = 1 ] || exit 7")
    until(lambda: site.state("0[0]") == "FAILED")
    until(lambda: site.state("0[1]") == "RUNNING")
    site.scoop_hpc("cancel", job)
    site.scoop_hpc("wait", job)
    assert [(each["state"], each["exit_status"]) for each in site.status(job)[0]["elements"]] == [
        ("FAILED", 7),
        ("CANCELLED", 143),
    ]


def test_hundreds_of_jobs_are_one_question(site: Site) -> None:
    site.control("scheduler.off")
    job = site.submit_light(INDEX, "--array", "1-300")
    before = len(site.calls("qstat -f"))
    (told,) = site.status(job)
    assert len(told["elements"]) == 300
    assert len(site.calls("qstat -f")) == before + 1  # apart from --version, where there are other schedulers as well
    site.scoop_hpc("cancel", job)
    assert site.state(job) == "CANCELLED"


@pytest.mark.parametrize(
    ("status", "option", "kind", "state"),
    [
        ("0", "--after", "afterok", "COMPLETED"),
        ("1", "--after", "afterok", "CANCELLED"),
        ("1", "--after-any", "afterany", "COMPLETED"),
        ("1", "--after-failure", "afternotok", "COMPLETED"),
    ],
)
def test_a_job_waits_for_another(site: Site, status: str, option: str, kind: str, state: str) -> None:
    first = site.submit_light(HOLD, arguments=(status,))
    second = site.submit_light(HOLD, option, first, arguments=("0",))
    (told,) = site.status(second)
    assert told["state"] == "PENDING"
    assert first in told["reason"]
    explained = site.scoop_hpc("explain", second)
    assert f"it waits for {kind}:{first}" in explained.stdout
    site.go()
    site.scoop_hpc("wait", second)
    (told,) = site.status(second)
    assert told["state"] == state
    assert (state == "CANCELLED") == ("did not end as demanded" in told["reason"])


# where PBS knows less, or is not well


@pytest.mark.parametrize("status", ["0", "3"])
def test_without_history_the_driver_s_record_tells_how_a_job_ended(site: Site, status: str) -> None:
    configure(site.pbs, history=False)
    job = site.submit_light(HOLD, arguments=(status,))
    until(lambda: site.output(job))
    assert site.state(job) == "RUNNING"
    site.go()
    assert site.scoop_hpc("wait", job).returncode == int(status)
    assert "not configured to maintain job history" in site.run("qstat", "-x", job).stderr
    (told,) = site.status(job)
    assert (told["state"], told["exit_status"]) == ("FAILED" if int(status) else "COMPLETED", int(status))


def test_without_history_the_jobs_of_an_array_are_told_by_their_own_records(site: Site) -> None:
    configure(site.pbs, history=False)
    job = site.submit_light(INDEX, "--array", "0-3%1")
    until(lambda: site.state("0[1]") == "FAILED")
    assert [(each["state"], each["exit_status"]) for each in site.status("0[0]", "0[1]")] == [
        ("COMPLETED", 0),
        ("FAILED", 1),
    ]
    assert site.scoop_hpc("wait", job).returncode == 3
    assert [each["exit_status"] for each in site.status(job)[0]["elements"]] == [0, 1, 2, 3]


def test_a_dependency_on_a_job_that_is_forgotten_is_refused(site: Site) -> None:
    configure(site.pbs, history=False)
    site.go()
    first = site.submit_light(HOLD, arguments=("0",))
    assert site.scoop_hpc("wait", first).returncode == 0
    done = site.scoop_hpc("submit", "--scheduler", "pbs", "--workers-per-node", "1", "--after", "0", "program.py", "0")
    assert done.returncode == 2
    assert "--after 0.pbshead: pbs knows of no such job any more, and would remove this one" in done.stderr


def test_a_job_waits_for_an_array_that_is_named_without_brackets(site: Site) -> None:
    site.submit_light(HOLD, "--array", "0-1", arguments=("0",))
    second = site.submit_light(HOLD, "--after", "0", arguments=("0",))
    (told,) = site.status(second)
    assert (told["state"], told["reason"]) == ("PENDING", "waits for afterok:0[].pbshead@pbshead")
    site.go()
    assert site.scoop_hpc("wait", second).returncode == 0


def test_errors_for_a_while_are_outlived(site: Site) -> None:
    job = site.submit_light(HOLD, arguments=("0",))
    until(lambda: site.output(job))
    text = "255\nConnection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"
    for number in (1, 2):
        site.control(f"qstat.fail.{number}", text)
    assert site.state(job) == "RUNNING"
    site.control("qstat.fail", text)
    done = site.scoop_hpc("status", job)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "cannot connect to server pbshead" in done.stderr


def test_waiting_for_a_server_that_is_down_claims_nothing(site: Site) -> None:
    job = site.submit_light(HOLD, arguments=("0",))
    until(lambda: site.output(job))
    down = site.control(
        "qstat.fail", "255\nConnection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"
    )
    done = site.scoop_hpc("wait", "--timeout", "0", job)
    assert done.returncode == 124
    assert done.stderr.splitlines()[-1] == f"scoop-hpc: job {job} is UNKNOWN: no answer from pbs"
    down.unlink()
    done = site.scoop_hpc("wait", "--timeout", "0", job)
    assert (done.returncode, done.stderr) == (124, f"scoop-hpc: job {job} is RUNNING\n")


def test_cpus_that_a_job_script_of_ones_own_leaves_idle_are_named_once(site: Site) -> None:
    (site.directory / "program.py").write_text(HOLD)
    site.go()
    script = site.directory / "own.sh"
    command = f"exec {sys.executable} -m scoop_hpc run program.py 0"
    lines = [
        "#!/bin/bash",
        f"export PYTHONPATH='{site.environ['PYTHONPATH']}'",
        "cd $PBS_O_WORKDIR",
        "exec >own.out 2>&1",
    ]
    script.write_text("\n".join([*lines, command]))
    site.run("qsub", "-l", "select=2:ncpus=4", "-l", "place=scatter", str(script))
    until(lambda: "job_state = F" in site.run("qstat", "-x", "-f", "0").stdout)
    assert sorted((site.directory / "own.out").read_text().splitlines()) == [
        "holding",
        "scoop-hpc: warning: one worker on pnode001, where NCPUS is 4: for a worker on every CPU, add mpiprocs=4 to "
        "the chunks of -l select, or say -n 8",
    ]


def test_a_command_that_hangs_is_named(site: Site) -> None:
    site.control("qstat.hang")
    with pytest.raises(SchedulerError, match=r"no answer from '.*qstat' within 0.5 s"):
        run_command([str(site.bin / "qstat")], site.environ, 0.5)


def test_a_job_that_nobody_knows_is_one_line(site: Site) -> None:
    (site.directory / "empty").mkdir()
    path = f"{site.bin}:/nowhere"  # without another scheduler's commands
    argv = [sys.executable, "-m", "scoop_hpc", "status", "4711"]
    environ = {**site.environ, "PATH": path}
    done = subprocess.run(
        argv, env=environ, cwd=site.directory, check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no job '4711': unknown to pbs" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--queue", "nosuch"], "qsub refused the job: Unknown queue (change --queue)"),
        (["--queue", "off"], "Queue is not enabled (change --queue)"),
        (["--queue", "small", "--walltime", "1h"], "(ask for less by --walltime or --nodes, or change --queue)"),
        (["--constraint", "nosuch=1"], "Unknown resource: nosuch (change --constraint"),
        (["--directive", "-W nosuch=1"], "Error (15002) submitting job"),
        (["--directive", "-t 1-4"], "invalid option -- 't'; directive error"),
        (["--array", "0-20000"], "(make the --array smaller)"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(site: Site, words: list[str], told: str) -> None:
    configure(
        site.pbs, queues={"workq": {}, "off": {"enabled": False}, "small": {"resources_max.walltime": "00:10:00"}}
    )
    (site.directory / "program.py").write_text(HOLD)
    done = site.scoop_hpc("submit", "--scheduler", "pbs", "--workers-per-node", "1", *words, "program.py")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert told in done.stderr
    assert not list((site.directory.parent / "state" / "jobs").iterdir())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--nodes", "9"], "it asks for 9 nodes with ncpus=1, and there are 4"),
        (["--cpus-per-worker", "400"], "Can Never Run: Insufficient amount of resource: ncpus (R: 400 A: 16 T: 16)"),
        (["--queue", "stopped"], "its queue is stopped"),
    ],
)
def test_explain_says_why_a_job_does_not_run(site: Site, words: list[str], why: str) -> None:
    configure(site.pbs, queues={"workq": {}, "stopped": {"started": False}})
    job = site.submit_light(HOLD, *words, arguments=("0",))
    done = site.scoop_hpc("explain", job)
    assert done.returncode == 0, done.stderr
    assert why in done.stdout
    assert "change --" in done.stdout


def test_a_job_that_has_ended_is_submitted_anew_from_its_own_directory(site: Site) -> None:
    site.go()
    job = site.submit_light(HOLD, arguments=("0",))
    site.scoop_hpc("wait", job)
    argv = [sys.executable, "-m", "scoop_hpc", "requeue", job]
    done = subprocess.run(
        argv, cwd=site.pbs, env=site.environ, check=False, capture_output=True, text=True, timeout=120
    )
    output = site.directory / "program.o1"
    assert done.stdout == f"Submitted job 1.pbshead, as {job} was; output: {output}\n", done.stderr
    assert site.scoop_hpc("wait", "1").returncode == 0
    assert output.read_text() == "holding\n"


def test_putting_back_a_running_job_is_for_operators(site: Site) -> None:
    job = site.submit_light(HOLD, "--requeue", arguments=("0",))
    until(lambda: site.output(job))
    done = site.scoop_hpc("requeue", job)
    assert done.returncode == 2
    assert "only operators may" in done.stderr
    configure(site.pbs, operator=True)
    done = site.scoop_hpc("requeue", job)
    assert done.returncode == 0, done.stderr
    until(lambda: "run_count = 2\n" in site.run("qstat", "-f", job).stdout)
    site.go()
    assert site.scoop_hpc("wait", job).returncode == 0
