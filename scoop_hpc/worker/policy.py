"""Every number by which a worker decides what to keep, export, batch and ask for, in one value.

A simulator or a test hands another `Policy` to the state machines; a program has `DEFAULT`.
"""

from __future__ import annotations

from msgspec import Struct


class Policy(Struct, frozen=True):
    """The numbers of a worker's scheduling policy."""

    # how long a call lasts

    short: float = 0.001  # seconds: a call that keeps its worker from polling for less may wait behind others
    brief: float = 0.02  # seconds: outcomes may wait for the end of a shorter call, to be sent together
    moderate: float = 0.15  # seconds: tasks that would wait behind a longer call are not asked for ahead of time
    call_decay: float = 0.7  # of what is known, for each call
    call_leap: float = 8.0  # times what is known, at the most, for a call that takes longer
    away_seconds: float = 0.01  # unless it is as long as this: the kernel may have taken the CPU away meanwhile

    # what travels together

    batch_seconds: float = 0.002  # of work in one batch of calls
    batch_calls: int = 512  # in one batch at the most; a call costs the worker 2 us beside the function's own time
    ask_seconds: float = 0.03  # of work that a worker asks for at once
    travel_seconds: float = 1e-5  # of this worker's time that it takes to have a call done elsewhere
    worth_seconds: float = 1e-4  # of short calls that are worth a message
    request_seconds: float = 0.0003  # from a request to the tasks
    hold_seconds: float = 0.03  # that an outcome waits for others, at the end of a task, while nobody is idle
    usual_weight: float = 0.2  # of the last task in what tasks usually take
    share_batches: int = 1000  # of calls that may last, before the next look at the link: they take some 30 ms

    # looks at the link

    poll_seconds: float = 0.001  # between looks while there is work
    follow_seconds: float = 5e-5  # of quick calls that the origin makes while it makes one that the program waits for
    busy_seconds: float = 0.003  # of the user's code after which the progress thread looks instead
    give_back_seconds: float = 0.1  # of the user's code after which the progress thread gives back what waits
    first_look: float = 0.006  # seconds to a look of the progress thread; Python's switch interval comes on top
    longest_look: float = 0.025  # seconds between looks where there was nothing to do for a while

    # callbacks and substitutes while the main thread is elsewhere

    serve_look: float = 0.01  # seconds between looks, if nothing comes before
    linger_seconds: float = 0.25  # that the serving thread stays, though nobody waits: the next wait may begin soon
    stuck_seconds: float = 0.05  # after which a callback is taken to be blocked, so that others need another thread
    sample_seconds: float = 0.005  # over which a thread's use of the CPU is looked at
    blocked_share: float = 0.3  # of the CPU: a thread that uses less is taken to be blocked
    spinning_seconds: float = 1.0  # after which a thread that computes is taken to wait: ``while not flag: pass``

    # chunks of a map

    chunk_seconds: float = 0.05  # that a chunk should take
    chunk_items: int = 10_000  # in a chunk at the most
    chunk_growth: int = 2  # times the size of the one before, at the most
    chunk_leap: int = 8  # the same, where that one took less than it is worth
    chunk_bytes: int = 4_000_000  # of a chunk's results
    chunk_worth: float = 0.001  # seconds that a chunk should take at the end, too, where chunks get smaller
    chunk_last: int = 4  # chunks that a worker should still get, at the least
    chunk_owner: float = 38e-6  # seconds that a chunk and its outcome take the owner: see `Sizes`
    owner_share: float = 0.125  # of the owner's time that the bundles take of which each has several chunks
    bundle_least: int = 4  # chunks in a bundle, which costs its worker some messages: else the owner hands out each
    bundle_chunks: int = 128  # in a bundle at the most: the owner's time for each of its items is as much then
    bundle_unknown: int = 16  # in a bundle of items of which nobody knows how long they take, and more where
    bundle_start: float = 0.04  # seconds of the owner's would not do to hand such bundles to all workers
    chunk_budget: float = 4.0  # times what a chunk was thought to take, after which the rest of it is cut anew
    chunk_least_budget: float = 0.05  # seconds
    chunk_pieces: int = 4  # for each worker, at the most, that what is left is cut into
    chunk_decay: float = 0.5  # of what is known of an item, for each chunk
    chunks_per_worker: int = 3  # under way, or as much in seconds: one that runs, and what comes and goes meanwhile
    chunk_look: float = 0.001  # seconds between a running chunk's looks at the clock
    chunk_look_items: int = 8  # between these: how many may turn out to be long before anybody notices
    chunk_result_bytes: int = 8_000_000  # of a running chunk, after which the rest of it is left for others
    read_seconds: float = 0.01  # to read the items of a chunk from an iterable that does not know how many it has
    read_items: int = 1024  # read between looks at the clock
    scan_timed: int = 16  # reductions of a chunk that are timed
    scan_message: float = 0.0005  # seconds that a task and its outcome take from who sends and who receives them
    scan_pickling: float = 0.000001  # seconds that it takes to pickle and unpickle a small result, there and back
    ahead_items: int = 100_000  # of a map that are ahead of its consumer
    ahead_each: int = 20  # of these for each worker, if that is more: a node has all of its first bundles for itself
    ahead_bytes: int = 128_000_000  # of their results
    small_map_items: int = 32  # of a map whose items are tasks of their own
    own_map: float = 0.004  # seconds that others must save the owner of a map: it takes them so long to be of help
    own_chunk: float = 0.0008  # seconds for which the owner does items itself, from one look at the link to the next
    own_trial: float = 0.0004  # seconds for which it does so to know the pace, of a map that may last
    own_call: float = 0.00002  # seconds for each of these, at the most

    # loops over items that are shared with whoever is idle

    loop_group_seconds: float = 0.00005  # between looks at the clock; one takes 0.7 us, so 1 % of that
    loop_group_items: int = 32  # between looks at the clock: how many may turn out to be long before anybody notices
    loop_look: float = 0.001  # seconds between looks around, which take some microseconds
    loop_worth: float = 0.001  # seconds of work left, half of which is worth a message
    loop_pickling: float = 0.00000025  # seconds that it takes to pickle a small item
    loop_travel: int = 2  # what an item's way elsewhere takes, in times of what pickling it takes
    loop_decay: float = 0.5  # of what is remembered, for each loop
    fold_block: int = 10_000  # items read at once, at the most
    fold_first_block: int = 4  # items for each worker
    fold_ahead: int = 100_000  # items in parts that are not done, at the most, before more are read

    @property
    def unknown(self) -> float:
        """The seconds that a task takes as far as a new worker knows: it asks for one."""
        return self.ask_seconds


DEFAULT = Policy()
