# Grid Engine's half of boot.sh.

mount_files() {
    mount --bind "$S/sge/gridengine" /etc/default/gridengine || die "bind /etc/default/gridengine"
}

registrations() {
    grep -c "execd on $N registered" "$SGE_ROOT/spool/qmaster/messages"
}

start_execd() {
    before=$(registrations)
    # To sge_qmaster a node that lost its power is connected until its new kernel has said that it is not. Until then
    # it refuses another one of that name, which tries again in the background, a minute later.
    until sge_execd >"$H/log/execd.log" 2>&1 && ! grep -q backgrounding "$H/log/execd.log"; do
        pkill -KILL -x sge_execd || die sge_execd
        sleep 0.5
    done
    # only now is the state that qstat tells this node's, and not the dead one's
    until [ "$(registrations)" -gt "$before" ]; do sleep 0.05; done
}

start_daemons() {
    . /etc/default/gridengine
    if [ "$N" != head ]; then
        start_execd
        return
    fi
    spool="$SGE_ROOT/default/common;$SGE_ROOT/spool/qmaster"
    programs=/usr/lib/gridengine
    resources=/usr/share/gridengine/util/resources
    "$programs/spoolinit" classic libspoolc "$spool" init || die spoolinit
    while read -r what values; do
        # shellcheck disable=SC2086 # several of them
        "$programs/spooldefaults" "$what" $values || die "spooldefaults $what"
    done <<END
configuration $SGE_ROOT/configuration
complexes $resources/centry
usersets $resources/usersets
managers root
operators root
pes $SGE_ROOT/pes
END
    sge_qmaster || die sge_qmaster
    until qconf -sh >/dev/null 2>&1; do sleep 0.05; done  # for as long as the boot may take
}
