"""The live page of `scoop-hpc web`, in a real browser, and what others get who ask for it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from conftest import Runs, until
from msgspec.structs import replace
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Route, expect

from scoop_hpc.files import private
from scoop_hpc.jobs import look, runs
from scoop_hpc.jobs.snapshot import VERSION, Node, Snapshot, Totals, Worker

pytestmark = pytest.mark.timeout(600)  # root may have to install the browser
PATIENCE = 120_000  # milliseconds, on a machine that is busy
expect.set_options(timeout=PATIENCE)

EVIL = "<script>document.title='taken'</script>"  # the name of a function
PROGRAM = f"""
import os, time
from scoop_hpc import futures

@futures.task(name={EVIL!r})
def work(number):
    print("<b>line</b> of", number)
    while number >= 20 and not os.path.exists("go"):
        time.sleep(0.01)
    return number

def fail(number):
    raise ValueError("<i>no</i>")

if __name__ == "__main__":
    try:
        futures.submit(fail, 7).result()
    except ValueError:
        print("as expected")
    print("the sum is", sum(futures.map(work, range(30), chunksize=1, progress="working")))
"""

# how many pixels of the timeline have the color of a function
PIXELS = """
name => {
  const color = timeline.colors.get(name);
  const wanted = [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
  const rows = document.getElementById("rows");
  const copy = new OffscreenCanvas(rows.width, rows.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(rows, 0, 0);
  const pixels = copy.getImageData(0, 0, rows.width, rows.height).data;
  let count = 0;
  for (let at = 0; at < pixels.length; at += 4) count += wanted.every((part, index) => pixels[at + index] === part);
  return count;
}
"""


class Web:
    """A `scoop-hpc web` that runs, and the pages that were opened of it."""

    def __init__(self, process: subprocess.Popen[str], browser: Browser) -> None:
        assert process.stdout is not None
        self.process = process
        self.address = process.stdout.readline().strip()
        parts = urlsplit(self.address)
        assert (parts.scheme, parts.hostname) == ("http", "127.0.0.1"), self.stop()
        assert parts.port is not None
        self.port = parts.port
        self.secret = parts.path.strip("/")
        self.complaints: list[str] = []  # of the browser
        self._browser = browser
        self._pages: list[Page] = []

    def open(self, address: str = "") -> Page:
        """Open the page; what the browser complains of, or asks others for, is a complaint."""
        page = self._browser.new_page(viewport={"width": 1000, "height": 900})
        page.set_default_timeout(PATIENCE)
        self._pages.append(page)
        address = address or self.address

        def note(message: ConsoleMessage) -> None:
            self.complaints.append(f"{message.type}: {message.text}")

        def note_error(error: Error) -> None:
            self.complaints.append(str(error))

        page.on("console", note)
        page.on("pageerror", note_error)
        page.on("request", lambda asked: None if asked.url.startswith(address) else self.complaints.append(asked.url))
        page.goto(address)
        return page

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return the status of the answer, and its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status, and what was said."""
        self.process.send_signal(signal.SIGINT)
        _, stderr = self.process.communicate(timeout=120)
        return self.process.returncode, stderr

    def close(self) -> None:
        for page in self._pages:
            page.close()


class Site:
    """Runs `scoop-hpc web` in the directory of a test, whose state is its own."""

    def __init__(self, runs: Runs, browser: Browser) -> None:
        self.runs = runs
        self.state = runs.directory / "state"
        runs.environ["SCOOP_HPC_STATE"] = str(self.state)
        self.browser = browser
        self._opened: list[Web] = []

    def web(self, *words: str) -> Web:
        web = Web(self.runs.start(*words, command=("web",)), self.browser)
        self._opened.append(web)
        return web

    def close(self) -> None:
        for web in self._opened:
            web.close()


@pytest.fixture
def site(runs: Runs, browser: Browser) -> Iterator[Site]:
    site = Site(runs, browser)
    yield site
    site.close()


def made_up(nodes: int, per_node: int, elapsed: float) -> Snapshot:
    """Return a look at a run of many workers elsewhere."""
    workers = tuple(
        Worker(f"{node}.{number}", f"n{node}", 100 + number, "busy", "simulate", elapsed, number)
        for node in range(nodes)
        for number in range(per_node)
    )
    return Snapshot(
        version=VERSION,
        run="made up",
        job="41",
        program="/home/me/run.py",
        host="a.host.elsewhere",
        pid=7,
        driver="",
        time=time.time(),
        started=time.time() - elapsed,
        elapsed_s=elapsed,
        walltime_left_s=60.0,
        state="running",
        totals=Totals(done=12345, workers=nodes * per_node, busy_workers=nodes * per_node, nodes=nodes),
        nodes=tuple(Node(f"n{node}", node, "alive", per_node, memory_bytes=3 << 30) for node in range(nodes)),
        workers=workers,
    )


def put(site: Site, snapshot: Snapshot) -> str:
    """Leave a look as a run does; return its file."""
    path = runs.create(private.root(site.runs.environ), time.time(), lambda seen: False)
    Path(look.wanted_beside(path)).touch(0o600)
    look.write(path, snapshot)
    return path


def test_run_is_shown_while_it_goes_on_and_as_it_ends(site: Site) -> None:
    run = site.runs.start("-n", "2", "--progress", "log", site.runs.write(PROGRAM))
    until(lambda: list(site.state.glob("runs/*/look.json")))
    web = site.web()
    page = web.open()
    expect(page.locator("#state")).to_have_text("running")
    expect(page.locator("#program")).to_have_text("program.py")
    expect(page.locator("#legend")).to_contain_text(EVIL)  # as text
    expect(page.locator("#totals")).to_contain_text("2 of 2")
    expect(page.locator("#waits")).to_contain_text("20 of 30")
    expect(page.get_by_label("working")).to_have_attribute("value", "20")

    for _ in range(2):  # the first is the origin
        page.locator("#timeline").press("ArrowDown")
    expect(page.locator("#reading")).to_contain_text(f"busy {EVIL}")
    page.wait_for_function(f"name => ({PIXELS})(name) > 100", arg=EVIL)

    (site.runs.directory / "go").touch()
    assert run.wait(timeout=120) == 0
    expect(page.locator("#state")).to_have_text("ended with status 0")
    work = page.locator("#functions tr").filter(has_text=EVIL)
    expect(work.locator("td").nth(1)).to_have_text("30")
    expect(page.locator("#failures")).to_contain_text("<i>no</i>")
    assert page.title() == "program.py: ended - scoop-hpc"
    assert web.complaints == []
    status, said = web.stop()
    assert status == 130
    assert "Traceback" not in said
    expect(page.locator("#problem")).to_contain_text("no answer from scoop-hpc web")


def test_output_of_a_job_is_searched_and_shown_as_text(site: Site) -> None:
    (site.runs.directory / "go").touch()
    words = ("--scheduler", "local", "--workers-per-node", "2", "--wait", site.runs.write(PROGRAM))
    assert site.runs.run(*words, command=("submit",)).returncode == 0
    web = site.web("local-1")
    page = web.open()
    expect(page.locator("#state")).to_have_text("ended with status 0")
    page.fill("#text", "<B>LINE</B> of 1")
    page.press("#text", "Enter")
    expect(page.locator("#found li")).to_have_count(11)  # 1, and 10 to 19
    expect(page.locator("#found mark").first).to_have_text("<b>line</b> of 1")
    expect(page.locator("#searched")).to_contain_text("11 lines")
    expect(page.locator("#searched")).to_contain_text(str(site.runs.directory))
    page.fill("#text", "is in none of them")
    page.click("#search button")
    expect(page.locator("#found li")).to_have_count(0)
    assert web.complaints == []


def test_workers_of_many_nodes_are_moved_through_by_keys_and_filtered(site: Site) -> None:
    path = put(site, made_up(nodes=40, per_node=32, elapsed=30.0))
    web = site.web()
    page = web.open()
    expect(page.locator("#totals")).to_contain_text("1 280 of 1 280")
    timeline = page.locator("#timeline")
    for _ in range(300):
        timeline.press("ArrowDown")
    expect(page.locator("#reading")).to_contain_text("worker 9.11 on n9: busy simulate")
    assert timeline.evaluate("box => box.scrollTop") > 0
    page.fill("#filter", "n7")
    expect(page.locator("#reading")).to_contain_text("worker 7.31 on n7")  # the last that is left
    follow = page.locator("[data-do=follow]")
    for key in ("+", "+", "ArrowLeft"):
        timeline.press(key)
    expect(follow).to_have_attribute("aria-pressed", "false")
    timeline.press("End")
    expect(follow).to_have_attribute("aria-pressed", "true")

    head = page.locator("#nodes th").nth(0)
    assert page.locator("#nodes td").nth(0).inner_text() == "n0"
    head.locator("button").press("Enter")  # sorted the other way
    expect(page.locator("#nodes td").nth(0)).to_have_text("n39")
    expect(head).to_have_attribute("aria-sort", "descending")

    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light

    look.write(path, made_up(nodes=1, per_node=3, elapsed=40.0))  # what comes next is shown by itself
    expect(page.locator("#totals")).to_contain_text("3 of 3")
    look.write(path, replace(made_up(nodes=1, per_node=5, elapsed=1.0), run="the job's second"))
    expect(page.locator("#totals")).to_contain_text("5 of 5")
    expect(page.locator("#about")).to_contain_text("0:00:01")
    assert web.complaints == []


def test_page_works_below_the_prefix_of_a_proxy_that_is_named(site: Site) -> None:
    put(site, made_up(nodes=1, per_node=2, elapsed=5.0))
    web = site.web("--allow-host", "Hub.Site.org")
    prefix = "http://hub.site.org/user/me/proxy/8000"

    def forward(route: Route) -> None:
        """Do what a notebook's server does: cut the prefix, and leave the headers as they are."""
        asked = route.request
        url = asked.url.replace(prefix, f"http://127.0.0.1:{web.port}")
        route.fulfill(response=route.fetch(url=url, headers={**asked.headers, "host": "hub.site.org"}))

    context = site.browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.route("**/*", forward)
    page = context.new_page()
    page.goto(f"{prefix}/{web.secret}/")
    expect(page.locator("#totals")).to_contain_text("2 of 2")
    context.close()


def test_nobody_else_gets_anything(site: Site) -> None:
    put(site, made_up(nodes=1, per_node=2, elapsed=5.0))
    web = site.web()
    assert web.get(f"/{web.secret}/")[0] == 200
    assert len(web.secret) == 43  # 32 bytes
    for path in ("/", "/live.js", "/snapshot.json", f"/{web.secret[:-1]}/snapshot.json", "/favicon.ico"):
        assert web.get(path)[0] == 403
    assert web.get(f"/{web.secret}/snapshot.json", Host="evil.org")[0] == 421
    assert web.get(f"/{web.secret}/../{web.secret}/look.json")[0] in (403, 404)
    assert web.get(f"/{web.secret}/%2e%2e/server.py")[0] == 404
    connections = psutil.Process(web.process.pid).net_connections(kind="inet")
    assert {each.laddr.ip for each in connections} == {"127.0.0.1"}
    assert web.secret not in " ".join(psutil.Process(web.process.pid).cmdline())  # which all users can read


def test_what_is_new_is_told_alone(site: Site) -> None:
    put(site, made_up(nodes=1, per_node=2, elapsed=5.0))
    web = site.web()

    def news(seen: int) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(web.get(f"/{web.secret}/snapshot.json?since={seen}")[1])
        return answer

    until(lambda: news(0)["look"] == 1)
    assert set(news(0)["segments"]) == {"0.0", "0.1"}
    assert not news(1)["segments"]


def test_job_that_is_not_known_is_one_line(site: Site) -> None:
    for words, text in (((), "no run is known here"), (("77",), "the job '77' was not submitted from here")):
        done = site.runs.run(*words, command=("web",))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"scoop-hpc: error: {text}")
        assert done.stderr.count("\n") == 1


def test_port_that_is_taken_is_one_line(site: Site) -> None:
    put(site, made_up(nodes=1, per_node=2, elapsed=5.0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.runs.run("--port", str(port), command=("web",))
    assert done.returncode == 2
    assert done.stderr.startswith(f"scoop-hpc: error: cannot listen on port {port}: Address already in use; --port ")
    assert done.stderr.count("\n") == 1


def test_missing_extra_is_one_line(site: Site) -> None:
    put(site, made_up(nodes=1, per_node=2, elapsed=5.0))
    without = "import sys; sys.modules['waitress'] = None; sys.argv[1:] = ['web']; "
    call = "from scoop_hpc.cli.main import main; main()"
    process = site.runs.start_command([sys.executable, "-c", without + call])
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2
    assert stderr == "scoop-hpc: error: scoop-hpc web needs waitress: pip install 'scoop_hpc[web]'\n"
