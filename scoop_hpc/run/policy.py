"""The numbers that the driver and the agents decide by: times in seconds, and how many at once."""

from __future__ import annotations

from msgspec import Struct

PROGRAM_GRACE = 5.0  # that the program has to save what it has, from the beginning of the end


class DriverPolicy(Struct, frozen=True):
    """The numbers of `DriverState`."""

    agents_at_once: int = 32  # being started: their launchers all go through one daemon on this node, such as PBS's
    lost_after: float = 2.0  # without a connection, an agent is gone if its machine says so, or cannot be asked
    silence: float = 12.0  # the same: its machine is down, or out of reach, if it has not answered for so long
    farewell: float = 4.0  # that the agents have to leave, beside what the program has
    program_grace: float = PROGRAM_GRACE  # the same as the agents'
    interrupt_grace: float = 2.0  # that the program has to end after Ctrl-C
    walltime_slack: float = 5.0  # before that a job's walltime may be over: its script began later than the job
    look: float = 2.0  # from one look at the count of kills, out of memory, to the next
    returns: int = 3  # of a node that was lost, after which it is left out
    deadly: int = 6  # workers that died in tasks in a row on one node, and two for each, until that is left alone
    launch_pause: float = 1.0  # from a launch that failed to the next; then twice as long, and so on
    longest_launch_pause: float = 16.0
    launch_within: float = 2.0  # a launcher brings its agents: srun gives up a machine that is off after 3 s
    launch_again: float = 10.0  # from the end of a launcher of some agents until others are started for those late
    told_of_waiting: float = 5.0  # from the start, after which the user is told which nodes have not reported
    gather_refusals: float = 0.5  # from the first node that cannot take part, until all are named that cannot
    longest_gathering: float = 4.0  # the same, where others have not said yet whether they can
    gather_losses: float = 1.0  # from the first node that cannot write a file, until all are named that cannot
    gather_more_losses: float = 60.0  # the same, after that
    all_connected: int = 32  # nodes, up to which each has a connection to the driver; beyond, relays have them
    relay_returns: int = 2  # of an agent from a relay, after which it keeps its own connection
    gather: float = 3.0  # from the first report of a broken link, until one of the nodes is given up


class AgentPolicy(Struct, frozen=True):
    """The numbers of `AgentState`, and of `SearchState`, which comes before.

    How long a process is stopped, or does not answer, is counted in looks. Where a scheduler suspends a whole job, or a
    user a whole run by Ctrl-Z, nobody looks meanwhile, and nobody is taken for hung when all go on.
    """

    driver_lost_after: float = 2.0  # without a connection that it had, before a welcome, the driver is gone
    probe: float = 2.0  # without a connection to the driver, between looks whether anybody listens
    look: float = 4.0  # from one look at the processes to the next
    stopped_looks: int = 5  # in a row, until a stopped process counts as one that will not go on
    unanswered_looks: int = 15  # in a row, until a broker that runs and does not answer counts as hung
    busy_look: float = 1.0  # from one count of a node's busy workers to the next, but for the first node's
    busy_look_each: float = 0.01  # the same, for each node of the run
    account_look: float = 1.0  # from one look at the accounts of a node's workers to the next
    account_rest: float = 4.0  # the same, where none of them has begun a task since
    account_each: float = 0.05  # between two messages of accounts, for each node of the run, at least
    signal_grace: float = 2.0  # from the first word to the origin, an exception or its signal, to the other
    program_grace: float = PROGRAM_GRACE  # after which the origin is killed
    leave_within: float = 5.0  # from SIGTERM until a node leaves that another job has brought: PBS kills 10 s after it
    first_reminder: float = 0.05  # after a word to the origin; the next ones come at intervals that double
    same_signal: float = 0.1  # in which a signal to all processes has come to all of them
    barren: int = 3  # workers in a row that died and had not begun a task, after which none takes their place
    start_pause: float = 1.0  # from a worker that could not be started, in the place of a dead one, to the next try
    start_within: float = 60.0  # the same, from the first try to the last: what is short may be free by then
    stop_grace: float = 0.3  # that idle workers have to end by themselves
    kill_grace: float = 2.0  # that killed processes have to be gone
