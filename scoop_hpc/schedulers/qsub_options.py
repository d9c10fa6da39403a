"""The options that PBS's and Grid Engine's qsub have in common, and ours that mean the same."""

from __future__ import annotations

from types import MappingProxyType

from scoop_hpc.schedulers.own_options import DIRECTIVE, ENVIRONMENT, MINUTES

BASH = "not needed (the script is bash's)"
OUTPUT_HAS_BOTH = "not needed (without --error, the output has both)"

QSUB = MappingProxyType(
    {
        "M": "--mail-user",
        "N": "--name",
        "V": ENVIRONMENT,
        "a": "--begin",
        "e": "--error",
        "h": DIRECTIVE,
        "m": "--mail-events",
        "o": "--output",
        "p": DIRECTIVE,
        "q": "--queue",
        "r": "--requeue or --no-requeue",
        "v": "--env (NAME=VALUE)",
    }
)
RESOURCES = MappingProxyType(  # of ``-l`` [pbs_resources(7B), complex(5)]
    {
        "walltime": MINUTES,
        "h_rt": MINUTES,
        "s_rt": "--signal (before the end of --walltime)",
        "select": "--nodes, --workers-per-node, --cpus-per-worker, --memory, --gpus-per-node or --constraint",
        "nodes": "--nodes and --workers-per-node",
        "ppn": "--workers-per-node",
        "procs": "--workers",
        "ncpus": "--cpus-per-worker or --workers-per-node",
        "mem": "--memory",
        "vmem": "--memory",
        "pmem": "--memory-per-cpu",
        "h_vmem": "--memory-per-cpu",
        "s_vmem": "--memory-per-cpu",
        "mem_free": "--memory-per-cpu",
        "virtual_free": "--memory-per-cpu",
        "ngpus": "--gpus-per-node",
        "gpus": "--gpus-per-node",
        "gpu": "--gpus-per-node or --directive '-l gpu=...'",
        "place": "--nodes (scatter) or --exclusive (excl)",
        "hostname": "--constraint",
        "host": "--constraint",
    }
)
