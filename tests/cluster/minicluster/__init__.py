"""A real Slurm or Grid Engine of simulated nodes on one machine: Linux namespaces, its own daemons inside.

::

    this machine ── bridge scXXXXbr ─┬─ head      slurmctld, munged; the login node    (sge_qmaster)
                                     ├─ node001   slurmd, munged                       (sge_execd)
                                     ├─ node002   slurmd, munged
                                     └─ ...

Every host has namespaces of its own: network (one ``eth0`` on the bridge, an own 127.0.0.1), UTS (``hostname`` is
``node001``), PID (it sees and signals its own processes only; to kill its PID 1 is a power failure), IPC and mount
(an own /dev/shm, /proc, /etc/hosts). The file system is shared as by NFS, but for /tmp. There is no sshd and no route
out. Two traps of real clusters are laid on purpose: a host's own name is 127.0.1.1 in its /etc/hosts, as Debian does
it, and each host has a ``docker0`` whose address is the same everywhere.

The other schedulers' commands are hidden from the hosts, if this machine has them.

Needs root, Linux, and Debian's packages, which it installs. It leaves this machine's /etc/hosts alone; outside its
state directory it makes the links named ``scXXXX...``, and where Docker has closed forwarding one iptables rule.

From ``tests/cluster``::

    python -m minicluster up --nodes 4
    python -m minicluster run head -- srun -N4 hostname
    python -m minicluster down
    python -m minicluster up --scheduler sge --slots 2 --slots 6
    python -m minicluster run head -- qsub -sync y -pe mpi 8 -b y true
"""
