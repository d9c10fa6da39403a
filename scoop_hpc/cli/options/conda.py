"""Help a job find conda, mamba or micromamba, where its shell is not set up as the user's is.

The job script takes, of these, the first that it finds on the node: a shell function that --setup or a module has
defined; ``$CONDA_EXE`` and ``$MAMBA_EXE``, which these programs set in the user's shell, and --env can; what is on
PATH; and ``$SCOOP_HPC_JOB_CONDA``, what was found where the job was submitted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from scoop_hpc.errors import InputError

FOUND = "SCOOP_HPC_JOB_CONDA"

_OF_USERS_SHELL = ("CONDA_EXE", "MAMBA_EXE")
_WHERE_NAMES_LEAD = ("MAMBA_ROOT_PREFIX", "CONDA_ENVS_PATH", "CONDA_ENVS_DIRS")  # which environments have names
_NAMES = ("conda", "mamba", "micromamba")
_INSTALLATIONS = ("miniforge3", "mambaforge", "miniconda3", "anaconda3")  # as their installers propose


def conda_variables(environ: Mapping[str, str], which: Callable[[str], str | None]) -> dict[str, str]:
    """Return the variables by which a job finds conda, and its environments by their names.

    >>> conda_variables({"CONDA_EXE": "/bin/sh", "HOME": "/root"}, lambda name: None)
    {'CONDA_EXE': '/bin/sh'}
    >>> conda_variables({}, {"mamba": "/opt/bin/mamba"}.get)
    {'SCOOP_HPC_JOB_CONDA': '/opt/bin/mamba'}
    """
    variables = {name: environ[name] for name in _OF_USERS_SHELL if _is_program(environ.get(name, ""))}
    if not variables:
        home = os.path.expanduser("~")
        on_path = [os.path.abspath(path) for path in map(which, _NAMES) if path]
        usual = [
            *(os.path.join(home, each, "bin", "conda") for each in _INSTALLATIONS),
            os.path.join(home, ".local", "bin", "micromamba"),
            "/opt/conda/bin/conda",
        ]
        found = [*on_path, *filter(_is_program, usual)]
        variables = {FOUND: found[0]} if found else {}
    variables.update({name: environ[name] for name in _WHERE_NAMES_LEAD if environ.get(name)})
    return variables


def absolute_environment(name: str | None) -> str | None:
    """Return the conda environment *name* as it is; one that is a directory, by a path, by its whole path."""
    if name is None or "/" not in name:
        return name
    path = os.path.abspath(os.path.expanduser(name))
    if not os.path.isdir(path):
        raise InputError(f"--conda {name!r} is no directory: name an environment, or the directory of one", "--conda")
    return path


def _is_program(path: str) -> bool:
    return os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK)
