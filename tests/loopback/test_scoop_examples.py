"""SCOOP's published examples run as they are: the program of SCOOP's release, unchanged, under `scoop-hpc run`."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Runs
from PIL import Image, ImageChops, ImageStat

HELLOS = "".join(f"Hello World from Future #{n}\n" for n in range(16))

# what each prints, as a regular expression of all of it
PRINTED = {
    "conditional_execution.py": r"Hello (Parallel )?World\n",
    "conditional_import.py": re.escape(HELLOS),
    "deap_ga_evosn.py": r"(?s)gen.*\n39.*\n\d+ errors, length \d+, depth \d+\n",
    "deap_ga_onemax.py": r"(?s)gen.*\n40 .*\n",
    "lambda.py": re.escape(f"{[2 * n for n in range(10)]}\n[1.0, 0.54") + r".*\n" + re.escape(f"{[*range(1, 11)]}\n"),
    "map_doc.py": re.escape(HELLOS),
    "map_reduce.py": r"(Executed \w+ in: [\d.]+s with result: 332833500\n){2}",
    "map_scan.py": r"(Executed \w+ in: [\d.]+s with result: \[0, 1, 5, 14, 30, 55, 91, 140, 204, 285\]\n){2}",
    "object.py": r"\[(<__main__.myClass object at \w+>(, )?){20}\]\n\[(6(, )?){20}\]\n",
    "pi_calc_doc.py": r"pi = 3\.1[34]\d*\n",
    "recurse.py": r"2\^12 = 4096\n",
    "rssDoc.py": r"mapReduce result obtained in .*\nSerial result obtained in .*\n",  # it compares them
    "shared_example.py": r"(Hello World from b'.*:0\.\d'!\n|Second element\n){20}" + re.escape(f"{[*range(1, 11)]}\n"),
    "shared_example_doc.py": r"(?s)English letter values used.*Player 1: 122\nPlayer 2: 74\nPlayer 3: 145\n",
    "sorting.py": r"Parallel time: .*\nSerial time: .*\n",  # it compares what they sort
    "sum_multiples.py": r"Serial time: .*\nParallel time: .*\n",  # it compares the sums
    "tree_traversal.py": r"(?s).*Parallel result: (\d+)\nSerial result:   \1\n.*",
}
# those whose output is looked at more closely, below or in test_examples.py
OTHERS = {
    *("callback.py", "except_example.py", "full_tree.py", "image_resize.py", "interactive_shell.py"),
    *("map_as_completed.py", "pi_calc.py", "url_fetch.py", "url_fetch_doc.py"),
}


@pytest.mark.parametrize("name", PRINTED)
def test_example_prints_what_it_should(runs: Runs, scoop_examples: Path, name: str) -> None:
    done = runs.run("-n", "4", str(scoop_examples / name))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(PRINTED[name], done.stdout), done.stdout


def test_no_example_is_left_out(scoop_examples: Path) -> None:
    assert {path.name for path in scoop_examples.glob("*.py")} == {*PRINTED, *OTHERS}


def test_example_runs_by_scoops_own_command_line(runs: Runs, scoop_examples: Path) -> None:
    done = runs.run("-n", "4", str(scoop_examples / "map_doc.py"), command=())
    assert (done.returncode, done.stdout) == (0, HELLOS), done.stderr


def test_every_flag_of_scoop_is_taken_or_refused_with_a_reason(runs: Runs, scoop_sources: Path) -> None:
    launcher = (scoop_sources / "scoop" / "launcher.py").read_text()
    calls = re.findall(r"add_argument\(((?:\s*'-[-\w]+',)+)", launcher)
    flags = [flag for call in calls for flag in re.findall(r"-[-\w]+", call)]
    assert len(flags) > 20
    unknown = []
    for flag in flags:
        done = runs.run(flag, "x", command=())  # never a run: there is no program x
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), flag
        unknown += [flag] if "not recognized" in done.stderr else []
    assert unknown == []


def test_callback(runs: Runs, scoop_examples: Path) -> None:
    done = runs.run("-n", "4", str(scoop_examples / "callback.py"))
    assert sorted(done.stdout.splitlines()) == [f"Done: {n}" for n in range(1, 6)]


def test_except_example_ends_by_the_exception_that_it_announces(runs: Runs, scoop_examples: Path) -> None:
    done = runs.run("-n", "4", str(scoop_examples / "except_example.py"))
    assert done.returncode == 1
    assert done.stderr.endswith("Exception: This exception is normal\n")
    assert "in func2" in done.stderr  # the exception that func1 turned into this one


def test_map_as_completed(runs: Runs, scoop_examples: Path) -> None:
    done = runs.run("-n", "4", str(scoop_examples / "map_as_completed.py"))
    lines = done.stdout.splitlines()
    expected = [f"Hello from #{n}!" for n in range(10)]
    assert lines[1:11] == expected
    assert sorted(lines[12:]) == expected


def test_interactive_shell_does_what_its_comment_shows(runs: Runs, scoop_examples: Path) -> None:
    typed = "def myExample(inVal):\n    return inVal + 1\n\nshared.setConst(myExample=myExample)\n"
    typed += "print(list(futures.map(myExample, range(64))))\nexit()\n"
    done = runs.run("-n", "4", str(scoop_examples / "interactive_shell.py"), stdin=typed)
    assert str([*range(1, 65)]) in done.stdout, done.stderr


class _Pages(BaseHTTPRequestHandler):
    """A proxy that knows all pages: those of one site, and the list of them, which is any other page."""

    def do_GET(self) -> None:
        site, _, size = self.path.rpartition("/")
        body = b"x" * int(size) if site == "http://pages.example" else "\n".join(PAGES).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


PAGES = [f"http://pages.example/{size}" for size in (700, 30, 5000, 1, 90)]
SIZES = [page.rpartition("/")[2] for page in PAGES]


@pytest.fixture
def proxied(runs: Runs) -> Iterator[Runs]:
    """Runs for which the web is a server here: the site of url_fetch_doc.py is gone, and tests need no network."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        runs.environ["http_proxy"] = f"http://127.0.0.1:{server.server_port}"
        runs.environ.pop("no_proxy", None)
        yield runs
        server.shutdown()
        thread.join()


def test_url_fetch(proxied: Runs, scoop_examples: Path) -> None:
    done = proxied.run("-n", "4", str(scoop_examples / "url_fetch.py"))
    lines = done.stdout.splitlines()
    assert lines[:10] == 2 * SIZES, done.stderr
    assert Counter(lines[10:]) == Counter(SIZES)


def test_url_fetch_doc(proxied: Runs, scoop_examples: Path) -> None:
    done = proxied.run("-n", "4", str(scoop_examples / "url_fetch_doc.py"))
    assert Counter(done.stdout.splitlines()) == Counter(SIZES), done.stderr


# image_resize.py is for Python 2 and PIL: no Python since 3.7 can run it, with SCOOP or without
REPAIRS = (
    ("    import Image\n", "    from PIL import Image\n"),  # the package is called Pillow since 2010
    (", verbose=False)", ")"),  # namedtuple's, gone since Python 3.7
    ("h/divHeight", "h//divHeight"),  # range() takes no floats
    ("w/divWidth", "w//divWidth"),
    (".tostring()", ".tobytes()"),  # Pillow 3
    (".fromstring(", ".frombytes("),
    ("Image.ANTIALIAS", "Image.LANCZOS"),  # Pillow 10
    ("resizedParallelImage.show()", "resizedParallelImage.save('parallel.png')"),  # show() opens a window
    ("resizedImage.show()", "resizedImage.save('serial.png')"),
)


def test_image_resize_repaired_for_python_3(runs: Runs, scoop_examples: Path) -> None:
    text = (scoop_examples / "image_resize.py").read_text()
    for old, new in REPAIRS:
        assert old in text
        text = text.replace(old, new)
    Image.radial_gradient("L").convert("RGB").resize((400, 300)).save(runs.directory / "image.png")
    done = runs.run("-n", "4", runs.write(text), "image.png")
    assert done.returncode == 0, done.stderr
    with Image.open(runs.directory / "parallel.png") as parallel, Image.open(runs.directory / "serial.png") as serial:
        assert parallel.size == (512, 384)
        assert max(ImageStat.Stat(ImageChops.difference(parallel, serial)).mean) < 3  # they differ where tiles meet


def test_scoop_tree_of_the_benchmark(runs: Runs, scoop_examples: Path) -> None:
    tree = scoop_examples / "tree"
    words = ["--height", "3", "--minChildren", "2", "--maxChildren", "3", "--scale", "0.0005"]
    make = [sys.executable, str(tree / "TreeGen.py"), *words, "--filename", "tree.txt"]
    subprocess.run(make, cwd=runs.directory, check=True, capture_output=True, timeout=120)
    done = runs.run("-n", "4", str(tree / "scoop_tree.py"), "tree.txt")  # it counts the leaves itself
    assert done.stdout.endswith("cores : 4\n"), done.stderr
