#!/bin/bash
#SBATCH --job-name="my job"
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%j.out
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --partition=short
#SBATCH --account=physics
#SBATCH --no-requeue
#SBATCH --no-kill
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
command -v -- /usr/bin/python3 >/dev/null || {
    echo "scoop-hpc: error: no Python" /usr/bin/python3 "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec /usr/bin/python3 -m scoop_hpc run --allocation slurm -- pi.py
