"""Print when the first result was there."""

import time

from scoop_hpc import futures


def answer() -> int:
    """Return the result."""
    return 42


if __name__ == "__main__":
    assert futures.submit(answer).result() == 42
    print(time.time())
