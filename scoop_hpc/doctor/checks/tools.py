"""Checks of what jobs may ask for besides Python: modules, containers, MPI."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import alike, names
from scoop_hpc.doctor.facts import NodeFacts, Tools
from scoop_hpc.doctor.finding import Finding, change, note, ok
from scoop_hpc.fields.spec import JobSpec

_BY_SRUN = ("pyxis",)  # a plugin of Slurm's, which no command tells of


def check(nodes: Sequence[NodeFacts], spec: JobSpec) -> list[Finding]:
    """Return what is there, and what *spec* asks for and is not."""
    found = alike([(node, _check(node.tools, spec)) for node in nodes])
    return [
        Finding(each.topic, each.verdict, f"{names(same)}: {each.text}", each.advice)
        for group, same in found
        for each in group
    ]


def _check(tools: Tools, spec: JobSpec) -> list[Finding]:
    return [_check_modules(tools, spec), _check_containers(tools, spec), _check_mpi(tools)]


def _check_modules(tools: Tools, spec: JobSpec) -> Finding:
    if tools.modules:
        return ok("modules", tools.modules)
    if spec.modules:
        text = f"no environment modules, and --module asks for {', '.join(spec.modules)}"
        return change("modules", text, "leave --module out, or start them by --setup")
    return note("modules", "no environment modules; only --module needs them")


def _check_containers(tools: Tools, spec: JobSpec) -> Finding:
    runtime = spec.container_runtime or "apptainer"
    if spec.container is not None and runtime not in (*tools.containers, *_BY_SRUN):
        there = " or ".join(f"--container-runtime {name}" for name in tools.containers if name != "enroot")
        advice = f"give {there}" if there else "load it by --module or --setup, or leave --container out"
        return change("containers", f"no {runtime}, which --container asks for", advice)
    if tools.containers:
        return ok("containers", ", ".join(tools.containers))
    return note("containers", "neither apptainer nor singularity; only --container needs one")


def _check_mpi(tools: Tools) -> Finding:
    mpi4py = f"mpi4py {tools.mpi4py}" if tools.mpi4py else "no mpi4py"
    if tools.mpi:
        return ok("mpi", f"{', '.join(tools.mpi)}; {mpi4py}")
    return note("mpi", f"no mpirun, {mpi4py}; only programs that use MPI themselves need it")
