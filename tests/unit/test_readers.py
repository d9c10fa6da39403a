"""The readers of allocations: real environments, what cannot be right, and two schedulers at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers import read_allocation
from scoop_hpc.schedulers.allocation import Allocation, Node
from scoop_hpc.schedulers.readers import READERS, reader_of

DATA = Path(__file__).parents[1] / "data"
PBS = DATA / "pbs" / "23.06.06-85-gcd7ab5eda"
SGE = DATA / "sge" / "8.1.9" / "env"

LOCAL_JOB = {"SCOOP_HPC_LOCAL_JOB_ID": "local-7", "SCOOP_HPC_LOCAL_NODES": "local1:2"}
SLURM_JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_TASKS_PER_NODE": "1(x2)"}
PBS_JOB = {"PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": "12.server", "PBS_NODEFILE": "/aux/12"}
TORQUE_JOB = {**PBS_JOB, "PBS_VERSION": "TORQUE-6.1.3", "PBS_NP": "4", "PBS_NUM_PPN": "2", "PBS_NUM_NODES": "2"}
SGE_JOB = {"JOB_ID": "36", "SGE_TASK_ID": "undefined", "QUEUE": "all.q", "PE": "mpi", "PE_HOSTFILE": "/pe"}
SERIAL_JOB = {"JOB_ID": "36", "SGE_TASK_ID": "undefined", "QUEUE": "all.q", "HOSTNAME": "n1"}
LSF_JOB = {"LSB_JOBID": "5", "LSB_JOBINDEX": "0", "LSB_MCPU_HOSTS": "h1 4 h2 2 "}
OAR_JOB = {"OAR_JOB_ID": "9", "OAR_NODEFILE": "/oar"}
FLUX_JOB = {"FLUX_URI": "local:///tmp/flux-1/local-0", "FLUX_ENCLOSING_ID": "f2"}
FLUX_KNOWN = {**FLUX_JOB, "SCOOP_HPC_JOB_HOSTLIST": "n[08-10]", "SCOOP_HPC_JOB_CPUS_PER_NODE": "8(x2),4"}
TWO_CPUS = {"SCOOP_HPC_JOB_CPUS_PER_WORKER": "2"}

JOBS = {
    "local": LOCAL_JOB,
    "flux": FLUX_KNOWN,
    "slurm": SLURM_JOB,
    "pbs": PBS_JOB,
    "sge": SGE_JOB,
    "lsf": LSF_JOB,
    "oar": OAR_JOB,
}
FILES = {"/aux/12": "a\nb\na\n", "/pe": "a 2 all.q@a UNDEFINED\n", "/oar": "a\n"}


def files(texts: dict[str, str]) -> Callable[[str], str]:
    """Return a way to read files that have *texts*."""

    def read_file(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return texts[path]

    return read_file


def environment(path: Path) -> dict[str, str]:
    lines = path.read_text(errors="surrogateescape").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def read(environ: dict[str, str], *texts: str) -> Allocation:
    """Return the allocation of *environ*; any file that it names has the text given."""
    allocation = read_allocation(environ, lambda path: "".join(texts))
    assert allocation is not None
    return allocation


def refusal(environ: dict[str, str], *texts: str, reader: str | None = None) -> str:
    with pytest.raises(AllocationError) as caught:
        read_allocation(environ, files(FILES) if not texts else lambda path: "".join(texts), reader)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def advice_of(environ: dict[str, str], allocation: Allocation) -> str:
    reader = reader_of(allocation)
    assert reader is not None
    return reader.advice(environ, allocation)


def shape(allocation: Allocation) -> str:
    return " ".join(f"{node.name}:{node.slots}/{node.cpus}" for node in allocation.nodes)


# PBS


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("default", "pnode001:1/1"),
        ("heterogeneous", "pnode001:4/4 pnode002:2/2"),
        ("interleaved", "pnode001:2/2 pnode002:2/2"),
        ("nodes-2-ppn-3", "pnode001:3/3 pnode002:3/3"),
        ("select-2-ncpus-4", "pnode001:1/1 pnode002:1/1"),
        ("select-3-ncpus-2-mpiprocs-2", "pnode001:4/4 pnode002:2/2"),
        ("select-3-ncpus-2-mpiprocs-2-scatter", "pnode001:2/2 pnode002:2/2 pnode003:2/2"),
    ],
)
def test_a_host_has_as_many_slots_as_lines_in_a_real_node_file(name: str, nodes: str) -> None:
    environ = environment(PBS / "env" / "script.txt")
    path = environ["PBS_NODEFILE"]
    text = (PBS / "nodefile" / f"{name}.txt").read_text()
    allocation = read_allocation(environ, files({path: text}))
    assert allocation is not None
    assert shape(allocation) == nodes
    assert (allocation.scheduler, allocation.job_id, allocation.array_index) == ("pbs", "247.pbshead", None)


def test_ncpus_of_the_first_chunk_is_not_multiplied() -> None:
    environ = {**PBS_JOB, "NCPUS": "8", "OMP_NUM_THREADS": "8"}
    assert shape(read(environ, "h1\n" * 8, "h2\n" * 8)) == "h1:8/8 h2:8/8"


@pytest.mark.parametrize(
    ("lines", "about", "advice"),
    [
        ("h1\nh2\n", {"NCPUS": "4"}, "add mpiprocs=4 to the chunks of -l select, or say -n 8"),
        ("h1\nh1\nh2\nh2\n", {"NCPUS": "4"}, ""),  # mpiprocs was said
        ("h1\n", {"NCPUS": "1"}, ""),
        ("h1\n", {"NCPUS": "4", **TWO_CPUS}, ""),  # our own script's
        ("h1\n", {"NCPUS": "many"}, ""),
        ("h1\n", {}, ""),
    ],
)
def test_cpus_that_no_worker_would_use_are_named(lines: str, about: dict[str, str], advice: str) -> None:
    environ = {**PBS_JOB, **about}
    said = advice_of(environ, read(environ, lines))
    assert said.endswith(advice)
    assert bool(said) == bool(advice)
    assert advice_of(environ, Allocation("slurm", (Node("h1", 1, 1),))) == ""


def test_cpus_of_pbs_pro_are_what_the_job_script_asked_for() -> None:
    allocation = read({**PBS_JOB, **TWO_CPUS}, "h1\nh1\nh2\nh2\n")
    assert (shape(allocation), allocation.cpus_per_worker) == ("h1:2/4 h2:2/4", 2)


def test_slots_of_torque_are_cpus() -> None:
    assert shape(read(TORQUE_JOB, "h1\nh1\nh2\nh2\n")) == "h1:2/2 h2:2/2"
    allocation = read({**TORQUE_JOB, **TWO_CPUS}, "h1\nh1\nh2\nh2\nh2\n")
    assert (allocation.scheduler, shape(allocation), allocation.cpus_per_worker) == ("torque", "h1:1/2 h2:1/3", 2)


def test_ends_of_lines_and_blank_lines_of_a_node_file_do_not_count() -> None:
    assert shape(read(PBS_JOB, "h2.site\r\n\n  h1 \r\nh2.site")) == "h2.site:2/2 h1:1/1"


def test_a_task_of_a_pbs_job_reads_its_node_file_or_says_where_there_is_one() -> None:
    text = "h1\nh2\n"
    assert shape(read(environment(PBS / "env" / "task-on-second-node.txt"), text)) == "h1:1/1 h2:1/1"
    assert "'248.pbshead' has no PBS_NODEFILE here: run this in the job's script" in refusal(
        environment(PBS / "env" / "task-on-first-node.txt"), text
    )


@pytest.mark.parametrize(
    ("changes", "index"),
    [
        ({"PBS_JOBID": "12[4].server", "PBS_ARRAY_INDEX": "4"}, 4),
        ({"PBS_JOBID": "12[4]", "PBS_ARRAYID": "4"}, 4),
        ({"PBS_JOBID": "12-4.server", "PBS_ARRAYID": "4"}, 4),
        ({"PBS_ARRAY_INDEX": "4"}, None),  # came with qsub -V
        ({"PBS_JOBID": "13[5].server", "PBS_ARRAY_INDEX": "5", "PBS_ARRAYID": "4"}, 5),
    ],
)
def test_an_index_of_a_pbs_array_is_in_the_job_s_id_as_well(changes: dict[str, str], index: int | None) -> None:
    environ = {**PBS_JOB, **changes}
    allocation = read(environ, "a\n")
    assert (allocation.job_id, allocation.array_index) == (environ["PBS_JOBID"], index)


def test_an_empty_node_file_is_an_error() -> None:
    text = (PBS / "nodefile" / "mpiprocs-0.txt").read_text()
    assert "'/aux/12' of the PBS job '12.server', names no host" in refusal(PBS_JOB, text)


def test_what_slurm_s_pbs_plugin_sets_is_no_pbs_job() -> None:
    imitation = {"PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": "7", "PBS_JOBNAME": "x", "PBS_TASKNUM": "1"}
    assert read({**SLURM_JOB, **imitation}) == read(SLURM_JOB)


# Grid Engine


@pytest.mark.parametrize(
    ("name", "job_id", "nodes"),
    [
        ("pe-mpi", "36", "node001:2/2 node002:2/2 node003:1/1 node004:1/1"),
        ("pe-mpi2", "38", "node001:2/2 node002:2/2"),
        ("pe-mpi_fill", "37", "node001:4/4 node002:2/2"),
        ("pe-smp", "39", "node001:3/3"),
        ("name", "41", "node003:2/2"),
    ],
)
def test_real_grid_engine_jobs(name: str, job_id: str, nodes: str) -> None:
    environ = environment(SGE / f"{name}.txt")
    text = (SGE / f"{name}.pe_hostfile").read_text()
    allocation = read_allocation(environ, files({environ["PE_HOSTFILE"]: text}))
    assert allocation is not None
    assert shape(allocation) == nodes
    assert (allocation.scheduler, allocation.job_id, allocation.array_index) == ("sge", job_id, None)


def test_a_serial_job_is_one_slot_on_its_host() -> None:
    allocation = read(environment(SGE / "serial.txt"))
    assert (allocation.job_id, shape(allocation)) == ("34", "node001:1/1")


def test_a_task_of_a_grid_engine_array_has_its_index() -> None:
    allocation = read(environment(SGE / "array-3.txt"))
    assert (allocation.job_id, allocation.array_index) == ("40.3", 3)


def test_a_slave_task_is_not_taken_for_the_job() -> None:
    environ = environment(SGE / "pe-mpi-slave.txt")
    assert "'36' has the parallel environment 'mpi', but no PE_HOSTFILE here" in refusal(environ)


def test_queues_of_one_host_are_summed_whatever_the_other_columns_say() -> None:
    lines = "h1 2 all.q@h1 UNDEFINED\nh2 4 long.q@h2 <NULL>\nh1 1 long.q@h1 0,0:0,1\nh3 1\n"
    assert shape(read({**SGE_JOB, "NSLOTS": "99"}, lines)) == "h1:3/3 h2:4/4 h3:1/1"


def test_the_hostfile_of_another_job_is_left_over() -> None:
    stale = {"PE": "mpi", "PE_HOSTFILE": "/spool/n1/active_jobs/35.1/pe_hostfile"}
    assert shape(read({**SERIAL_JOB, **stale}, "a 8 all.q@a UNDEFINED\n")) == "n1:1/1"


def test_slots_of_grid_engine_are_cpus() -> None:
    allocation = read({**SGE_JOB, **TWO_CPUS}, "h1 4 q@h1\nh2 3 q@h2\n")
    assert (shape(allocation), allocation.cpus_per_worker) == ("h1:2/4 h2:1/3", 2)


# LSF, OAR, Flux


def test_lsf_reads_the_pairs_before_anything_else() -> None:
    others = {"LSB_HOSTS": "x x", "LSB_DJOB_HOSTFILE": "/none"}
    allocation = read_allocation({**LSF_JOB, **others}, files({}))
    assert allocation is not None
    assert shape(allocation) == "h1:4/4 h2:2/2"
    assert (allocation.scheduler, allocation.job_id, allocation.array_index) == ("lsf", "5", None)


@pytest.mark.parametrize(
    ("environ", "texts", "nodes"),
    [
        ({"LSB_MCPU_HOSTS": "h1 4 h2 2 h1 1"}, (), "h1:5/5 h2:2/2"),
        ({"LSB_DJOB_HOSTFILE": "/hosts"}, ("h1\nh2\n", "h1\n"), "h1:2/2 h2:1/1"),
        ({"LSB_HOSTS": "h1 h1 h2"}, (), "h1:2/2 h2:1/1"),
        ({"LSB_MCPU_HOSTS": "batch1 1 h1 42 h2 42", "CSM_ALLOCATION_ID": "3"}, (), "h1:42/42 h2:42/42"),
        ({"LSB_MCPU_HOSTS": "h1 4 h2 4", "SCOOP_HPC_JOB_CPUS_PER_WORKER": "4"}, (), "h1:1/4 h2:1/4"),
    ],
)
def test_lsf_says_its_hosts_in_three_ways(environ: dict[str, str], texts: tuple[str, ...], nodes: str) -> None:
    assert shape(read({"LSB_JOBID": "5", **environ}, *texts)) == nodes


def test_an_element_of_an_lsf_array_has_its_index() -> None:
    allocation = read({**LSF_JOB, "LSB_JOBINDEX": "3"})
    assert (allocation.job_id, allocation.array_index) == ("5[3]", 3)


def test_oar_has_a_line_for_each_core() -> None:
    allocation = read({**OAR_JOB, "OAR_ARRAY_INDEX": "2"}, "h1\nh1\nh2\n")
    assert (allocation.scheduler, allocation.job_id, shape(allocation)) == ("oar", "9", "h1:2/2 h2:1/1")
    assert allocation.array_index == 2
    assert shape(read({"OAR_JOB_ID": "9", "OAR_FILE_NODES": "/n"}, "h1\n")) == "h1:1/1"


def test_flux_needs_to_be_told_its_nodes() -> None:
    allocation = read(FLUX_KNOWN)
    assert (allocation.scheduler, allocation.job_id, shape(allocation)) == ("flux", "f2", "n08:8/8 n09:8/8 n10:4/4")
    assert shape(read({**FLUX_KNOWN, "SCOOP_HPC_JOB_CPUS_PER_NODE": "8", **TWO_CPUS})) == "n08:4/8 n09:4/8 n10:4/8"
    for job in (FLUX_JOB, {**FLUX_JOB, "FLUX_JOB_ID": "f3", "FLUX_JOB_NNODES": "2", "FLUX_JOB_SIZE": "4"}):
        message = refusal(job)
        assert 'export SCOOP_HPC_JOB_HOSTLIST="$(flux getattr hostlist)"' in message
        assert "SCOOP_HPC_JOB_CPUS_PER_NODE=N" in message


def test_a_flux_job_on_one_node_is_here() -> None:
    job = {**FLUX_JOB, "FLUX_JOB_ID": "f3", "FLUX_JOB_NNODES": "1", "FLUX_JOB_SIZE": "4", "HOSTNAME": "login"}
    allocation = read_allocation(job, files({"/proc/sys/kernel/hostname": "n08\n"}))
    assert allocation is not None
    assert (allocation.job_id, shape(allocation)) == ("f3", "n08:4/4")


# all of them


@pytest.mark.parametrize(
    "environ",
    [
        {"SLURM_CONF": "/etc/slurm.conf", "PBS_DEFAULT": "head", "PBS_SERVER": "head", "PBS_EXEC": "/opt/pbs"},
        {"PBS_O_WORKDIR": "/home/me", "PBS_O_HOST": "head", "PBS_CONF_FILE": "/etc/pbs.conf"},
        {"SGE_ROOT": "/sge", "SGE_CELL": "default", "SGE_CLUSTER_NAME": "p", "SGE_QMASTER_PORT": "6444"},
        {"JOB_ID": "1234", "QUEUE": "default", "HOSTNAME": "ci"},
        {"LSF_ENVDIR": "/lsf", "LSF_BINDIR": "/lsf", "LSF_SERVERDIR": "/lsf"},
        {"FLUX_HANDLE_TRACE": "1", "FLUX_CONF_DIR": "/etc/flux"},
        {"FLUX_URI": "local:///x"},
        {"SCOOP_HPC_JOB_HOSTLIST": "n1", "SCOOP_HPC_JOB_CPUS_PER_NODE": "1", **TWO_CPUS},
    ],
)
def test_what_a_login_node_has_is_no_job(environ: dict[str, str]) -> None:
    assert read_allocation(environ, files({})) is None


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"PBS_JOBID": "1.server", "ENVIRONMENT": "BATCH"}, "PBS_ENVIRONMENT"),
        ({"PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": ""}, "PBS_JOBID"),
        ({"PBS_NODEFILE": "/aux/12"}, "PBS_JOBID"),
        ({"SGE_TASK_ID": "undefined"}, "JOB_ID"),
        ({"PE_HOSTFILE": "/x", "JOB_ID": "7"}, "SGE_TASK_ID"),
        ({"LSB_JOBID": "5"}, "LSB_MCPU_HOSTS"),
        ({"LSB_MCPU_HOSTS": "h1 1"}, "LSB_JOBID"),
        ({"OAR_JOB_ID": "5"}, "OAR_NODEFILE"),
        ({"FLUX_JOB_ID": "f1"}, "FLUX_URI"),
    ],
)
def test_what_has_a_part_of_a_jobs_variables_is_refused(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(AllocationError, match=f"but {missing} is not: the job's nodes cannot be told here"):
        read_allocation(environ, files({}))


@pytest.mark.parametrize(
    ("environ", "text", "words"),
    [
        (PBS_JOB, "a\nb c\n", "line 2 of PBS_NODEFILE, the file '/aux/12', is 'b c': it should be the name of a host"),
        (PBS_JOB, "a\n\nb;c\n", "line 3 of PBS_NODEFILE, the file '/aux/12', is 'b;c'"),
        (PBS_JOB, "a[1-2]\n", "is 'a[1-2]'"),
        ({**PBS_JOB, "PBS_NODEFILE": "/none"}, "", "cannot read '/none', the file that PBS_NODEFILE names: No such"),
        ({**PBS_JOB, **TWO_CPUS, "SCOOP_HPC_JOB_CPUS_PER_WORKER": "two"}, "a\n", "CPUS_PER_WORKER is 'two'"),
        ({**PBS_JOB, "PBS_JOBID": "1[2]", "PBS_ARRAY_INDEX": "x"}, "a\n", "PBS_ARRAY_INDEX is 'x'"),
        ({**TORQUE_JOB, **TWO_CPUS}, "a\na\nb\n", "the node 'b' has 1 of the scheduler's slots"),
        (SGE_JOB, "a 2 q@a\nb\n", "line 2 of PE_HOSTFILE, the file '/pe', is 'b': it should be a host and its number"),
        (SGE_JOB, "a 0 q@a\n", "the number of slots in line 1 of PE_HOSTFILE, the file '/pe', is '0'"),
        (SGE_JOB, "a 2.5 q@a\n", "is '2.5': it should be a positive number"),
        (SGE_JOB, "a q@a 2\n", "is 'q@a': it should be a positive number"),
        (SGE_JOB, "a -1\n", "is '-1'"),
        (SGE_JOB, "\n", "names no host"),
        ({**SGE_JOB, "SGE_TASK_ID": "first"}, "a 1\n", "SGE_TASK_ID is 'first'"),
        ({**SERIAL_JOB, "HOSTNAME": ""}, "-", "HOSTNAME is ''"),
        ({**SERIAL_JOB, **TWO_CPUS}, "-", "the node 'n1' has 1 of the scheduler's slots"),
        ({**LSF_JOB, "LSB_MCPU_HOSTS": "h1 4 h2"}, "-", "LSB_MCPU_HOSTS is 'h1 4 h2', with an odd number of words"),
        ({**LSF_JOB, "LSB_MCPU_HOSTS": "h1 4 h2 x"}, "-", "slots in pair 2 of LSB_MCPU_HOSTS 'h1 4 h2 x' is 'x'"),
        ({**LSF_JOB, "LSB_MCPU_HOSTS": "4 h1 2 h;"}, "-", "slots in pair 1 of LSB_MCPU_HOSTS '4 h1 2 h;' is 'h1'"),
        ({**LSF_JOB, "LSB_MCPU_HOSTS": " "}, "-", "the LSF job '5' names no host"),
        ({**LSF_JOB, "LSB_JOBINDEX": "-1"}, "-", "LSB_JOBINDEX is '-1'"),
        ({"LSB_JOBID": "5", "LSB_HOSTS": "a b;"}, "-", "word 2 of LSB_HOSTS 'a b;' is 'b;'"),
        (OAR_JOB, "\n", "OAR_NODEFILE, the file '/oar' of the OAR job, names no host"),
        ({**FLUX_KNOWN, "SCOOP_HPC_JOB_HOSTLIST": "n[1-"}, "-", "'n[1-': a bracket that is nested or not closed"),
        ({**FLUX_KNOWN, "SCOOP_HPC_JOB_CPUS_PER_NODE": "8(x4)"}, "-", "'8(x4)', which does not fit the 3 nodes"),
        ({**FLUX_KNOWN, "SCOOP_HPC_JOB_CPUS_PER_NODE": "0"}, "-", "'0', which does not fit"),
    ],
)
def test_what_cannot_be_right_is_an_error_that_shows_it(environ: dict[str, str], text: str, words: str) -> None:
    assert words in refusal(environ, *([text] if text else []))


def test_a_file_that_is_no_text_is_an_error() -> None:
    with pytest.raises(AllocationError, match="'/aux/12', the file that PBS_NODEFILE names: .*can't decode"):
        read_allocation(PBS_JOB, lambda path: b"\xff".decode())


@pytest.mark.parametrize("name", list(READERS))
def test_each_reader_is_alone_in_its_own_job(name: str) -> None:
    allocation = read_allocation(JOBS[name], files(FILES))
    assert allocation is not None
    assert (allocation.scheduler, allocation.beside) == (name, ())
    assert allocation == READERS[name].read(JOBS[name], files(FILES))
    for other, reader in READERS.items():
        assert (reader.in_job(JOBS[name]), reader.reads(allocation)) == (other == name, other == name)


@given(st.sets(st.sampled_from(list(JOBS)), min_size=1))
def test_of_several_jobs_at_once_the_first_is_taken_and_the_others_are_named(names: set[str]) -> None:
    environ = {variable: value for name in names for variable, value in JOBS[name].items()}
    allocation = read_allocation(environ, files(FILES))
    assert allocation is not None
    ordered = [name for name in READERS if name in names]
    assert [allocation.scheduler, *allocation.beside] == ordered
    for name in names:
        chosen = read_allocation(environ, files(FILES), name)
        assert chosen == read_allocation(JOBS[name], files(FILES))


def test_where_the_first_of_two_cannot_be_read_the_other_is_named() -> None:
    environ = {**SLURM_JOB, "SLURM_TASKS_PER_NODE": "1(x3)", **PBS_JOB}
    assert refusal(environ).endswith("or is it another scheduler's job? --allocation pbs")
    assert not refusal(environ, reader="slurm").endswith("--allocation pbs")


def test_a_reader_that_is_chosen_must_have_a_job() -> None:
    assert refusal(SLURM_JOB, reader="pbs") == "not in a job of 'pbs': its variables are not in the environment"
    assert "no reader of 'torque' allocations: choose one of local, flux" in refusal(SLURM_JOB, reader="torque")


@given(st.lists(st.sampled_from(["h1", "h2.site", "h10", "a-b"]), min_size=1, max_size=30))
def test_slots_are_counted_and_hosts_keep_their_order(lines: list[str]) -> None:
    for environ in (PBS_JOB, OAR_JOB):
        nodes = read(environ, "\n".join(lines)).nodes
        assert [node.name for node in nodes] == list(dict.fromkeys(lines))
        assert nodes == tuple(Node(name, lines.count(name), lines.count(name)) for name in dict.fromkeys(lines))
