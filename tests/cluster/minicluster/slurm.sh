# Slurm's half of boot.sh.

mount_files() {
    mkdir -p /etc/slurm "$H/munge" "$H/spool" || die "mkdir /etc/slurm"
    mount --bind "$S/slurm" /etc/slurm || die "bind /etc/slurm"
    mount --bind "$H/munge" "$S/munge" || die "bind munge's directory"
    mount --bind "$S/pmix" /usr/lib/x86_64-linux-gnu/pmix2/lib || die "bind PMIx"
}

start_daemons() {
    munged --key-file="$S/munge.key" --socket="$S/munge/munge.socket.2" --pid-file="$H/munged.pid" \
        --seed-file="$H/munged.seed" --log-file="$H/log/munged.log" --num-threads=2 || die munged
    if [ "$N" = head ]; then slurmctld || die slurmctld; else slurmd || die slurmd; fi
}
