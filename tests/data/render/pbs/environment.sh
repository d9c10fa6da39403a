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
export CONDA_EXE=/home/me/miniforge3/bin/conda
export OMP_NUM_THREADS=4
export A='it'"'"'s'
module purge
for init in "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash" /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    command -v module >/dev/null || { [ -r "$init" ] && . "$init"; }
done
module load gcc/12 'a b' || {
    echo "scoop-hpc: error: cannot load the modules" gcc/12 'a b' "on $(uname -n):" \
        "see module avail there; --setup says what has to come before" >&2
    exit 1
}
conda=
for name in conda mamba micromamba; do [ "$(type -t "$name")" = function ] && conda=$name && break; done
[ "$conda" ] || for file in "${CONDA_EXE:-}" "${MAMBA_EXE:-}" conda mamba micromamba "${SCOOP_HPC_JOB_CONDA:-}"; do
    file=$(type -P -- "$file") || continue
    conda=${file##*/}
    if [ "$conda" = conda ]; then eval "$("$file" shell.bash hook)"; else eval "$("$file" shell hook --shell bash)"; fi
    break
done
[ "$conda" ] || {
    echo "scoop-hpc: error: no conda, mamba or micromamba on $(uname -n): name one by --env CONDA_EXE=FILE," \
        "or load it by --module or --setup" >&2
    exit 127
}
"$conda" activate sim || {
    echo "scoop-hpc: error: cannot activate the conda environment" sim "on $(uname -n):" \
        "see $conda env list there" >&2
    exit 1
}
ulimit -c 0
command -v -- python >/dev/null || {
    echo "scoop-hpc: error: no Python" python "on $(uname -n): name one there by --venv or --conda" >&2
    exit 127
}
python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("scoop_hpc") is None and 3)'
[ $? -ne 3 ] || {
    echo "scoop-hpc: error: the environment" sim "has no scoop_hpc:" \
        "install it there, by $(command -v -- python) -m pip install" >&2
    exit 1
}
exec python -m scoop_hpc run --allocation pbs -- pi.py 'two words' '$HOME'
