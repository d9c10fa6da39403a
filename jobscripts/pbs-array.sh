#!/bin/bash
# scoop-hpc render --scheduler pbs --nodes 2 --workers-per-node 4 --cpus-per-worker 2 --memory 16G --walltime 2h
#     --queue workq --array 0-99%10 --module python/3.11 pi.py
#
# A hundred jobs, ten at a time, each of two nodes with four workers of two CPUs. Everything about a node is in its
# chunk: memory as well. The job's environment is not that of the shell that submitted it: modules are loaded here.
# qsub takes no array that is not rerunnable (-r y). Each job opens its own output, under the name that PBS would choose.
#PBS -N pi
#PBS -S /bin/bash
#PBS -o localhost:/dev/null
#PBS -j oe
#PBS -k doe
#PBS -l select=2:ncpus=8:mpiprocs=4:ompthreads=2:mem=16777216kb
#PBS -l place=scatter
#PBS -l walltime=2:00:00
#PBS -q workq
#PBS -J 0-99%10
#PBS -r y
#PBS -W tolerate_node_failures=all
output=/home/me/project/pi.o"${PBS_JOBID%%[!0-9]*}"."$PBS_ARRAY_INDEX"
: >|"$output" && exec >>"$output" 2>&1 || exit 66
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_CPUS_PER_WORKER=2
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 7200))
for init in "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash" /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    command -v module >/dev/null || { [ -r "$init" ] && . "$init"; }
done
module load python/3.11 || {
    echo "scoop-hpc: error: cannot load the modules" python/3.11 "on $(uname -n):" \
        "see module avail there; --setup says what has to come before" >&2
    exit 1
}
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation pbs -- pi.py
