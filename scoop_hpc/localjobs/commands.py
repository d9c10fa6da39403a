"""The local scheduler's commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from scoop_hpc import jobdirectory
from scoop_hpc.errors import InputError, SchedulerError, ScoopError
from scoop_hpc.jobspec import JobState
from scoop_hpc.localjobs import states
from scoop_hpc.localjobs.script import Request, parse_script
from scoop_hpc.localjobs.states import Home, State
from scoop_hpc.schedulers import local_allocation

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# the package is found wherever this process found it; the job's directory is not searched for the standard library
_SUPERVISOR = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv.pop(1)); "
    "from scoop_hpc.localjobs.supervisor import main; main(sys.argv[1:])"
)


def submit(script: str, state: str, environ: Mapping[str, str]) -> str:
    """Start the job of the file *script*; return its id."""
    try:
        with open(script, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise InputError(f"cannot read the job script {script!r}: {error.strerror}") from error
    request = parse_script(text, os.getcwd(), _cpus())
    home = states.create(state)
    names = tuple(f"local{number}" for number in range(1, request.nodes + 1))
    job_environ = {
        **environ,
        local_allocation.JOB_ID: home.job_id,
        local_allocation.NODES: ",".join(f"{name}:{request.slots}" for name in names),
        local_allocation.CPUS_PER_WORKER: str(request.cpus_per_worker),
    }
    try:
        jobdirectory.write_text(home.script, text)
        home.write(State(home.job_id, request.name, JobState.PENDING, names))
        _start_supervisor(home, request, job_environ)
    except ScoopError:
        shutil.rmtree(home.path, ignore_errors=True)
        raise
    return home.job_id


def _start_supervisor(home: Home, request: Request, environ: Mapping[str, str]) -> None:
    """Leave a supervisor behind, and return once the job has begun."""
    if not os.path.isdir(request.directory):
        raise InputError(f"the job's directory {request.directory!r} does not exist")
    path = os.path.join(request.directory, request.output.replace("{job_id}", home.job_id))
    try:
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    except OSError as error:
        raise InputError(f"cannot write the job's output {path!r}: {error.strerror}; see --output") from error
    heard, told = os.pipe()
    argv = [sys.executable, "-c", _SUPERVISOR, _PACKAGE, home.path, str(told), str(request.walltime or 0)]
    try:
        subprocess.Popen(
            argv,
            env=environ,
            cwd=request.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(told,),
        )
    except OSError as error:
        raise SchedulerError(f"cannot start {argv[0]!r} for {home.job_id}: {error.strerror}") from error
    finally:
        os.close(told)
        os.close(output)
    with open(heard, "rb") as pipe:
        word = pipe.read()
    if word != b"\0":
        raise SchedulerError(word.decode() or f"the supervisor of {home.job_id} did not start: see {path!r}")


def status(job_ids: Sequence[str], state: str) -> list[State]:
    """Return how the jobs stand; one that is unknown is left out."""
    homes = [states.find(state, job_id) for job_id in job_ids]
    found = [home.current() for home in homes if home is not None]
    return [job for job in found if job is not None]


def cancel(job_ids: Sequence[str], state: str) -> None:
    """Tell the jobs' supervisors to end them. A job that has ended is left alone."""
    homes = {job_id: states.find(state, job_id) for job_id in job_ids}
    unknown = [job_id for job_id, home in homes.items() if home is None]
    if unknown:
        raise InputError(f"no local job {', '.join(map(repr, unknown))}: nothing was cancelled")
    for home in homes.values():
        if home is not None:
            jobdirectory.write_text(home.cancel, "")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_json(jobs: Sequence[State]) -> str:
    """Write what `scoop_hpc.schedulers.local` reads."""
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
        _run(sys.argv[1:], jobdirectory.root(os.environ), os.environ)
    except ScoopError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _run(argv: Sequence[str], state: str, environ: Mapping[str, str]) -> None:
    command, arguments = argv[:1], argv[1:]
    if command == ["submit"] and len(arguments) == 1:
        print(submit(arguments[0], state, environ))
    elif command == ["status"]:
        print(_as_json(status(arguments, state)))
    elif command == ["cancel"]:
        cancel(arguments, state)
    else:
        raise InputError(f"cannot understand {argv!r}: write submit SCRIPT, status ID..., or cancel ID...")
