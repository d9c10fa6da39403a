"""The command's entry: it finds the subcommand, and turns every expected error into one line and a status."""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from scoop_hpc import __version__
from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError, SchedulerError, ScoopError

# command: (module, summary). Names, not modules: to import all of them takes several times as long as --help does
# [python -X importtime]; no edge is hidden from the linter, for cli is on top
_COMMANDS = {
    "run": ("scoop_hpc.cli.run", "Run a program here, or on the whole allocation that this is in."),
    "submit": ("scoop_hpc.cli.submit", "Submit a program as a job."),
    "render": ("scoop_hpc.cli.submit", "Print the job script that submit would submit."),
    "join": ("scoop_hpc.cli.party.join", "Add the nodes of this job to a run that goes on."),
    "drain": ("scoop_hpc.cli.party.drain", "Let a node leave a run, when it has done what it does."),
    "status": ("scoop_hpc.cli.jobs", "Say how jobs stand, or how they ended."),
    "logs": ("scoop_hpc.cli.jobs", "Print what a job printed."),
    "top": ("scoop_hpc.cli.look.top", "Watch what the nodes, workers and tasks of a run do."),
    "web": ("scoop_hpc.cli.look.web", "Show what top shows on a page in a browser."),
    "report": ("scoop_hpc.cli.look.report", "Say what a run was worth, or compare two."),
    "wait": ("scoop_hpc.cli.jobs", "Wait for jobs to end, and take their exit status."),
    "cancel": ("scoop_hpc.cli.jobs", "End jobs."),
    "requeue": ("scoop_hpc.cli.jobs", "Run jobs again."),
    "explain": ("scoop_hpc.cli.jobs", "Say why a job does not run, and what can be changed."),
    "history": ("scoop_hpc.cli.jobs", "List all jobs that were submitted from here."),
    "template": ("scoop_hpc.cli.templates", "See the templates of job scripts, or begin one."),
    "config": ("scoop_hpc.cli.config", "Say what is set in files, variables and programs, and where."),
    "hosts": ("scoop_hpc.cli.hosts", "Print the hostfile of the allocation that this is in."),
    "doctor": ("scoop_hpc.cli.look.doctor", "Look at this site, and say what has to be changed."),
    "bench": ("scoop_hpc.cli.look.bench", "Measure this site: start-up, tasks/s, latency, MB/s between nodes."),
    "completion": ("scoop_hpc.cli.shell.completion", "Print what lets a shell complete commands and options."),
    "man": ("scoop_hpc.cli.shell.completion", "Print the manual page of all commands."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            if os.path.isfile(name) and not context.resilient_parsing:
                raise InputError(f"{name!r} is a program, not a command: scoop-hpc run {name}")
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[name][0]), name)
        _collect_garbage()
        polls = name in ("run", "join")  # for Ctrl-C, from its start
        if not polls and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


_COMPLETE = "_SCOOP_HPC_COMPLETE"  # set by a shell that completes a word

_SCOOPS = """Programs written for SCOOP run unchanged. `python -m scoop_hpc` takes SCOOP's flags as well; for these:
python -m scoop_hpc -n 4 --help"""


@click.command(
    cls=Commands, epilog=_SCOOPS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="scoop-hpc")
def scoop_hpc() -> None:
    """Run a Python program that maps functions over much work: here, or on the nodes of a batch job."""


def main(scoops_flags: bool = False) -> NoReturn:
    """Run the command line, perhaps one with *scoops_flags*; bad input is one line on stderr and exit status 2."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited: sbatch's exit status, for one, would be 0
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a job may be called what the locale cannot say
    try:
        status = _answer(sys.argv[1:] or ["--help"], scoops_flags)
    except KeyboardInterrupt:
        status = 130
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: a Ctrl-C now would only show the interpreter's end
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _drop(descriptor)
    sys.exit(status)


def _answer(words: Sequence[str], scoops_flags: bool) -> int:
    """Run the command; return its exit status, that of an error after one line that tells of it."""
    try:
        return _run(words, scoops_flags)
    except click.ClickException as error:
        return _fail(_told(error), 2)
    except click.Abort:
        return 130
    except (InputError, SchedulerError) as error:
        return _fail(str(error), 2)
    except ScoopError as error:
        return _fail(str(error), 1)
    except (ImportError, MemoryError) as error:  # of a library, perhaps for lack of memory
        return _fail(f"cannot start: {error or 'out of memory'}", 1)
    except BrokenPipeError:
        return 141  # 128 + SIGPIPE: the reader has seen enough
    except OSError as error:
        what = f"{error.strerror}: {error.filename!r}" if error.filename else f"cannot write: {error.strerror}"
        return _fail(what, 1)


def _told(error: click.ClickException) -> str:
    """Return what click says of *error*, and which command is meant, or may be, where it says that there is none."""
    text = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or not isinstance(context.command, click.Group):
        return text
    commands = context.command.list_commands(context)
    if text.startswith("Missing command"):
        return f"{text} {context.command_path} takes one of {', '.join(commands)}"
    named = re.match("No such command '(.*?)'", text)
    if named is None or "Did you mean" in text:  # as later versions of click may ask themselves
        return text
    near = difflib.get_close_matches(named[1], commands, n=1)
    return f"{text} Did you mean {near[0]!r}?" if near else f"{text} {context.command_path} --help lists all"


def _run(words: Sequence[str], scoops_flags: bool) -> int:
    """Run the command, and write out what it printed; return its exit status."""
    stdout = sys.stdout
    status: str | int | None = 0
    try:
        if _COMPLETE in os.environ:
            from scoop_hpc.cli.shell import completion  # noqa: PLC0415  # few calls are a shell's

            return 0 if completion.answer(scoop_hpc, os.environ[_COMPLETE]) else 1
        if scoops_flags and words[0] not in (*_COMMANDS, "-h", "--help", "--version"):
            from scoop_hpc.cli import classic  # noqa: PLC0415  # it loads all of `run`, which other commands do not need

            _collect_garbage()
            classic.main(words)
        else:
            status = scoop_hpc.main(words, prog_name="scoop-hpc", standalone_mode=False)
    except SystemExit as end:
        if sys.stdout is not stdout:  # what click does when the reader is gone, before it exits with 1
            raise BrokenPipeError from end
        status = end.code
    if sys.stdout is not None:
        sys.stdout.flush()
    return status if isinstance(status, int) else 0


def _collect_garbage() -> None:
    """Let the collector do its work from now on, which `__main__` has stopped; it leaves the modules alone."""
    gc.freeze()
    gc.enable()


def _drop(descriptor: int) -> None:
    """Let go what could not be written: at its end, Python would try again, complain, and exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _fail(message: str, status: int) -> int:
    say(f"error: {' '.join(message.split())}")
    return status
