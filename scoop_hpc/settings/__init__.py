"""Settings: defaults of a site, a user and a program for the options that the command line leaves out.

They come from these sources, the strongest first; a stronger value replaces a weaker one as a whole, lists too::

    the command line
    SCOOP_HPC_QUEUE=..., a variable for each option       scoop_hpc.settings.variables
    #SCOOP --queue ..., lines at the head of the program  scoop_hpc.settings.program_lines
    ./scoop_hpc.toml                                      scoop_hpc.settings.site_file
    ~/.config/scoop_hpc/config.toml                       or below $XDG_CONFIG_HOME
    /etc/scoop_hpc/config.toml

A file may tell several clusters apart::

    default = "big"                      # the cluster where nothing else picks one

    [defaults]                           # for every cluster
    walltime = "1:00:00"

    [clusters.big]
    hosts = ["login*.big.example.org"]   # what this host may be called there
    scheduler = "slurm"
    queue = "normal"
    modules = ["gcc/12", "openmpi"]

The keys are the options of `scoop-hpc submit`, with ``_`` for ``-``. An option that can be repeated takes a list, and
may be in the plural; one without a value takes true or false; every other takes a text or a number. A path
begins with ``~`` or ``/``, or is seen from the current directory. In one file a cluster's table beats ``[defaults]``.
Tables of the same cluster in several files are one: each key is the strongest file's.

The cluster is the one that --profile or SCOOP_HPC_PROFILE names; else the one whose ``hosts`` fit this host's name;
else the ``default``; else the only one whose ``scheduler`` is found here. When the command line, a variable or the
program names a scheduler, clusters of another are passed over, unless they are named.

A setting that excludes another (workers and workers_per_node, memory and memory_per_cpu, conda and venv) replaces that
of a weaker source. One that has no use alone (container_runtime, mail_events) waits for the one that it needs: the rows
of `scoop_hpc.fields.spec` say so by `replaces` and `needs`.
"""
