"""The option of commands whose nodes are reached by others."""

from __future__ import annotations

import click

from scoop_hpc.cli.shell.names import network_interfaces, proposing

interface_option = click.option(
    "--interface",
    default="",
    shell_complete=proposing(network_interfaces),
    help="The network interface that other nodes reach this one by.",
)
