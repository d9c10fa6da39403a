"""Checks of Python and its packages, which have to be the same on all nodes."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, names
from scoop_hpc.doctor.facts import ABSENT, NodeFacts, Software
from scoop_hpc.doctor.finding import Finding, change, note, ok

_FILES = "let all nodes see one environment, and name it by --venv or --conda"


def check_here(here: NodeFacts) -> Finding:
    """Return which Python this is: what it has to be, the command has seen to."""
    return ok("python", _said(here.software))


def check_nodes(here: NodeFacts, nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Return where the nodes have another Python than the login node, or than each other."""
    findings = []
    for software, same in alike([(node, node.software) for node in nodes]):
        findings += _compare(here.software, software, names(same))
    if not findings and nodes:
        findings = [ok("python", f"{names(nodes)}: the same as here, and the same packages")]
    return findings


def _compare(here: Software, there: Software, where: str) -> list[Finding]:
    findings = []
    if here.python.rpartition(".")[0] != there.python.rpartition(".")[0]:
        text = f"{where}: Python {there.python} in {there.executable}, and {here.python} here"
        findings.append(change("python", text, _FILES))
    elif here.python != there.python:
        findings.append(note("python", f"{where}: Python {there.python}, and {here.python} here: both go together"))
    if (here.scoop_hpc, here.protocol) != (there.scoop_hpc, there.protocol):
        text = (
            f"{where}: scoop_hpc {there.scoop_hpc} with protocol {there.protocol}, "
            f"and {here.scoop_hpc} with protocol {here.protocol} here"
        )
        findings.append(change("python", text, f"install one version: {_FILES}"))
    versions = dict(here.packages)
    for name, version in there.packages:
        own = versions.get(name, ABSENT)
        if version != own:
            text = f"{where}: {_package(name, version)}, and {_package(name, own)} here"
            # of two nearly alike, values can be read by both
            harmless = ABSENT not in (version, own) and version.split(".")[0] == own.split(".")[0]
            findings.append(note("python", text) if harmless else change("python", text, _FILES))
    return findings


def _said(software: Software) -> str:
    packages = ", ".join(_package(name, version) for name, version in software.packages)
    return (
        f"Python {software.python} in {software.executable}; scoop_hpc {software.scoop_hpc}, "
        f"protocol {software.protocol}; {packages}"
    )


def _package(name: str, version: str) -> str:
    return f"no {name}" if version == ABSENT else f"{name} {version}"
