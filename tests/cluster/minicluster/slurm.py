"""Slurm's configuration for the simulated nodes, and its view of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from minicluster.state import HEAD, State

# Slurm's plugin opens libpmix.so there, and Debian's package for it has libpmix.so.2 only: libpmix-dev has the link
_PMIX = Path("/usr/lib/x86_64-linux-gnu/pmix2/lib")
_CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"  # no daemon looks at this machine's control groups


class Slurm:
    """Slurm: the queues ``normal`` and ``short`` over all nodes."""

    title = "Slurm"
    packages: Mapping[str, str] = MappingProxyType(
        {
            "slurmctld": "slurmctld",
            "slurmd": "slurmd",
            "sbatch": "slurm-client",
            "munged": "munge",
            f"{_PMIX}/libpmix.so.2": "libpmix2",
        }
    )
    commands = ("sacct", "salloc", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
    bears_loopback_names = True
    daemons = ("munged", "slurmctld", "slurmd", "slurmstepd", "slurmscriptd")
    killed_to_forget = ("slurmctld",)
    forget_jobs = ("slurmctld", "-c")
    usable = ("idle", "mixed", "allocated", "completing")  # sinfo(1), NODE STATE CODES
    node_states = ("sinfo", "--noheader", "--Node", "--all", "--format=%N %T")
    list_jobs = ("squeue", "--noheader")
    delete_jobs = ("scancel", "--user=root")

    def write(self, directory: Path, state: State) -> None:
        for name in ("slurm", "slurmctld", "munge"):
            (directory / name).mkdir()
        (directory / "slurm" / "slurm.conf").write_text(configuration(directory, state))
        (directory / "slurm" / "cgroup.conf").write_text(_CGROUP_CONF)
        shutil.copytree(_PMIX, directory / "pmix", symlinks=True)
        library = directory / "pmix" / "libpmix.so"
        if not library.is_symlink():
            library.symlink_to("libpmix.so.2")
        key = directory / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))

    def define(self, directory: Path, state: State, ask: Callable[[Sequence[str]], str]) -> None:
        """Leave it at that: slurm.conf says everything."""

    def parse_node_states(self, text: str) -> dict[str, str]:
        """Read the answer to `node_states`.

        >>> Slurm().parse_node_states("node001 idle\\nnode002 down*\\n")
        {'node001': 'idle', 'node002': 'down*'}
        """
        rows = [line.split() for line in text.splitlines()]
        return {row[0]: row[1] for row in rows}

    def logs(self, directory: Path, name: str) -> list[Path]:
        return [] if name == HEAD else [directory / "hosts" / HEAD / "log" / "slurmctld.log"]


def configuration(directory: Path, state: State) -> str:
    """Return slurm.conf. See slurm.conf(5).

    Requests that can never be met are refused at submission. No accounting: ``sacct`` has nothing to say, which is
    how many a small site has it. Neither memory limits nor CPU binding are enforced.
    """
    settings = state.settings
    values = {
        "ClusterName": "mini",
        "SlurmctldHost": f"{HEAD}({state.hosts[HEAD].address})",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={directory}/munge/munge.socket.2",
        "StateSaveLocation": f"{directory}/slurmctld",
        "SlurmdSpoolDir": f"{directory}/hosts/%h/spool",
        "SlurmctldPidFile": f"{directory}/hosts/{HEAD}/slurmctld.pid",
        "SlurmdPidFile": f"{directory}/hosts/%h/slurmd.pid",
        "SlurmctldLogFile": f"{directory}/hosts/{HEAD}/log/slurmctld.log",
        "SlurmdLogFile": f"{directory}/hosts/%h/log/slurmd.log",
        "SlurmdParameters": "config_overrides",  # believe the CPUs below, not this machine's
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": str(max(1, settings.memory // settings.cpus // 2)),
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2",
        "EnforcePartLimits": "ALL",
        "ReturnToService": "2",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "SlurmctldTimeout": "30",
        "SlurmdTimeout": str(settings.node_timeout),
        "MessageTimeout": "10",
        "KillWait": "5",
        "MinJobAge": "600",
        "InactiveLimit": "0",
        "Waittime": "0",
        "JobCompType": "jobcomp/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
    }
    values.update({key: value for key, _, value in (line.partition("=") for line in settings.slurm_conf)})
    names = f"{settings.prefix}[001-{settings.nodes:03d}]"
    lines = [f"{key}={value}" for key, value in values.items()]
    lines += [
        f"NodeName={host.name} NodeAddr={host.address} CPUs={settings.cpus} Boards=1 SocketsPerBoard=1"
        f" CoresPerSocket={settings.cpus} ThreadsPerCore=1 RealMemory={settings.memory} State=UNKNOWN"
        for host in state.hosts.values()
        if host.name != HEAD
    ]
    lines += [
        f"PartitionName=normal Nodes={names} Default=YES DefaultTime=00:30:00 MaxTime=1-00:00:00 State=UP",
        f"PartitionName=short Nodes={names} DefaultTime=00:02:00 MaxTime=00:15:00 PriorityTier=2 State=UP",
    ]
    return "\n".join(lines) + "\n"
