"""The live page of jobs on real clusters, in a browser on the login node: while they run, after them, and for whom."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from minicluster.packages import ensure
from minicluster.state import HEAD
from playwright.sync_api import Page, expect, sync_playwright
from test_looks import look, submit
from under_test import ClusterUnderTest, Job

pytestmark = pytest.mark.timeout(600)  # the browser may have to be installed
CHROMIUM = "chromium-headless-shell"
PATIENCE = 60_000  # milliseconds
OTHER = "tester"  # a user of the cluster, who has submitted nothing


@contextmanager
def page_on_the_login_node(cluster: ClusterUnderTest) -> Iterator[Page]:
    """Yield an empty page of a browser that runs in the namespaces of the login node, and has its loopback."""
    chromium = ensure_chromium()
    entered = cluster.machine.enter_argv(HEAD, [chromium], str(cluster.directory))
    wrapper = cluster.directory / "chromium"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(entered)} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    options = ["--no-sandbox", "--disable-dev-shm-usage"]  # it is root; the host's /dev/shm is looked at for leftovers
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(cluster.directory))  # where both ends see the browser's profile
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=wrapper, args=options, timeout=PATIENCE) as browser,
        ):
            page = browser.new_page()
            page.set_default_timeout(PATIENCE)
            yield page


def ensure_chromium() -> str:
    ensure({CHROMIUM: CHROMIUM})
    return CHROMIUM


@contextmanager
def web(cluster: ClusterUnderTest, job: str) -> Iterator[tuple[Job, str]]:
    """Run ``scoop-hpc web JOB`` on the login node; yield it, and the address that it has said."""
    with cluster.started(HEAD, [sys.executable, "-m", "scoop_hpc", "web", job]) as viewer:
        assert viewer.popen.stdout is not None
        address = viewer.popen.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), viewer.finish()
        yield viewer, address


def kill_viewers(cluster: ClusterUnderTest) -> None:
    """Kill each `scoop-hpc web` on the login node, without a word."""
    for process in cluster.processes(HEAD):
        if "web" in process.argv:
            os.kill(process.outer_pid, signal.SIGKILL)


def check(cluster: ClusterUnderTest) -> None:
    """Look at a job from its middle to its end, and after it."""
    job = submit(cluster)
    with page_on_the_login_node(cluster) as page:
        with web(cluster, job) as (_, address):
            page.goto(address)
            expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
            expect(page.locator("#program")).to_have_text("program.py")
            expect(page.locator("#totals")).to_contain_text("8 of 8", timeout=PATIENCE)
            for node in cluster.nodes:
                expect(page.locator("#nodes")).to_contain_text(node)
            kill_viewers(cluster)
            expect(page.locator("#problem")).to_contain_text("no answer from scoop-hpc web", timeout=PATIENCE)
        with web(cluster, job) as (_, address):
            page.goto(address)
            expect(page.locator("#totals")).to_contain_text("8 of 8", timeout=PATIENCE)
            (cluster.directory / "go").touch()
            expect(page.locator("#state")).to_have_text("ended with status 0", timeout=PATIENCE)
            row = page.locator("#functions tr").filter(has_text="simulate")
            expect(row.locator("td").nth(1)).to_have_text("8")
            expect(page.locator("#failures")).to_contain_text("0 does not converge")
        with web(cluster, job) as (_, address):  # of a job that has ended
            page.goto(address)
            expect(page.locator("#state")).to_have_text("ended with status 0", timeout=PATIENCE)
            page.fill("#text", "2")
            page.press("#text", "Enter")
            expect(page.locator("#searched")).to_contain_text("job.out")
    assert "2" in cluster.output().splitlines()
    Path(cluster.directory, "chromium").unlink()
    cluster.wait_until_clean()


def test_page_of_a_job_of_slurm(cluster: ClusterUnderTest) -> None:
    check(cluster)


def test_page_of_a_job_of_grid_engine(grid: ClusterUnderTest) -> None:
    check(grid)


# what is to be imported may be root's alone: so root looks first, in the same process
OTHERS = """
import os, sys
import scoop_hpc.cli.look.report, scoop_hpc.cli.look.web, scoop_hpc.web.server
from scoop_hpc.cli.main import main

job, user = sys.argv[1], int(sys.argv[2])
for command in ("top", "top", "web", "report"):
    sys.argv = ["scoop-hpc", command, job]
    try:
        main()
    except SystemExit as end:
        print(command, end.code, flush=True)
    os.setuid(user)
"""


def test_job_of_another_user_is_refused_and_goes_on(cluster: ClusterUnderTest) -> None:
    job = submit(cluster)
    program = cluster.write(OTHERS, "others.py")
    user = cluster.check(HEAD, ["id", "-u", OTHER]).strip()
    done = cluster.run(HEAD, [sys.executable, str(program), job, user])
    *seen, top, web, report = done.stdout.splitlines()
    assert seen[-1] == "top 0", done.stdout + done.stderr
    assert (top, web, report) == ("top 2", "web 2", "report 2"), done.stderr
    refused = done.stderr.splitlines()
    assert len(refused) == 3
    assert all(line.startswith("scoop-hpc: error: ") and "Permission denied" in line for line in refused), refused
    (cluster.directory / "go").touch()
    cluster.wait_until(lambda: look(cluster, job)["state"] == "ended", 60, "the run has ended")
    assert look(cluster, job)["status"] == 0
