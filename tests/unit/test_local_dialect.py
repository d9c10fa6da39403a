"""The adapter of the built-in scheduler, and the registry that chooses between it and the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from scoop_hpc.errors import AllocationError, JobSpecError, PerhapsSubmittedError, SchedulerError, UnansweredError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec, option_of
from scoop_hpc.schedulers import read_allocation, registry
from scoop_hpc.schedulers.allocation import Allocation, Node
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus
from scoop_hpc.schedulers.base import LOCAL_RUNS, OR_LOCAL, Ask
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.adapter import LocalScheduler
from scoop_hpc.schedulers.local.allocation import LocalReader
from scoop_hpc.schedulers.readers import outside_jobs

LOCAL = LocalScheduler("/usr/bin/python3")
LOCALJOBS = ["/usr/bin/python3", "-m", "scoop_hpc.schedulers.local"]
SPEC = JobSpec(("pi.py",), "/home/me", "pi")
JOB = {"SCOOP_HPC_LOCAL_JOB_ID": "local-7", "SCOOP_HPC_LOCAL_NODES": "local1:2,local2:1"}


def completed(stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed((*LOCALJOBS, "x"), status, stdout, stderr)


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)


def test_its_server_is_called_by_argv() -> None:
    assert LOCAL.submit_argv("/jobs/1/job.sh") == [*LOCALJOBS, "submit", "/jobs/1/job.sh"]
    assert LOCAL.status_argv(["local-1", "local-2"]) == [[*LOCALJOBS, "status", "local-1", "local-2"]]
    assert LOCAL.cancel_argv(["local-1"]) == [*LOCALJOBS, "cancel", "local-1"]


def test_the_job_id_is_the_last_line_that_is_one() -> None:
    assert LOCAL.parse_job_id(completed("hello\nlocal-12\n")) == "local-12"


@pytest.mark.parametrize("done", [completed("local-1\n", "no space left\n", 1), completed("job 7\n"), completed()])
def test_no_job_id_is_an_error(done: Completed) -> None:
    with pytest.raises(PerhapsSubmittedError):
        LOCAL.parse_job_id(done)


@pytest.mark.parametrize("job_id", ["7", "local-", "local-x", "--help", "local-1 local-2"])
def test_what_is_no_job_id_reaches_no_command(job_id: str) -> None:
    for ask in (LOCAL.status_argv, LOCAL.cancel_argv):
        with pytest.raises(JobSpecError) as caught:
            ask([job_id])
        assert repr(job_id) in str(caught.value)


def test_jobs_are_read_from_json() -> None:
    jobs = [
        {"job_id": "local-1", "state": "RUNNING", "nodes": ["local1", "local2"]},
        {"job_id": "local-2", "state": "FAILED", "reason": "why", "nodes": [], "exit_status": 3},
    ]
    assert LOCAL.parse_status(completed(json.dumps(jobs))) == [
        JobStatus("local-1", JobState.RUNNING, "", ("local1", "local2")),
        JobStatus("local-2", JobState.FAILED, "why", (), 3),
    ]


@pytest.mark.parametrize("line", ['{"job_id": "local-1"}', '{"job_id": "local-1", "state": "new"}'])
def test_a_job_that_cannot_be_read_is_unknown_and_no_other_is(line: str) -> None:
    stdout = f'[{line}, {{"job_id": "local-2", "state": "RUNNING"}}]\n'
    odd, other = LOCAL.parse_status(Completed(("python",), 0, stdout, ""))
    assert (odd.job_id, odd.state, odd.unread) == ("local-1", JobState.UNKNOWN, True)
    assert (other.job_id, other.state) == ("local-2", JobState.RUNNING)


@pytest.mark.parametrize("stdout", ["", "{", "7", "[7]", '[{"id": 1}]'])
def test_an_answer_that_cannot_be_read_is_an_error_that_shows_it(stdout: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        LOCAL.parse_status(completed(stdout))
    assert repr(stdout) in str(caught.value)


def test_an_array_is_answered_job_by_job() -> None:
    jobs = [{"job_id": f"local-7_{index}", "state": "PENDING", "reason": "why"} for index in (0, 2)]
    answer = LOCAL.parse_status(completed(json.dumps(jobs)))
    assert [LOCAL.key(status.job_id) for status in answer] == [JobKey("local-7", 0), JobKey("local-7", 2)]
    assert LOCAL.key("local-7") == JobKey("local-7")
    assert LOCAL.element_id("local-7", 2) == "local-7_2"


def test_a_failed_command_is_an_error_with_its_words() -> None:
    for parse in (LOCAL.parse_status, LOCAL.parse_cancel):
        with pytest.raises(SchedulerError, match="no space left; on device"):
            parse(completed(stderr="no space left\non device\n", status=1))
    LOCAL.parse_cancel(completed())


def test_the_environment_says_what_a_job_was_given() -> None:
    assert LocalReader().read(JOB, _no_file) == Allocation(
        "local", (Node("local1", 2, 2), Node("local2", 1, 1)), "local-7"
    )


def test_cpus_are_slots_times_cpus_per_worker() -> None:
    allocation = LocalReader().read({**JOB, "SCOOP_HPC_LOCAL_CPUS_PER_WORKER": "3"}, _no_file)
    assert allocation is not None
    assert allocation.nodes == (Node("local1", 2, 6), Node("local2", 1, 3))
    assert allocation.cpus_per_worker == 3


def test_a_job_of_an_array_knows_its_index() -> None:
    allocation = read_allocation({**JOB, "SCOOP_HPC_LOCAL_ARRAY_INDEX": "0"}, _no_file)
    assert allocation is not None
    assert allocation.array_index == 0


@pytest.mark.parametrize(
    "environ",
    [{}, {"SCOOP_HPC_LOCAL_JOB_ID": "local-7"}, {**JOB, "SCOOP_HPC_LOCAL_NODES": ""}, {"SCOOP_HPC_STATE": "/x"}],
)
def test_outside_a_job(environ: dict[str, str]) -> None:
    assert read_allocation(environ, _no_file) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCOOP_HPC_LOCAL_NODES", "local1"),
        ("SCOOP_HPC_LOCAL_NODES", "local1:0"),
        ("SCOOP_HPC_LOCAL_NODES", "local1:2,"),
        ("SCOOP_HPC_LOCAL_NODES", "local1:-1"),
        ("SCOOP_HPC_LOCAL_NODES", ":2"),
        ("SCOOP_HPC_LOCAL_NODES", "local1:two"),
        ("SCOOP_HPC_LOCAL_CPUS_PER_WORKER", "0"),
        ("SCOOP_HPC_LOCAL_CPUS_PER_WORKER", "many"),
        ("SCOOP_HPC_LOCAL_ARRAY_INDEX", "-1"),
    ],
)
def test_a_malformed_allocation_is_an_error_that_shows_it(name: str, value: str) -> None:
    with pytest.raises(AllocationError) as caught:
        LocalReader().read({**JOB, name: value}, _no_file)
    assert f"{name} is {value!r}" in str(caught.value)


def test_a_local_job_inside_a_slurm_job_does_not_see_the_nodes_around_it() -> None:
    slurm = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_CONF": "c"}
    environ = LOCAL.submit_environ(outside_jobs({**slurm, **JOB, "HOME": "/home/me"}), SPEC)
    assert environ == {"HOME": "/home/me", "SLURM_CONF": "c"}
    allocation = read_allocation({**environ, **JOB}, _no_file)
    assert allocation is not None
    assert allocation.scheduler == "local"


def test_what_this_machine_cannot_do_is_refused() -> None:
    LOCAL.check(replace(SPEC, queue="any", account="any", walltime=60, signal=5, output="back\\slash %j"))
    refused: dict[str, Any] = {"memory_per_node": 1, "exclusive": True, "requeue": True, "qos": "high"}
    for field, value in refused.items():
        with pytest.raises(JobSpecError, match=f"'local' cannot express {option_of(field)}.*: .*leave it out"):
            LOCAL.check(replace(SPEC, **{field: value}))
    with pytest.raises(JobSpecError, match="'local' cannot express --directive '--qos=high'"):
        LOCAL.check(replace(SPEC, directives=("--qos=high",)))


def test_a_signal_needs_an_end_to_be_before() -> None:
    with pytest.raises(JobSpecError, match="give --walltime"):
        LOCAL.check(replace(SPEC, signal=5))


def test_arrays_have_a_size_that_one_machine_can_look_after() -> None:
    LOCAL.check(replace(SPEC, array=JobArray(0, 99_990, 10)))
    with pytest.raises(JobSpecError, match="arrays of 10000 jobs at most"):
        LOCAL.check(replace(SPEC, array=JobArray(0, 10_000)))


@pytest.mark.parametrize("field", ["after", "after_any", "after_failure"])
def test_dependencies_are_on_jobs_of_its_own(field: str) -> None:
    def on(*job_ids: str) -> JobSpec:
        said: dict[str, Any] = {field: job_ids}
        return replace(SPEC, **said)

    LOCAL.check(on("local-1", "local-2_3"))
    for job_id in ("17", "local-1:local-2", "local-1,afterany"):
        with pytest.raises(JobSpecError, match=f"{job_id!r} is no job id"):
            LOCAL.check(on(job_id))


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("it waits for local-1 to succeed", ["wait, or cancel it and submit it again without that dependency"]),
        ("its time has not come: it begins at 2030-01-31T08:00:00", ["wait, or cancel it and submit it again without"]),
        ("as many jobs of its array run as may at a time", ["wait, or change the %LIMIT of --array"]),
        ("it is about to begin", []),
    ],
)
def test_why_a_job_waits_and_what_can_be_done(reason: str, advice: list[str]) -> None:
    why, *what = LOCAL.explain(JobStatus("local-2", JobState.PENDING, reason), completed("[]"))
    assert why == reason
    assert len(what) == len(advice)
    assert all(line.startswith(beginning) for line, beginning in zip(what, advice))


SBATCH_FAILS = "scontrol: fatal: Could not establish a configuration source\n"


def asking(calls: list[str], ping: Completed, qstat: str = "pbs_version = 23.06.06\n") -> Ask:
    """Return what runs commands: Slurm's ping, and whosever qstat it is."""

    def ask(argv: Sequence[str]) -> Completed:
        calls.append(" ".join(argv))
        return ping if argv[0] == "scontrol" else Completed(tuple(argv), 0, qstat, "")

    return ask


def test_slurm_is_found_where_all_its_commands_are() -> None:
    calls: list[str] = []
    up = asking(calls, completed("Slurmctld(primary) at head is UP\n"))
    slurms = {command: f"/usr/bin/{command}" for command in registry.SCHEDULERS["slurm"].commands}
    assert registry.find(slurms.get, up).name == "slurm"
    assert calls == []
    assert registry.find(lambda command: f"/usr/bin/{command}", up).name == "slurm"
    assert calls == ["scontrol ping"]
    assert registry.find(lambda command: None, up).name == "local"


def test_a_slurm_that_is_not_set_up_gives_way_to_another_scheduler() -> None:
    unset = asking([], completed(stderr=SBATCH_FAILS, status=1))
    assert registry.find(lambda command: f"/usr/bin/{command}", unset).name == "pbs"
    of_grid_engine = asking([], completed(stderr=SBATCH_FAILS, status=1), "SGE 8.1.9\n")
    assert registry.find(lambda command: f"/usr/bin/{command}", of_grid_engine).name == "sge"
    nothing = asking([], completed(stderr=SBATCH_FAILS, status=1), "?")
    assert registry.find(lambda command: f"/usr/bin/{command}", nothing).name == "slurm"


def test_a_slurm_that_is_down_is_waited_for_rather_than_left() -> None:
    down = asking([], completed("Slurmctld(primary) at head is DOWN\n", "", 1))
    assert registry.find(lambda command: f"/usr/bin/{command}", down).name == "slurm"

    def hang(argv: Sequence[str]) -> Completed:
        raise UnansweredError("no answer")

    assert registry.find(lambda command: f"/usr/bin/{command}", hang).name == "slurm"


def test_a_command_that_hangs_is_nobody_s() -> None:
    def ask(argv: Sequence[str]) -> Completed:
        raise UnansweredError("no answer")

    pbs = {command: f"/usr/bin/{command}" for command in registry.SCHEDULERS["pbs"].commands}
    assert registry.find(pbs.get, ask).name == "local"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            f"no slurm.conf (set SLURM_CONF{OR_LOCAL})",
            "no slurm.conf (set SLURM_CONF, or use --scheduler pbs, which is here as well)",
        ),
        (f"sbatch not found{LOCAL_RUNS}", "sbatch not found; --scheduler pbs is here"),
        ("Invalid qos (change --qos)", "Invalid qos (change --qos)"),
    ],
)
def test_the_scheduler_that_is_here_as_well_is_named(message: str, told: str) -> None:
    pbs = {command: f"/usr/bin/{command}" for command in registry.SCHEDULERS["pbs"].commands}
    ask = asking([], completed())
    assert registry.naming_others(message, "slurm", pbs.get, ask) == told
    assert registry.naming_others(message, "slurm", lambda command: None, ask) == message
    assert registry.naming_others(message, "pbs", pbs.get, ask) == message


def test_a_scheduler_by_name() -> None:
    assert [registry.named(name).name for name in registry.SCHEDULERS] == list(registry.SCHEDULERS)
    assert list(registry.SCHEDULERS)[-1] == "local"


def test_an_unknown_scheduler_is_refused_with_those_that_exist() -> None:
    with pytest.raises(JobSpecError, match="no scheduler 'nosuch': choose one of slurm, pbs, sge, local"):
        registry.named("nosuch")


def test_a_job_whose_files_cannot_be_read_is_unknown_with_the_reason() -> None:
    told: dict[str, object] = {
        "job_id": "local-1",
        "state": "UNKNOWN",
        "reason": "cannot read 'state.json'",
        "nodes": [],
        "exit_status": None,
    }
    (job,) = LOCAL.parse_status(completed(json.dumps([told])))
    assert job == JobStatus("local-1", JobState.UNKNOWN, "cannot read 'state.json'", unread=True)


@pytest.mark.parametrize("position", [0, 1])
def test_what_start_up_files_of_python_print_costs_no_answer(position: int) -> None:
    lines = ['[{"job_id": "local-1", "state": "RUNNING"}]']
    lines.insert(position, "sitecustomize: [hello]")
    heard: list[str] = []
    (job,) = LOCAL.parse_status(completed("\n".join(lines) + "\n"), heard.append)
    assert (job.job_id, job.state, heard) == ("local-1", JobState.RUNNING, ["sitecustomize: [hello]"])
