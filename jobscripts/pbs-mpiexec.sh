#!/bin/bash
# scoop-hpc render --scheduler pbs --nodes 4 --workers-per-node 8 --walltime 2h --module cray-pals --launcher mpi \
#     --mpiexec 'mpiexec -n {nodes} --ppn 1 --cpu-bind none' pi.py 1000
#
# A site where nothing but its own mpiexec starts processes on other nodes, such as a Cray's with PALS. The last line
# becomes the driver; it starts the agents by that command, one on each node, with the number of nodes for {nodes}. The
# module brings mpiexec; neither mpi4py nor an MPI library is needed.
#PBS -N pi
#PBS -S /bin/bash
#PBS -o localhost:/dev/null
#PBS -j oe
#PBS -k doe
#PBS -l select=4:ncpus=8:mpiprocs=8:ompthreads=1
#PBS -l place=scatter
#PBS -l walltime=2:00:00
#PBS -r n
#PBS -W tolerate_node_failures=all
output=/home/me/project/pi.o"${PBS_JOBID%%[!0-9]*}"
: >|"$output" && exec >>"$output" 2>&1 || exit 66
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_CPUS_PER_WORKER=1
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 7200))
for init in "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash" /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    command -v module >/dev/null || { [ -r "$init" ] && . "$init"; }
done
module load cray-pals || {
    echo "scoop-hpc: error: cannot load the modules" cray-pals "on $(uname -n):" \
        "see module avail there; --setup says what has to come before" >&2
    exit 1
}
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation pbs --launcher mpi --mpiexec 'mpiexec -n {nodes} --ppn 1 --cpu-bind none' -- pi.py 1000
