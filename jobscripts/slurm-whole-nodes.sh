#!/bin/bash
# scoop-hpc render --nodes 4 pi.py 1000
#
# Four whole nodes, whatever they have: a worker on every CPU. --exclusive gives all the CPUs but only the default
# memory, so --mem=0 asks for all of that, too [sbatch(1)]. --no-requeue: a run that begins again does all its work again.
# The last line becomes the driver: it reads the nodes from Slurm's variables and starts the workers by srun.
#SBATCH --job-name=pi
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%j.out
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --mem=0
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
exec /usr/bin/python3 -m scoop_hpc run --allocation slurm -- pi.py 1000
