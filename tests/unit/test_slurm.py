"""Slurm's adapter: the commands, and the meaning of real answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.errors import JobSpecError, PerhapsSubmittedError, SchedulerError, UnansweredError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs.script import render
from scoop_hpc.schedulers.answers import Completed, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.readers import outside_jobs
from scoop_hpc.schedulers.slurm.adapter import SlurmScheduler

DATA = Path(__file__).parents[1] / "data" / "slurm" / "22.05.8"
SLURM = SlurmScheduler()
SPEC = JobSpec(("pi.py",), "/home/me", "pi", workers_per_node=2)
NOT_STARTED = "not started: its node does not see the directory of --output, most likely"


def completed(command: str, stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed((command,), status, stdout, stderr)


def parse(done: Completed) -> dict[str, JobStatus]:
    return {status.job_id: status for status in SLURM.parse_status(done)}


def answer(command: str, name: str) -> dict[str, JobStatus]:
    return parse(completed(command, (DATA / "status" / f"{name}.out").read_text()))


def refused(name: str) -> str:
    with pytest.raises(SchedulerError) as caught:
        SLURM.parse_job_id(completed("sbatch", stderr=(DATA / "sbatch" / f"{name}.err").read_text(), status=1))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "stdout",
    [
        "123\n",
        "123;cluster\n",
        "Submitted batch job 123\n",
        "Submitted batch job 123 on cluster other\n",
        "welcome to the site\nyour project has 7 hours\n123\n\n",
        "2026\n123\n",
    ],
)
def test_the_job_id_is_the_last_line_that_is_one(stdout: str) -> None:
    assert SLURM.parse_job_id(completed("sbatch", stdout)) == "123"


@pytest.mark.parametrize("stdout", ["", "hello\n", "job 123\n", "123 124\n"])
def test_an_answer_without_a_job_id_is_an_error(stdout: str) -> None:
    with pytest.raises(PerhapsSubmittedError) as caught:
        SLURM.parse_job_id(completed("sbatch", stdout))
    assert repr(stdout) in str(caught.value)


def test_a_submission_that_timed_out_is_no_refusal() -> None:
    stderr = (DATA / "sbatch" / "timed-out.err").read_text()
    with pytest.raises(
        PerhapsSubmittedError, match=r"no answer: Socket timed out .*; it may have been taken .* squeue"
    ):
        SLURM.parse_job_id(completed("sbatch", stderr=stderr, status=1))


def test_a_trial_that_timed_out_is_no_refusal() -> None:
    stderr = "sbatch: error: allocation failure: Socket timed out on send/recv operation\n"
    with pytest.raises(UnansweredError, match="no answer: allocation failure: Socket timed out"):
        SLURM.parse_test(completed("sbatch", stderr=stderr, status=1))


def test_a_failed_submission_has_no_job_id_even_if_one_was_printed() -> None:
    with pytest.raises(PerhapsSubmittedError, match="exit status|123"):
        SLURM.parse_job_id(completed("sbatch", "123\n", status=1))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("partition", "invalid partition specified: nosuch; Invalid partition name specified (change --queue)"),
        ("time-too-long", "Requested time limit is invalid (missing or exceeds some limit) (change --walltime)"),
        ("time-invalid", "Invalid --time specification (change --walltime)"),
        ("nodes-invalid", '"abc" is not a valid node count (change --nodes or --queue)'),
        ("nodes-partition-limit", "Node count specification invalid (change --nodes or --queue)"),
        ("nodes-too-many", "(change --nodes, --workers-per-node or --cpus-per-worker)"),
        ("cpus-per-task", "More processors requested than permitted (change --nodes, --workers-per-node or"),
        ("memory", "Memory specification can not be satisfied; Requested node configuration is not available"),
        ("memory", "(change --memory)"),
        ("account", "Invalid account or account/partition combination specified (change --account or --queue)"),
        ("qos", "Invalid qos specification (change --qos)"),
        ("option-in-script", "unrecognized option '--nosuchoption=3'"),
        ("option-in-script", "(change --directive)"),
        ("gres", "sbatch refused the job: Invalid generic resource (gres) specification (change --gpus-per-node)"),
        ("no-controller", "Unable to contact slurm controller (connect failure) (try again later, or use --scheduler"),
        ("no-config", "Unable to process configuration file (set SLURM_CONF, or use --scheduler local)"),
    ],
)
def test_a_refusal_keeps_sbatch_s_words_and_names_our_option(name: str, words: str) -> None:
    assert words in refused(name)
    assert refused(name).startswith("sbatch refused the job: ")
    assert "sbatch: error" not in refused(name)


def test_a_name_of_the_user_s_does_not_decide_the_advice() -> None:
    stderr = (
        "sbatch: error: invalid partition specified: memory-time\nsbatch: error: Invalid partition name specified\n"
    )
    with pytest.raises(SchedulerError, match="change --queue"):
        SLURM.parse_job_id(completed("sbatch", stderr=stderr, status=1))


def test_a_refusal_without_words_tells_the_exit_status() -> None:
    with pytest.raises(SchedulerError, match="exit status 9"):
        SLURM.parse_job_id(completed("sbatch", status=9))


def test_sbatch_is_called_for_a_job_id_only() -> None:
    assert SLURM.submit_argv("/jobs/1/job.sh") == ["sbatch", "--parsable", "/jobs/1/job.sh"]


def test_variables_of_the_job_around_are_not_passed_on() -> None:
    environ = {
        "HOME": "/home/me",
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "9",
        "SLURM_JOB_NODELIST_HET_GROUP_0": "n1",
        "SLURMD_NODENAME": "n1",
        "SRUN_DEBUG": "3",
        "SALLOC_ACCOUNT": "a",
        "SCOOP_HPC_LOCAL_JOB_ID": "local-1",
    }
    assert SLURM.submit_environ(outside_jobs(environ), SPEC) == {"HOME": "/home/me"}


def test_variables_of_the_site_are_kept() -> None:
    environ = {
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_CONF_SERVER": "head",
        "SLURM_CLUSTERS": "big",
        "SLURM_JWT": "secret",
        "SBATCH_ACCOUNT": "mine",
        "SBATCH_PARTITION": "long",
        "SBATCH_TIMELIMIT": "60",
        "SBATCH_MEM_PER_CPU": "1G",
        "SBATCH_QOS": "high",
        "SCOOP_HPC_STATE": "/scratch/state",
    }
    assert SLURM.submit_environ(outside_jobs(environ), SPEC) == environ


@pytest.mark.parametrize(
    ("spec", "dropped"),
    [
        (SPEC, ["JOB_NAME", "OUTPUT", "ERROR", "ARRAY_INX", "EXCLUSIVE", "OVERCOMMIT", "WAIT"]),
        (replace(SPEC, queue="q"), ["PARTITION"]),
        (replace(SPEC, account="a"), ["ACCOUNT"]),
        (replace(SPEC, walltime=60), ["TIMELIMIT"]),
        (replace(SPEC, memory_per_node=1), ["MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"]),
        (replace(SPEC, workers_per_node=None), ["MEM_PER_NODE", "MEM_PER_CPU"]),
        (replace(SPEC, directives=("--qos=a", "-C knl", "--mem-per-cpu=1G", "-t 5")), ["QOS", "CONSTRAINT"]),
        (
            replace(SPEC, directives=("--mem-per-cpu=1G", "--time=5", "--mem=1G")),
            ["MEM_PER_CPU", "TIMELIMIT", "MEM_PER_NODE"],
        ),
    ],
)
def test_variables_that_would_beat_the_script_are_dropped(spec: JobSpec, dropped: list[str]) -> None:
    assert SLURM.submit_environ({f"SBATCH_{name}": "x" for name in dropped}, spec) == {}


def test_variables_that_change_the_answers_are_dropped() -> None:
    environ = {
        "SLURM_CONF": "c",
        "SQUEUE_PARTITION": "p",
        "SACCT_FORMAT": "f",
        "SLURM_TIME_FORMAT": "t",
        "PATH": "/bin",
    }
    assert SLURM.query_environ(environ) == {"SLURM_CONF": "c", "PATH": "/bin", "SLURM_BITSTR_LEN": "0"}


def test_one_question_for_all_jobs_to_the_queue_then_to_the_accounts() -> None:
    squeue, sacct = SLURM.status_argv(["1", "2"])
    assert squeue[:5] == ["squeue", "--noheader", "--states=all", "--array", "--jobs=1,2"]
    assert sacct[:5] == ["sacct", "--noheader", "--allocations", "--parsable2", "--jobs=1,2"]


@pytest.mark.parametrize("job_id", ["", "abc", "-u", "1,2", "1 2", "local-1", "12.0", "\u0661"])
def test_what_is_no_job_id_reaches_no_command(job_id: str) -> None:
    for ask in (SLURM.status_argv, SLURM.cancel_argv):
        with pytest.raises(JobSpecError) as caught:
            ask([job_id])
        assert repr(job_id) in str(caught.value)


def test_squeue_knows_the_exit_status_of_what_ended() -> None:
    assert answer("squeue", "squeue") == {
        "1": JobStatus("1", JobState.TIMEOUT, "TimeLimit", ("aone001",), 143),
        "2": JobStatus("2", JobState.FAILED, "NonZeroExitCode", ("aone001",), 3),
        "3": JobStatus("3", JobState.FAILED, "JobLaunchFailure", ("aone001",), 139),
        "4": JobStatus("4", JobState.COMPLETED, "", ("aone001",), 0),
        "5": JobStatus("5", JobState.COMPLETED, "", ("aone001", "aone002"), 0),
        "6": JobStatus("6", JobState.FAILED, NOT_STARTED, ("aone001",)),
        "9": JobStatus("9", JobState.RUNNING, "", ("aone001", "aone002")),
        "10": JobStatus("10", JobState.PENDING, "JobHeldUser"),
    }


def test_sacct_says_the_same_of_what_squeue_has_forgotten() -> None:
    assert answer("sacct", "sacct") == {
        "1": JobStatus("1", JobState.TIMEOUT, "", ("aone001",)),
        "2": JobStatus("2", JobState.FAILED, "", ("aone001",), 3),
        "3": JobStatus("3", JobState.FAILED, "", ("aone001",), 139),
        "4": JobStatus("4", JobState.COMPLETED, "", ("aone001",), 0),
        "5": JobStatus("5", JobState.COMPLETED, "", ("aone001", "aone002"), 0),
        "6": JobStatus("6", JobState.FAILED, NOT_STARTED, ("aone001",)),
        "9": JobStatus("9", JobState.RUNNING, "", ("aone001", "aone002")),
        "10": JobStatus("10", JobState.PENDING, "JobHeldUser"),
    }


def test_a_cancelled_job_has_the_signal_s_status_where_slurm_says_it() -> None:
    nodes = ("aone001", "aone002")
    assert answer("squeue", "squeue-cancelled")["2"] == JobStatus("2", JobState.CANCELLED, "", nodes, 143)
    assert answer("sacct", "sacct-cancelled")["2"] == JobStatus("2", JobState.CANCELLED, "by user 0", nodes)


def test_tasks_of_an_array_are_jobs_of_their_own() -> None:
    jobs = answer("squeue", "squeue-cancelled")
    assert jobs["1_1"].state is JobState.RUNNING
    assert [jobs[f"1_{index}"].state for index in (2, 3, 4)] == [JobState.PENDING] * 3


def test_jobs_that_the_queue_has_forgotten_are_no_error() -> None:
    stderr = (DATA / "status" / "squeue-unknown.err").read_text()
    assert SLURM.parse_status(completed("squeue", stderr=stderr, status=1)) == []


def test_a_site_without_accounts_is_no_error() -> None:
    assert SLURM.parse_status(completed("sacct", stderr="Slurm accounting storage is disabled\n", status=1)) == []


def test_the_header_of_a_chosen_cluster_is_no_job() -> None:
    assert list(parse(completed("squeue", "CLUSTER: big\n7|RUNNING|None|0|n1|\n"))) == ["7"]


def test_a_failed_question_is_an_error_with_its_words() -> None:
    stderr = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    with pytest.raises(SchedulerError, match=r"squeue failed: .*Unable to contact slurm controller"):
        SLURM.parse_status(completed("squeue", stderr=stderr, status=1))


@pytest.mark.parametrize(
    "line",
    [
        "7|NEWSTATE|None|0|n1|",
        "7||None|0|n1|",
        "7|RUNNING|None|0|",
        "7|RUNNING|None|0|n1|x|",
        "7|FAILED|None|one|n1|",
        "7|FAILED|None|3:|n1|",
        "7|RUNNING|None|0|n[1-|",
    ],
)
def test_a_job_of_which_a_line_cannot_be_read_is_unknown_and_no_other_is(line: str) -> None:
    jobs = parse(completed("squeue", f"1|RUNNING|None|0|n1|\n{line}\n"))
    assert jobs["1"] == JobStatus("1", JobState.RUNNING, "", ("n1",))
    assert jobs["7"] == JobStatus("7", JobState.UNKNOWN, f"cannot read what squeue says of it: {line!r}", unread=True)


def test_all_jobs_of_an_array_are_unknown_whose_line_cannot_be_read() -> None:
    jobs = parse(completed("squeue", "7_[1-2]|NEWSTATE|None|0||\n8_[x]|PENDING|None|0||\n"))
    assert {job: status.unread for job, status in jobs.items()} == {"7_1": True, "7_2": True, "8": True}


def test_a_reason_may_have_any_characters() -> None:
    reason = "burst_buffer/lua: slurm_bb_setup: a|b|c"
    assert parse(completed("squeue", f"7|PENDING|{reason}|0||\n"))["7"] == JobStatus("7", JobState.PENDING, reason)


def test_an_answer_of_nothing_but_odd_lines_is_an_error_that_shows_it() -> None:
    with pytest.raises(
        SchedulerError, match="cannot read squeue's answer, which names no job: 'squeue: something else"
    ):
        SLURM.parse_status(completed("squeue", "squeue: something else\n"))


def test_a_notice_does_not_hide_that_jobs_are_forgotten() -> None:
    stderr = (DATA / "status" / "squeue-unknown.err").read_text()
    assert SLURM.parse_status(completed("squeue", "Notice\n", f"Notice\n{stderr}", 1)) == []
    ended = "scancel: error: Kill job error on job id 7: Invalid job id specified\n"
    SLURM.parse_cancel(completed("scancel", stderr=f"Notice\n{ended}", status=1))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CONFIGURING", JobState.PENDING),
        ("REQUEUE_HOLD", JobState.PENDING),
        ("COMPLETING", JobState.RUNNING),
        ("SUSPENDED", JobState.SUSPENDED),
        ("PREEMPTED", JobState.CANCELLED),
        ("CANCELLED by 1000", JobState.CANCELLED),
        ("DEADLINE", JobState.TIMEOUT),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY),
        ("NODE_FAIL", JobState.NODE_FAIL),
        ("BOOT_FAIL", JobState.FAILED),
    ],
)
def test_states(word: str, state: JobState) -> None:
    assert parse(completed("sacct", f"7|{word}|None|0:0|None assigned\n"))["7"].state is state


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("3:0", 3),
        ("0:9", 137),
        ("0:15", 143),
        ("0:0", None),
        ("768", 3),
        ("139", 139),
        ("9", 137),
        ("0", None),
        ("0:53", None),
    ],
)
def test_exit_codes_of_a_failed_job_are_as_a_shell_has_them(text: str, status: int | None) -> None:
    assert parse(completed("sacct", f"7|FAILED|None|{text}|n1\n"))["7"].exit_status == status


def test_a_job_that_is_ending_has_no_exit_status_yet() -> None:
    assert parse(completed("squeue", "7|COMPLETING|None|768|n1|\n"))["7"].exit_status is None


def test_what_can_be_done_about_a_job_names_it() -> None:
    held = JobStatus("7_2", JobState.PENDING, "JobHeldUser")
    assert SLURM.explain(held, completed("scontrol"))[-1] == "scontrol release 7_2"


def test_a_job_of_an_array_that_waits_already_is_put_back_well() -> None:
    SLURM.parse_requeue(completed("scontrol", stderr="7_0,2-3: No error\n7_1: Job is pending execution\n", status=1))
    for stderr in ("", "7_0: No error\n7_1: Requested operation is presently disabled\n"):
        with pytest.raises(SchedulerError, match="cannot requeue"):
            SLURM.parse_requeue(completed("scontrol", stderr=stderr, status=1))


def test_cancelling_is_one_command() -> None:
    assert SLURM.cancel_argv(["1", "2_3"]) == ["scancel", "1", "2_3"]


@pytest.mark.parametrize(
    "done",
    [
        completed("scancel"),
        completed("scancel", stderr="scancel: error: Kill job error on job id 7: Invalid job id specified\n", status=1),
        completed(
            "scancel", stderr="scancel: error: Kill job error on job id 7: Job/step already completing or completed\n"
        ),
    ],
)
def test_a_job_that_has_ended_is_cancelled_well(done: Completed) -> None:
    SLURM.parse_cancel(done)


def test_jobs_that_could_not_be_cancelled_are_an_error() -> None:
    stderr = (
        "scancel: error: Kill job error on job id 7: Invalid job id specified\n"
        "scancel: error: Kill job error on job id 8: Access/permission denied\n"
    )
    with pytest.raises(SchedulerError, match="job id 8: Access/permission denied"):
        SLURM.parse_cancel(completed("scancel", stderr=stderr, status=1))
    with pytest.raises(SchedulerError, match="exit status 8"):
        SLURM.parse_cancel(completed("scancel", status=8))


@pytest.mark.parametrize(
    ("directive", "words"),
    [
        ("qos=high", "'qos=high' is no option of sbatch"),
        ("#SBATCH --qos=high", "is no option of sbatch"),
        ("--array=1-9", "use --array"),
        ("-a 1-9", "use --array"),
        ("--output=x", "use --output"),
        ("-o x", "use --output"),
        ("-D /tmp", "use --chdir"),
        ("-W", "use --wait"),
        ("--test-only", "use --dry-run"),
        ("--arra=1-2", "use --array"),
        ("--out=x", "use --output"),
        ("--qos=normal --array=1-2", "several options"),
        ("--comment='x", "No closing quotation"),
    ],
)
def test_a_directive_that_would_mislead_is_refused(directive: str, words: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        SLURM.check(replace(SPEC, directives=(directive,)))
    assert words in str(caught.value)
    assert repr(directive) in str(caught.value)


def test_other_directives_pass() -> None:
    SLURM.check(replace(SPEC, directives=("--qos=high", "-C 'a&b'", "--gres=gpu:1", "--exclusive")))
    SLURM.check(replace(SPEC, directives=("-c 4", "-w node1", "-N2", "--wait-all-nodes=1", "--comment='a -b'")))


@pytest.mark.parametrize(
    ("directory", "output", "pattern"),
    [
        ("/home/me", None, "/home/me/scoop-%j.out"),
        ("/home/me", "log/{job_id}.txt", "/home/me/log/%j.txt"),
        ("/home/me", "/scratch/%j-100%", "/scratch/%%j-100%%"),
        ("/home/50% {job_id}", "x", "/home/50%% {job_id}/x"),
        ("/back\\slash", "/scratch/x", "/scratch/x"),
        ("/home/me", "{name}.txt", "/home/me/50%%.txt"),
    ],
)
def test_only_our_placeholder_is_special_in_the_output_file(directory: str, output: str | None, pattern: str) -> None:
    assert SLURM.file_pattern(replace(SPEC, directory=directory, name="50%"), output or "scoop-{job_id}.out") == pattern


@pytest.mark.parametrize(
    ("directory", "output"), [("/home", "back\\slash"), ("/back\\slash", None), ("/home", "{name}")]
)
def test_an_output_file_with_a_backslash_is_refused(directory: str, output: str | None) -> None:
    with pytest.raises(JobSpecError, match=r"drops the backslash of the output file '.*back\\\\slash.*--output"):
        SLURM.check(replace(SPEC, directory=directory, output=output, name="back\\slash"))


@pytest.mark.parametrize(
    ("directive", "left_out"),
    [
        ("--mem-per-gpu=40G", "--mem=0"),
        ("--mem-per-cpu 3900M", "--mem=0"),
        ("--mem-per-g 1G", "--mem=0"),
        ("--oversubscribe", "--exclusive"),
    ],
)
def test_what_whole_nodes_imply_gives_way_to_a_directive(directive: str, left_out: str) -> None:
    spec = JobSpec(("pi.py",), "/home/me", "pi")
    assert f"#SBATCH {left_out}" in render(spec, SLURM, ("run",)).splitlines()
    script = render(replace(spec, directives=(directive,)), SLURM, ("run",)).splitlines()
    assert f"#SBATCH {left_out}" not in script
    assert f"#SBATCH {directive}" in script


def test_cpus_for_each_gpu_take_the_place_of_one_cpu_for_each_worker() -> None:
    spec = JobSpec(("pi.py",), "/home/me", "pi", workers_per_node=2, directives=("--cpus-per-gpu=4",))
    assert "--cpus-per-task" not in render(spec, SLURM, ("run",))


@pytest.mark.parametrize(
    ("fields", "directive", "option"),
    [
        ({"memory_per_node": 2**30}, "--mem-per-gpu=4G", "--memory and"),
        ({"memory_per_cpu": 2**30}, "--mem=4G", "--memory-per-cpu and"),
        ({"cpus_per_worker": 4}, "--cpus-per-gpu=2", "--cpus-per-worker 4 and"),
        ({"exclusive": True}, "--oversubscribe", "--exclusive and"),
    ],
)
def test_what_an_option_says_is_refused_beside_a_directive_that_excludes_it(
    fields: dict[str, Any], directive: str, option: str
) -> None:
    spec = JobSpec(("pi.py",), "/home/me", "pi", directives=(directive,), **fields)
    with pytest.raises(JobSpecError, match=f"{option} the directive '{directive}' exclude each other"):
        SLURM.check(spec)


def test_gpus_have_a_type() -> None:
    spec = JobSpec(("pi.py",), "/home/me", "pi", gpus_per_node=2, gpu_type="a100")
    assert "#SBATCH --gpus-per-node=a100:2" in render(spec, SLURM, ("run",)).splitlines()


@pytest.mark.parametrize(
    ("environ", "directives", "path"),
    [
        ({"SBATCH_EXPORT": "NIL"}, (), {"PATH": "/opt/slurm/bin:/usr/local/bin:/usr/bin:/bin"}),
        ({}, ("--export=NIL",), {"PATH": "/opt/slurm/bin:/usr/local/bin:/usr/bin:/bin"}),
        ({"SBATCH_EXPORT": "NIL"}, ("--export=ALL",), {}),
        ({"SBATCH_EXPORT": "NONE"}, (), {}),  # the login shell of the node sets it
        ({}, (), {}),
    ],
)
def test_a_job_without_an_environment_finds_srun(
    environ: dict[str, str], directives: tuple[str, ...], path: dict[str, str]
) -> None:
    assert SLURM.job_variables(environ, directives, {"srun": "/opt/slurm/bin/srun"}.get) == path


@pytest.mark.parametrize(
    "reason", ["user env retrieval failed requeued held", "launch_failed_requeued_held", "JobLaunchFailure"]
)
def test_why_slurm_cancelled_a_job_unstarted_is_its_reason(reason: str) -> None:
    (squeue,) = SLURM.parse_status(completed("squeue", f"7|CANCELLED|{reason}|0|n1|\n"))
    (sacct,) = SLURM.parse_status(completed("sacct", f"7|CANCELLED by 0|{reason}|0:0|n1\n"))
    assert squeue.reason == sacct.reason == f"it could not be started: {reason}"
