#!/bin/bash
#PBS -N pi
#PBS -S /bin/bash
#PBS -o localhost:/dev/null
#PBS -j oe
#PBS -k doe
#PBS -l select=1:ncpus=2:mpiprocs=2:ompthreads=1
#PBS -l place=scatter
#PBS -r n
output=/home/me/project/out.txt
: >|"$output" && exec >>"$output" 2>&1 || exit 66
error=/home/me/project/err.txt
: >|"$error" && exec 2>>"$error" || exit 66
cd -- /home/me/project 2>/dev/null || {
    echo "scoop-hpc: error: $(uname -n) does not see" /home/me/project": give one that nodes see by --chdir" >&2
    exit 66
}
export SCOOP_HPC_JOB_CPUS_PER_WORKER=1
export OMP_NUM_THREADS=4
export A='it'"'"'s'
for init in "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash" /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    command -v module >/dev/null || { [ -r "$init" ] && . "$init"; }
done
module load gcc/12 'a b' || exit
eval "$(conda shell.bash hook)" && conda activate sim || exit
ulimit -c 0
command -v -- python >/dev/null || {
    echo "scoop-hpc: error: no Python" python "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
exec python -m scoop_hpc run --allocation pbs -- pi.py 'two words' '$HOME'
