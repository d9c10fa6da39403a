"""Make live-page.png: run a program on four nodes, all of them this machine, and take a picture of its live page.

::

    .venv/bin/python docs/images/live_page.py
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
FAKE_SSH = HERE.parents[1] / "tests" / "fakes" / "ssh"
NODES = ("n1", "n2", "n3", "n4")
SECONDS = 50  # of the run, until the picture is taken
CHROMIUMS = ("chromium-headless-shell", "chromium", "google-chrome")
PROGRAM = """
import random, time
from scoop_hpc import futures

def simulate(seed):
    time.sleep(random.Random(seed).uniform(0.5, 4))
    if seed % 89 == 7:
        raise ArithmeticError(f"seed {seed} does not converge")

def score(number):
    time.sleep(0.02)

def refine(seed):
    time.sleep(random.Random(seed).uniform(1, 6))

if __name__ == "__main__":
    refined = [futures.submit(refine, seed) for seed in range(120)]
    simulated = [futures.submit(simulate, seed) for seed in range(220)]
    scored = [futures.submit(score, number) for number in range(12000)]
    more = [futures.submit(refine, seed) for seed in range(1000)]
    futures.wait(refined + simulated + scored + more)
"""


def main() -> None:
    """Run the program and the page, take the picture, and end both."""
    chromium = next(filter(None, map(shutil.which, CHROMIUMS)))
    with tempfile.TemporaryDirectory() as directory:
        for node in NODES:
            (Path(directory) / node).mkdir()
        (Path(directory) / "search.py").write_text(PROGRAM)
        environ = {
            **os.environ,
            "FAKE_SSH": directory,
            "PATH": f"{FAKE_SSH}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parents[1]), *sys.path])),
            "SCOOP_HPC_STATE": str(Path(directory) / "state"),
        }

        def start(*words: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "scoop_hpc", *words]
            return subprocess.Popen(
                command, cwd=directory, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )

        hosts = ",".join(f"{node}:8" for node in NODES)
        run = start("run", "--launcher", "ssh", "--hosts", hosts, "--progress", "log", "search.py")
        while not list(Path(directory).glob("state/runs/*/look.json")):
            time.sleep(0.1)
        page = start("web")
        assert page.stdout is not None
        take(chromium, page.stdout.readline().strip(), HERE / "live-page.png")
        for process in (page, run):
            process.send_signal(signal.SIGINT)
            process.communicate()


def take(chromium: str, address: str, path: Path) -> None:
    """Take a picture of the page at an *address*, when its run has gone on for a while."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=options) as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 1130}, color_scheme="light")
        page.goto(address)
        page.wait_for_function(f"() => run.snapshot?.elapsed_s > {SECONDS}", timeout=10 * SECONDS * 1000)
        page.locator("#timeline").press("ArrowDown")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=path)


if __name__ == "__main__":
    main()
