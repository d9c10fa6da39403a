"""Print which MPI mpi4py loads, as JSON: run as a process of its own, for a library that is loaded does not leave."""

from __future__ import annotations

import sys

import msgspec

from scoop_hpc.mpi.world import Library


class Report(msgspec.Struct, frozen=True):
    """The library, or why there is none."""

    version: str = ""
    path: str = ""
    error: str = ""
    is_missing: bool = False  # mpi4py itself

    @property
    def library(self) -> Library:
        """The library that was found."""
        return Library(self.version, self.path)


def main() -> None:
    """Print the report."""
    try:
        from scoop_hpc.mpi import exchange  # noqa: PLC0415  it may be missing, which is the report

        library = exchange.library()
        report = Report(library.version, library.path)
    except ImportError as error:
        report = Report(error=str(error), is_missing=True)
    except RuntimeError as error:
        report = Report(error=str(error))
    sys.stdout.write(msgspec.json.encode(report).decode())
