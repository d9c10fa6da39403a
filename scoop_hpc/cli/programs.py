"""What every command that takes a program asks of it."""

from __future__ import annotations

import warnings

from scoop_hpc.errors import ProgramError


def check_program(path: str) -> None:
    """Refuse here what would fail in the job."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown when the program runs
            compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        raise ProgramError(f"cannot read the program {path!r}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ProgramError(f"the program {path!r} is not Python: {error}") from error
