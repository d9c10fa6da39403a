"""Futures that an event loop of asyncio waits for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from scoop_hpc.worker.asyncio_bridge import AsyncioBridge
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future


def test_loop_that_goes_on_after_ctrl_c_gets_on_with_its_futures() -> None:
    looks: list[Future] = []

    def look(future: Future) -> None:
        looks.append(future)
        if len(looks) == 1:
            raise KeyboardInterrupt
        future.settle(7, None)

    async def wait(future: Future) -> Any:
        bridge.attend(future)
        done = asyncio.Event()
        future.watch(done.set)
        await asyncio.wait_for(done.wait(), 30)
        return future.result()

    bridge, loop = AsyncioBridge(look), asyncio.new_event_loop()
    first, second = (Future(cast(Any, None), print, (), {}, Cost()) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(wait(first))
    assert loop.run_until_complete(wait(second)) == 7
    loop.close()
