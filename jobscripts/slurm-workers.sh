#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --chdir=/home/me/project
#SBATCH --output=/home/me/project/scoop-%j.out
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --time=0:10:00
#SBATCH --partition=short
#SBATCH --no-requeue
exec /usr/bin/python3 -m scoop_hpc run --record /home/me/.local/state/scoop_hpc/jobs/20260101T120000Z-1/record.json -- pi.py 1000
