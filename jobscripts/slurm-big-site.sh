#!/bin/bash
# scoop-hpc render --nodes 64 --workers-per-node 8 --cpus-per-worker 16 --gpus-per-node 8 --memory 480G
#     --walltime 12h --account physics --qos high --queue gpu --array 0-9%2 --signal 10m --requeue
#     --module python/3.11 --env OMP_NUM_THREADS=16 pi.py 1000
#
# A large site: 64 nodes with 8 GPUs, a worker of 16 CPUs for each; ten such jobs, two at a time. Ten minutes before
# the walltime is over the program gets SIGUSR1, to save what it has; if a node fails, Slurm runs the job again.
# $SLURM_ARRAY_TASK_ID tells the program which of the ten it is. A profile can say most of this once for all.
#SBATCH --job-name=pi
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%A_%a.out
#SBATCH --nodes=64
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --mem=491520M
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --qos=high
#SBATCH --array=0-9%2
#SBATCH --signal=B:USR1@600
#SBATCH --requeue
#SBATCH --no-kill
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 43200))
export OMP_NUM_THREADS=16
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
exec /usr/bin/python3 -m scoop_hpc run --allocation slurm -- pi.py 1000
