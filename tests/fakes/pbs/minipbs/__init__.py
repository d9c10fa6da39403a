"""A batch system on this machine that behaves as a recorded OpenPBS 23.06.06 does, bugs included.

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
======================  =============================================================================================

Not played: pbs_attach, addresses instead of hosts, pbsdsh's -s and its words about waiting, checkpoints, other servers.
"""
