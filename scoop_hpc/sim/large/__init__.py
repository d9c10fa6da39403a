"""Federations of thousands of nodes under a virtual clock: brokers and workers decide by their own state machines.

::

    program --> Owner --Tasks--> Broker (BrokerState) --Tasks--> Worker (a WorkerState in a shell of a few lines)
                  ^                 |      ^                        |
                  '---- Results ----'      '------- Results --------'

What `sim.world` plays and this does not: driver and agents, the start, faults, cancellations and questions, constants,
several greenlets of a worker that submit tasks. So it needs a hundredth of the time and of the memory. The workers of a
node whose tasks are long are one object, a `Crew`, until one of them submits tasks.
"""
