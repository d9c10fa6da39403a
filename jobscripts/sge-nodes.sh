#!/bin/bash
# scoop-hpc render --nodes 4 --workers-per-node 2 --walltime 10 pi.py 1000
#
# Two workers on each of four nodes, for ten minutes: by the parallel environment of the site that gives two slots on
# each host.
#$ -S /bin/bash
#$ -N pi
#$ -o /home/me/project/scoop-$JOB_ID.out
#$ -j y
#$ -pe mpi2 8
#$ -l h_rt=0:10:00
#$ -r n
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 600))
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation sge -- pi.py 1000
