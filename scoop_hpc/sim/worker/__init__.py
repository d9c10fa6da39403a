"""A worker of a simulated run: its state machine, in a shell like `worker.loop`, `runner` and `exchange`.

::

    main thread      a generator: yields while it computes (Busy), waits at the link (Idle)
      '-- greenlet   a generator: yields the same, and Park where it leaves for the event loop
    progress thread  looks at times that `next_look` names, if it is armed, and sleeps else

What arrives lies in the link until one of the two threads polls: nobody sees a message while a task runs, unless the
progress thread looks.

::

    process      the three threads: Worker
      exchange   messages, and what is in them
      questions  what tasks ask brokers: cancellations, constants
      effects    what threads do with their time, and greenlets
"""
