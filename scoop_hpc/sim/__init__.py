"""A whole run in one thread: the processes' own state machines, a virtual clock, a network and faults made by a seed.

::

    seed --scenario--> program, network, faults --World--> events, one after the other --Ledger--> violation, or none
                                 ^                                                                     |
                                 '----------------------- shrink <-------------------------------------'

What decides is what runs in production; the shells around it are played here: `worker` plays the event loop, the runner
and the progress thread, `world` the sockets and the forks. `python -m scoop_hpc.sim` is the command.
"""
