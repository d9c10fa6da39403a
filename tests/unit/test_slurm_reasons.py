"""Why a job of Slurm's waits, in plain words: all reasons that Slurm 26.05 has, and what it says instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoop_hpc.schedulers.slurm.limits import Names, explain_limit
from scoop_hpc.schedulers.slurm.reasons import explain

DATA = Path(__file__).parents[1] / "data" / "slurm" / "26.05.3"


def listed(name: str) -> list[str]:
    return [line for line in (DATA / name).read_text().splitlines() if not line.startswith("#")]


REASONS = listed("reasons.txt")
SENTENCES = listed("reasons-in-words.txt")


def told(reason: str, job: str = "") -> tuple[str, str]:
    """Return why, without Slurm's own word, and what can be done."""
    lines = explain("7", reason, job)
    return lines[0].replace(f" (Slurm's reason: {reason})", ""), lines[-1]


def test_all_reasons_are_there() -> None:
    assert len(REASONS) == 216


def test_no_reason_is_shrugged_at() -> None:
    answers = {reason: told(reason) for reason in (*REASONS, *SENTENCES)}
    whys = {reason: why.replace("of the site's own", "") for reason, (why, _) in answers.items()}
    assert [reason for reason, why in whys.items() if "of its own" in why] == []
    assert [reason for reason, why in whys.items() if "is reached" in why] == []  # who limits what is known
    assert [reason for reason, (_, what) in answers.items() if not what] == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_means_the_same_with_underscores_and_in_parentheses(sentence: str) -> None:
    assert told(sentence.replace(" ", "_")) == told(sentence) == told(f"({sentence})")


@pytest.mark.parametrize("reason", [reason for reason in REASONS if explain_limit(reason, Names()) is not None])
def test_a_limit_is_told_with_who_limits_and_which_resource(reason: str) -> None:
    why, what = told(reason)
    assert ("account" in why) if reason.startswith("Assoc") else ("quality of service" in why)
    words = {
        "Cpu": "CPU",
        "CPU": "CPU",
        "Mem": "memory",
        "Node": "node",
        "GRES": "GPU",
        "License": "licence",
        "BB": "burst buffer",
        "Billing": "bill",
        "Energy": "energy",
        "Unknown": "resource",
        "Wall": "hours" if "Grp" in reason else "walltime",
        "SubmitJob": "in the queue",
        "Jobs": "as many run",
    }
    resource = next(name for name in words if name in reason.replace("PerNode", ""))
    assert words[resource] in why
    assert "--account" in what if reason.startswith("Assoc") else "--qos" in what


@pytest.mark.parametrize("reason", [reason for reason in REASONS if "Grp" in reason and "Minutes" in reason])
def test_minutes_that_are_used_up_do_not_come_back_by_asking_for_less(reason: str) -> None:
    why, what = told(reason)
    if "RunMinutes" in reason:
        assert "ahead of them" in why
        assert "wait until some of them have gone on" in what
    else:
        assert "used up" in why
        assert "ask those who manage the account" in what
        assert "--nodes" not in what
        assert "wait" not in what


@pytest.mark.parametrize(
    ("reason", "why", "what"),
    [
        (
            "QOSMaxMemoryPerUser",
            "your jobs in its quality of service may use only so much memory at a time",
            "wait until others of them have ended, or ask for less by --memory, --memory-per-cpu or --nodes, or change "
            "--qos or --queue",
        ),
        (
            "MaxCpuPerAccount",
            "the jobs of its account in its quality of service may use only so many CPUs at a time",
            "wait until others of them have ended, or ask for less by --nodes, --workers, --workers-per-node or "
            "--cpus-per-worker, or change --account, --qos or --queue",
        ),
        (
            "QOSMaxGRESPerNode",
            "a job in its quality of service may use only so many GPUs or other generic resources on each node, and "
            "this one asks for more",
            "cancel it and submit it again with less by --gpus-per-node, or change --qos or --queue",
        ),
        (
            "QOSMinGRES",
            "a job in its quality of service has to ask for at least so many GPUs or other generic resources, and this "
            "one asks for less",
            "cancel it and submit it again with more by --gpus-per-node or --nodes, or change --qos or --queue",
        ),
        (
            "AssocMaxWallDurationPerJobLimit",
            "its walltime is longer than its account allows",
            "cancel it and submit it again with a shorter --walltime, or change --account or --queue",
        ),
        (
            "QOSGrpCPUMinutesLimit",
            "the CPU minutes of its quality of service are used up, or too few are left for its walltime",
            "change --qos or --queue, or ask those who manage the account, or the site's staff, for more; a shorter "
            "--walltime may fit into what is left",
        ),
        (
            "MaxNodeRunMinsPerUser",
            "your jobs in its quality of service that run may have only so many node minutes ahead of them",
            "wait until some of them have gone on or ended, or give a shorter --walltime, or change --qos or --queue",
        ),
        (
            "AssocMaxSubmitJobLimit",
            "your jobs in its account may only be so many in the queue, running and waiting, and there are as many",
            "wait until others of them have ended, or change --account or --queue",
        ),
        (
            "launch failed requeued held",
            "it could not be started, and is held",
            "scontrol release 7, to try again",
        ),
        (
            "JobHoldMaxRequeue",
            "it was run again as often as the site allows, and is held",
            "see why its runs failed: scoop-hpc logs 7; then scontrol release 7, or cancel it",
        ),
        ("BurstBufferResources", "there is not enough room in the burst buffer", "wait, or change --directive"),
        ("Licenses", "licences that it needs are in use", "wait, or change --license"),
        ("", "it has just been submitted, or is about to begin", "wait"),
        ("QOSMaxWidgetsPerUserLimit", "a limit, set by the site, is reached", None),
        ("WhoKnows", "Slurm gives a reason of its own", None),
    ],
)
def test_why_and_what(reason: str, why: str, what: str | None) -> None:
    lines = explain("7", reason, "")
    assert lines[0] == f"{why} (Slurm's reason: {reason or 'None'})"
    if what is not None:
        assert lines[1:] == [what]


def test_the_account_and_the_quality_of_service_are_named_where_scontrol_tells_them() -> None:
    job = "JobId=7 JobName=pi UserId=me(1000) Account=physics QOS=normal JobState=PENDING Reason=AssocGrpGRES"
    assert told("AssocGrpGRES", job)[0].startswith("all jobs in its account 'physics' together may use only so many")
    assert told("QOSGrpGRES", job)[0].startswith("all jobs in its quality of service 'normal' together may use only")
