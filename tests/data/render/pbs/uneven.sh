#!/bin/bash
#PBS -N pi
#PBS -S /bin/bash
#PBS -o localhost:/dev/null
#PBS -j oe
#PBS -k doe
#PBS -l select=7:ncpus=2:mpiprocs=1:ompthreads=2
#PBS -l place=free
#PBS -l walltime=36:00:00
#PBS -r n
#PBS -W tolerate_node_failures=all
output=/home/me/project/pi.o"${PBS_JOBID%%[!0-9]*}"
: >|"$output" && exec >>"$output" 2>&1 || exit 66
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_CPUS_PER_WORKER=2
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 129600))
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation pbs -- pi.py
