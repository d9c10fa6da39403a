"""Job scripts: what they ask for, what cannot get into them, and what a broken template says."""

from __future__ import annotations

import shlex
import string
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.cli.options.job import OF_THE_RUN, command_line
from scoop_hpc.cli.run import run
from scoop_hpc.errors import JobSpecError, TemplateError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.option import Refused
from scoop_hpc.fields.spec import OPTIONS, JobSpec, option_of
from scoop_hpc.jobs.script import quote, render
from scoop_hpc.schedulers.registry import SCHEDULERS, named

SLURM, LOCAL = named("slurm"), named("local")
SPEC = JobSpec(("pi.py", "1000"), "/home/me/project", "pi")
COMMAND = (
    "/usr/bin/python3",
    "-m",
    "scoop_hpc",
    "run",
    "--record",
    "/home/me/.local/state/scoop_hpc/jobs/20260101T120000Z-1/record.json",
    "--",
    *SPEC.program,
)
# a value for every field that a scheduler or the script may be told
VALUES: dict[str, Any] = {
    "name": "other",
    "nodes": 3,
    "workers": 5,
    "workers_per_node": 3,
    "cpus_per_worker": 2,
    "memory_per_node": 2**30,
    "memory_per_cpu": 2**30,
    "gpus_per_node": 2,
    "gpu_type": "a100",
    "walltime": 3600,
    "queue": "q",
    "account": "a",
    "output": "other.out",
    "error": "other.err",
    "mail_user": "me@example.org",
    "mail_events": ("fail",),
    "array": JobArray(1, 9),
    "after": ("17",),
    "after_any": ("17",),
    "after_failure": ("17",),
    "exclusive": True,
    "constraint": "arch=linux",
    "qos": "high",
    "reservation": "res1",
    "licenses": ("matlab:2",),
    "begin": "2030-01-31T08:00:00",
    "signal": 60,
    "requeue": True,
    "parallel_environment": "mpi",
    "setup": ("umask 077",),
    "modules": ("gcc",),
    "conda": "sim",
    "venv": "/venv",
    "environment": (("A", "1"),),
    "prologue": ("id",),
    "directives": ("-l x=1",),
}
OF_THE_COMMAND = (  # that the script becomes
    *("container", "container_runtime", "container_options", "launcher", "mpiexec"),
    *("on_node_loss", "min_nodes", "grace", "progress", "trace", "worker_logs", "metrics"),
    *("label", "log_level", "profile_workers"),
    *("patience", "interface", "nice", "bind", "gpus_per_worker"),
)
NEEDED: dict[str, dict[str, Any]] = {  # what a field makes no sense without
    "workers": {"workers_per_node": None},
    "mail_events": {"mail_user": "me@example.org"},
    "array": {"output": "{array_index}"},
    "signal": {"walltime": 3600},
    "gpu_type": {"gpus_per_node": 2},
}
VALUES_OF: dict[str, dict[str, Any]] = {  # where a scheduler's jobs are called otherwise
    "local": dict.fromkeys(("after", "after_any", "after_failure"), ("local-17",)),
}
NEUTRAL = {
    "slurm": replace(SPEC, workers_per_node=2),
    "local": replace(SPEC, workers_per_node=2),
    "pbs": replace(SPEC, workers_per_node=2, output="out.txt"),
    "sge": replace(SPEC, workers_per_node=2, parallel_environment="smp"),
}
# one line of text, as a JobSpec demands; and the words that a shell or sbatch would see something in
LINES = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(str.strip)
NASTY = [
    "a b",
    "  a ",
    "it's",
    'a "b"',
    "$HOME",
    "`id`",
    "$(id)",
    "#",
    "a#b",
    "\\",
    "\\n",
    "a\\",
    "%j",
    "-x",
    "é",
    "*",
    ";",
]


def lines(spec: JobSpec, scheduler: str = "slurm") -> list[str]:
    return render(spec, named(scheduler), COMMAND).splitlines()


def words(script: str, prefix: str) -> list[str]:
    """Read the directives as sbatch does: quotes group, a backslash escapes, # begins a comment."""
    directives = []
    for line in script.split("\n")[1:]:
        if line.startswith(prefix):
            directives += shlex.split(line[len(prefix) :], comments=True)
        elif line and not line.startswith("#"):
            break
    return directives


def test_the_last_line_becomes_the_command() -> None:
    for scheduler in (SLURM, LOCAL):
        last = render(replace(SPEC, nodes=4), scheduler, COMMAND).splitlines()[-1]
        assert shlex.split(last) == ["exec", *COMMAND]


def test_all_that_a_job_asks_of_slurm() -> None:
    spec = replace(SPEC, nodes=3, workers_per_node=2, cpus_per_worker=4, walltime=5405, memory_per_node=2**33)
    script = render(replace(spec, queue="q", account="a", output="x", directives=("--qos=h",)), SLURM, COMMAND)
    assert words(script, "#SBATCH") == [
        "--job-name=pi",
        "--chdir=/home/me/project",
        "--output=/home/me/project/x",
        "--nodes=3",
        "--ntasks-per-node=2",
        "--cpus-per-task=4",
        "--mem=8192M",
        "--time=1:30:05",
        "--partition=q",
        "--account=a",
        "--no-requeue",
        "--no-kill",
        "--qos=h",
    ]


@pytest.mark.parametrize(("scheduler", "directive"), [("slurm", "--no-kill"), ("pbs", "-W tolerate_node_failures=all")])
def test_a_job_of_several_nodes_outlives_one_unless_it_is_to_fail(scheduler: str, directive: str) -> None:
    said = {
        (nodes, on_node_loss): any(directive in line for line in lines(spec, scheduler))
        for nodes in (1, 3)
        for on_node_loss in ("continue", "fail")
        for spec in [replace(NEUTRAL[scheduler], nodes=nodes, on_node_loss=on_node_loss)]
    }
    assert said == {(1, "continue"): False, (3, "continue"): True, (1, "fail"): False, (3, "fail"): False}


def test_all_that_a_job_asks_of_the_local_scheduler() -> None:
    spec = replace(SPEC, nodes=3, workers_per_node=2, cpus_per_worker=4, walltime=5405)
    script = render(replace(spec, queue="q", account="a", output="x"), LOCAL, COMMAND)
    assert words(script, "#LOCAL") == [
        "--job-name=pi",
        "--chdir=/home/me/project",
        "--output=x",
        "--nodes=3",
        "--workers-per-node=2",
        "--cpus-per-worker=4",
        "--walltime=1:30:05",
        "--queue=q",
        "--account=a",
    ]
    more = replace(SPEC, nodes=None, workers=5, walltime=60, signal=10, begin="2030-01-31T08:00:00", after=("local-1",))
    more = replace(more, after_any=("local-2_3",), array=JobArray(0, 9, 3, 2), error="{name}-{array_index}.err")
    script = render(more, LOCAL, COMMAND)
    assert words(script, "#LOCAL") == [
        "--job-name=pi",
        "--chdir=/home/me/project",
        "--output=scoop-{job_id}_{array_index}.out",
        "--error={name}-{array_index}.err",
        "--workers=5",
        "--cpus-per-worker=1",
        "--walltime=0:01:00",
        "--array=0-9:3%2",
        "--dependency=afterok:local-1,afterany:local-2_3",
        "--begin=2030-01-31T08:00:00",
        "--signal=10",
    ]


def test_whole_nodes_come_with_their_memory() -> None:
    script = lines(SPEC)
    assert "#SBATCH --exclusive" in script
    assert "#SBATCH --mem=0" in script
    assert not [line for line in script if "tasks" in line]


def test_whole_nodes_with_less_memory_or_larger_workers() -> None:
    script = lines(replace(SPEC, memory_per_node=2**30, cpus_per_worker=2))
    assert "#SBATCH --mem=1024M" in script
    assert "#SBATCH --mem=0" not in script
    assert "#SBATCH --cpus-per-task=2" in script


def test_what_is_not_asked_for_is_left_to_the_scheduler() -> None:
    script = "\n".join(lines(replace(SPEC, workers_per_node=1)))
    for option in ("--mem", "--time", "--partition", "--account", "--exclusive"):
        assert option not in script


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
@pytest.mark.parametrize("text", NASTY)
def test_whatever_is_typed_stays_one_word_of_a_directive(scheduler: str, text: str) -> None:
    check_fields(scheduler, text)


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
@given(text=LINES)
def test_any_line_stays_one_word_of_a_directive(scheduler: str, text: str) -> None:
    check_fields(scheduler, text)


def check_fields(scheduler: str, text: str) -> None:
    spec = replace(SPEC, name=text, directory=f"/{text}", queue=text, account=text, output="/x", workers_per_node=1)
    script = render(spec, named(scheduler), COMMAND)
    directives = words(script, f"#{'SBATCH' if scheduler == 'slurm' else 'LOCAL'}")
    queue = "partition" if scheduler == "slurm" else "queue"
    for option in (f"--job-name={text}", f"--chdir=/{text}", f"--{queue}={text}", f"--account={text}"):
        assert option in directives
    assert len(directives) == (9 if scheduler == "slurm" else 8)
    assert script.split("\n")[-2] == f"exec {shlex.join(COMMAND)}"


@given(st.text(max_size=40))
def test_any_text_without_nul_stays_one_word_on_one_line(text: str) -> None:
    word = quote(text.replace("\0", ""))
    assert word.isprintable()
    assert read_word(word) == text.replace("\0", "").encode(errors="surrogateescape")


@given(st.binary(max_size=20))
def test_bytes_that_are_no_text_stay_one_word(name: bytes) -> None:
    text = name.replace(b"\0", b"").decode(errors="surrogateescape")
    assert read_word(quote(text)) == name.replace(b"\0", b"")


def read_word(word: str) -> bytes:
    """Read a word as bash does [bash(1), QUOTING]."""
    if not word.startswith("$'"):
        (text,) = shlex.split(word)
        return text.encode()
    assert word.endswith("'")
    rest, read = word[2:-1], b""
    while rest:
        if rest[0] != "\\":
            assert rest[0] != "'"
            read, rest = read + rest[0].encode(), rest[1:]
        elif rest[1] == "x":
            assert set(rest[2:4]) <= set(string.hexdigits)
            read, rest = read + bytes.fromhex(rest[2:4]), rest[4:]
        else:
            read, rest = read + {"n": b"\n", "'": b"'", "\\": b"\\"}[rest[1]], rest[2:]
    return read


def test_an_argument_with_line_ends_brings_no_line_of_its_own() -> None:
    script = render(SPEC, SLURM, [*COMMAND, "\n#SBATCH --array=1-9\r\n", "\n#$ -t 1-9"])
    assert "\r" not in script
    assert [line for line in script.splitlines() if line.startswith(("exec", "#$"))] == [script.splitlines()[-1]]


def test_what_a_scheduler_cannot_express_is_refused_before_rendering() -> None:
    with pytest.raises(JobSpecError, match="backslash"):
        render(replace(SPEC, output="a\\b"), SLURM, COMMAND)
    with pytest.raises(JobSpecError, match="cannot express"):
        render(replace(SPEC, directives=("--qos=h",)), LOCAL, COMMAND)


def own(directory: Path, text: str, name: str = "slurm.sh.j2") -> str:
    (directory / name).write_text(text)
    return render(SPEC, SLURM, COMMAND, [str(directory)])


def test_a_template_of_one_s_own_extends_ours(tmp_path: Path) -> None:
    script = own(
        tmp_path,
        '{% extends "scoop_hpc/slurm.sh.j2" %}\n'
        "{% block environment %}\nexport OMP_NUM_THREADS={{ job.cpus_per_worker | quote }}\n{% endblock %}\n"
        "{% block prologue %}\nmodule load python\n{% endblock %}\n",
    ).splitlines()
    ours = lines(SPEC)
    place = ours.index(f"command -v -- {COMMAND[0]} >/dev/null || {{")
    assert script == [*ours[:place], "export OMP_NUM_THREADS=1", "module load python", *ours[place:]]


def test_with_an_epilogue_the_run_is_a_child_whose_exit_status_is_the_script_s(tmp_path: Path) -> None:
    epilogue = (
        '{% extends "scoop_hpc/slurm.sh.j2" %}\n{% block epilogue %}\necho "ended with $status"\n{% endblock %}\n'
    )
    (tmp_path / "slurm.sh.j2").write_text(epilogue)
    script = render(SPEC, SLURM, COMMAND, [str(tmp_path)]).splitlines()
    assert script[-2:] == ['echo "ended with $status"', 'exit "$status"']
    assert shlex.join(COMMAND) + " <&0 &" in script
    assert not [line for line in script if line.startswith("exec")]


def test_a_template_is_found_by_its_file_and_by_its_name_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "mine.sh.j2").write_text(
        '{% extends "scoop_hpc/slurm.sh.j2" %}{% block prologue %}\nid\n{% endblock %}'
    )
    by_file = render(SPEC, SLURM, COMMAND, template=str(tmp_path / "mine.sh.j2"))
    assert "\nid\n" in by_file
    assert render(SPEC, SLURM, COMMAND, [str(tmp_path)], "mine.sh.j2") == by_file
    with pytest.raises(TemplateError, match=r"there is no template 'nosuch.sh.j2', but .*slurm.sh.j2"):
        render(SPEC, SLURM, COMMAND, [str(tmp_path)], "nosuch.sh.j2")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_field_is_said_or_refused_by_its_option(scheduler: str) -> None:
    dialect = named(scheduler)
    for field, value in {**VALUES, **VALUES_OF.get(scheduler, {})}.items():
        needed = NEEDED.get(field, {})
        spec = replace(NEUTRAL[scheduler], **{field: value, **needed})
        without = replace(NEUTRAL[scheduler], **({} if field in ("array", "workers") else needed))
        said = OPTIONS[field].said_to(dialect.words)
        if isinstance(said, Refused):
            options = "|".join(map(option_of, [field, *needed]))
            with pytest.raises(JobSpecError, match=f"cannot express ({options})"):
                render(spec, dialect, COMMAND)
        elif field not in OF_THE_COMMAND and said != "only recorded":
            assert render(spec, dialect, COMMAND) != render(without, dialect, COMMAND), field


def test_no_field_is_forgotten_above() -> None:
    assert {field.name for field in fields(JobSpec)} == {
        *VALUES,
        "program",
        "is_module",
        "directory",
        *OF_THE_COMMAND,
    }


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("#!/bin/bash\n{{ job.nodez }}\n", 2, "there is no 'job.nodez': did you mean 'job.nodes'?"),
        ("{{ job.xyzzy }}\n", 1, "there is no 'job.xyzzy': there are job.program, job.directory, "),
        ("#!/bin/bash\n\n{{ jobb }}\n", 3, "there is no 'jobb': did you mean 'job'?"),
        ("{{ xyzzy }}\n", 1, "there is no 'xyzzy': there are job, array, command, "),
        ("{{ job.nodes | qoute }}\n", 1, "there is no filter 'qoute': did you mean 'quote'?"),
        ("{{ job.nodes | xyzzy }}\n", 1, "there is no filter 'xyzzy': there are directive, quote, walltime, memory"),
        ("\n{{ jobb | directive }}\n", 2, "there is no 'jobb': did you mean 'job'?"),
        ("{{ job.name.xyzzy }}\n", 1, "has no attribute 'xyzzy'"),
        ("\n{{ job.walltime | walltime }}\n", 2, "NoneType"),
        ("a\n{% if %}\n", 2, "Expected an expression"),
        ("{{ 1 / 0 }}\n", 1, "division by zero"),
    ],
)
def test_a_broken_template_says_where_it_is_broken(tmp_path: Path, text: str, line: int, what: str) -> None:
    with pytest.raises(TemplateError) as caught:
        own(tmp_path, text)
    message = str(caught.value)
    assert f"{str(tmp_path / 'slurm.sh.j2')!r}, line {line}," in message
    assert what in message
    assert ("job.workers_per_node" in message) is ("'job.xyzzy'" in message)  # only where it helps
    assert "\n" not in message


EXTENDS = '{% extends "scoop_hpc/slurm.sh.j2" %}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% block prolog %}\nmodule purge\n{% endblock %}\n", "line 2, .* 'prolog', .* did you mean 'prologue'"),
        ("{% block x %}{% endblock %}", "line 2, .* 'x', .* there are directives, environment, epilogue, output, "),
        ("\n  module purge\n", "line 3, has 'module purge' outside of blocks"),
        ("{{ job.name }}", "line 2, has a value outside of blocks"),
    ],
)
def test_what_a_template_says_to_nobody_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        own(tmp_path, EXTENDS + text)


def test_what_extends_a_template_of_ones_own_sees_its_blocks(tmp_path: Path) -> None:
    site = EXTENDS + "{% block prologue %}{% block site %}\n{% endblock %}{% endblock %}\n"
    (tmp_path / "site.sh.j2").write_text(site)
    text = '{% extends "site.sh.j2" %}\n{% set word = "mine" %}{% block site %}\necho {{ word }}\n{% endblock %}\n'
    assert "\necho mine\n" in own(tmp_path, text)
    (tmp_path / "site.sh.j2").write_text(site.replace("block prologue", "block prolog"))
    with pytest.raises(TemplateError, match=r"site.sh.j2', line 2, has a block 'prolog'"):
        own(tmp_path, text)


def test_what_a_template_has_before_what_it_extends_is_printed(tmp_path: Path) -> None:
    assert own(tmp_path, "#!/bin/ksh\n" + EXTENDS).startswith("#!/bin/ksh\n")


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"there is no template 'mine.j2'"):
        own(tmp_path, '{% extends "mine.j2" %}\n')


def test_a_template_that_extends_itself(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"extends or includes itself: .*scoop_hpc/slurm.sh.j2") as caught:
        own(tmp_path, '{% extends "slurm.sh.j2" %}\n')
    assert "job.nodes" not in str(caught.value)


def test_a_template_that_is_a_directory_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="is a directory: name a file"):
        render(SPEC, SLURM, COMMAND, template=str(tmp_path))
    with pytest.raises(TemplateError, match="there is no template ''"):
        render(SPEC, SLURM, COMMAND, template="")


def test_a_template_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "slurm.sh.j2").write_bytes(b"#!/bin/bash\n\xff\n")
    with pytest.raises(TemplateError, match="does not render"):
        render(SPEC, SLURM, COMMAND, [str(tmp_path)])


def test_a_directive_of_two_lines_is_refused_in_a_template_too(tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match="directive"):
        own(tmp_path, '#SBATCH --comment={{ "a\\nb" | directive }}\n')


def test_job_is_watched_as_its_options_say() -> None:
    spec = replace(
        SPEC, name="pi", progress="log", trace="{name}-{job_id}.json", metrics="9100", worker_logs="logs-{job_id}"
    )
    words = command_line(spec, SLURM, None)
    assert words[words.index("--progress") + 1] == "log"
    assert words[words.index("--trace") + 1] == "pi-{job_id}.json"
    assert words[words.index("--metrics") + 1] == "9100"
    assert words[words.index("--worker-logs") + 1] == "logs-{job_id}"


def test_jobs_of_an_array_do_not_trace_into_one_file() -> None:
    array: dict[str, Any] = {"array": JobArray(0, 3), "output": "{array_index}"}
    assert replace(SPEC, **array, trace="{array_index}.json").trace
    with pytest.raises(JobSpecError, match="the trace 'all.json' would be one file for all jobs of the array"):
        replace(SPEC, **array, trace="all.json")
    with pytest.raises(JobSpecError, match="the worker-logs 'logs' would be one file for all jobs of the array"):
        replace(SPEC, **array, worker_logs="logs")
    assert replace(SPEC, **array, metrics="127.0.0.1:9100").metrics  # a job is on nodes of its own, perhaps


def test_options_of_run_are_options_of_submit() -> None:
    spec = replace(
        SPEC,
        label=True,
        patience=300.0,
        interface="ib0",
        log_level="debug",
        nice=10,
        profile_workers=True,
        bind="cores",
        gpus_per_worker="2",
        container="a.sif",
        container_options=("--bind=/data", "--cleanenv"),
    )
    words = command_line(spec, SLURM, None)
    text = " ".join(words[words.index("slurm") + 1 : words.index("--")])
    assert text == (
        "--label --log-level debug --profile --container a.sif --container-option --bind=/data --container-option "
        "--cleanenv --patience 300 --interface ib0 --nice 10 --bind cores --gpus-per-worker 2"
    )
    assert command_line(SPEC, SLURM, None)[3:] == ["run", "--allocation", "slurm", "--", *SPEC.program]


def test_job_that_joins_a_run_has_its_own_network_and_patience_and_no_program() -> None:
    spec = replace(SPEC, patience=90.0, interface="ib0", bind="cores")
    words = command_line(spec, SLURM, "/jobs/1/record.json", join="41")
    options = ["--allocation", "slurm", "--patience", "90", "--interface", "ib0"]
    assert words[3:] == ["join", *options, "--", "41"]


def test_every_option_that_the_job_s_command_gets_is_one_of_run() -> None:
    names = {name for option in run.params for name in option.opts}
    assert set(OF_THE_RUN.values()) <= names
    assert set(OF_THE_RUN) <= set(OPTIONS)
