"""Grids without a scheduler: the hosts that a user names, and the ssh to each."""

from __future__ import annotations

import shlex

import pytest

from scoop_hpc.cli.grid import plan_hosts
from scoop_hpc.cli.hostfile import Host, read_hosts
from scoop_hpc.errors import HostlistError, InputError
from scoop_hpc.launch import handover
from scoop_hpc.launchers.ssh import SshLauncher
from scoop_hpc.placement import NodePlan

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
    assert not set("!\n") & set(shlex.join(handover.reading_input(["python"])))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a", [Host("a", None)]),
        ("a:4,b", [Host("a", 4), Host("b", None)]),
        ("n[1-2]:3,m[1,3],", [Host("n1", 3), Host("n2", 3), Host("m1", None), Host("m3", None)]),
        ("10.0.0.7:02", [Host("10.0.0.7", 2)]),
    ],
)
def test_hosts_of_a_command_line(text: str, hosts: list[Host]) -> None:
    assert read_hosts(text) == hosts


@pytest.mark.parametrize("text", [",", " ", "a:", "a:0", "a:-1", "a:b", ":4", "a b", "a:4:4", "fe80::1"])
def test_hosts_that_cannot_be_read_are_shown(text: str) -> None:
    with pytest.raises(InputError, match="write `host:workers`") as caught:
        read_hosts(text)
    assert repr(text) in str(caught.value)


def test_unbalanced_bracket_is_refused() -> None:
    with pytest.raises(HostlistError):
        read_hosts("n[1-2")


def test_numbers_of_a_host_add_up() -> None:
    assert plan_hosts([Host("a", 1), Host("b", 2), Host("a", 1)], None) == (NodePlan("a", 2), NodePlan("b", 2))


def test_host_without_a_number_is_counted_when_it_reports() -> None:
    assert plan_hosts([Host("a", None)], None) == (NodePlan("a", 0),)


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
