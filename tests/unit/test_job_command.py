"""Commands that take settings, and scoop-hpc config, in a directory of files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scoop_hpc.cli.config import config
from scoop_hpc.cli.options import settings
from scoop_hpc.cli.submit import render, submit
from scoop_hpc.errors import InputError, ScoopError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOOP_HPC_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no scheduler is found
    monkeypatch.setattr(settings, "_OF_THE_SITE", str(tmp_path / "etc.toml"))
    monkeypatch.setattr("socket.gethostname", lambda: "login1.big.org")
    (tmp_path / "pi.py").write_text("print(3)\n")
    (tmp_path / "config" / "scoop_hpc").mkdir(parents=True)


@contextlib.contextmanager
def _back(directory: Path) -> Iterator[None]:
    try:
        yield
    finally:
        os.chdir(directory)


def call(command: click.Command, *words: str) -> tuple[str, str]:
    """Run *command*; return what it printed; let its errors through."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), _back(Path.cwd()):
        command.main(words, "scoop-hpc", standalone_mode=False)
    return stdout.getvalue(), stderr.getvalue()


def directives(*words: str) -> set[str]:
    lines = call(render, *words)[0].splitlines()
    return {line.split(" ", 1)[1] for line in lines if line.startswith(("#SBATCH", "#LOCAL"))}


HERE, MINE, SITE = Path("scoop_hpc.toml"), Path("config/scoop_hpc/config.toml"), Path("etc.toml")


# what counts


def test_sources_go_before_each_other_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    SITE.write_text('[defaults]\nscheduler = "slurm"\nqueue = "site"\n')
    assert "--partition=site" in directives("pi.py")
    MINE.write_text('[defaults]\nqueue = "mine"\n')
    assert "--partition=mine" in directives("pi.py")
    HERE.write_text('[defaults]\nqueue = "here"\n')
    assert "--partition=here" in directives("pi.py")
    Path("pi.py").write_text("#SCOOP --queue program\nprint(3)\n")
    assert "--partition=program" in directives("pi.py")
    monkeypatch.setenv("SCOOP_HPC_QUEUE", "variable")
    assert "--partition=variable" in directives("pi.py")
    assert "--partition=words" in directives("--queue", "words", "pi.py")


def test_every_kind_of_setting_reaches_the_script() -> None:
    HERE.write_text(
        '[defaults]\nscheduler = "slurm"\nnodes = 2\nworkers_per_node = "3"\nrequeue = true\nexclusive = false\n'
        'modules = ["gcc/12", "a b"]\nwalltime = 90\nmail_user = "me@x"\nmail_events = "begin"\n'
    )
    assert {"--nodes=2", "--ntasks-per-node=3", "--requeue", "--time=1:30:00", "--mail-type=BEGIN"} <= directives(
        "pi.py"
    )
    assert "module load gcc/12 'a b'" in call(render, "pi.py")[0]
    assert "--no-requeue" in directives("--no-requeue", "pi.py")


def test_a_flag_of_a_file_can_be_undone() -> None:
    HERE.write_text('[defaults]\nscheduler = "slurm"\nexclusive = true\nworkers_per_node = 1\n')
    assert "--exclusive" in directives("pi.py")
    assert "--exclusive" not in directives("--no-exclusive", "pi.py")


def test_lists_are_replaced_as_a_whole() -> None:
    HERE.write_text('[defaults]\nmodules = ["gcc/12", "openmpi"]\n')
    Path("pi.py").write_text("#SCOOP --module a --module b\n#SCOOP --module c\n")
    assert "module load a b c |" in call(render, "pi.py")[0]
    assert "module load d |" in call(render, "--module", "d", "pi.py")[0]


def test_a_path_of_a_setting_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd() / "config"))
    HERE.write_text('[defaults]\nchdir = "~/scoop_hpc"\n')
    assert f"--chdir={Path.cwd() / 'config' / 'scoop_hpc'}" in directives("pi.py")


def test_a_stronger_number_of_workers_is_no_contradiction() -> None:
    HERE.write_text('[defaults]\nscheduler = "slurm"\nnodes = 4\nworkers_per_node = 8\n')
    assert "--ntasks=6" in directives("--workers", "6", "pi.py")


def test_the_profile_is_of_the_command_line_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    HERE.write_text(
        '[clusters.a]\nscheduler = "slurm"\nqueue = "qa"\n[clusters.b]\nscheduler = "slurm"\nqueue = "qb"\n'
    )
    monkeypatch.setenv("SCOOP_HPC_PROFILE", "a")
    assert "--partition=qa" in directives("pi.py")
    assert "--partition=qb" in directives("--profile", "b", "pi.py")


def test_another_scheduler_than_the_clusters_leaves_the_cluster_out() -> None:
    HERE.write_text(
        'default = "a"\n[defaults]\nwalltime = 5\nworkers_per_node = 1\n'
        '[clusters.a]\nscheduler = "slurm"\nqueue = "qa"\nmemory = "8G"\n'
    )
    assert {"--partition=qa", "--time=0:05:00"} <= directives("pi.py")
    assert "--walltime=0:05:00" in directives("--scheduler", "local", "pi.py")
    with pytest.raises(ScoopError, match=r"^scoop_hpc.toml, line 8: .* cannot express --memory"):
        call(render, "--scheduler", "local", "--profile", "a", "pi.py")


def test_a_cluster_of_a_scheduler_that_is_none_is_not_passed_over_in_silence() -> None:
    HERE.write_text('[clusters.a]\nscheduler = "slrum"\nqueue = "qa"\n')
    assert call(render, "--scheduler", "local", "pi.py")[1] == (
        "scoop-hpc: warning: scoop_hpc.toml, line 2: there is no scheduler 'slrum', so the cluster 'a' is not found "
        "by it: did you mean 'slurm'?\n"
    )
    HERE.write_text('[clusters.a]\nscheduler = "slrum"\n[clusters.b]\nscheduler = "local"\n')
    assert call(render, "pi.py")[1] == ""  # another site's, perhaps, where a package brings it


# what is refused


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--nodez 3", "there is no option '--nodez': did you mean '--nodes'?"),
        ("-z 3", "there is no option '-z': scoop-hpc submit --help lists them"),
        ("-N 3", "-N is --nodes here if you mean sbatch's, or --name here if you mean PBS's or Grid Engine's"),
        ("--wait", "--wait is for the command line only"),
        ("--dry-run", "--dry-run is for the command line only"),
        ("--help", "--help is for the command line only"),
        ("--nodes", "Option '--nodes' requires an argument."),
        ("--nodes x", "nodes 'x': give a whole number, 1 or more"),
        ("--requeue=3", "Option '--requeue' does not take a value."),
        ("--nodes 3 # three", "'#' is no option"),
        ("other.py", "'other.py' is no option"),
        ("--walltime 1:xx", "cannot read the walltime '1:xx'"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused(line: str, complaint: str) -> None:
    Path("pi.py").write_text(f"#!/usr/bin/python3\n#SCOOP {line}\n")
    for command in (render, submit):
        with pytest.raises(InputError, match=re.escape(f"pi.py, line 2: {complaint}")):
            call(command, "pi.py")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('walltime = "1:xx"', "scoop_hpc.toml, line 2: cannot read the walltime '1:xx'"),
        ("nodes = -1", "scoop_hpc.toml, line 2: nodes '-1': give a whole number, 1 or more"),
        ('scheduler = "slrum"', "scoop_hpc.toml, line 2: there is no scheduler 'slrum'"),
        ('qos = ""', "scoop_hpc.toml, line 2: the qos '' is empty"),
        ("nodes = 3\nworkers = 2", "scoop_hpc.toml, line 2 and scoop_hpc.toml, line 3: --workers 2 leaves some of"),
        ('memory = "8G"', "scoop_hpc.toml, line 2: the scheduler 'local' cannot express --memory"),
        ('venv = "nosuch"', "scoop_hpc.toml, line 2: --venv 'nosuch' holds no bin/python"),
        ('chdir = "nosuch"', "scoop_hpc.toml, line 2: --chdir 'nosuch': No such file or directory"),
        ('chdir = "config"\nqos = ""', "scoop_hpc.toml, line 3: the qos '' is empty"),
        ('template = "nosuch"', "scoop_hpc.toml, line 2: the template 'nosuch' does not render"),
        ('mail_user = "me"\nmail_events = "x"\nscheduler = "slurm"', "scoop_hpc.toml, line 3: there is no mail event"),
        ('progress = "bar"', "scoop_hpc.toml, line 2: --progress bar: a job writes into a file, which is no terminal"),
        ('metrics = "65536"', "scoop_hpc.toml, line 2: --metrics 65536: a port is a number from 1 to 65535"),
        ('metrics = "run:0"', "scoop_hpc.toml, line 2: --metrics run:0: a port is a number from 1 to 65535"),
        ('walltime = "1:xx"\nqos = ""\n', "scoop_hpc.toml, line 2: cannot read the walltime '1:xx'"),
        (
            'container_runtime = "docker"\ncontainer = "x"',
            "scoop_hpc.toml, line 2: container_runtime 'docker' is not one of",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(text: str, complaint: str) -> None:
    HERE.write_text(f"[defaults]\n{text}\n")
    for command in (render, submit):
        with pytest.raises(InputError, match=re.escape(complaint)):
            call(command, "pi.py")


def test_an_error_of_the_command_line_is_not_blamed_on_settings() -> None:
    HERE.write_text('[defaults]\nwalltime = "2h"\nworkers_per_node = 1\n')
    with pytest.raises(InputError, match=r"^cannot read the memory 'much'"):
        call(render, "--memory", "much", "pi.py")
    with pytest.raises(InputError, match=r"^scoop_hpc.toml, line 2: --signal 10800 s"):
        call(render, "--signal", "3h", "pi.py")


def test_a_setting_that_its_scheduler_refuses_is_named() -> None:
    HERE.write_text('[defaults]\nqueue = "q"\ndirective = ["x"]\n')
    with pytest.raises(InputError, match=r"^scoop_hpc.toml, line 3: the directive 'x' is no option of sbatch"):
        call(render, "--scheduler", "slurm", "pi.py")


def test_a_setting_that_an_error_only_advises_is_not_blamed() -> None:
    HERE.write_text('[defaults]\nqueue = "q"\ndirective = ["-p 1"]\n')
    with pytest.raises(InputError, match=r"^the scheduler 'sge' cannot express --qos 'x': .* use --queue or --direct"):
        call(render, "--scheduler", "sge", "--qos", "x", "pi.py")


def test_variables_are_refused_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOOP_HPC_EXCLUSIVE", "maybe")
    with pytest.raises(InputError, match=r"^\$SCOOP_HPC_EXCLUSIVE: exclusive 'maybe' is not a valid boolean"):
        call(render, "pi.py")


def test_what_only_looks_like_a_setting_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOOP_HPC_QUEU", "x")
    Path("pi.py").write_text("# SCOOP --nodes 3\n")
    for command, words in ((render, ["pi.py"]), (config, ["show", "pi.py"])):
        first, second = call(command, *words)[1].splitlines()[:2]
        assert first == "scoop-hpc: warning: SCOOP_HPC_QUEU sets nothing: did you mean SCOOP_HPC_QUEUE?"
        assert second.startswith("scoop-hpc: warning: pi.py, line 1: '# SCOOP --nodes 3' sets nothing")


def test_files_that_cannot_be_read_are_refused() -> None:
    HERE.write_bytes(b'[defaults]\nqueue = "\xe9"\n')
    with pytest.raises(InputError, match=r"^scoop_hpc.toml, line 2: b'\\xe9' is not UTF-8"):
        call(render, "pi.py")
    HERE.unlink()
    HERE.mkdir()
    with pytest.raises(InputError, match=r"^cannot read the settings 'scoop_hpc.toml': Is a directory"):
        call(render, "pi.py")
    HERE.rmdir()
    os.mkfifo(HERE)
    with pytest.raises(InputError, match=r"^cannot read the settings 'scoop_hpc.toml': Is a FIFO"):
        call(render, "pi.py")
    HERE.unlink()
    HERE.symlink_to("settings-that-were-moved.toml")
    with pytest.raises(
        InputError, match=r"^cannot read the settings 'scoop_hpc.toml': the file that this link leads to"
    ):
        call(render, "pi.py")


def test_a_file_where_a_directory_should_be_holds_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path.cwd() / "pi.py"))
    assert call(render, "--workers-per-node", "1", "pi.py")[0]


def test_a_program_is_read_in_its_encoding() -> None:
    Path("pi.py").write_bytes(b"# -*- coding: latin-1 -*-\n#SCOOP --walltime 5\nx = '\xe9'\n")
    assert "--walltime=0:05:00" in directives("pi.py")
    Path("pi.py").write_bytes(b"# -*- coding: latin-1 -*-\n#SCOOP --name \xe9\n")
    assert '--job-name="\xe9"' in directives("--scheduler", "slurm", "pi.py")


@pytest.mark.parametrize(
    "coding", ["", "# coding: nosuch\n", "# coding: ascii\n", "# coding: base64\n", "# coding: idna\n"]
)
def test_a_program_that_is_not_in_its_encoding_is_refused(coding: str) -> None:
    Path("pi.py").write_bytes(coding.encode() + b"#SCOOP --name \xe9\n")
    with pytest.raises(
        InputError, match=r"^pi.py, line \d: the name '\\udce9' holds|^the program 'pi.py' is not Python"
    ):
        call(render, "pi.py")


# config


def test_show_tells_each_value_and_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    SITE.write_text('[clusters.big]\nhosts = ["login*.big.org"]\nscheduler = "slurm"\nmodules = ["gcc/12", "a b"]\n')
    Path("pi.py").write_text("\n#SCOOP --requeue\n")
    monkeypatch.setenv("SCOOP_HPC_QUEUE", "q")
    site = str(Path.cwd() / "etc.toml")
    first, *table = call(config, "show", "pi.py")[0].splitlines()
    assert first == f"cluster: big (its hosts in {site}:2 fit this one, login1.big.org)"
    assert [re.split("  +", line) for line in table] == [
        ["SETTING", "VALUE", "ORIGIN"],
        ["queue", "q", "$SCOOP_HPC_QUEUE"],
        ["requeue", "true", "pi.py:2"],
        ["scheduler", "slurm", f"{site}:3"],
        ["module", "gcc/12 'a b'", f"{site}:4"],
    ]
    told = json.loads(call(config, "show", "--json", "pi.py")[0])
    assert told["cluster"] == "big"
    assert told["settings"][3] == {
        "setting": "module",
        "value": ["gcc/12", "a b"],
        "origin": {"place": site, "line": 4},
    }


def test_show_has_the_lines_of_a_module() -> None:
    Path("pkg").mkdir()
    Path("pkg/job.py").write_text("#SCOOP --nodes 3\n")
    assert call(config, "show", "-m", "pkg.job")[0].splitlines()[-1].split() == [
        "nodes",
        "3",
        f"{Path.cwd()}/pkg/job.py:1",
    ]


def test_show_refuses_a_module_that_is_not_there_unless_the_job_has_a_python_of_its_own() -> None:
    with pytest.raises(InputError, match=r"^cannot find the module 'pkg\.nosuch'"):
        call(config, "show", "-m", "pkg.nosuch")
    Path("env/bin").mkdir(parents=True)
    Path("env/bin/activate").touch()
    HERE.write_text('[defaults]\nvenv = "env"\n')
    assert "venv" in call(config, "show", "-m", "pkg.nosuch")[0]


def test_show_asks_for_the_module_that_is_to_be_named() -> None:
    with pytest.raises(click.UsageError, match=r"^-m is for a PROGRAM that is a module: name it$"):
        call(config, "show", "-m")


def test_show_without_any_setting_says_so() -> None:
    stdout, stderr = call(config, "show")
    assert stdout == "cluster: none (no file names any)\n"
    assert stderr == "scoop-hpc: nothing is set: the defaults of scoop-hpc submit --help hold\n"


def test_show_lists_the_defaults_when_asked() -> None:
    HERE.write_text('[defaults]\nqueue = "q"\n')
    rows = {line.split()[0]: line.split()[1:] for line in call(config, "show", "--all")[0].splitlines()}
    assert rows["queue"] == ["q", "scoop_hpc.toml:2"]
    assert rows["cpus_per_worker"] == ["1", "default"]
    assert rows["exclusive"] == ["false", "default"]
    assert rows["container_runtime"] == ["default"]
    assert set(settings.KINDS) <= set(rows)


def test_show_tells_what_waits() -> None:
    HERE.write_text('[defaults]\ncontainer_runtime = "pyxis"\n')
    expected = "scoop-hpc: scoop_hpc.toml, line 2: container_runtime 'pyxis' waits for a container\n"
    assert call(config, "show")[1].endswith(expected)
    assert json.loads(call(config, "show", "--json")[0])["waiting"] == [
        {"setting": "container_runtime", "needs": "container", "origin": {"place": "scoop_hpc.toml", "line": 2}}
    ]
    assert call(render, "pi.py")[1] == ""


def test_what_a_program_asks_for_in_vain_is_warned_of() -> None:
    Path("pi.py").write_text("#SCOOP --mail-events end\n")
    assert call(render, "pi.py")[1] == (
        "scoop-hpc: warning: pi.py, line 1: mail_events 'end' waits for a mail_user, so it sets nothing\n"
    )


def test_show_refuses_what_submit_would() -> None:
    HERE.write_text('[defaults]\nmemory = "8"\n')
    with pytest.raises(InputError, match=r"^scoop_hpc.toml, line 2: cannot read the memory '8'"):
        call(config, "show")
    with pytest.raises(InputError, match=r"'nosuch.py'"):
        call(config, "show", "nosuch.py")


def test_path_lists_the_files_and_which_are_there() -> None:
    MINE.write_text("")
    lines = [line.split(maxsplit=1) for line in call(config, "path")[0].splitlines()]
    assert lines == [["scoop_hpc.toml", "-"], [str(Path.cwd() / MINE), "is there"], [str(Path.cwd() / SITE), "-"]]
