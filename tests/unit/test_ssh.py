"""Grids without a scheduler: the hosts that a user names, and the ssh to each."""

from __future__ import annotations

import shlex

import pytest

from scoop_hpc.cli.grid import plan_hosts
from scoop_hpc.cli.hostfile import Host
from scoop_hpc.errors import InputError
from scoop_hpc.launchers.ssh import SshLauncher
from scoop_hpc.run import environment
from scoop_hpc.run.placement import NodePlan

AGENT = ["/bin/sh", "-c", 'eval "$(cat)"', "sh", "/a b/python", "-c", "it's"]


def test_login_shell_gets_one_word_that_it_takes_apart_into_the_agents_command() -> None:
    (command,) = SshLauncher({"here"}.__contains__).commands(AGENT, ["n1"], {"SSH_AUTH_SOCK": "/s"})
    assert command.argv[0] == "ssh"
    assert command.argv[-2] == "n1"
    assert shlex.split(command.argv[-1]) == ["exec", *AGENT, "--node", "n1"]
    assert (command.environ, command.nodes) == ({"SSH_AUTH_SOCK": "/s"}, ("n1",))


def test_this_host_needs_no_ssh() -> None:
    commands = SshLauncher({"here"}.__contains__).commands(AGENT, ["here", "n1"], {})
    assert commands[0].argv == (*AGENT, "--node", "here")
    assert [command.argv[0] for command in commands] == ["/bin/sh", "ssh"]


def test_ssh_asks_nobody_anything() -> None:
    (command,) = SshLauncher(lambda host: False).commands(AGENT, ["n1"], {})
    assert "BatchMode=yes" in command.argv


def test_command_for_an_agent_has_neither_line_breaks_nor_exclamation_marks() -> None:
    """A csh takes both for its own, even in quotes."""
    assert not set("!\n") & set(shlex.join(environment.reading_input(["python"])))


def test_numbers_of_a_host_add_up() -> None:
    assert plan_hosts([Host("a", 1), Host("b", 2), Host("a", 1)], None) == (NodePlan("a", 2), NodePlan("b", 2))


def test_host_without_a_number_is_counted_when_it_reports() -> None:
    assert plan_hosts([Host("a", None)], None) == (NodePlan("a", None),)


def test_number_in_all_is_shared_out() -> None:
    assert plan_hosts([Host("a", 3), Host("b", 1)], 8) == (NodePlan("a", 6), NodePlan("b", 2))
    assert plan_hosts([Host("a", None), Host("b", None)], 3) == (NodePlan("a", 2), NodePlan("b", 1))
    assert plan_hosts([Host("a", None), Host("b", None)], 1) == (NodePlan("a", 1),)


@pytest.mark.parametrize(
    ("hosts", "complaint"),
    [
        ([Host("-oProxyCommand=x", 1)], "'-oProxyCommand=x' is no host"),
        ([Host("a.x", 1), Host("a.y", 1)], "a.x and a.y look like one host"),
        ([Host("a", None), Host("a", None)], "the host a is named twice"),
        ([Host("a", 2), Host("b", 1), Host("a", None)], "the host a is named twice"),
    ],
)
def test_hosts_that_make_no_grid_are_refused(hosts: list[Host], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        plan_hosts(hosts, None)


def test_a_node_s_own_gpus_are_kept_in_the_environment_that_is_brought() -> None:
    text = environment.shell_text({"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/home/me"}, "/").decode()
    assert '[ "${CUDA_VISIBLE_DEVICES+set}" ] || export CUDA_VISIBLE_DEVICES=0,1\n' in text
    assert "\nexport HOME=/home/me\n" in text
