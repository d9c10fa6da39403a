"""The built-in scheduler `local`: it runs jobs on this machine, at once, without a daemon.

::

    python -m scoop_hpc.localjobs submit SCRIPT     -> local-7 ; leaves a supervisor behind
                                  status ID...      -> JSON
                                  cancel ID...

    STATE/local/7/state.json    as the supervisor last wrote it
                  lock          held by the supervisor while it lives: no pid to mistake, right after a reboot, too
                  cancel        made by `cancel`, seen by the supervisor
                  script        a copy: what the user edits later does not change the job

The supervisor starts the script in a session of its own, ends it when its walltime is over or it is cancelled, and
leaves none of its processes behind. Should the supervisor be killed, the script gets SIGTERM.
"""
