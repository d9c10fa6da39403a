"""The built-in scheduler `local`: it runs jobs on this machine, without a daemon.

::

    python -m scoop_hpc.schedulers.local submit SCRIPT     -> local-7 ; leaves a supervisor behind
                                  status ID...      -> JSON, of an array each of its jobs
                                  cancel ID...      an array, local-7, or one of its jobs, local-7_3

    STATE/local/7/script        a copy: what the user edits later does not change the job
                  request.json  what its directives ask for
                  state.json    as the supervisor last wrote it
                  lock          held by the supervisor while it lives: no pid to mistake, right after a reboot, too
                  cancel        made by `cancel`, seen by the supervisor
                  log           what the supervisor has to say while there is no output of the job
                  3/            of an array: state.json, lock and cancel of its job 3, once there is one of them

    supervisor of local-7 ── waits for the time, and for other jobs ──┬── script, in a session of its own
                                                                      │
                                                          of an array └── supervisor of local-7_3 ── script
                                                                          supervisor of local-7_4 ── script

A supervisor ends its script when its walltime is over or it is cancelled, and leaves none of its processes behind.
Should the supervisor be killed, the script gets SIGTERM.
"""
