"""The results of a map whose items have a length: whoever draws a bar of its own, such as tqdm, asks for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class SizedResults(Iterator[Any]):
    """An iterator over *results*, of which there are *length* in all, however many were taken.

    A loop over it is one over *results* themselves, so that it costs no more.
    """

    __slots__ = ("_length", "_results")

    def __init__(self, results: Iterator[Any], length: int) -> None:
        self._results = results
        self._length = length

    def __iter__(self) -> Iterator[Any]:
        return self._results

    def __next__(self) -> Any:
        return next(self._results)

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True  # as of any iterator

    def close(self) -> None:
        """Want no more of them."""
        close = getattr(self._results, "close", None)
        if close is not None:
            close()


def sized(results: Iterator[Any], length: int | None) -> Iterator[Any]:
    """Return *results* such that they know their *length*, if that is known."""
    return results if length is None else SizedResults(results, length)
