"""The same work by multiprocessing."""

import multiprocessing
import sys
import time


def nothing(x: int) -> int:
    """Return the argument."""
    return x


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        pool.apply(nothing, (0,))
        start = time.perf_counter()
        if sys.argv[1] == "map":
            assert pool.map(nothing, range(100_000)) == list(range(100_000))
        else:
            submitted = [pool.apply_async(nothing, (n,)) for n in range(5_000)]
            assert [result.get() for result in submitted] == list(range(5_000))
        print(time.perf_counter() - start)
