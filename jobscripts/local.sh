#!/bin/bash
#LOCAL --job-name=pi
#LOCAL --chdir=/home/me/project
#LOCAL --output="scoop-{job_id}.out"
#LOCAL --nodes=2
#LOCAL --workers-per-node=2
#LOCAL --cpus-per-worker=1
#LOCAL --walltime=0:10:00
exec /usr/bin/python3 -m scoop_hpc run --record /home/me/.local/state/scoop_hpc/jobs/20260101T120000Z-1/record.json -- pi.py 1000
