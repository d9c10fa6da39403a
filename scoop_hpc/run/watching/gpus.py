"""The NVIDIA GPUs of a node that the run may use, as NVML sees them [docs.nvidia.com/deploy/nvml-api]."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from scoop_hpc.protocol.messages import Gpu

_DRIVER = "/dev/nvidiactl"  # there is no NVIDIA GPU without it


def load_nvml() -> Any:
    """Return the library of NVIDIA's package nvidia-ml-py, None where there is no GPU, or it is not installed."""
    if not os.path.exists(_DRIVER):
        return None
    try:
        import pynvml  # noqa: PLC0415  it takes 20 ms, and few look
    except ImportError:
        return None
    return pynvml


class Gpus:
    """The GPUs that are *visible*, as CUDA_VISIBLE_DEVICES names them; without it all of the node.

    Nothing is opened before somebody looks, for that may take seconds: see `nvidia-smi -pm`.
    """

    def __init__(self, visible: str | None, load: Callable[[], Any] = load_nvml) -> None:
        self._visible = None if visible is None else [each.strip() for each in visible.split(",")]
        self._load = load
        self._nvml: Any = None
        self._handles: list[Any] | None = None  # None: not looked for yet

    def read(self) -> tuple[Gpu, ...]:
        """Return what the GPUs do now; those that do not tell are left out."""
        if self._handles is None:
            self._handles = self._open()
        found = (self._look(handle) for handle in self._handles)
        return tuple(gpu for gpu in found if gpu is not None)

    def _open(self) -> list[Any]:
        self._nvml = self._load()
        if self._nvml is None:
            return []
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError:  # a library without its driver, say
            return []
        return [handle for handle in map(self._handle, range(count)) if handle is not None]

    def _handle(self, index: int) -> Any:
        """Return the handle of the GPU with this *index*, None if it is not visible, or cannot be reached."""
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            if self._visible is None or str(index) in self._visible:
                return handle
            uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError:
            return None
        is_named = any(each.startswith("GPU-") and uuid.startswith(each) for each in self._visible)
        return handle if is_named else None

    def _look(self, handle: Any) -> Gpu | None:
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            name = _text(self._nvml.nvmlDeviceGetName(handle))
        except self._nvml.NVMLError:
            return None
        try:
            percent = float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except self._nvml.NVMLError:  # NVML_ERROR_NOT_SUPPORTED: one that is divided, by MIG
            percent = 0.0
        return Gpu(name, percent, memory.used, memory.total)


def _text(value: str | bytes) -> str:
    """Return a text of NVML's: its bindings return bytes before version 11.5."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
