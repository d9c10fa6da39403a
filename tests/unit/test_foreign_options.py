"""Options of sbatch and qsub, typed to our submit, are answered by ours that mean the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from scoop_hpc.cli.options.settings import KINDS, read_settings
from scoop_hpc.cli.submit import submit
from scoop_hpc.errors import SettingsError
from scoop_hpc.schedulers.registry import SCHEDULERS
from scoop_hpc.settings import foreign
from scoop_hpc.settings.foreign import ours

OURS = {word for each in submit.params for word in (*each.opts, *each.secondary_opts)}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no scheduler is found
    (tmp_path / "pi.py").write_text("print(3)\n")


def refused(*words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        submit.main([*words, "pi.py"], "scoop-hpc", standalone_mode=False)
    return caught.value.format_message()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--partition short", "--partition is --queue here"),
        ("--time=10", "--time is --walltime here (a number alone is minutes)"),
        ("--ntasks 4", "--ntasks is --workers here"),
        ("--cpus-per-task 2", "--cpus-per-task is --cpus-per-worker here"),
        ("--gres=gpu:2", "--gres is --gpus-per-node here"),
        ("--mem 4G", "--mem is --memory here"),
        ("--exclude=n1", "--exclude is passed on here by --directive '--exclude=n1'"),
        ("--hold", "--hold is passed on here by --directive '--hold'"),
        ("-N4", "-N is --nodes here if you mean sbatch's, or --name here if you mean PBS's or Grid Engine's"),
        ("--scheduler slurm -N 4", "-N is --nodes here"),
        ("--scheduler=pbs -N x", "-N is --name here"),
        ("--scheduler slurm -t 10", "-t is --walltime here (a number alone is minutes)"),
        ("--scheduler sge -t 1-9", "-t is --array here"),
        ("--scheduler slurm -J x", "-J is --name here"),
        ("--scheduler pbs -J 1-9", "-J is --array here"),
        ("-A x", "-A is --account here if you mean sbatch's or PBS's, or --account here"),
        ("-o x", "-o is --output here"),
        ("-e x", "-e is --error here"),
        ("-M me@site", "-M is --mail-user here"),
        ("--scheduler sge -q all.q", "-q is --queue here"),
        ("-cwd", "-cwd is --chdir here (by default, the directory that you submit from)"),
        ("-V", "-V is --env here (NAME of each variable that the job needs)"),
        ("-pe mpi 4", "-pe is --pe here (its name; the slots are --workers, or --nodes times --workers-per-node)"),
        ("-hold_jid 7", "-hold_jid is --after-any here"),
        ("-terse", "-terse is --parsable here"),
        ("-j oe", "-j is not needed here (without --error, the output has both)"),
        ("-l walltime=1:00:00", "-l walltime is --walltime here (a number alone is minutes)"),
        ("-lh_vmem=2G", "-l h_vmem is --memory-per-cpu here"),
        (
            "-l select=2:ncpus=4:mem=2gb,walltime=60",
            "-l select is --nodes, --workers-per-node, --cpus-per-worker, --memory, --gpus-per-node or --constraint "
            "here, -l walltime is --walltime here (a number alone is minutes)",
        ),
        ("-l matlab=1", "-l is passed on here by --directive '-l matlab=1'"),
    ],
)
def test_an_option_of_a_scheduler_is_answered_by_ours(words: str, answer: str) -> None:
    assert answer in refused(*words.split())


def test_another_word_is_answered_by_the_nearest_spelling() -> None:
    assert "'--walltime'" in refused("--waltime", "5")
    assert "No such option '-z'" in refused("-z")


def test_words_behind_the_program_are_its_own() -> None:
    assert foreign.mistyped(["--", "-N", "4"], "-N") == ("-N", None)


def test_a_line_of_the_program_is_answered_as_well() -> None:
    Path("pi.py").write_text("#SCOOP --partition short\n")
    with pytest.raises(SettingsError, match="pi.py, line 1: --partition is --queue here"):
        read_settings(os.environ, "pi.py", None, {})


@pytest.mark.parametrize(("key", "answer"), [("partition", "queue"), ("cpus_per_task", "cpus-per-worker")])
def test_a_setting_of_a_file_is_answered_as_well(key: str, answer: str) -> None:
    assert key not in KINDS
    Path("scoop_hpc.toml").write_text(f"[defaults]\n{key} = '1'\n")
    option = f"--{key.replace('_', '-')}"
    with pytest.raises(SettingsError, match=f"there is no setting '{key}': {option} is --{answer} here"):
        read_settings({}, "pi.py", None, {})


def test_each_scheduler_s_options_are_known_but_our_own_scheduler_s() -> None:
    assert [name for name, each in SCHEDULERS.items() if each.own_options is None] == ["local"]


@pytest.mark.parametrize("scheduler", [name for name, each in SCHEDULERS.items() if each.own_options is not None])
def test_no_option_of_ours_is_hidden_and_what_is_told_of_them_exists(scheduler: str) -> None:
    own = SCHEDULERS[scheduler].own_options
    assert own is not None
    for name in own.ours:
        option = f"--{name}" if scheduler == "slurm" and len(name) > 1 else f"-{name}"
        answer = ours(option, "1", scheduler)
        assert answer is not None, option
        told = re.sub(r"'[^']*'", "", answer[len(option) :])  # without what is within quotes: the directive
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", told)) <= OURS
