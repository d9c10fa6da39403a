"""The local scheduler's commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from scoop_hpc.cpus import count_cpus
from scoop_hpc.errors import InputError, SchedulerError, ScoopError
from scoop_hpc.files import private
from scoop_hpc.interpreter import python_argv
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local import allocation, states
from scoop_hpc.schedulers.local.request import Request
from scoop_hpc.schedulers.local.script import parse_script
from scoop_hpc.schedulers.local.states import Home, State


def submit(script: str, state: str, environ: Mapping[str, str]) -> str:
    """Start the job of the file *script*, or leave it waiting; return its id."""
    try:
        with open(script, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise InputError(f"cannot read the job script {script!r}: {error.strerror}") from error
    request = parse_script(text, os.getcwd(), count_cpus())
    _check(request, state)
    home = states.create(state)
    job_environ = {name: value for name, value in environ.items() if name != allocation.ARRAY_INDEX}
    job_environ[allocation.NODES] = ",".join(map("{}:{}".format, request.nodes, request.slots))
    job_environ[allocation.CPUS_PER_WORKER] = str(request.cpus_per_worker)
    try:
        private.write_text(home.script, text)
        home.write_request(request)
        home.write(State(home.job_id, request.name, JobState.PENDING, array=request.array))
        _start_supervisor(home, request, job_environ)
    except ScoopError:
        shutil.rmtree(home.path, ignore_errors=True)
        raise
    return home.job_id


def _check(request: Request, state: str) -> None:
    """Refuse what a job that waits would find out too late."""
    for dependency in request.dependencies:
        if states.state_of(state, dependency.job_id) is None:
            raise InputError(
                f"no local job {dependency.job_id!r} to wait for: scoop-hpc history lists those that there are"
            )
    if not os.path.isdir(request.directory):
        raise InputError(f"the job's directory {request.directory!r} does not exist")


def _start_supervisor(home: Home, request: Request, environ: Mapping[str, str]) -> None:
    """Leave a supervisor behind, and return once the job has begun, or waits."""
    heard, told = os.pipe()
    argv = [*python_argv("scoop_hpc.schedulers.local.supervisor"), home.path]
    try:
        subprocess.Popen(
            argv,
            env=environ,
            cwd=request.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
        )
    except OSError as error:
        raise SchedulerError(f"cannot start {argv[0]!r} for {home.job_id}: {error.strerror}") from error
    finally:
        os.close(told)
    with open(heard, "rb") as pipe:
        words = pipe.read().decode(errors="replace")
    if not words.endswith("\0"):
        raise SchedulerError(" ".join(words.split()) or f"the supervisor of {home.job_id} did not start")


def status(job_ids: Sequence[str], state: str) -> list[State]:
    """Return how the jobs stand, those of an array one by one; one that is unknown is left out."""
    homes = [states.find(state, job_id) for job_id in job_ids]
    return [job for home in homes if home is not None for job in states.standing(home)]


def cancel(job_ids: Sequence[str], state: str) -> None:
    """Tell the jobs' supervisors to end them. A job that has ended is left alone."""
    homes = {job_id: states.find(state, job_id) for job_id in job_ids}
    unknown = [job_id for job_id, home in homes.items() if home is None]
    if unknown:
        raise InputError(f"no local job {', '.join(map(repr, unknown))}: nothing was cancelled")
    for home in homes.values():
        if home is not None and not all(job.state.ended for job in states.standing(home)):
            home.cancel()


def _as_json(jobs: Sequence[State]) -> str:
    """Write what `scoop_hpc.schedulers.local.adapter` reads."""
    return json.dumps(
        [
            {
                "job_id": job.job_id,
                "state": job.state.value,
                "reason": job.reason,
                "nodes": job.nodes,
                "exit_status": job.exit_status,
            }
            for job in jobs
        ]
    )


def main() -> None:
    """Run one command; what is wrong with it is one line on stderr."""
    try:
        _run(sys.argv[1:], private.root(os.environ), os.environ)
    except ScoopError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _run(argv: Sequence[str], state: str, environ: Mapping[str, str]) -> None:
    command, arguments = argv[:1], argv[1:]
    private.check_private(os.path.join(state, "local"))
    if command == ["submit"] and len(arguments) == 1:
        print(submit(arguments[0], state, environ))
    elif command == ["status"]:
        print(_as_json(status(arguments, state)))
    elif command == ["cancel"]:
        cancel(arguments, state)
    else:
        raise InputError(f"cannot understand {argv!r}: write submit SCRIPT, status ID..., or cancel ID...")
