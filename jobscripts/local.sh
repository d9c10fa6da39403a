#!/bin/bash
# scoop-hpc render --scheduler local --nodes 2 --workers-per-node 2 --walltime 10 pi.py 1000
#
# A job in the background of this machine, without any scheduler: "nodes" are groups of processes.
#LOCAL --job-name=pi
#LOCAL --chdir=/home/me/project
#LOCAL --output="scoop-{job_id}.out"
#LOCAL --nodes=2
#LOCAL --workers-per-node=2
#LOCAL --cpus-per-worker=1
#LOCAL --walltime=0:10:00
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 600))
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation local -- pi.py 1000
