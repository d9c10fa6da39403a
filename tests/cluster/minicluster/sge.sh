# Grid Engine's half of boot.sh.

mount_files() {
    mount --bind "$S/sge/gridengine" /etc/default/gridengine || die "bind /etc/default/gridengine"
}

start_daemons() {
    . /etc/default/gridengine
    if [ "$N" != head ]; then
        sge_execd || die sge_execd
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
