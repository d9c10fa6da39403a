"""What the kernel has killed for want of memory."""

from __future__ import annotations

import pytest

from scoop_hpc.run.oom_kills import OomKills

V1 = "/sys/fs/cgroup/memory/job_7/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "/sys/fs/cgroup/job_7/memory.events", "low 0\nhigh 0\nmax 90\noom 2\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("cgroups", "path", "text"),
    [("0::/job_7\n", *V2), ("4:memory:/job_7\n1:cpu:/\n0::/\n", *V1)],
    ids=["v2", "v1"],
)
def test_a_kill_is_seen_and_soon_forgotten(cgroups: str, path: str, text: str) -> None:
    files = {"/proc/self/cgroup": cgroups, path: text.format(3)}
    kills = OomKills(files.get)
    assert not kills.have_come()
    files[path] = text.format(4)
    assert kills.have_come()
    kills.look()
    assert kills.have_come()  # it may have been counted before the death was heard of
    kills.look()
    assert not kills.have_come()


@pytest.mark.parametrize("files", [{}, {"/proc/self/cgroup": "0::/\n"}, {"/proc/self/cgroup": "odd"}])
def test_who_has_no_such_count_knows_of_no_kill(files: dict[str, str]) -> None:
    assert not OomKills(files.get).have_come()
