"""All checks, in the order in which a reader wants to hear of them."""

from __future__ import annotations

from scoop_hpc.doctor.checks import clocks, directories, limits, network, scheduler, software, space, tools
from scoop_hpc.doctor.checks.scheduler import SchedulerFacts
from scoop_hpc.doctor.facts import JobFacts, NodeFacts
from scoop_hpc.doctor.finding import Finding
from scoop_hpc.fields.spec import JobSpec


def of_login_node(here: NodeFacts, asked: SchedulerFacts, spec: JobSpec) -> list[Finding]:
    """Return what can be told without a job; *spec* is what a user would ask for."""
    return [
        *scheduler.check(asked, spec),
        software.check_here(here),
        *directories.check_here(here),
        network.check_here(here),
        *space.check([here]),
        *limits.check([here], spec),
        *tools.check([here], spec),
    ]


def of_job(here: NodeFacts, job: JobFacts, spec: JobSpec) -> list[Finding]:
    """Return what the nodes of a job have told, compared with the login node, *here*."""
    return [
        network.check_all_there(job),
        *software.check_nodes(here, job.nodes),
        *directories.check_nodes(job.nodes),
        *clocks.check(job.ways),
        *network.check_nodes(job.nodes),
        *network.check_ways(job.ways),
        *space.check(job.nodes),
        *limits.check(job.nodes, spec),
        *tools.check(job.nodes, spec),
    ]
