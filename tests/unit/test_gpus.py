"""The GPUs of a node, by an NVML that is played here: none of the tests' machines has one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scoop_hpc.protocol.messages import Gpu
from scoop_hpc.run.watching.gpus import Gpus


class NvmlError(Exception):
    """What each of its functions may raise."""


class Nvml:
    """An NVML with four GPUs; the handle of one is its index."""

    NVMLError = NvmlError

    def __init__(self, broken: tuple[str, ...] = ()) -> None:
        self.opened = 0
        self._broken = broken

    def _fail(self, name: str) -> None:
        if name in self._broken:
            raise NvmlError(name)

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1
        self._fail("init")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._fail(f"handle {index}")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}{handle}{handle}-abc"

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:  # noqa: N802
        return b"H200" if handle % 2 else "H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._fail(f"memory {handle}")
        return SimpleNamespace(used=handle, total=100)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        self._fail(f"rates {handle}")
        return SimpleNamespace(gpu=10 * handle)


def read(visible: str | None = None, broken: tuple[str, ...] = ()) -> list[int]:
    """Return the GPUs that are seen, by the memory that they use."""
    gpus = Gpus(visible, lambda: Nvml(broken)).read()
    assert {(gpu.name, gpu.memory_limit) for gpu in gpus} <= {("H200", 100)}
    return [gpu.memory for gpu in gpus]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, [0, 1, 2, 3]), ("2", [2]), ("3, 1", [1, 3]), ("GPU-222", [2]), ("", []), ("NoDevFiles", [])],
)
def test_those_are_seen_that_the_run_may_use(visible: str | None, seen: list[int]) -> None:
    assert read(visible) == seen


@pytest.mark.parametrize(("broken", "seen"), [("init", []), ("handle 1", [0, 2, 3]), ("memory 3", [0, 1, 2])])
def test_what_cannot_be_read_is_left_out(broken: str, seen: list[int]) -> None:
    assert read(broken=(broken,)) == seen


def test_one_that_is_divided_does_not_tell_how_busy_it_is() -> None:
    assert Gpus("2", lambda: Nvml(("rates 2",))).read() == (Gpu("H200", 0.0, 2, 100),)


def test_nothing_is_opened_before_somebody_looks_and_then_once() -> None:
    nvml = Nvml()
    gpus = Gpus(None, lambda: nvml)
    assert nvml.opened == 0
    assert gpus.read() == gpus.read()
    assert nvml.opened == 1


def test_a_node_without_a_gpu_has_none() -> None:
    assert Gpus(None, lambda: None).read() == ()
