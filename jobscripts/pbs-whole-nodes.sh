#!/bin/bash
# scoop-hpc render --scheduler pbs --nodes 4 pi.py 1000
#
# Four whole nodes: pbsnodes said that each has 4 CPUs, and a chunk of PBS has to say so. mpiprocs is how often a node
# stands in the node file, and so the number of workers there; without scatter, two chunks may share a node. The output
# is pi.oNUMBER in the directory of the submission, PBS's own name; the script opens it, and PBS has nothing to deliver.
# The last line becomes the driver: it reads the node file and starts the workers by pbs_tmrsh, or pbsdsh.
#PBS -N pi
#PBS -S /bin/bash
#PBS -o localhost:/dev/null
#PBS -j oe
#PBS -k doe
#PBS -l select=4:ncpus=4:mpiprocs=4:ompthreads=1
#PBS -l place=scatter:excl
#PBS -r n
#PBS -W tolerate_node_failures=all
output=/home/me/project/pi.o"${PBS_JOBID%%[!0-9]*}"
: >|"$output" && exec >>"$output" 2>&1 || exit 66
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_CPUS_PER_WORKER=1
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation pbs -- pi.py 1000
