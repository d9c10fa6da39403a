#!/bin/bash
# scoop-hpc render --workers 64 --walltime 12h --memory-per-cpu 2G --queue short --account physics pi.py 1000
#
# 64 workers of 2 GiB each, on however many nodes, for half a day: by a parallel environment that spreads its slots.
#$ -S /bin/bash
#$ -N pi
#$ -o /home/me/project/scoop-$JOB_ID.out
#$ -j y
#$ -pe mpi 64
#$ -l h_vmem=2048M
#$ -l h_rt=12:00:00
#$ -q short
#$ -P physics
#$ -r n
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 43200))
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation sge -- pi.py 1000
