"""A batch system on this machine that behaves as OpenPBS does, bugs included.

What is recorded in ``tests/data/pbs`` is of the development branch, 85 commits after the tag v23.06.06, whose number it
still prints. Where the release differs, this is the release: the layout of its JSON, its variables, pbsdsh's options.

::

    bin/qsub, qstat, ... --flock--> server.json      jobs, in the order of their submission
    bin/pbsdsh, pbs_tmrsh --tcp--> mom of the job     a process each: login shell, tasks, output, end

There is no daemon: whoever changes something lets waiting jobs start. What `install.py` makes holds it all, and
``control/`` in there is how a test plays with it:

======================  =============================================================================================
``COMMAND.hang``        that command hangs
``COMMAND.fail``        that command answers the file's text, and exits with the status in its first line
``COMMAND.fail.N``      the same, once: N by N
``scheduler.off``       queued jobs stay as they are, without a comment
``hold-starting``       jobs stay in R, substate 41
``hold-exiting``        jobs stay in E
``hold-deleted``        a deleted job gets its TERM, and nothing more
``mom.restarted``       the pbs_mom of every job's first node was restarted, with -p: each pbs_tmrsh ends, no task does
======================  =============================================================================================

Not played: pbs_attach, addresses instead of hosts, pbsdsh's -s and its words about waiting, checkpoints, other servers.
"""
