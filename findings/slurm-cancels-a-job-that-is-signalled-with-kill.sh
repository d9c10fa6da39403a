#!/usr/bin/env bash
# Slurm: `scancel --signal=KILL JOB` kills nothing at first. It cancels the job, and the job script gets SIGTERM.
#
# One would guess that SIGKILL comes to all processes of the job, the script among them, and at once: by scancel(1) the
# signal of --signal goes directly to the node's daemon, the state of the job does not change by it, and SIGKILL alone of all
# signals reaches the script without --batch or --full. So no trap of the script could run.
#
# What is true of a whole job: SIGKILL stands for "cancel". The job's state becomes CANCELLED, its script gets SIGTERM, runs
# its trap, and has KillWait to end, before anything is killed. With --batch as well, SIGKILL is what comes, at once.
#
# Needs Debian 12 and root: Slurm's daemons are run from a temporary folder, which is laid over /usr for them alone.
set -euo pipefail
slurm=22.05.8-4+deb12u3 munge=0.5.15-2+deb12u1
if [ "${1-}" != inside ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    chmod 755 "$directory"
    (cd "$directory" && apt-get -q download "slurmctld=$slurm" "slurmd=$slurm" "slurm-client=$slurm" \
        "slurm-wlm-basic-plugins=$slurm" "munge=$munge" "libmunge2=$munge" libhwloc15 libjson-c5 liblua5.1-0 libyaml-0-2 \
        libdbus-1-3 libnuma1 liblz4-1 libreadline8 >apt.log 2>&1) || { cat "$directory/apt.log" >&2; exit 1; }
    for package in "$directory"/*.deb; do dpkg-deb --extract "$package" "$directory/root"; done
    unshare --mount --pid --fork --mount-proc bash "$0" inside "$directory"
    exit
fi
directory=$2
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done' EXIT
mount -t overlay overlay -o "lowerdir=$directory/root/usr:/usr" /usr
mkdir -m 700 "$directory/munge" "$directory/state" "$directory/spool"
head -c 128 /dev/urandom >"$directory/munge.key"
chmod 400 "$directory/munge.key"
chmod 711 "$directory/munge"
host=$(hostname -s)
export SLURM_CONF=$directory/slurm.conf
cat >"$SLURM_CONF" <<EOC
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$directory/munge/socket
CredType=cred/munge
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/spool
SlurmctldPidFile=$directory/slurmctld.pid
SlurmdPidFile=$directory/slurmd.pid
SlurmctldPort=26817
SlurmdPort=26818
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
KillWait=30
MinJobAge=600
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=1 RealMemory=200 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES State=UP
EOC
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$directory/cgroup.conf"
munged --foreground --key-file="$directory/munge.key" --socket="$directory/munge/socket" --pid-file="$directory/munged.pid" \
    --seed-file="$directory/munged.seed" --log-file="$directory/munged.log" 2>"$directory/munged.err" &
pids+=($!)
slurmctld -D >"$directory/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D >"$directory/slurmd.log" 2>&1 &
pids+=($!)

until_it_is() {  # COMMAND WORD: 30 s at the most
    for _ in $(seq 300); do
        if [ "$($1 2>/dev/null | grep -cE "$2")" != 0 ]; then return; fi
        sleep 0.1
    done
    echo "no $2 of '$1' in 30 s" >&2
    tail -n 20 "$directory"/*.log >&2
    exit 1
}
until_it_is "sinfo --noheader --format=%T" "^idle$"

cat >"$directory/job.sh" <<'EOJ'
#!/bin/bash
trap 'echo "the trap for SIGTERM ran"; exit 0' TERM
echo began
for _ in $(seq 600); do sleep 0.1; done
EOJ

seen() {  # OPTIONS: cancel a job with them; say what became of it
    job=$(sbatch --parsable --chdir=/ --output="$directory/out.%j" "$directory/job.sh")
    until_it_is "cat $directory/out.$job" "^began$"
    scancel "$@" "$job"
    until_it_is "squeue --noheader --states=all --jobs=$job --format=%T" "^(CANCELLED|FAILED|COMPLETED)$"
    echo "$(squeue --noheader --states=all --jobs="$job" --format=%T)," \
        "$(grep -c "the trap for SIGTERM ran" "$directory/out.$job" || true) trap"
}
sbatch --version
whole=$(seen --signal=KILL)
batch=$(seen --signal=KILL --batch)
echo "scancel --signal=KILL JOB: $whole"
echo "scancel --signal=KILL --batch JOB: $batch"
if [ "$whole" != "CANCELLED, 1 trap" ] || [ "$batch" != "FAILED, 0 trap" ]; then
    echo "the behaviour has changed" >&2
    exit 1
fi
