#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%j.out
#SBATCH --ntasks=7
#SBATCH --cpus-per-task=2
#SBATCH --time=36:00:00
#SBATCH --no-requeue
#SBATCH --no-kill
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_ENDS_AT=$(($(date +%s) + 129600))
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation slurm -- pi.py
