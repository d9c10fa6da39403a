"""Grid Engine's adapter: the commands, and the meaning of real answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.cli import allocated
from scoop_hpc.errors import JobSpecError, PerhapsSubmittedError, SchedulerError
from scoop_hpc.fields.array import parse_array
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs.script import render
from scoop_hpc.launchers.base import Forwarding
from scoop_hpc.launchers.qrsh import QrshLauncher
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.sge.adapter import SgeScheduler
from scoop_hpc.schedulers.sge.environments import ParallelEnvironment, usable
from scoop_hpc.schedulers.sge.status import read_accounts

DATA = Path(__file__).parents[1] / "data" / "sge" / "8.1.9"
SGE = SgeScheduler(lambda: "me")
SPEC = JobSpec(("pi.py",), "/home/me", "pi", workers_per_node=1)
MPI = ParallelEnvironment("mpi", "$round_robin", True)
MPI2 = ParallelEnvironment("mpi2", "2", True)
MPI3 = ParallelEnvironment("mpi3", "3", True)
FILL = ParallelEnvironment("mpi_fill", "$fill_up", True)
SMP = ParallelEnvironment("smp", "$pe_slots", False)
SITE = (MPI, MPI2, FILL, SMP)


def text(name: str) -> str:
    return (DATA / name).read_text()


def completed(command: str, stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed((command,), status, stdout, stderr)


def said(command: str, name: str) -> dict[str, JobStatus]:
    return {status.job_id: status for status in SGE.parse_status(completed(command, text(name)))}


def refused(name: str) -> str:
    with pytest.raises(SchedulerError) as caught:
        SGE.parse_job_id(completed("qsub", stderr=text(f"qsub/{name}.err"), status=1))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def site(queues: dict[str, str]) -> Callable[[Sequence[str]], Completed]:
    """Answer as the recorded site does, whose *queues* have these parallel environments."""

    def ask(argv: Sequence[str]) -> Completed:
        if argv[:2] == ["qselect", "-q"]:
            return Completed(tuple(argv), argv[2] not in queues, f"{argv[2]}@node001\n" * (argv[2] in queues), "")
        if argv[0] == "qselect":
            pe, queue = argv[2], argv[4] if len(argv) > 3 else None
            having = [name for name, names in queues.items() if pe in names.split() and queue in (None, name)]
            return Completed(tuple(argv), not having, "".join(f"{name}@node001\n" for name in having), "")
        name = "qconf-spl" if argv[1] == "-spl" else f"qconf-sp-{argv[2]}"
        return Completed(tuple(argv), 0, text(f"qconf/{name}.out"), "")

    return ask


ALL = site({"all.q": "mpi mpi2 mpi_fill smp"})

# who is asked


@pytest.mark.parametrize(
    "banner", ["SGE 8.1.9", "GE 6.2u5", "OGS/GE 2011.11p1", "UGE 8.6.7", "AGE 2023.1.1", "OCS 9.0.0"]
)
def test_grid_engine_is_recognised_by_its_help(banner: str) -> None:
    assert SGE.recognises(completed("qstat", f"{banner}\nusage: qstat [options]\n"))
    assert SGE.recognises(completed("qstat", text("help.out")))


def test_pbs_is_not_taken_for_grid_engine() -> None:
    words = "qstat: illegal option -- h\nusage:\nqstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format] [-D delim]\n"
    assert not SGE.recognises(completed("qstat", stderr=words, status=2))


# submission


@pytest.mark.parametrize(
    ("name", "job_id"),
    [("ok-terse", "2"), ("ok-array-terse", "4"), ("ok", "1"), ("ok-array", "3")],
)
def test_the_job_id_is_the_number_that_qsub_prints(name: str, job_id: str) -> None:
    assert SGE.parse_job_id(completed("qsub", text(f"qsub/{name}.out"))) == job_id


def test_lines_of_a_sites_wrapper_are_no_job_id() -> None:
    assert SGE.parse_job_id(completed("qsub", "2026\nYour project has 7 hours\n123.1-10:2\n\n")) == "123"


@pytest.mark.parametrize("stdout", ["", "hello\n", "job 123\n", "123 124\n"])
def test_an_answer_without_a_job_id_is_an_error(stdout: str) -> None:
    with pytest.raises(PerhapsSubmittedError, match="no job id"):
        SGE.parse_job_id(completed("qsub", stdout))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("err-pe", 'the requested parallel environment "nosuch" does not exist (change --pe)'),
        ("err-queue", 'unknown queue "nosuch.q" (change --queue)'),
        ("err-resource", 'unknown resource "nosuch" (change --directive or --constraint)'),
        ("err-project", 'the requested project "nosuch" does not exist (change --account)'),
        ("err-reservation", "must be an unsigned integer (change --reservation)"),
        ("err-name", "(change --name)"),
        ("err-h_rt", 'attribute "h_rt" is not a time value (change --walltime)'),
        ("err-option-in-script", '"-nosuchoption" (change --directive)'),
        ("no-qmaster", "(try again later, or use --scheduler local)"),
        ("no-config", "(source the site's settings.sh, or use --scheduler local)"),
    ],
)
def test_a_refusal_names_the_option_to_change(name: str, words: str) -> None:
    assert words in refused(name)
    assert "Exiting" not in refused(name)


def test_what_qsub_thinks_of_a_script() -> None:
    assert SGE.test_argv("job.sh") == ["qsub", "-w", "v", "job.sh"]
    assert SGE.parse_test(completed("qsub", text("qsub/ok-verify-w-v.out"))) == "found suitable queue(s)"
    with pytest.raises(SchedulerError, match='"mpi" because it only offers 16 slots'):
        SGE.parse_test(completed("qsub", stderr=text("qsub/err-slots-too-many-w-v.err"), status=1))


# parallel environments


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        ({"nodes": 4, "workers_per_node": 2}, "mpi2"),
        ({"nodes": 4, "workers_per_node": 1, "cpus_per_worker": 2}, "mpi2"),
        ({"nodes": 4, "workers": 8}, "mpi2"),
        ({"nodes": 1, "workers_per_node": 3}, "smp"),
        ({"nodes": 1, "workers_per_node": 2}, "smp"),
        ({"nodes": None, "workers": 7}, "mpi"),
        ({"nodes": None, "workers": 7, "cpus_per_worker": 2}, "mpi2"),
        ({"nodes": None, "workers": 7, "parallel_environment": "mpi_fill"}, "mpi_fill"),
        ({"nodes": None, "workers": 7, "parallel_environment": "mpi_*"}, "mpi_fill"),
        ({"nodes": None, "workers": 8, "parallel_environment": "mpi2"}, "mpi2"),
        ({"nodes": 4}, "mpi2"),
    ],
)
def test_the_parallel_environment_that_fits_is_chosen(ask: dict[str, object], name: str) -> None:
    spec = replace(SPEC, **{"workers_per_node": None, **ask})  # type: ignore[arg-type]
    assert SGE.prepare(spec, ALL).parallel_environment == name


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"nodes": 4, "workers_per_node": 3}, "3 slots on each of 4 nodes"),
        ({"nodes": 4, "workers": 7}, "7 workers on 4 nodes"),
        ({"nodes": 4, "workers_per_node": 2, "parallel_environment": "mpi"}, "rule '$round_robin'"),
        ({"nodes": 4, "workers_per_node": 2, "parallel_environment": "smp"}, "rule '$pe_slots'"),
        ({"nodes": None, "workers": 7, "parallel_environment": "mpi2"}, "give --workers 2 or a multiple of it"),
        ({"nodes": None, "workers": 2, "cpus_per_worker": 3, "parallel_environment": "mpi"}, "on two hosts"),
        (
            {"nodes": None, "workers": 7, "parallel_environment": "nosuch"},
            "the site has 'mpi', 'mpi2', 'mpi_fill', 'smp'",
        ),
        ({"nodes": 4, "cpus_per_worker": 3}, "give --workers-per-node"),
    ],
)
def test_what_no_rule_promises_is_refused_with_what_to_change(ask: dict[str, object], words: str) -> None:
    spec = replace(SPEC, **{"workers_per_node": None, **ask})  # type: ignore[arg-type]
    with pytest.raises(JobSpecError) as caught:
        SGE.prepare(spec, ALL)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_nodes_are_clear_with_one_fixed_number_only() -> None:
    spec = replace(SPEC, nodes=4, workers_per_node=None)
    assert SGE.prepare(spec, ALL).workers_per_node == 2
    assert usable(spec, (MPI, MPI3)) == [MPI3]
    with pytest.raises(JobSpecError, match="several parallel environments"):
        usable(spec, (MPI2, MPI3))


def test_a_parallel_environment_that_starts_nothing_elsewhere_is_for_one_host() -> None:
    spec = replace(SPEC, nodes=None, workers=7, workers_per_node=None, parallel_environment="loose")
    with pytest.raises(JobSpecError, match="control_slaves FALSE"):
        usable(spec, [ParallelEnvironment("loose", "$round_robin", False)])


def test_one_slot_needs_no_parallel_environment() -> None:
    def never(argv: Sequence[str]) -> Completed:
        raise AssertionError(argv)

    assert SGE.prepare(SPEC, never).parallel_environment is None
    assert SGE.prepare(replace(SPEC, nodes=None, workers=1, workers_per_node=None), never).parallel_environment is None


def test_a_parallel_environment_that_the_queue_lacks_is_passed_over() -> None:
    spec = replace(SPEC, nodes=None, workers=7, workers_per_node=None)
    assert SGE.prepare(spec, site({"short.q": "mpi_fill"})).parallel_environment == "mpi_fill"
    with pytest.raises(JobSpecError, match="the queue 'all.q' does not have the parallel environment 'mpi'"):
        SGE.prepare(replace(spec, queue="all.q"), site({"short.q": "mpi_fill", "all.q": "mpi2"}))


def test_a_queue_that_is_not_there_is_named() -> None:
    with pytest.raises(JobSpecError, match="no host has the queue 'shrot.q': qconf -sql .* change --queue"):
        SGE.prepare(replace(SPEC, queue="shrot.q", workers_per_node=2), ALL)


def test_a_site_that_does_not_answer_is_an_error() -> None:
    def silent(argv: Sequence[str]) -> Completed:
        return Completed(tuple(argv), 1, "", text("qstat/no-qmaster.err"))

    with pytest.raises(SchedulerError, match="try again later"):
        SGE.prepare(replace(SPEC, nodes=None, workers=7, workers_per_node=None), silent)


# the script


def script(**fields: object) -> list[str]:
    spec = SGE.prepare(replace(SPEC, **fields), ALL)  # type: ignore[arg-type]
    return render(spec, SGE, ["python3", "pi.py"]).splitlines()


def test_slots_are_workers_times_their_cpus_and_the_run_is_told() -> None:
    lines = script(nodes=4, cpus_per_worker=2)
    assert "#$ -pe mpi2 8" in lines
    assert "export SCOOP_HPC_JOB_CPUS_PER_WORKER=2" in lines


def test_the_files_names_are_in_grid_engines_words() -> None:
    lines = script(
        name="a b",
        array=parse_array("1-9:2%3"),
        output="{name} {job_id}.{array_index}",
        error="a:{job_id}{array_index}",
    )
    assert '#$ -o "/home/me/a_b $JOB_ID.$TASK_ID"' in lines
    assert "#$ -e :/home/me/a:$JOB_ID$TASK_ID" in lines
    assert "#$ -j y" not in lines
    assert [line for line in lines if line.startswith("#$ -t")] == ["#$ -t 1-9:2", "#$ -tc 3"]


def test_a_warning_before_the_end_goes_to_the_run_alone() -> None:
    lines = script(walltime=3600, signal=90)
    assert "(sleep 3510; kill -USR1 $$) </dev/null >/dev/null 2>&1 &" in lines
    assert not [line for line in lines if "s_rt" in line or "-notify" in line]


@pytest.mark.parametrize("name", ["3d", "my pi", "a:b", "a/b", "a*b", "ü", "-x"])
def test_a_name_that_grid_engine_does_not_take_is_made_one(name: str) -> None:
    (line,) = [line for line in script(name=name) if line.startswith("#$ -N ")]
    assert re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", line[6:])
    with pytest.raises(JobSpecError, match="job name"):
        SGE.check(replace(SPEC, name=name))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"after": ("7",)}, "use --after-any"),
        ({"after_failure": ("7",)}, "use --after-any"),
        ({"after_any": ("7.3",)}, "write the number alone"),
        ({"after_any": ("seven",)}, "'seven' is no job id of Grid Engine"),
        ({"memory_per_node": 2**30}, "use --memory-per-cpu"),
        ({"gpus_per_node": 1}, "--directive '-l gpu=1'"),
        ({"exclusive": True}, "--directive '-l exclusive=true'"),
        ({"qos": "high"}, "--qos"),
        ({"array": parse_array("0-3"), "output": "{array_index}"}, "Grid Engine's begin with 1"),
        ({"signal": 60}, "give --walltime as well"),
        ({"prologue": ("#$ -l gpu=1",)}, "give it as --directive"),
        ({"prologue": ("id\n#$ -l gpu=1",)}, "give it as --directive"),
        ({"setup": ("id\n#$ -l gpu=1",)}, "the setup '#$ -l gpu=1' would be a directive: give it as --directive"),
        ({"directives": ("-l gpu=1 # one",)}, "drops what follows #"),
        ({"directives": ("-pe mpi 4",)}, "use --pe"),
        ({"directives": ("gpu=1",)}, "no option of qsub"),
        ({"directives": ("-l 'gpu",)}, "cannot read the directive"),
        ({"output": "a,b"}, "something else by ,"),
        ({"output": "$USER.out"}, "something else by $USER"),
        ({"queue": "a#b"}, "cannot read #"),
        ({"output": 'a"b'}, 'cannot read "'),
        ({"nodes": 2}, "give --pe"),
    ],
)
def test_what_grid_engine_cannot_say_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        render(replace(SPEC, **fields), SGE, ["python3"])  # type: ignore[arg-type]
    assert words in str(caught.value)


# how jobs stand


def test_one_listing_tells_of_all_jobs_and_of_an_arrays_one_by_one() -> None:
    jobs = said("qstat", "qstat/mixed-g-t-xml.out")
    states = {job_id: job.state for job_id, job in jobs.items()}
    assert states["46"] is states["53.1"] is states["53.2"] is JobState.RUNNING
    assert {states[job_id] for job_id in ("48", "49", "50", "51", "52", "53.3", "53.4", "53.5")} == {JobState.PENDING}
    assert jobs["46"].nodes == ("node001", "node002", "node003", "node004")
    assert jobs["50"].reason == "held"
    assert SGE.key("53.4") == JobKey("53", 4)
    assert SGE.element_id("53", 4) == "53.4"


def test_a_job_in_an_error_state_has_failed() -> None:
    job = said("qstat", "qstat/mixed-xml.out")["54"]
    assert (job.state, job.reason) == (JobState.FAILED, "put into an error state: explain tells why")
    assert job.stuck


def test_a_job_of_the_past_is_not_in_the_queue() -> None:
    assert said("qstat", "qstat/finished-xml.out") == {}


LETTERS = {
    JobState.PENDING: "qw hqw Rq hRwq",
    JobState.RUNNING: "r t Rr Rt hr dr dt dRr dRt ds dS dT dRs dRS dRT",
    JobState.SUSPENDED: "s ts S tS T tT Rs Rts RS RtS RT RtT",
    JobState.FAILED: "Eqw Ehqw EhRqw",
}


@pytest.mark.parametrize(
    ("state", "letters"), [(state, word) for state, words in LETTERS.items() for word in words.split()]
)
def test_every_state_of_the_manual_is_known(state: JobState, letters: str) -> None:
    entry = f"<job_list><JB_job_number>7</JB_job_number><state>{letters}</state></job_list>"
    (job,) = SGE.parse_status(completed("qstat", f"<job_info>{entry}</job_info>"))
    assert job.state is state


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "<job_info>",
        "job-ID prior name\n",
        "<a><job_list><JB_job_number>x</JB_job_number><state>r</state></job_list></a>",
    ],
)
def test_a_listing_that_cannot_be_read_is_an_error(stdout: str) -> None:
    with pytest.raises(SchedulerError, match="cannot read"):
        SGE.parse_status(completed("qstat", stdout))


@pytest.mark.parametrize(
    ("name", "state", "exit_status"),
    [
        ("completed", JobState.COMPLETED, 0),
        ("failed", JobState.FAILED, 3),
        ("notfound", JobState.FAILED, 127),
        ("signal", JobState.FAILED, 139),
        ("h_rt", JobState.TIMEOUT, 137),
        ("deleted", JobState.CANCELLED, 137),
        ("pe", JobState.COMPLETED, 0),
    ],
)
def test_accounts_tell_how_a_job_ended(name: str, state: JobState, exit_status: int) -> None:
    (job,) = said("qacct", f"qacct/{name}.out").values()
    assert (job.state, job.exit_status) == (state, exit_status)


def test_a_parallel_jobs_own_record_is_the_last_and_its_host_the_first() -> None:
    jobs = said("qacct", "qacct/parallel-ends.out")
    assert {job_id: job.state for job_id, job in jobs.items()} == {
        "28": JobState.CANCELLED,
        "29": JobState.TIMEOUT,
        "30": JobState.TIMEOUT,
    }
    assert jobs["29"].nodes == ("sg001", "sg002", "sg003", "sg004")
    assert "h_rt" in jobs["29"].reason


def test_accounts_tell_of_an_arrays_jobs_one_by_one() -> None:
    jobs = said("qacct", "qacct/array.out")
    assert [(job_id, job.exit_status) for job_id, job in sorted(jobs.items())][:2] == [("61.1", 1), ("61.2", 2)]


RECORD = "jobnumber 7\ntaskid undefined\nhostname n1\nslots 2\n"


@pytest.mark.parametrize(
    ("lines", "state", "words"),
    [
        (
            "failed 100 : assumedly after job\nexit_status 137\nmaxvmem 3.98GB\ncategory -l h_vmem=2G",
            "OUT_OF_MEMORY",
            "h_vmem=2G",
        ),
        (
            "failed 100 : assumedly after job\nexit_status 137\nmaxvmem 1.0GB\ncategory -l h_vmem=2G",
            "CANCELLED",
            "qdel",
        ),
        ("failed 100 : assumedly after job\nexit_status 137\nru_wallclock 61s\ncategory -l h_rt=60", "TIMEOUT", ""),
        ("failed 100 : assumedly after job\nexit_status 137\nru_wallclock 61\ncategory -l h_rt=0:1:0", "TIMEOUT", ""),
        (
            "failed 100 : assumedly after job\nexit_status 137\ndeleted_by root@head",
            "CANCELLED",
            "deleted by root@head",
        ),
        ("failed 100 : assumedly after job\nexit_status 139\ndeleted_by NONE", "FAILED", "failed 100"),
        ("failed 19 : before writing exit_status\nexit_status 0", "NODE_FAIL", "failed 19: before writing"),
        ("failed 21 : in recognizing job\nexit_status 0", "NODE_FAIL", "failed 21"),
        ("failed 25 : rescheduling\nexit_status 99", "CANCELLED", "rescheduling"),
        ("failed 26 : opening input/output file\nexit_status 0", "FAILED", "opening input/output file"),
        ("failed 0\nexit_status 0", "COMPLETED", ""),
    ],
)
def test_grid_engines_codes_are_mapped_once_for_all(lines: str, state: str, words: str) -> None:
    (job,) = read_accounts(RECORD + lines)
    assert job.state.value == state
    assert words in job.reason


def test_of_a_job_that_never_ran_nothing_is_made_up() -> None:
    (job,) = read_accounts(RECORD + "failed 26 : opening input/output file\nexit_status 0")
    assert job.exit_status is None


def test_a_job_that_ran_twice_ended_as_it_did_last() -> None:
    first = RECORD + "failed 25 : rescheduling\nexit_status 137\n"
    (job,) = read_accounts(first + "=" * 62 + "\n" + RECORD + "failed 0\nexit_status 0\n")
    assert (job.state, job.reason) == (JobState.COMPLETED, "")


def test_what_the_owner_has_used_in_all_is_no_part_of_a_job_and_no_surprise() -> None:
    totals = "OWNER     WALLCLOCK         UTIME         STIME\n" + "=" * 118 + "\nroot           1245        22.186\n"
    passed_over: list[str] = []
    (job,) = read_accounts(RECORD + "failed 0\nexit_status 0\ncategory -l h_rt=60\n" + totals, passed_over.append)
    assert (job.state, passed_over) == (JobState.COMPLETED, [])


@pytest.mark.parametrize("words", [text("qacct/unknown.err"), "/x/accounting: No such file or directory\n"])
def test_a_site_without_accounts_is_no_error(words: str) -> None:
    assert SGE.parse_status(completed("qacct", stderr=words, status=1)) == []


def test_a_job_whose_record_cannot_be_read_is_unknown_and_no_other_is() -> None:
    (odd,) = read_accounts(RECORD + "failed what?\nexit_status 0")
    assert (odd.state, odd.unread) == (JobState.UNKNOWN, True)
    assert odd.reason == "cannot read what qacct says of it: 'failed what?, exit_status 0'"


@pytest.mark.parametrize("entry", ["<state>?</state>", "<state></state>", "<state>qw</state><tasks>1;2</tasks>"])
def test_a_job_whose_entry_cannot_be_read_is_unknown_and_no_other_is(entry: str) -> None:
    entries = f"<job_list><JB_job_number>7</JB_job_number>{entry}</job_list>"
    entries += "<job_list><JB_job_number>8</JB_job_number><state>qw</state></job_list>"
    odd, other = SGE.parse_status(completed("qstat", f"<job_info>{entries}</job_info>"))
    assert (odd.job_id, odd.state, odd.unread) == ("7", JobState.UNKNOWN, True)
    assert (other.job_id, other.state) == ("8", JobState.PENDING)


def test_thousands_of_jobs_are_asked_for_at_once() -> None:
    ids = [str(number) for number in range(1, 5000)]
    commands = SGE.status_argv(ids)
    assert len(commands) == 3
    assert max(len(" ".join(argv)) for argv in commands) < 100
    assert SGE.status_argv(["7.1", "7.2"]) == [["qstat", "-u", "$user", "-g", "t", "-xml"], ["qacct", "-j", "7"]]
    with pytest.raises(JobSpecError, match="no job id"):
        SGE.status_argv(["7", "-j"])


def test_a_qmaster_that_is_away_is_an_error_with_advice() -> None:
    with pytest.raises(SchedulerError, match="try again later"):
        SGE.parse_status(completed("qstat", stderr=text("qstat/no-qmaster.err"), status=1))


# cancel, requeue, explain


@pytest.mark.parametrize("name", ["several", "running", "array-running-task", "error-state", "unknown"])
def test_a_job_that_has_ended_is_no_error_to_cancel(name: str) -> None:
    SGE.parse_cancel(completed("qdel", text(f"qdel/{name}.out"), status=1))


def test_a_job_of_somebody_else_cannot_be_cancelled() -> None:
    with pytest.raises(SchedulerError, match="you do not have the necessary privileges"):
        SGE.parse_cancel(
            completed("qdel", 'you do not have the necessary privileges to delete the job "7"\n', status=1)
        )
    with pytest.raises(SchedulerError, match="try again later"):
        SGE.parse_cancel(completed("qdel", text("qdel/qdel.out"), text("qdel/qdel.err"), 1))


def test_only_a_job_that_may_be_run_again_is_requeued() -> None:
    SGE.parse_requeue(completed("qmod", text("qmod/pushed.out")))
    with pytest.raises(SchedulerError, match="submitted with --requeue"):
        SGE.parse_requeue(completed("qmod", text("qmod/not-rerunable.out")))
    with pytest.raises(SchedulerError, match='invalid queue or job "999"'):
        SGE.parse_requeue(completed("qmod", text("qmod/unknown.out"), status=1))


@pytest.mark.parametrize(
    ("name", "why", "what"),
    [
        ("impossible", "the parallel environment 'mpi' has 16 slots in all, fewer than it asks for", "fewer --workers"),
        ("badpeq", "it can never begin as the site is now", "fewer --workers"),
        ("waiting", "4 of the queues' hosts are full", "wait"),
        ("serial", "4 of the queues' hosts are full", "wait"),
        ("dependent", "it waits for another job to end", "wait"),
        ("dependent", "it is to begin after 46", "wait"),
        ("held", "it is held", "qrls 7"),
        ("later", "its time has not come (--begin)", "wait"),
        ("badcwd", "Grid Engine could not start it: can't chdir to /nosuch: No such file or directory", "qmod -cj 7"),
        ("forgotten", "Grid Engine does not know it any more", "scoop-hpc status"),
        ("array", "as many jobs of its array run as may at a time", "the %LIMIT of --array"),
    ],
)
def test_explain_says_why_and_what_can_be_changed(name: str, why: str, what: str) -> None:
    *lines, last = SGE.explain(JobStatus("7", JobState.PENDING), completed("/bin/sh", text(f"explain/{name}.out")))
    assert why in lines
    assert what in last


def test_explain_needs_no_messages_of_the_scheduler() -> None:
    told = text("explain/waiting.out")
    about, _, rest = told.partition("scheduling info:")
    silent = f"{about}scheduling info:            (Collecting of scheduler job information is turned off)\n"
    silent += "== now" + rest.partition("== now")[2]
    lines = SGE.explain(JobStatus("7", JobState.PENDING), completed("/bin/sh", silent))
    assert "its queues have no slot free" in lines


# the launch, and the end


def test_every_agent_but_the_first_is_started_by_a_qrsh_of_its_own() -> None:
    agent = ["/bin/sh", "-c", '. "$0"; exec "$@"', "/state/a b", "python3"]
    local, *others = QrshLauncher("n1").commands(agent, ["n1", "n2", "n3"], {"JOB_ID": "7"})
    assert (local.argv, local.nodes) == ((*agent, "--node", "n1"), ("n1",))
    assert [command.nodes for command in others] == [("n2",), ("n3",)]
    assert others[0].argv[:4] == ("qrsh", "-inherit", "-nostdin", "n2")
    assert len(others[0].argv) == 5
    assert not {"-v", "-V"} & set(others[0].argv)
    assert QrshLauncher("n1").forwarding is Forwarding.FILE


@pytest.mark.parametrize("status", [99, 100])
def test_no_program_requeues_its_job_by_accident(status: int) -> None:
    inside = {"JOB_ID": "7", "SGE_TASK_ID": "undefined"}
    changed, remark = allocated.exit_status(status, inside)
    assert changed == 1
    assert str(status) in remark
    assert allocated.exit_status(status, {}) == (status, "")
    assert allocated.exit_status(3, inside) == (3, "")


@pytest.mark.parametrize("message", [line for line in text("messages.txt").splitlines() if not line.startswith("#")])
def test_what_the_scheduler_says_is_told_in_plain_words(message: str) -> None:
    now, ever = "== now\n", "== ever\nverification: found suitable queue(s)\n"
    answers = f"job_number: 7\nscheduling info:            {message}\n{now}{ever}"
    *lines, last = SGE.explain(JobStatus("7", JobState.PENDING), completed("/bin/sh", answers))
    assert lines
    assert not any(line.startswith("Grid Engine says") for line in lines)
    assert last
