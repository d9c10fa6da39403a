"""A job is asked for where it is: on the cluster that took it, whichever one the shell of now would choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scoop_hpc.errors import InputError, JobSpecError, SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs import directories
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.schedulers.answers import Completed, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.registry import SCHEDULERS
from scoop_hpc.schedulers.site import Site

SLURM = SCHEDULERS["slurm"]
SPEC = JobSpec(("pi.py",), "/home/me", "pi")


@dataclass
class Clusters:
    """Two clusters of Slurm that both have a job 7: ``--clusters`` says which one answers, then SLURM_CLUSTERS."""

    sbatch: str
    states: Mapping[str, str] = field(default_factory=lambda: {"home": "FAILED", "slaking": "RUNNING"})
    calls: list[tuple[str, ...]] = field(default_factory=list)
    away: str = ""  # a cluster that does not answer

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        self.calls.append(tuple(argv))
        named = [word.partition("=")[2] for word in argv if word.startswith("--clusters=")]
        cluster = named[0] if named else environ.get("SLURM_CLUSTERS", "home")
        if argv[0] == "sbatch":
            return Completed(tuple(argv), 0, self.sbatch, "")
        if cluster == self.away:
            return Completed(tuple(argv), 1, "", f"{argv[0]}: error: {cluster!r} can't be reached now")
        text = f"CLUSTER: {cluster}\n7|{self.states[cluster]}|None|0|{cluster}1|\n" if argv[0] == "squeue" else ""
        return Completed(tuple(argv), 0, text, "")


def client_of(clusters: Clusters, tmp_path: Path, **environ: str) -> Client:
    return Client(SCHEDULERS, environ, str(tmp_path), clusters.run, sleep=lambda seconds: None)


def submitted(tmp_path: Path, sbatch: str, spec: JobSpec = SPEC, now: float = 1.0, **environ: str) -> Job:
    return client_of(Clusters(sbatch), tmp_path, **environ).submit(spec, SLURM, lambda job: "", now)


@pytest.mark.parametrize(
    ("environ", "directives", "answer", "cluster"),
    [
        ({}, (), "7\n", ""),
        ({"SLURM_CLUSTERS": "slaking"}, (), "7;slaking\n", "slaking"),
        ({"SBATCH_CLUSTERS": "slaking"}, (), "7;slaking\n", "slaking"),
        ({"SLURM_CLUSTERS": "home"}, ("--clusters=slaking",), "Submitted batch job 7 on cluster slaking\n", "slaking"),
        ({}, ("-M slaking,home",), "7;home\n", "home"),
        ({}, ("-Mslaking",), "7\n", "slaking"),  # a wrapper's answer
        ({}, ("--clusters=slaking,home",), "7\n", ""),
    ],
)
def test_the_cluster_that_took_a_job_is_kept_with_it(
    tmp_path: Path, environ: dict[str, str], directives: tuple[str, ...], answer: str, cluster: str
) -> None:
    job = submitted(tmp_path, answer, replace(SPEC, directives=directives), 1.0, **environ)
    known = directories.read(job.directory)
    assert known is not None
    assert known.site is not None
    assert (known.job_id, known.site.cluster, known) == ("7", cluster, job)


def test_a_directive_that_names_a_cluster_beats_the_shell() -> None:
    environ = {"SLURM_CLUSTERS": "home", "SBATCH_CLUSTERS": "other", "HOME": "/home/me"}
    assert SLURM.submit_environ(environ, replace(SPEC, directives=("-M slaking",))) == {"HOME": "/home/me"}
    assert SLURM.submit_environ(environ, SPEC) == environ


@pytest.mark.parametrize("shell", [{}, {"SLURM_CLUSTERS": "home"}])
def test_a_job_is_asked_for_on_its_cluster_from_any_shell(tmp_path: Path, shell: dict[str, str]) -> None:
    submitted(tmp_path, "7;slaking\n", SLURM_CLUSTERS="slaking")
    clusters = Clusters("")
    client = client_of(clusters, tmp_path, **shell)
    reports = client.status(client.find(["7"], SLURM))
    assert [(each.status.state, each.label) for each in reports] == [(JobState.RUNNING, "7@slaking")]
    client.cancel(reports)
    client.requeue(reports)
    client.explain(reports[0])
    assert {call[1] for call in clusters.calls} == {"--clusters=slaking"}
    assert [call[0] for call in clusters.calls] == ["squeue", "scancel", "scontrol", "scontrol"]


def test_a_job_of_the_default_cluster_is_asked_for_there_from_a_shell_that_names_another(tmp_path: Path) -> None:
    submitted(tmp_path, "7\n")
    client = client_of(Clusters(""), tmp_path, SLURM_CLUSTERS="slaking")
    (report,) = client.status(client.find(["7"], SLURM))
    assert (report.status.state, report.status.nodes) == (JobState.FAILED, ("home1",))


def test_a_job_that_was_not_submitted_from_here_is_asked_for_where_the_shell_says(tmp_path: Path) -> None:
    client = client_of(Clusters(""), tmp_path, SLURM_CLUSTERS="slaking")
    (report,) = client.status(client.find(["7"], SLURM))
    assert report.status.nodes == ("slaking1",)
    (report,) = client.status(client.find(["7@home"], SLURM))
    assert (report.status.nodes, report.label) == (("home1",), "7@home")


def test_the_file_of_slurm_s_settings_is_that_of_the_submission(tmp_path: Path) -> None:
    job = submitted(tmp_path, "7\n", SLURM_CONF="/etc/slurm/a.conf")
    assert job.site == Site("", (("SLURM_CLUSTERS", None), ("SLURM_CONF", "/etc/slurm/a.conf")))
    within = submitted(tmp_path, "8\n", SLURM_CONF="/run/of-the-node.conf", SLURM_JOB_ID="1")
    assert within.site == Site("", (("SLURM_CLUSTERS", None),))


def test_one_id_on_two_clusters_is_named_and_not_guessed(tmp_path: Path) -> None:
    first = submitted(tmp_path, "7;slaking\n", now=1.0, SLURM_CLUSTERS="slaking")
    second = submitted(tmp_path, "7\n", now=2.0)
    client = client_of(Clusters(""), tmp_path)
    with pytest.raises(InputError) as caught:
        client.find(["7"], SLURM)
    names = [Path(job.directory).name for job in (first, second)]
    assert "7@slaking of slurm" in str(caught.value)
    assert all(f"({name})" in str(caught.value) for name in names)
    assert [each.job for each in client.find(["7@slaking", *names], SLURM)] == [first, first, second]
    assert [each.job for each in client.find(["7;slaking", second.directory], SLURM)] == [first, second]
    told = client.status(client.find(["7@slaking", names[1]], SLURM))
    assert [(each.status.state, each.status.nodes) for each in told] == [
        (JobState.RUNNING, ("slaking1",)),
        (JobState.FAILED, ("home1",)),
    ]


def test_each_cluster_is_asked_once_and_one_that_is_away_hides_no_other(tmp_path: Path) -> None:
    submitted(tmp_path, "7;slaking\n", now=1.0, SLURM_CLUSTERS="slaking")
    submitted(tmp_path, "8;slaking\n", now=2.0, SLURM_CLUSTERS="slaking")
    submitted(tmp_path, "7\n", now=3.0)
    clusters, troubles = Clusters("", away="slaking"), list[SchedulerError]()
    client = client_of(clusters, tmp_path)
    told = client.status(client.reports(client.recent(None)), troubles.append)
    assert [each.status.state for each in told] == [JobState.UNKNOWN, JobState.UNKNOWN, JobState.FAILED]
    assert len(troubles) == 1
    assert {call[1:4] for call in clusters.calls if "--clusters=slaking" in call and call[0] == "squeue"} == {
        ("--clusters=slaking", "--noheader", "--states=all")
    }
    assert all("--jobs=7,8" in call for call in clusters.calls if "--clusters=slaking" in call)


def test_a_dependency_is_on_a_job_of_the_same_cluster(tmp_path: Path) -> None:
    submitted(tmp_path, "7;slaking\n", now=1.0, SLURM_CLUSTERS="slaking")
    after = replace(SPEC, after=("7",))
    with pytest.raises(
        JobSpecError, match="--after 7@slaking: that job was sent to the cluster 'slaking', and this one"
    ):
        client_of(Clusters(""), tmp_path).prepare(after, SLURM)
    there = client_of(Clusters(""), tmp_path, SLURM_CLUSTERS="slaking").prepare(after, SLURM)
    assert there.after == ("7",)
    submitted(tmp_path, "7\n", now=2.0)  # of two with that id, the one of the cluster that the new job goes to
    client_of(Clusters(""), tmp_path).prepare(after, SLURM)


def test_what_can_be_done_about_a_job_names_its_cluster() -> None:
    (_, advice) = SLURM.explain(
        JobStatus("7", JobState.PENDING, "JobHeldUser"),
        Completed(("scontrol", "--clusters=slaking", "--oneliner", "show", "job", "7"), 0, "JobId=7", ""),
    )
    assert "scontrol --clusters=slaking release 7" in advice


def test_a_job_is_submitted_again_to_its_cluster(tmp_path: Path) -> None:
    job = submitted(tmp_path, "7;slaking\n", SLURM_CLUSTERS="slaking")
    clusters = Clusters("8;slaking\n")
    client = client_of(clusters, tmp_path)
    again = client.submit_again(client.reports([job])[0], 2.0)
    assert clusters.calls[0][:2] == ("sbatch", "--clusters=slaking")
    assert (again.job_id, again.site) == ("8", job.site)


def test_jobs_of_two_cells_of_grid_engine_are_asked_for_in_their_cells(tmp_path: Path) -> None:
    sge, seen = SCHEDULERS["sge"], list[str]()

    def run(argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        seen.append(environ.get("SGE_CELL", ""))
        return Completed(tuple(argv), 0, "7\n" if argv[0] == "qsub" else "", "")

    for cell in ("a", "b"):
        Client(SCHEDULERS, {"SGE_CELL": cell}, str(tmp_path), run).submit(
            replace(SPEC, workers=1), sge, lambda job: "", ord(cell)
        )
    client = Client(SCHEDULERS, {"SGE_CELL": "a"}, str(tmp_path), run)
    newest = client.recent(1)
    seen.clear()
    client.cancel(client.reports(newest))
    assert seen == ["b"]
    with pytest.raises(InputError, match="one of several clusters"):
        client.find(["7"], sge)


def test_a_number_that_jobs_of_two_schedulers_have_is_told_apart_by_their_names(tmp_path: Path) -> None:
    def run(argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        return Completed(tuple(argv), 0, "7\n", "")

    client = Client(SCHEDULERS, {}, str(tmp_path), run)
    for now, name in enumerate(("sge", "slurm")):
        client.submit(replace(SPEC, workers=1), SCHEDULERS[name], lambda job: "", float(now))
    with pytest.raises(InputError, match="(?=.*7 of slurm)(?=.*7 of sge).*write ID@CLUSTER"):
        client.find(["7"], SLURM)
    for name in ("sge", "slurm"):
        (found,) = client.find([f"7@{name}"], SLURM)
        assert (found.scheduler, found.job is not None) == (name, True)


def test_a_job_of_an_earlier_version_is_asked_for_where_the_shell_says(tmp_path: Path) -> None:
    job = submitted(tmp_path, "7\n")
    directories.write(replace(job, site=None))
    client = client_of(Clusters(""), tmp_path, SLURM_CLUSTERS="slaking")
    (report,) = client.status(client.find(["7"], SLURM))
    assert report.status.nodes == ("slaking1",)
