"""Print how many seconds a piece of work took."""

import sys
import time

from scoop_hpc import futures


def nothing(x: int) -> int:
    """Return the argument."""
    return x


def fib(n: int) -> int:
    """Return the nth Fibonacci number, with a task for each call."""
    if n < 2:
        return n
    left, right = futures.submit(fib, n - 1), futures.submit(fib, n - 2)
    return int(left.result() + right.result())


if __name__ == "__main__":
    futures.submit(nothing, 0).result()
    start = time.perf_counter()
    if sys.argv[1] == "map":
        assert list(futures.map(nothing, range(100_000))) == list(range(100_000))
    elif sys.argv[1] == "submit":
        submitted = [futures.submit(nothing, n) for n in range(5_000)]
        assert [future.result() for future in submitted] == list(range(5_000))
    else:
        assert fib(20) == 6765
    print(time.perf_counter() - start)
