"""One measurement: a peer's program in fresh processes, of which none is left afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import PROGRAMS, search_path

_TO_END = 10.0  # seconds for a peer to clean up after a SIGTERM; scoop_hpc, dask and SCOOP have directories to remove
_SET_CHILD_SUBREAPER = 36  # prctl(2)


class MeasurementError(Exception):
    """A program that printed no figure: it failed, or did not end in time."""


def adopt_orphans() -> None:
    """Become the parent of what a killed peer leaves, so that `measure` finds and ends it."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(argv: Sequence[str], timeout: float) -> dict[str, Any]:
    """Run *argv* and return what it reported, with when it was launched and when it had exited [time.time]."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        output, errors = Path(temporary, "stdout"), Path(temporary, "stderr")
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            launched = time.time()
            process = subprocess.Popen(
                argv,
                cwd=temporary,
                env=_environ(os.environ, temporary),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # a Ctrl-C is for us: we end the peer
            )
            try:
                if not ends(process.pid, timeout):
                    raise MeasurementError(f"timed out after {timeout:g} s")
                exited = time.time()
                status = process.wait()
            finally:
                end_processes(psutil.Process().children(recursive=True))
        report = last_report(output.read_text(errors="replace"))
        if status or report is None:  # SCOOP's exit status is 0, whatever happened
            said = reason(errors.read_text(errors="replace"))
            raise MeasurementError(f"failed: {said or f'no figures, exit status {status}'}")
        return {"launched": launched, "exited": exited, **report}


def ends(pid: int, timeout: float) -> bool:
    """Return whether the process ends in time, at once when it does: `subprocess` would look every 50 ms."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def _environ(environ: Mapping[str, str], temporary: str) -> dict[str, str]:
    """Return the environment of a peer: our modules, a place for temporary files, MPI's leave to run.

    Byte code is kept, as it is for users: a start would compile all that it imports, else.
    """
    kept = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **kept,
        "PYTHONPATH": search_path(PROGRAMS.parents[1]),
        "TMPDIR": temporary,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",  # Open MPI's; it needs both
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # a client beside as many workers as cores
    }


def last_report(text: str) -> dict[str, Any] | None:
    """Return the last line of JSON in *text*: several nodes may have printed one, and a peer something else."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            report: dict[str, Any] = json.loads(line)
            return report
    return None


def reason(text: str) -> str:
    """Return the line of a standard error that says most: the last that names an error, or else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    naming = [line for line in lines if "error" in line.lower() and not line.startswith(("File ", "raise "))]
    return (naming or lines or [""])[-1]


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """End *processes*: let them clean up, then kill them and what they have started meanwhile."""
    mapped = [path for process in processes for path in shared_memory(process.pid)]
    for process in processes:
        _signal(process, signal.SIGTERM)
    psutil.wait_procs(processes, _TO_END)
    left = psutil.Process().children(recursive=True)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, _TO_END)
    for path in mapped:  # MPICH leaves its own when it is killed
        path.unlink(missing_ok=True)


def shared_memory(pid: int) -> list[Path]:
    """Return the files of shared memory that a process has mapped and that have a name yet [proc_pid_maps(5)]."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # it has ended
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if " /dev/shm/" in line}
    return [Path(path) for path in paths if not path.endswith(" (deleted)")]


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
