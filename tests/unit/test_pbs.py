"""PBS's adapter: the commands, and the meaning of real answers."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.errors import JobSpecError, PerhapsSubmittedError, SchedulerError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec, output_path
from scoop_hpc.jobs.script import render
from scoop_hpc.launchers.pbs import PbsdshLauncher, PbsTmrshLauncher
from scoop_hpc.schedulers import registry
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.pbs import chunks
from scoop_hpc.schedulers.pbs import status as pbs_status
from scoop_hpc.schedulers.pbs.adapter import PbsScheduler
from scoop_hpc.schedulers.readers import outside_jobs

DATA = Path(__file__).parents[1] / "data" / "pbs" / "23.06.06-85-gcd7ab5eda"
FAKES = Path(__file__).parents[1] / "fakes" / "pbs"
PBS = PbsScheduler()
SPEC = JobSpec(("pi.py",), "/home/me", "pi", workers_per_node=2, output="pi.o{job_id}")


USAGE = """usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""


def completed(command: str, stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed(tuple(command.split()), status, stdout, stderr)


def recorded(name: str) -> str:
    return (DATA / "status" / f"{name}.txt").read_text()


def parsed(name: str) -> list[JobStatus]:
    return PBS.parse_status(completed("qstat -f", recorded(name)))


def directives(spec: JobSpec) -> list[str]:
    script = render(spec, PBS, ["python", "pi.py"])
    return [line[len("#PBS ") :] for line in script.splitlines() if line.startswith("#PBS")]


# submitting


@pytest.mark.parametrize("stdout", ["24.pbshead\n", "welcome\n24.pbshead\n\n", "quota 7.5 of 10\n24.pbshead\n"])
def test_the_job_id_is_the_last_line_that_is_one(stdout: str) -> None:
    assert PBS.parse_job_id(completed("qsub", stdout)) == "24.pbshead"


def test_an_array_has_brackets() -> None:
    assert PBS.parse_job_id(completed("qsub", "59[].pbshead\n")) == "59[].pbshead"


@pytest.mark.parametrize("stdout", ["", "hello\n", "24\n"])
def test_an_answer_without_a_job_id_is_an_error(stdout: str) -> None:
    with pytest.raises(PerhapsSubmittedError) as caught:
        PBS.parse_job_id(completed("qsub", stdout))
    assert repr(stdout) in str(caught.value)


@pytest.mark.parametrize(
    ("stderr", "status", "advice"),
    [  # as recorded
        ("qsub: Unknown queue", 170, "change --queue"),
        ("qsub: Queue is not enabled", 173, "change --queue"),
        ("qsub: Job violates queue and/or server resource limits", 188, "--walltime or --nodes, or change --queue"),
        ("qsub: would exceed queue generic's per-user limit", 38, "wait until others of yours have ended"),
        ("qsub: Array job exceeds server or queue size limit", 3, "--array smaller"),
        ("qsub: Illegal attribute or resource value Resource_List.walltime", 166, "change --walltime"),
        ("qsub: Unknown resource: nosuch", 187, "change --constraint, --license or --directive"),
        ("qsub: Bad UID for job execution", 175, "root may not submit"),
        ("qsub: cannot send environment with the job", 1, "change --env or --directive"),
        ("Unknown Host.\nqsub: cannot connect to server nosuchhost (errno=15008)", 160, "try again later"),
        ("Connection refused\nqsub: cannot connect to server pnode004 (errno=15010)", 162, "--scheduler local"),
        (f"qsub: illegal -k value\n{USAGE}", 2, "Torque"),
        (f"qsub: illegal -M value\n{USAGE}", 2, "illegal -M value"),
        ("qsub:  cannot submit non-rerunable Array Job\nqsub: directive error: -r n ", 1, "leave the --directive out"),
    ],
)
def test_a_refusal_keeps_qsub_s_words_and_names_our_option(stderr: str, status: int, advice: str) -> None:
    with pytest.raises(SchedulerError) as caught:
        PBS.parse_job_id(completed("qsub", "", stderr, status))
    message = str(caught.value)
    assert message.startswith("qsub refused the job: ")
    assert stderr.splitlines()[0].replace("qsub: ", "").strip() in message
    assert advice in message
    assert "usage" not in message
    assert "\n" not in message


def test_variables_that_would_change_the_job_are_dropped() -> None:
    environ = {"HOME": "/h", "PBS_SERVER": "head", "PBS_JOBID": "7.head", "PBS_O_HOST": "n1", "PBS_DPREFIX": "#QQ"}
    assert PBS.submit_environ(outside_jobs(environ), SPEC) == {"HOME": "/h", "PBS_SERVER": "head"}


# what is asked for


@pytest.mark.parametrize(
    ("changes", "select", "place"),
    [
        ({"nodes": 4}, "4:ncpus=2:mpiprocs=2:ompthreads=1", "scatter"),
        ({"nodes": 4, "cpus_per_worker": 3, "exclusive": True}, "4:ncpus=6:mpiprocs=2:ompthreads=3", "scatter:excl"),
        ({"nodes": 2, "memory_per_node": 2**30 + 1}, "2:ncpus=2:mpiprocs=2:ompthreads=1:mem=1048577kb", "scatter"),
        ({"memory_per_cpu": 2**30, "cpus_per_worker": 2}, "1:ncpus=4:mpiprocs=2:ompthreads=2:mem=4194304kb", "scatter"),
        (
            {"gpus_per_node": 1, "constraint": "arch=linux"},
            "1:ncpus=2:mpiprocs=2:ompthreads=1:ngpus=1:arch=linux",
            "scatter",
        ),
        (
            {"workers": 5, "workers_per_node": None, "nodes": 2},
            "1:ncpus=3:mpiprocs=3:ompthreads=1+1:ncpus=2:mpiprocs=2:ompthreads=1",
            "scatter",
        ),
        ({"workers": 4, "workers_per_node": None, "nodes": 2}, "2:ncpus=2:mpiprocs=2:ompthreads=1", "scatter"),
        ({"workers": 5, "workers_per_node": None, "nodes": None}, "5:ncpus=1:mpiprocs=1:ompthreads=1", "free"),
    ],
)
def test_chunks(changes: dict[str, Any], select: str, place: str) -> None:
    said = directives(replace(SPEC, **changes))
    assert f"-l select={select}" in said
    assert f"-l place={place}" in said


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ["-j oe", "-k doe", "-o localhost:/dev/null", "-r n", "-S /bin/bash", "-N pi"]),
        ({"requeue": True}, ["-r y"]),
        ({"walltime": 90}, ["-l walltime=0:01:30"]),
        ({"queue": "short", "account": "phys"}, ["-q short", "-A phys"]),
        ({"reservation": "R123"}, ["-q R123"]),
        ({"array": JobArray(0, 9, 3, 2), "output": "{array_index}"}, ["-J 0-9:3%2", "-r y"]),
        ({"after": ("1", "2[].head"), "after_any": ("3",)}, ["-W depend=afterok:1:2[].head,afterany:3"]),
        ({"begin": "2030-01-31T08:05:09"}, ["-a 203001310805.09"]),
        ({"mail_user": "me@x", "mail_events": ("end", "fail")}, ["-M me@x", "-m ea"]),
        ({"licenses": ("matlab:2", "ansys")}, ["-l matlab=2", "-l ansys=1"]),
        ({"directives": ("-p 10",)}, ["-p 10"]),
    ],
)
def test_directives(changes: dict[str, Any], wanted: list[str]) -> None:
    said = directives(replace(SPEC, **changes))
    assert [line for line in wanted if line in said] == wanted


@pytest.mark.parametrize(
    ("output", "opened", "path"),
    [
        (None, "/home/me/pi.o7", "/home/me/pi.o7"),
        ("logs/{name}-{job_id}", "/home/me/logs/pi-7", "/home/me/logs/pi-7"),
        ("/x/a:b 'ü' $HOME", "/x/a:b 'ü' $HOME", "/x/a:b 'ü' $HOME"),
    ],
)
def test_the_script_opens_its_output_where_logs_looks_for_it(output: str | None, opened: str, path: str) -> None:
    spec = PBS.prepare(replace(SPEC, output=output), lambda argv: completed("never"))
    lines = render(spec, PBS, ["python", "pi.py"]).splitlines()
    (line,) = [line for line in lines if line.startswith("output=")]
    assert shlex.split(line) == ["output=" + opened.replace("7", "${PBS_JOBID%%[!0-9]*}")]
    assert lines.index(line) < lines.index("cd -- /home/me 2>/dev/null || {")
    assert output_path(spec, "7.head") == path


def test_each_job_of_an_array_opens_a_file_of_its_own() -> None:
    spec = PBS.prepare(replace(SPEC, output=None, array=JobArray(0, 3)), lambda argv: completed("never"))
    script = render(spec, PBS, ["python", "pi.py"])
    assert '\noutput=/home/me/pi.o"${PBS_JOBID%%[!0-9]*}"."$PBS_ARRAY_INDEX"\n' in script
    assert output_path(spec, "7[].head", 3) == "/home/me/pi.o7.3"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mail_user": "jürgen@example.org"}, "give an address in ASCII"),
        ({"name": "my job"}, "give by --name"),
        ({"name": "n" * 231}, "up to 230"),
        ({"qos": "high"}, "cannot express --qos 'high': sites have queues for it, use --queue"),
        ({"signal": 60, "walltime": 600}, "cannot express --signal"),
        ({"parallel_environment": "mpi"}, "cannot express --pe"),
        ({"queue": "q", "reservation": "R1"}, "give --reservation without --queue"),
        ({"array": JobArray(3, 3), "output": "{array_index}"}, "no array of one job"),
        ({"after": ("a b",)}, "no job id of PBS"),
        ({"constraint": "gpu"}, "write such as 'arch=linux:model=a'"),
        ({"constraint": "a=b+4:ncpus=1"}, "write such as"),
        ({"workers": 4, "workers_per_node": None, "nodes": None, "memory_per_node": 1}, "--memory for --workers"),
        ({"directives": ("-o x",)}, "use --output"),
        ({"directives": ("-l x=1 -N y",)}, "use --name"),
        ({"directives": ("x=1",)}, "is no option of qsub"),
        ({"directives": ("-p 1 # urgent",)}, "holds a comment"),
        ({"directives": ("-A 'x",)}, "cannot read the directive"),
        ({"directives": ("-R oe",)}, "it removes the output"),
        ({"directives": ("-l x=1,place=scatter:exclhost",)}, "would not heed the directive '-l x=1,place=sc"),
        ({"directives": ("-lselect=1",)}, "use --nodes, --workers-per-node"),
        ({"directives": ("-l walltime=60",), "walltime": 60}, "it is given by --walltime"),
        ({"directives": ("-W umask=022,block=true",)}, "qsub would wait: leave it out, and use submit --wait"),
        ({"account": 'it\'s "x"'}, "without a single quote"),
        ({"workers_per_node": None}, "give --workers-per-node"),
    ],
)
def test_what_pbs_cannot_say_is_refused_with_what_to_do(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(JobSpecError) as caught:
        directives(replace(SPEC, **changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def whole(text: str, **changes: Any) -> JobSpec:
    return PBS.prepare(
        replace(SPEC, workers_per_node=None, nodes=4, **changes), lambda argv: completed(" ".join(argv), text)
    )


def test_a_whole_node_is_what_pbsnodes_says() -> None:
    spec = whole((DATA / "pbsnodes.json").read_text(), cpus_per_worker=2)
    assert (spec.workers_per_node, spec.exclusive) == (2, True)


def nodes(*of: dict[str, Any]) -> str:
    listed = {}
    for number, about in enumerate(of):
        available = {"host": about.get("host", f"n{number}"), "ncpus": about["ncpus"]}
        node = {"state": about.get("state", "free"), "resources_available": available}
        listed[f"v{number}"] = {**node, **({"queue": about["queue"]} if "queue" in about else {})}
    return json.dumps({"nodes": listed})


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        (nodes({"ncpus": 8}, {"ncpus": 4, "state": "offline"}, {"ncpus": 2, "state": "down,offline"}), 8),
        (nodes({"ncpus": 8, "state": "job-busy"}, {"ncpus": 8}), 8),
        (nodes({"ncpus": 8}, {"ncpus": 4, "queue": "q"}), 4),
        (nodes({"ncpus": 8}, {"ncpus": 4, "queue": "other"}), 8),
        (nodes({"ncpus": 4, "host": "a"}, {"ncpus": 4, "host": "a"}, {"ncpus": 8}), 8),
    ],
)
def test_only_nodes_that_the_job_may_get_count(text: str, workers: int) -> None:
    assert whole(text, queue="q").workers_per_node == workers


@pytest.mark.parametrize(
    "text", [nodes({"ncpus": 8}, {"ncpus": 4}), nodes(), nodes({"ncpus": 4, "state": "down"}), "no JSON", "{}", "[]"]
)
def test_whole_nodes_that_are_not_clear_have_to_be_said(text: str) -> None:
    with pytest.raises((JobSpecError, SchedulerError), match="give --workers-per-node"):
        whole(text)


def test_nodes_too_small_for_one_worker_are_refused() -> None:
    with pytest.raises(JobSpecError, match="--cpus-per-worker 8: they have 4"):
        whole(nodes({"ncpus": 4}), cpus_per_worker=8)


def test_pbsnodes_that_fails_is_an_error() -> None:
    with pytest.raises(SchedulerError, match="pbsnodes failed: .*try again later"):
        PBS.prepare(
            replace(SPEC, workers_per_node=None),
            lambda argv: completed("pbsnodes", "", "pbsnodes: cannot connect to server head (errno=15010)\n", 1),
        )


# asking


@pytest.mark.parametrize(
    ("text", "key"),
    [("5", ("5", None)), ("5.head", ("5", None)), ("5[]", ("5", None)), ("5[3].h-1.x", ("5", 3)), ("0", ("0", None))],
)
def test_ids(text: str, key: tuple[str, int | None]) -> None:
    assert PBS.key(text) == JobKey(*key)


@pytest.mark.parametrize("text", ["", "head", "-1", "5[a]", "5_1", "local-5", "5 6", "5.", "--x"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(JobSpecError, match="no job id of PBS"):
        PBS.key(text)


def test_one_command_for_many_jobs() -> None:
    ids = [f"{number}.head" for number in range(5000)]
    assert PBS.status_argv(ids) == [["qstat", "-f", *ids], ["qstat", "-x", "-f", *ids]]
    assert PBS.status_argv(["5[].head", "6.head"])[0] == ["qstat", "-f", "-t", "5[].head", "6.head"]
    assert PBS.cancel_argv(ids) == ["qdel", *ids]


NODES = ("pnode001", "pnode002")
BUSY = ("pnode003", "pnode004")


@pytest.mark.parametrize(
    ("name", "state", "exit_status", "reason", "hosts"),
    [
        ("queued", JobState.PENDING, None, "Not Running: Not enough free nodes available", ()),
        ("queued-cannot-run", JobState.PENDING, None, "Can Never Run: Not enough total nodes available", ()),
        ("held", JobState.PENDING, None, "held (Hold_Types u)", ()),
        ("held-dependency", JobState.PENDING, None, "waits for afterok:227.pbshead@pbshead", ()),
        ("running", JobState.RUNNING, None, "", NODES),
        ("finished-exit-0", JobState.COMPLETED, 0, "", NODES),
        ("finished-exit-3", JobState.FAILED, 3, "", NODES),
        ("finished-signal", JobState.FAILED, 139, "killed by SIGSEGV", None),
        ("deleted-while-running", JobState.CANCELLED, 143, "by pbsuser@pbshead", BUSY),
        ("deleted-while-queued", JobState.CANCELLED, None, "deleted before it began", ()),
        ("walltime-exceeded", JobState.TIMEOUT, None, "exceeded resource walltime", NODES),
        ("dependency-never-satisfied", JobState.CANCELLED, None, "removed by PBS: a job that it depends on", ()),
    ],
)
def test_recorded_states(
    name: str, state: JobState, exit_status: int | None, reason: str, hosts: tuple[str, ...] | None
) -> None:
    (job,) = parsed(name)
    assert (job.state, job.exit_status) == (state, exit_status)
    assert job.reason.startswith(reason)
    assert bool(job.reason) == bool(reason)
    assert hosts is None or job.nodes == hosts


def test_every_recorded_status_is_read_as_its_json_has_it() -> None:
    for path in sorted((DATA / "status").glob("*.json")):
        jobs = json.loads(path.read_text()).get("Jobs", {})
        text = path.with_suffix(".txt")
        read = pbs_status.read_jobs(text.read_text() if text.exists() else "")
        assert list(read) == list(jobs)
        for job_id, attributes in jobs.items():
            for name in ("job_state", "substate", "Exit_status", "exec_host", "comment", "depend", "Hold_Types"):
                assert read[job_id].get(name) == (str(attributes[name]) if name in attributes else None)


def test_jobs_of_an_array_are_told_one_by_one() -> None:
    jobs = {PBS.key(job.job_id).index: (job.state, job.exit_status) for job in parsed("array-running-subjobs")}
    assert jobs == {
        0: (JobState.COMPLETED, 0),
        1: (JobState.FAILED, 1),
        2: (JobState.RUNNING, None),
        3: (JobState.RUNNING, None),
        4: (JobState.RUNNING, None),
        5: (JobState.PENDING, None),  # though it shows the Exit_status of its sibling
    }
    ended = [job.state for job in parsed("array-finished-subjobs")]
    assert set(ended) <= {JobState.COMPLETED, JobState.FAILED}
    assert parsed("array-running") == parsed("array-finished") == []


def job(state: str = "F", substate: int = 93, **attributes: object) -> JobStatus:
    lines = [f"    {name} = {value}" for name, value in attributes.items()]
    text = "\n".join(["Job Id: 7.head", f"    job_state = {state}", f"    substate = {substate}", *lines, "", ""])
    (status,) = PBS.parse_status(completed("qstat -x -f", text))
    return status


@pytest.mark.parametrize(
    ("code", "state", "exit_status"),
    [
        (0, JobState.COMPLETED, 0),
        (255, JobState.FAILED, 255),
        (143, JobState.FAILED, 143),
        (271, JobState.FAILED, 143),
        (265, JobState.FAILED, 137),
        (266, JobState.FAILED, 138),
        (-29, JobState.TIMEOUT, None),
        (-28, JobState.TIMEOUT, None),
        (-27, JobState.OUT_OF_MEMORY, None),
        (-26, JobState.OUT_OF_MEMORY, None),
        (-25, JobState.FAILED, None),
        (-24, JobState.FAILED, None),
        (-4, JobState.NODE_FAIL, None),
        (-1, JobState.NODE_FAIL, None),
    ],
)
def test_exit_statuses(code: int, state: JobState, exit_status: int | None) -> None:
    status = job(Exit_status=code)
    assert (status.state, status.exit_status) == (state, exit_status)
    assert bool(status.reason) == (code not in (0, 255, 143))


def test_a_version_without_such_an_exit_status_tells_of_the_walltime_in_a_comment() -> None:
    assert job(Exit_status=271, comment="Job run at ... and exceeded resource walltime").state is JobState.TIMEOUT


def test_a_deleted_job_is_cancelled_whatever_its_script_made_of_it() -> None:
    for code in (7, 0, 265, 271, 137):
        status = job(substate=91, Exit_status=code, comment="Job run at ... and terminated by root@head")
        assert (status.state, status.reason) == (JobState.CANCELLED, "by root@head")


@pytest.mark.parametrize(
    ("state", "ours"),
    [("T", "PENDING"), ("M", "PENDING"), ("W", "PENDING"), ("E", "RUNNING"), ("S", "SUSPENDED"), ("U", "SUSPENDED")],
)
def test_other_states(state: str, ours: str) -> None:
    assert job(state, 10, Exit_status=1).state.value == ours


def test_what_is_no_answer_of_qstat_is_an_error_that_shows_it() -> None:
    with pytest.raises(SchedulerError, match="cannot read qstat's output 'garbage"):
        PBS.parse_status(completed("qstat", "garbage\n"))


@pytest.mark.parametrize(
    "lines", ["", "    job_state = Z\n", "    job_state = F\n", "    job_state = F\n    substate = x\n"]
)
def test_a_job_that_cannot_be_read_is_unknown_and_no_other_is(lines: str) -> None:
    odd, other = PBS.parse_status(completed("qstat", f"Job Id: 7.head\n{lines}\nJob Id: 8.head\n    job_state = R\n"))
    assert (odd.job_id, odd.state, odd.unread) == ("7.head", JobState.UNKNOWN, True)
    assert odd.reason.startswith("cannot read what qstat says of it: ")
    assert (other.job_id, other.state) == ("8.head", JobState.RUNNING)


def test_a_variable_that_holds_an_answer_of_qstat_s_is_not_read_as_one() -> None:
    variable = (
        "A=Job Id: 5.head\n    job_state = Q\n    Exit_status = 9\n    comment = x\n\nJob Id: 6.head\n    job_state = R"
    )
    text = f"Job Id: 7.head\n    job_state = F\n    substate = 92\n    Variable_List = {variable},\n\tB=1\n"
    text += "    comment = Job run at Sun\n    Exit_status = 0\n\n"
    done = Completed(("qstat", "-x", "-f", "7.head"), 0, text, "")
    assert PBS.parse_status(done) == [JobStatus("7.head", JobState.COMPLETED, exit_status=0)]


def test_a_variable_of_several_lines_is_no_attribute() -> None:
    text = "Job Id: 7.head\n    job_state = F\n    substate = 92\n    Variable_List = A=l1\nl2\n    { x = 1; }\n"
    (status,) = PBS.parse_status(completed("qstat", text + "    Exit_status = 0\n"))
    assert status.state is JobState.COMPLETED


def of_an_array(state: str, substate: int, *lines: str) -> list[JobStatus]:
    """Return what is read of one job of an array, of which PBS shows the attributes of the whole."""
    shown = [f"job_state = {state}", f"substate = {substate}", "comment = Job Array Began at Sun", *lines]
    return PBS.parse_status(completed("qstat", "\n    ".join(["Job Id: 7[2].head", *shown]) + "\n"))


@pytest.mark.parametrize("exit_status", [0, 1])
@pytest.mark.parametrize("state", ["X", "F"])
def test_the_exit_status_of_an_array_is_not_taken_for_that_of_one_of_its_jobs(state: str, exit_status: int) -> None:
    assert of_an_array(state, 92, "stime = Sun", f"Exit_status = {exit_status}") == []
    (own,) = of_an_array(state, 92, "stime = Sun", "exec_host = n1/0", f"Exit_status = {exit_status}")
    assert own.exit_status == exit_status
    (deleted,) = of_an_array(state, 91, "stime = Sun", f"Exit_status = {exit_status}")
    assert (deleted.state, deleted.exit_status) == (JobState.CANCELLED, None)
    (removed,) = of_an_array(state, 92)
    assert (removed.state, removed.exit_status) == (JobState.CANCELLED, None)


def test_a_job_of_an_array_waits_for_its_turn() -> None:
    (*_, waiting) = parsed("array-running-subjobs")
    assert waiting.reason == "its turn in the array has not come"
    text = recorded("array-running-subjobs").partition("Job Id: 238[5].pbshead")
    assert explained("".join(text[1:]), "238[5].pbshead")[0] == waiting.reason


def test_jobs_that_wait_for_this_one_are_no_hindrance() -> None:
    lines = ["job_state = H", "Hold_Types = u", "depend = beforeok:9.head@head"]
    text = "\n    ".join(["Job Id: 7.head", *lines]) + "\n"
    (held,) = PBS.parse_status(completed("qstat -f", text))
    assert held.reason == "held (Hold_Types u)"
    assert explained(text, "7.head") == ["it is held by its owner", "qrls 7.head"]


@pytest.mark.parametrize(
    ("stderr", "status"),
    [
        ("qstat: Unknown Job Id 99999.pbshead\n", 153),
        ("qstat: 24.pbshead Job has finished, use -x or -H to obtain historical job information\n", 35),
        ("qstat: PBS is not configured to maintain job history 259.pbshead\n", 0),
    ],
)
def test_forgotten_jobs_are_no_error_and_hide_no_others(stderr: str, status: int) -> None:
    assert PBS.parse_status(completed("qstat -f", "", stderr, status)) == []
    assert len(PBS.parse_status(completed("qstat -f", recorded("running"), stderr, status))) == 1


@pytest.mark.parametrize(
    ("stderr", "status"),
    [
        ("Connection refused\nqstat: cannot connect to server pnode004 (errno=15010)\n", 255),
        ("qstat: Unknown Job Id 5.head\nqstat: cannot connect to server pnode004 (errno=15010)\n", 255),
        ("", 1),
    ],
)
def test_a_server_that_does_not_answer_is_an_error(stderr: str, status: int) -> None:
    with pytest.raises(SchedulerError, match="qstat failed: "):
        PBS.parse_status(completed("qstat -f", "", stderr, status))


@pytest.mark.parametrize(
    ("stderr", "status", "words"),
    [
        ("", 0, ""),
        ("qdel: Unknown Job Id 99999.pbshead\n", 153, ""),
        ("qdel: Job has finished 24.pbshead\n", 35, ""),
        ("qdel: Unauthorized Request  251.pbshead\n", 159, "it is somebody else's job"),
        ("Connection refused\nCouldn't connect to cluster: pnode004\n", 162, "try again later"),
    ],
)
def test_cancelling_what_has_ended_is_no_error(stderr: str, status: int, words: str) -> None:
    done = completed("qdel 7", "", stderr, status)
    if not words:
        PBS.parse_cancel(done)
        return
    with pytest.raises(SchedulerError, match=words):
        PBS.parse_cancel(done)


def test_putting_a_job_back_is_for_operators() -> None:
    assert PBS.requeue_argv(["7.head"]) == ["qrerun", "7.head"]
    with pytest.raises(SchedulerError, match="only operators may: cancel it, and requeue it then"):
        PBS.parse_requeue(completed("qrerun", "", "qrerun: Unauthorized Request  214.pbshead\n", 159))
    with pytest.raises(SchedulerError, match="submitted without --requeue"):
        PBS.parse_requeue(completed("qrerun", "", "qrerun: job is not rerunnable 252.pbshead\n", 190))


# explaining


def explained(text: str, job_id: str, reason: str = "") -> list[str]:
    status = JobStatus(job_id, JobState.PENDING, reason)
    return PBS.explain(status, completed("qstat -f", text))


@pytest.mark.parametrize(
    ("name", "why", "what"),
    [
        ("queued", "not enough nodes are free (PBS's reason: Not Running: Not enough free", "wait; fewer --nodes"),
        ("queued-cannot-run", "there are not that many such nodes", "change --nodes"),
        ("held", "it is held by its owner", "qrls 69.pbshead"),
        ("held-dependency", "it waits for afterok:227.pbshead", "without --after"),
    ],
)
def test_why_recorded_jobs_wait(name: str, why: str, what: str) -> None:
    (job_id,) = pbs_status.read_jobs(recorded(name))
    first, *_, last = explained(recorded(name), job_id)
    assert first.startswith(why)
    assert what.replace("69.pbshead", job_id) in last


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["job_state = Q"], "PBS has not looked at it yet"),
        (["job_state = Q", "comment = Not Running: Queue not started."], "its queue is stopped"),
        (["job_state = Q", "comment = Not Running: User has reached server running job limit."], "a limit on jobs"),
        (["job_state = Q", "comment = Can Never Run: Insufficient amount of resource: ncpus (R: 400"], "as much"),
        (["job_state = Q", "comment = What no manual says"], "a reason of its own: What no manual says"),
        (["job_state = W", "Execution_Time = Sun Nov 22 17:45:00 2026"], "its time has not come: it waits until Sun"),
        (["job_state = H", "Hold_Types = o"], "held by an operator"),
        (["job_state = Q", "estimated.start_time = Sun Nov 22 18:00:00 2026"], "PBS expects it to begin at Sun"),
    ],
)
def test_why_other_jobs_wait(lines: list[str], words: str) -> None:
    text = "\n".join(["Job Id: 7.head", *(f"    {line}" for line in lines), ""])
    assert any(words in line for line in explained(text, "7.head"))


def test_a_job_is_explained_by_whatever_id_it_was_named() -> None:
    assert explained("Job Id: 7.head\n    job_state = H\n    Hold_Types = u\n", "7")[-1] == "qrls 7"


def test_where_qstat_is_silent_the_reason_of_before_has_to_do() -> None:
    assert explained("", "7.head", "Not Running: Queue not started.")[0].startswith("its queue is stopped")


# whose commands these are


@pytest.mark.parametrize(
    ("stdout", "stderr", "mine"),
    [
        ((DATA / "version.txt").read_text(), "", True),
        ("pbs_version = 2022.1.1\n", "", True),
        ("Version: 6.1.3\nCommit: 1234\n", "", True),  # Torque's: its qsub refuses, and the message names it
        ("", "Unknown option: --version\nSGE 8.1.9\nusage: qstat [options]\n", False),
        ("SGE 8.1.9\nusage: qstat [options]\n", "", False),
        ("", "", False),
    ],
)
def test_pbs_knows_its_own_qstat(stdout: str, stderr: str, mine: bool) -> None:
    assert PBS.probe_argv() == ["qstat", "--version"]
    assert PBS.recognises(completed("qstat --version", stdout, stderr)) is mine


def test_pbs_is_found_where_its_commands_are() -> None:
    def which(command: str) -> str | None:
        return f"/opt/pbs/bin/{command}" if command in PBS.commands else None

    assert registry.find(which, lambda argv: completed("qstat", "pbs_version = 23.06.06\n")).name == "pbs"
    assert registry.find(which, lambda argv: completed("qstat", "", "SGE 8.1.9\n", 1)).name != "pbs"


# launching


AGENT = ["/usr/bin/python3", "-c", "main()", "--patience", "60"]


def test_each_agent_is_one_task_on_its_host() -> None:
    one, two = PbsTmrshLauncher().commands(AGENT, ["n2", "n1"], {"PATH": "/bin"})
    assert one.argv == ("pbs_tmrsh", "n2", *AGENT, "--node", "n2")
    assert (two.nodes, two.environ) == (("n1",), {"PATH": "/bin"})


def test_pbsdsh_counts_lines_not_hosts() -> None:
    launcher = PbsdshLauncher(["n1", "n1", "n2", "n1", "n3", "n2"])
    commands = launcher.commands(AGENT, ["n1", "n2", "n3"], {})
    assert [command.argv[:4] for command in commands] == [("pbsdsh", "-n", line, "--") for line in ("0", "2", "4")]
    assert commands[2].argv[4:] == (*AGENT, "--node", "n3")


# the fakes


def _as_the_release(text: str) -> str:
    """Return recorded JSON, which the development branch's library wrote, in the layout of the release."""
    lines = [
        re.sub("^\t+", lambda tabs: "    " * len(tabs[0]), line).replace('":\t', '":') for line in text.split("\n")
    ]
    return "\n".join(lines).rstrip("\n")


def test_the_fakes_print_as_recorded() -> None:
    sys.path.insert(0, str(FAKES))
    try:
        from minipbs import listing  # noqa: PLC0415
    finally:
        sys.path.remove(str(FAKES))
    for path in sorted((DATA / "status").glob("*.json")):
        answer = json.loads(path.read_text())
        assert listing.dump(answer) == _as_the_release(path.read_text())
        if path.with_suffix(".txt").exists():
            text = "".join(listing.text_of(job_id, list(job.items())) for job_id, job in answer["Jobs"].items())
            assert text == path.with_suffix(".txt").read_text()


def test_chunks_for_nobody_are_refused() -> None:
    with pytest.raises(JobSpecError, match="PBS gives no whole nodes"):
        chunks.select(replace(SPEC, workers_per_node=None))


@pytest.mark.parametrize(
    "comment", [line for line in (DATA / "comments.txt").read_text().splitlines() if line[0] != "#"]
)
def test_what_the_scheduler_says_is_told_in_plain_words(comment: str) -> None:
    text = f"Job Id: 7.head\n    job_state = Q\n    comment = Not Running: {comment}\n"
    why, what = PBS.explain(JobStatus("7.head", JobState.PENDING), completed("/bin/sh", text))
    assert "of its own" not in why
    assert comment in why
    assert what


@pytest.mark.parametrize(
    ("directive", "option"),
    [("-l mem=4gb", "--memory"), ("-l ncpus=4", "--cpus-per-worker"), ("-l nodes=2:ppn=4", "--nodes")],
)
def test_what_qsub_takes_beside_no_select_is_refused_by_our_option(directive: str, option: str) -> None:
    spec = JobSpec(("pi.py",), "/home/me", "pi", workers_per_node=2, output="out", directives=(directive,))
    with pytest.raises(JobSpecError, match=f"PBS takes no .* beside select.*: use {option}"):
        PBS.check(spec)
