"""Facts in, findings out: what doctor says of a site, and what it tells to change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scoop_hpc.doctor.checks import (
    clocks,
    directories,
    limits,
    network,
    of_job,
    of_login_node,
    scheduler,
    software,
    space,
    tools,
)
from scoop_hpc.doctor.checks.scheduler import SchedulerFacts
from scoop_hpc.doctor.facts import (
    Interface,
    JobFacts,
    Limit,
    Limits,
    Marked,
    NodeFacts,
    Software,
    Space,
    Tools,
    Way,
)
from scoop_hpc.doctor.finding import Finding, Verdict
from scoop_hpc.doctor.job import report
from scoop_hpc.doctor.site import ask_scheduler
from scoop_hpc.errors import SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.schedulers.answers import Completed
from scoop_hpc.schedulers.queues import Queue
from scoop_hpc.schedulers.registry import LOCAL, SCHEDULERS

GIB = 1 << 30
SPEC = JobSpec(("program.py",), "/home/me", "program", nodes=2)
UNLIMITED = Limit(None, None)
NODE = NodeFacts(
    host="n1",
    cpus=4,
    software=Software("3.11.7", "/usr/bin/python3", "0.1.0", 10, (("msgspec", "0.20.0"), ("numpy", "2.1.0"))),
    interfaces=(Interface("eth0", ("10.0.0.1",), 1000), Interface("ib0", ("10.1.0.1", "fd00::1"), 100_000)),
    address="10.0.0.1",
    spaces=(Space("/dev/shm", 8 * GIB, 8 * GIB, True), Space("/tmp", 8 * GIB, 9 * GIB, True)),
    limits=Limits(Limit(1024, 65536), Limit(4096, 4096), UNLIMITED, None, 10, False),
    shares_memory=True,
    tools=Tools("Lmod 8.7", ("apptainer",), ("mpirun",), "4.0.0", False),
    marked=(Marked("/home/me", True, True, True),),
)
OTHER = replace(NODE, host="n2", address="10.0.0.2", interfaces=(Interface("eth0", ("10.0.0.2",), 1000),))
WAY = Way("n1", "n2", "10.0.0.2", latency=0.0001, rate=1e8, clock=0.00002)


def changes(findings: list[Finding]) -> list[str]:
    """Return what is to be changed, each with what to do about it."""
    return [f"{each.text}; {each.advice}" for each in findings if each.verdict is Verdict.CHANGE]


def test_nothing_has_to_be_changed_where_all_is_well() -> None:
    asked = SchedulerFacts("slurm", version="Slurm 22.05", queues=(Queue("normal", nodes=4, walltime=86400),))
    job = JobFacts(2, (NODE, OTHER), (WAY, replace(WAY, source="n2", target="n1")))
    findings = [*of_login_node(NODE, asked, SPEC), *of_job(NODE, job, SPEC)]
    assert {each.verdict for each in findings} == {Verdict.OK}
    assert all("\n" not in each.text and not each.advice for each in findings)
    topics = {"scheduler", "queues", "python", "directories", "network", "space", "memory", "limits", "modules"}
    assert topics | {"containers", "mpi", "nodes", "clocks"} == {each.topic for each in findings}


def test_every_change_is_one_line_that_says_what_to_do() -> None:
    bare = replace(
        NODE,
        host="n2",
        software=replace(NODE.software, python="3.9.2", protocol=9, packages=(("numpy", "1.26.4"),)),
        address="",
        interfaces=(),
        spaces=(Space("/dev/shm", 0, 0, False), Space("/scratch", 0, 0, False)),
        limits=Limits(Limit(20, 20), Limit(12, 12), Limit(65536, 65536), 8, 10, False),
        shares_memory=False,
        tools=Tools("", (), (), "", True),
        marked=(Marked("/home/me", True, False, True),),
    )
    spec = replace(SPEC, modules=("gcc",), container="a.sif", queue="nosuch")
    asked = SchedulerFacts("slurm", version="Slurm 22.05", queues=(Queue("normal", nodes=4, walltime=86400),))
    job = JobFacts(3, (NODE, bare), (replace(WAY, trouble="no connection (10.0.0.2: timed out)"),))
    findings = [*of_login_node(NODE, asked, spec), *of_job(NODE, job, spec)]
    found = [each for each in findings if each.verdict is Verdict.CHANGE]
    assert all(each.advice and "\n" not in each.text + each.advice for each in found)
    topics = {"queues", "python", "directories", "network", "space", "limits", "modules", "containers", "nodes"}
    assert {each.topic for each in found} == topics


# the scheduler


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        (SchedulerFacts("slurm", missing=("sbatch",)), "slurm: sbatch not found on PATH; load the site's module"),
        (SchedulerFacts("slurm", trouble="sbatch failed: x"), "slurm: sbatch failed: x; see whether the scheduler"),
        (SchedulerFacts("sge", version="SGE", queue_trouble="qstat failed"), "qstat failed; see whether"),
        (SchedulerFacts("sge", version="SGE", queues=()), "you may use no queue; ask the site's staff for access"),
        (SchedulerFacts("sge", version="SGE", queues=(Queue("a", is_open=False),)), "none of 1 queues that you may"),
    ],
)
def test_a_scheduler_that_cannot_be_used_is_said_once(facts: SchedulerFacts, change: str) -> None:
    (found,) = changes(scheduler.check(facts, SPEC))
    assert found.startswith(change)


def test_a_scheduler_that_does_not_answer_is_not_said_again_of_its_queues() -> None:
    assert len(scheduler.check(SchedulerFacts("slurm", trouble="down", queue_trouble="down"), SPEC)) == 1


QUEUES = (Queue("short", nodes=4, walltime=900), Queue("big", is_default=True, nodes=64, most_nodes=16, walltime=86400))


@pytest.mark.parametrize(
    ("queue", "nodes", "walltime", "change"),
    [
        ("short", 2, 600, None),
        ("short,big", 8, 600, None),
        (None, 16, 3600, None),
        ("huge", 2, 600, "there is no queue 'huge' for you; choose by --queue one of short, big"),
        (
            "short",
            8,
            3600,
            "the queue 'short' allows 4 nodes and a walltime of 0:15:00, and --nodes 8 and --walltime 1:00:00 is more; "
            "give --nodes 4 and --walltime 0:15:00, or another --queue",
        ),
        (None, 17, 600, "no queue allows --nodes 17: 'big' has 16 nodes; give --nodes 16, or another --queue"),
    ],
)
def test_a_job_that_no_queue_allows_is_told_which_option_to_change(
    queue: str | None, nodes: int, walltime: int, change: str | None
) -> None:
    spec = replace(SPEC, queue=queue, nodes=nodes, walltime=walltime)
    found = changes(scheduler.check(SchedulerFacts("slurm", version="Slurm 1", queues=QUEUES), spec))
    assert found == ([] if change is None else [change])


def test_queues_that_are_closed_are_not_offered() -> None:
    queues = (*QUEUES, Queue("old", is_open=False, nodes=9), Queue("broken", nodes=0))
    _, offered, closed = scheduler.check(SchedulerFacts("slurm", version="Slurm 1", queues=queues), SPEC)
    assert offered.text == ("you may use short (4 nodes, 0:15:00); big (default, 64 nodes, at most 16 a job, 24:00:00)")
    assert closed.text == "closed, or without a node that is up: old, broken"


def test_no_scheduler_is_no_reason_to_change_something() -> None:
    (finding,) = scheduler.check(SchedulerFacts("local"), SPEC)
    assert finding.verdict is Verdict.NOTE
    assert "no other is found here" in finding.text


def test_a_scheduler_is_asked_for_its_version_and_queues() -> None:
    answers = {"sbatch": "slurm 26.05.3\n", "sinfo": "normal*|up|1-00:00:00|1-infinite|0/4/0/4\n"}
    facts = ask_scheduler(
        SCHEDULERS["slurm"], lambda argv: Completed(tuple(argv), 0, answers[argv[0]], ""), str, "me", ()
    )
    assert (facts.version, facts.trouble, facts.queue_trouble) == ("Slurm 26.05.3", "", "")
    assert facts.queues == (Queue("normal", is_default=True, nodes=4, walltime=86400),)


@pytest.mark.parametrize("name", ["slurm", "pbs", "sge"])
@pytest.mark.parametrize("done", [("", "boom", 1), ("odd|\n", "", 0)])
def test_answers_that_cannot_be_read_are_troubles(name: str, done: tuple[str, str, int]) -> None:
    out, err, status = done
    facts = ask_scheduler(
        SCHEDULERS[name], lambda argv: Completed(tuple(argv), status, out, err), str, "me", ("local",)
    )
    assert (facts.version, bool(facts.trouble)) == ("", True)
    assert facts.queue_trouble or not facts.queues


def test_a_command_that_cannot_be_run_is_a_trouble() -> None:
    def ask(argv: object) -> Completed:
        raise SchedulerError("cannot run it")

    facts = ask_scheduler(SCHEDULERS["slurm"], ask, str, "me", ())
    assert (facts.trouble, facts.queue_trouble, facts.queues) == ("cannot run it", "cannot run it", None)


def test_a_scheduler_whose_commands_are_missing_is_not_asked() -> None:
    facts = ask_scheduler(SCHEDULERS["pbs"], lambda argv: pytest.fail(f"{argv}"), lambda name: None, "me", ())
    assert facts.missing == ("qsub", "qstat", "qdel")


def test_the_built_in_scheduler_has_nothing_to_ask_for() -> None:
    facts = ask_scheduler(LOCAL, lambda argv: pytest.fail(f"{argv}"), lambda name: None, "me", ())
    assert facts == SchedulerFacts("local")


# Python


@pytest.mark.parametrize(
    ("there", "verdict", "text"),
    [
        ({"python": "3.12.1"}, Verdict.CHANGE, "n[1-2]: Python 3.12.1 in /usr/bin/python3, and 3.11.7 here"),
        ({"python": "3.11.9"}, Verdict.NOTE, "n[1-2]: Python 3.11.9, and 3.11.7 here: both go together"),
        (
            {"scoop_hpc": "0.2.0", "protocol": 11},
            Verdict.CHANGE,
            "n[1-2]: scoop_hpc 0.2.0 with protocol 11, and 0.1.0 with protocol 10 here",
        ),
        ({"packages": (("numpy", "1.26.4"),)}, Verdict.CHANGE, "n[1-2]: numpy 1.26.4, and numpy 2.1.0 here"),
        ({"packages": (("numpy", "-"),)}, Verdict.CHANGE, "n[1-2]: no numpy, and numpy 2.1.0 here"),
        ({"packages": (("numpy", "2.2.0"),)}, Verdict.NOTE, "n[1-2]: numpy 2.2.0, and numpy 2.1.0 here"),
    ],
)
def test_another_python_on_the_nodes_is_named(there: dict[str, object], verdict: Verdict, text: str) -> None:
    other = replace(NODE.software, **there)  # type: ignore[arg-type]
    (finding,) = software.check_nodes(NODE, [replace(node, software=other) for node in (NODE, OTHER)])
    assert (finding.verdict, finding.text) == (verdict, text)


def test_the_one_node_that_differs_is_named() -> None:
    third = replace(NODE, host="n3", software=replace(NODE.software, protocol=9))
    (finding,) = software.check_nodes(NODE, [NODE, OTHER, third])
    assert finding.text.startswith("n3: scoop_hpc 0.1.0 with protocol 9")


# directories


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        (Marked("/d", False, False, False), "n2: there is no '/d'"),
        (Marked("/d", True, False, True), "n2: '/d' is another directory than here: what is written here is not seen"),
        (Marked("/d", True, True, False), "n2: '/d' cannot be written to"),
    ],
)
def test_a_directory_that_a_node_does_not_share_is_told(marked: Marked, text: str) -> None:
    here = replace(NODE, marked=(Marked("/d", True, True, True),))
    fine, wrong = directories.check_nodes([here, replace(OTHER, marked=(marked,))])
    assert (fine.verdict, fine.text) == (Verdict.OK, "n1: '/d' is the same as here, and writable")
    assert (wrong.verdict, wrong.text.startswith(text)) == (Verdict.CHANGE, True)
    assert "--chdir" in wrong.advice
    assert "SCOOP_HPC_STATE" in wrong.advice


def test_a_directory_that_is_not_writable_here_is_told() -> None:
    (finding,) = directories.check_here(replace(NODE, marked=(Marked("/d", True, False, False),)))
    assert (finding.verdict, finding.text) == (Verdict.CHANGE, "'/d' is not yours to write to")


# clocks and network


@pytest.mark.parametrize(("clock", "word"), [(12.5, "ahead of"), (-12.5, "behind")])
def test_a_clock_that_is_wrong_is_told(clock: float, word: str) -> None:
    (finding,) = clocks.check([WAY, replace(WAY, target="n3", clock=clock)])
    assert (finding.verdict, finding.text) == (Verdict.CHANGE, f"the clock of n3 is 12.5 s {word} that of n1")


def test_clocks_agree_as_far_as_they_can_be_compared() -> None:
    (finding,) = clocks.check([WAY, replace(WAY, clock=-0.004)])
    assert (finding.verdict, finding.text) == (Verdict.OK, "the nodes' agree within 4.0 ms")
    assert clocks.check([replace(WAY, trouble="no connection")]) == []


@pytest.mark.parametrize(
    ("way", "verdict", "text"),
    [
        (WAY, Verdict.OK, "n1 to n2 by 10.0.0.2: 100 us there and back, 95.4 MiB/s in one stream"),
        (replace(WAY, rate=1e6), Verdict.CHANGE, "n1 to n2 by 10.0.0.2: 100 us there and back, 976.6 KiB/s in one"),
        (replace(WAY, latency=0.02), Verdict.CHANGE, "n1 to n2 by 10.0.0.2: 20.0 ms there and back"),
        (replace(WAY, trouble="no connection (x)"), Verdict.CHANGE, "n1 to n2: no connection (x)"),
    ],
)
def test_the_way_between_two_nodes_is_told(way: Way, verdict: Verdict, text: str) -> None:
    (finding,) = network.check_ways([way])
    assert finding.verdict is verdict
    assert finding.text.startswith(text)


def test_the_interface_that_a_run_takes_is_told_and_the_others_that_there_are() -> None:
    assert network.check_here(NODE).text == (
        "a run from here would take 10.0.0.1 of eth0 (1 Gbit/s); --interface may be ib0 (100 Gbit/s)"
    )
    (finding,) = network.check_nodes([NODE, replace(NODE, host="n2")])
    assert finding.text == "n[1-2]: a run takes eth0; --interface may be ib0 (100 Gbit/s)"


def test_the_bridge_to_a_host_s_own_containers_is_not_offered() -> None:
    bridged = replace(NODE, interfaces=(NODE.interfaces[0], Interface("docker0", ("172.17.0.1",), 10_000)))
    assert network.check_here(bridged).text == "a run from here would take 10.0.0.1 of eth0 (1 Gbit/s)"


def test_a_machine_without_a_network_can_run_alone_but_not_with_others() -> None:
    alone = replace(NODE, address="", interfaces=())
    assert network.check_here(alone).verdict is Verdict.NOTE
    assert [each.verdict for each in network.check_nodes([alone])] == [Verdict.NOTE]
    assert [each.verdict for each in network.check_nodes([NODE, alone])] == [Verdict.OK, Verdict.CHANGE]


def test_a_node_that_took_no_part_is_told() -> None:
    finding = network.check_all_there(JobFacts(3, (NODE, OTHER), ()))
    assert (finding.verdict, finding.text) == (
        Verdict.CHANGE,
        "2 of 3 nodes were given a task within the time",
    )


# space and limits


@pytest.mark.parametrize(
    ("found", "verdict", "text"),
    [
        (Space("/dev/shm", 0, 0, False), Verdict.NOTE, "n1: there is no /dev/shm"),
        (Space("/dev/shm", 1 << 20, 64 << 20, True), Verdict.NOTE, "n1: /dev/shm is small"),
        (Space("/scratch/7", 0, 0, False), Verdict.CHANGE, "n1: TMPDIR '/scratch/7' is not there"),
        (Space("/scratch/7", GIB, GIB, False), Verdict.CHANGE, "n1: TMPDIR '/scratch/7' cannot be written to"),
        (Space("/scratch/7", 4096, GIB, True), Verdict.CHANGE, "n1: TMPDIR '/scratch/7' is full: 4.0 KiB of 1.0 GiB"),
        (Space("/" + 90 * "x", GIB, GIB, True), Verdict.NOTE, "n1: TMPDIR '/xxxxx"),
        (Space("/tmp", GIB, 2 * GIB, True), Verdict.OK, "n1: TMPDIR '/tmp': 1.0 GiB of 2.0 GiB are free"),
    ],
)
def test_room_for_files_is_judged(found: Space, verdict: Verdict, text: str) -> None:
    finding = space.check([replace(NODE, spaces=(found,))])[0]
    assert finding.verdict is verdict
    assert finding.text.startswith(text)


def test_of_nodes_that_are_alike_the_fullest_is_told() -> None:
    fuller = replace(OTHER, spaces=(NODE.spaces[0], Space("/tmp", 5 * GIB, 9 * GIB, True)))
    texts = [each.text for each in space.check([NODE, fuller])]
    assert "n[1-2]: TMPDIR '/tmp': 5.0 GiB of 9.0 GiB are free" in texts


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        ({}, []),
        ({"files": Limit(20, 20)}, ["ulimit -Hn is 20"]),
        ({"files": Limit(20, None)}, []),  # a run raises its own to the hard one
        ({"processes": Limit(20, 4096)}, ["ulimit -u is 20, of which 10 are taken"]),
        ({"processes": Limit(20, 4096), "is_root": True}, []),
        ({"pids": 12}, ["pids.max of the control group is 12"]),
    ],
)
def test_limits_are_compared_with_what_the_workers_need(found: dict[str, object], changed: list[str]) -> None:
    node = replace(NODE, limits=replace(NODE.limits, **found))  # type: ignore[arg-type]
    told = changes(limits.check([node], SPEC))
    assert len(told) == len(changed)
    assert all(words in text for words, text in zip(changed, told))


def test_more_workers_need_more_of_everything() -> None:
    assert changes(limits.check([NODE], replace(SPEC, workers_per_node=2))) == []
    many = changes(limits.check([NODE], replace(SPEC, workers_per_node=40_000)))
    assert [("open files" in each, "--workers-per-node" in each) for each in many] == [(True, True), (False, True)]


def test_locked_memory_matters_to_mpi_over_infiniband_alone() -> None:
    locked = replace(NODE, limits=replace(NODE.limits, locked=Limit(65536, 65536)))
    assert [each.verdict for each in limits.check([locked], SPEC)] == [Verdict.OK]
    with_infiniband = replace(locked, tools=replace(NODE.tools, has_infiniband=True))
    assert [each.verdict for each in limits.check([with_infiniband], SPEC)] == [Verdict.OK, Verdict.NOTE]


# tools

BARE = replace(NODE, tools=Tools("", (), (), "", False))


def test_what_nobody_asks_for_need_not_be_there() -> None:
    assert {each.verdict for each in tools.check([BARE], SPEC)} == {Verdict.NOTE}


@pytest.mark.parametrize(
    ("node", "asked", "advice"),
    [
        (BARE, {"modules": ("gcc/12",)}, "leave --module out, or start them by --setup"),
        (BARE, {"container": "a.sif"}, "load it by --module or --setup, or leave --container out"),
        (NODE, {"container": "a.sif", "container_runtime": "singularity"}, "give --container-runtime apptainer"),
    ],
)
def test_what_is_asked_for_has_to_be_there(node: NodeFacts, asked: dict[str, object], advice: str) -> None:
    (found,) = changes(tools.check([node], replace(SPEC, **asked)))  # type: ignore[arg-type]
    assert found.endswith(f"; {advice}")


# the line that a job prints


def test_a_job_s_line_is_found_among_others_and_read_back() -> None:
    facts = JobFacts(2, (NODE, OTHER), (WAY,))
    assert report.read(f"module: loaded\n{report.write(facts)}\nbye\n") == facts


@pytest.mark.parametrize("output", ["", "nothing\n", "scoop-hpc doctor: {\n", 'scoop-hpc doctor: {"expected": "x"}\n'])
def test_output_without_a_line_that_can_be_read_has_no_facts(output: str) -> None:
    assert report.read(output) is None
