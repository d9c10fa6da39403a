#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%j.out
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --no-requeue
exec /usr/bin/python3 -m scoop_hpc run --record /home/me/.local/state/scoop_hpc/jobs/20260101T120000Z-1/record.json -- pi.py 1000
