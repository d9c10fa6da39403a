"""Grid Engine's configuration for the simulated nodes, and its view of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from minicluster.state import HEAD, ClusterError, Settings, State

QUEUE = "all.q"
_GROUP = "@allhosts"
_DEFAULTS = Path("/usr/share/gridengine/default-configuration")
_PARALLEL_ENVIRONMENTS = {
    # allocation_rule, control_slaves and job_is_first_task of each
    "mpi": ("$round_robin", "TRUE", "FALSE"),
    "mpi_fill": ("$fill_up", "TRUE", "TRUE"),
    "mpi2": ("2", "TRUE", "FALSE"),
    "smp": ("$pe_slots", "FALSE", "TRUE"),
}
_SCHEDULING = {  # sched_conf(5): a job begins at once, in the order of the nodes
    "schedule_interval": "0:0:2",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "job_load_adjustments": "NONE",
    "load_adjustment_decay_time": "0:0:0",
    "queue_sort_method": "seqno",
    "schedd_job_info": "true",
}
_QUEUE_INSTANCE = re.compile(rf"{re.escape(QUEUE)}@(\S+)(?:\s+\S+){{4}}\s*(\S*)")


class GridEngine:
    """Son of Grid Engine: one queue over all nodes, and parallel environments of every kind."""

    title = "Grid Engine"
    packages: Mapping[str, str] = MappingProxyType(
        # other schedulers have a qsub, too
        {"sge_qmaster": "gridengine-master", "sge_execd": "gridengine-exec", "qconf": "gridengine-client"}
    )
    commands = ("qsub",)  # Debian's others are links to the same file
    bears_loopback_names = False  # "host name resolving "localhost" doesn't match client host name"
    daemons = ("sge_qmaster", "sge_execd", "sge_shepherd")
    killed_to_forget = ()
    # sge_qmaster opens the file whenever it has something to add, for sites put it away every month
    forget_jobs = ("sh", "-c", '. /etc/default/gridengine && rm -f "$SGE_ROOT/default/common/accounting"')
    usable = ("",)  # qstat(1), -f, "states": no letter is no trouble
    node_states = ("qstat", "-f", "-q", QUEUE)
    list_jobs = ("qstat", "-u", "*")
    delete_jobs = ("qdel", "-f", "-u", "*")

    def write(self, directory: Path, state: State) -> None:
        if not state.settings.private_tmp:  # a task's TMPDIR has one name on all nodes, and goes with the task
            raise ClusterError("Grid Engine needs a /tmp for each host: leave out --common-tmp")
        root = directory / "sge"
        common, spool = root / "default" / "common", root / "spool"
        for path in (common, spool / "qmaster" / "job_scripts", spool / "execd", root / "pes"):
            path.mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (root / name).symlink_to(f"/var/lib/gridengine/{name}")
        # Debian's programs read it when they are called without the variables
        (root / "gridengine").write_text(_environment(root))
        (common / "act_qmaster").write_text(f"{HEAD}\n")
        (common / "cluster_name").write_text("mini\n")
        (common / "bootstrap").write_text(_bootstrap(root))
        (root / "configuration").write_text(with_values(_DEFAULTS.read_text(), _configuration(root, state.settings)))
        for name, (rule, slaves, first) in _PARALLEL_ENVIRONMENTS.items():
            (root / "pes" / name).write_text(_parallel_environment(name, rule, slaves, first))

    def define(self, directory: Path, state: State, ask: Callable[[Sequence[str]], str]) -> None:
        nodes = [name for name in state.hosts if name != HEAD]
        ask(["qconf", "-ah", ",".join(nodes)])
        ask(["qconf", "-as", ",".join([HEAD, *nodes])])
        for option, what, text in (
            ("-Ahgrp", "hosts", f"group_name {_GROUP}\nhostlist {' '.join(nodes)}\n"),
            ("-Aq", "queue", with_values(ask(["qconf", "-sq"]), _queue(nodes, state.settings))),
            ("-Msconf", "scheduling", with_values(ask(["qconf", "-ssconf"]), _SCHEDULING)),
        ):
            path = directory / "sge" / what
            path.write_text(text)
            ask(["qconf", option, str(path)])

    def parse_node_states(self, text: str) -> dict[str, str]:
        """Read the answer to `node_states`.

        >>> GridEngine().parse_node_states('''queuename                      qtype resv/used/tot. load_avg arch   states
        ... ---------------------------------------------------------------------------------
        ... all.q@node001                  BIP   0/0/4          0.41     lx-amd64
        ...      36 0.55500 a.sh       root         r     11/26/2026 00:10:11     1
        ... all.q@node002                  BIP   0/0/4          -NA-     -NA-          au
        ... ''')
        {'node001': '', 'node002': 'au'}
        """
        matches = [_QUEUE_INSTANCE.match(line) for line in text.splitlines()]
        return {match[1]: match[2] for match in matches if match}

    def logs(self, directory: Path, name: str) -> list[Path]:
        spool = directory / "sge" / "spool"
        own = [] if name == HEAD else [spool / "execd" / name / "messages"]
        return [*own, spool / "qmaster" / "messages"]


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Return a listing of Grid Engine's with *values*, in the place of its own or at the end.

    >>> with_values("slots 1,[node001=2], \\\\\\n      [node002=3]\\nshell /bin/csh\\n", {"slots": "4", "seq_no": "0"})
    'slots 4\\nshell /bin/csh\\nseq_no 0\\n'
    """
    rows = [line.split(None, 1) for line in text.replace("\\\n", "").splitlines() if not line.startswith("#")]
    known = {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows if row}
    return "".join(f"{key} {value}\n" for key, value in {**known, **values}.items())


def set_slots(nodes: Sequence[str], cpus: int, slots: Sequence[int] = ()) -> list[str]:
    """Return the command that gives the first nodes so many *slots*, and *cpus* to the others.

    >>> set_slots(["node001", "node002"], 4, [1])[3:5]
    ['slots', '4,[node001=1],[node002=4]']
    """
    return ["qconf", "-rattr", "queue", "slots", _slots(nodes, cpus, slots), QUEUE]


def _slots(nodes: Sequence[str], cpus: int, slots: Sequence[int]) -> str:
    # every node is named: a former value of a node that is not would stay [qconf(1), -rattr]
    each = [*slots, *[cpus] * (len(nodes) - len(slots))]
    return ",".join([str(cpus), *(f"[{node}={n}]" for node, n in zip(nodes, each))])


def _environment(root: Path) -> str:
    values = {"SGE_ROOT": root, "SGE_CELL": "default", "SGE_QMASTER_PORT": 6444, "SGE_EXECD_PORT": 6445}
    return "".join(f"export {key}={value}\n" for key, value in values.items())


def _bootstrap(root: Path) -> str:
    """Return the file of bootstrap(5)."""
    spool = root / "spool" / "qmaster"
    values = {
        "admin_user": "root",
        "default_domain": "none",
        "ignore_fqdn": "true",
        "spooling_method": "classic",
        "spooling_lib": "libspoolc",
        "spooling_params": f"{root}/default/common;{spool}",
        "binary_path": f"{root}/bin",
        "qmaster_spool_dir": str(spool),
        "security_mode": "none",
        "listener_threads": "2",
        "worker_threads": "2",
        "scheduler_threads": "1",
        "jvm_threads": "0",
    }
    return with_values("", values)


def _configuration(root: Path, settings: Settings) -> dict[str, str]:
    """Return where the global configuration is not Debian's. See sge_conf(5)."""
    minutes, seconds = divmod(settings.node_timeout, 60)
    return {
        "execd_spool_dir": f"{root}/spool/execd",
        "mailer": "/bin/true",
        "shell_start_mode": "posix_compliant",
        "min_uid": "0",
        "min_gid": "0",
        "load_report_time": "00:00:05",
        "max_unheard": f"00:{minutes:02d}:{seconds:02d}",
        "loglevel": "log_info",
        # qacct knows a job as soon as qstat does not; by default it takes up to 15 s
        "reporting_params": "accounting=true reporting=false flush_time=00:00:15 joblog=false"
        " sharelog=00:00:00 accounting_flush_time=00:00:00",
    }


def _parallel_environment(name: str, rule: str, slaves: str, first: str) -> str:
    """Return the file of sge_pe(5)."""
    values = {
        "pe_name": name,
        "slots": "99999",
        "user_lists": "NONE",
        "xuser_lists": "NONE",
        "start_proc_args": "NONE",
        "stop_proc_args": "NONE",
        "allocation_rule": rule,
        "control_slaves": slaves,
        "job_is_first_task": first,
        "urgency_slots": "min",
        "accounting_summary": "FALSE",
        "qsort_args": "NONE",
    }
    return with_values("", values)


def _queue(nodes: Sequence[str], settings: Settings) -> dict[str, str]:
    """Return where the queue is not Grid Engine's default one. See queue_conf(5)."""
    return {
        "qname": QUEUE,
        "hostlist": _GROUP,
        "seq_no": ",".join(["0", *(f"[{node}={i}]" for i, node in enumerate(nodes, 1))]),
        "load_thresholds": "NONE",
        "slots": _slots(nodes, settings.cpus, settings.slots),
        "tmpdir": "/tmp",
        "rerun": "FALSE",
        "pe_list": " ".join(_PARALLEL_ENVIRONMENTS),
        "shell": "/bin/sh",
        "shell_start_mode": "posix_compliant",
    }
