#!/bin/sh
# PID 1 of one simulated host.
#     boot.sh STATE_DIRECTORY NAME SCHEDULER ADDRESS/LENGTH PRIVATE_TMP DOCKER_INTERFACE [SHARED...]
# A line on stdin says that eth0 is there.
S=$1 N=$2 SCHEDULER=$3 ADDRESS=$4 PRIVATE_TMP=$5 DOCKER_INTERFACE=$6
shift 6
H=$S/hosts/$N
die() { echo "boot of $N failed: $*"; exit 1; }
. "${0%/*}/$SCHEDULER.sh"

mount --make-rprivate / || die "mount --make-rprivate"
mount -t proc -o nosuid,nodev,noexec proc /proc || die "mount /proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys || die "mount /sys"
mount -t tmpfs -o nosuid,nodev,mode=1777 shm /dev/shm || die "mount /dev/shm"
hostname "$N" || die hostname
for file in hosts hostname passwd group nsswitch.conf resolv.conf; do
    [ ! -e "/etc/$file" ] || mount --bind "$H/etc/$file" "/etc/$file" || die "bind /etc/$file"
done
while read -r program; do  # a file that nobody may execute is no command
    mount --bind /dev/null "$program" || die "hide $program"
done <"$S/hidden"
mount_files
if [ "$PRIVATE_TMP" = True ]; then
    for directory; do
        mkdir -p "$H$directory" && mount --bind "$directory" "$H$directory" || die "bind $directory"
    done
    mount --rbind "$H/tmp" /tmp || die "bind /tmp"
fi

read -r _ || die "the network was not made"
ip link set lo up || die "lo up"
[ ! -e /proc/sys/net/ipv6/conf/eth0 ] || echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
ip addr add "$ADDRESS" dev eth0 || die "eth0 address"
ip link set eth0 up || die "eth0 up"
if [ "$DOCKER_INTERFACE" = True ]; then
    ip link add docker0 type veth peer name veth0 || die docker0
    ip addr add 172.17.0.1/16 dev docker0 || die "docker0 address"
    ip link set veth0 up && ip link set docker0 up || die "docker0 up"
fi
exec </dev/null

start_daemons
: >"$H/booted"
# an orphan's parent is PID 1, which has to reap it: sh does so whenever it waits
while :; do
    sleep 1000000 &
    wait $!
done
