"""What the live page's server answers, and to whom it refuses to."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

import pytest

from scoop_hpc.web.search import Output, search
from scoop_hpc.web.site import FILES, HEADERS, Request, Response, Site

SECRET = "s3cret"


def site(hosts: tuple[str, ...] = ()) -> Site:
    return Site(
        secret=SECRET,
        files={name: name.encode() for name in FILES},
        snapshot=lambda seen: {"seen": seen, "odd": float("nan")},
        logs=lambda text: {"text": text},
        hosts=hosts,
    )


def get(path: str, query: str = "", host: str = "127.0.0.1:8000", method: str = "GET") -> Response:
    return site().answer(Request(path, query, host, method))


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_page_has_its_files(name: str, kind: str) -> None:
    response = get(f"/{SECRET}/{name}")
    assert (response.status, response.body) == (HTTPStatus.OK, name.encode())
    assert response.content_type == f"{kind}; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["/", "", "/live.js", f"/{SECRET}", f"/{SECRET[:-1]}/", f"/{SECRET}x/", "//", f"//{SECRET}/", "/é\xff/"]
)
def test_nothing_is_told_without_the_secret(path: str) -> None:
    response = get(path)
    assert response.status is HTTPStatus.FORBIDDEN
    assert SECRET not in response.body.decode()


@pytest.mark.parametrize(
    "name", ["live.html", "../site.py", "live.js/", "..%2fsite.py", "/etc/passwd", "page/live.js", "snapshot.json/"]
)
def test_only_what_belongs_to_the_page_is_there(name: str) -> None:
    assert get(f"/{SECRET}/{name}").status is HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80"])
def test_this_machine_is_called_by_its_names(host: str) -> None:
    assert get(f"/{SECRET}/", host=host).status is HTTPStatus.OK


@pytest.mark.parametrize(
    "host", ["", "evil.org", "evil.org:8000", "localhost.evil.org", "127.0.0.1.evil.org", "10.0.0.1"]
)
def test_names_of_others_are_refused_also_with_the_secret(host: str) -> None:
    response = get(f"/{SECRET}/", host=host)
    assert response.status is HTTPStatus.MISDIRECTED_REQUEST
    assert "--allow-host" in response.body.decode()


def test_name_of_a_proxy_is_let_pass_where_it_is_named() -> None:
    request = Request(f"/{SECRET}/", host="hub.site.org:443")
    assert site(hosts=("hub.site.org",)).answer(request).status is HTTPStatus.OK


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", ""])
def test_nothing_can_be_written(method: str) -> None:
    assert get(f"/{SECRET}/", method=method).status is HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("query", "seen"),
    [("since=17", 17), ("", -1), ("since=", -1), ("since=-3", -1), ("since=²", -1), ("since=1e3", -1)],
)
def test_snapshot_is_of_what_is_new_and_json_that_browsers_read(query: str, seen: int) -> None:
    response = get(f"/{SECRET}/snapshot.json", query)
    assert json.loads(response.body) == {"seen": seen, "odd": None}
    assert response.content_type == "application/json"


def test_text_to_search_is_taken_as_it_is_and_not_too_long() -> None:
    assert json.loads(get(f"/{SECRET}/logs.json", "text=a%20%3Cb%3E+c").body) == {"text": "a <b> c"}
    assert len(json.loads(get(f"/{SECRET}/logs.json", f"text={'x' * 1000}").body)["text"]) == 200


def test_scripts_come_from_the_server_alone() -> None:
    policy = dict(HEADERS)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_secret_is_not_in_what_is_printed_of_a_site() -> None:
    assert SECRET not in repr(site())


def test_last_lines_are_found_first(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("An error\nfine\nthe ERROR again\n")
    found = search([Output(str(path))], "error")
    assert [(line.number, line.text) for line in found.lines] == [(3, "the ERROR again"), (1, "An error")]
    assert found.is_all
    assert [(file.begin, file.size) for file in found.files] == [(0, 30)]


def test_output_of_an_earlier_job_is_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old error\nnew error\n")
    found = search([Output(str(path), begin=10)], "error")
    assert [line.text for line in found.lines] == ["new error"]


def test_of_a_large_file_whole_lines_at_its_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("".join(f"line {number:05}\n" for number in range(1000)))
    found = search([Output(str(path))], "line", most_read=100, most_lines=5)
    assert [line.text for line in found.lines] == [f"line {number:05}" for number in range(999, 994, -1)]
    assert not found.is_all
    assert found.lines[0].number is None
    (file,) = found.files
    assert (file.size - file.begin) % 11 == 0
    assert file.size - file.begin <= 100


def test_file_that_is_none_or_missing_keeps_nobody(tmp_path: Path) -> None:
    good = tmp_path / "good.txt"
    good.write_text("word\n")
    found = search(
        [Output(str(tmp_path / "missing")), Output("/dev/null"), Output(str(tmp_path)), Output(str(good))], "word"
    )
    assert [file.problem for file in found.files] == [
        "No such file or directory",
        "not a regular file",
        "Is a directory",
        "",
    ]
    assert [line.text for line in found.lines] == ["word"]


def test_long_line_is_cut_around_what_is_found(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("x" * 5000 + "needle" + "y" * 5000)
    (line,) = search([Output(str(path))], "needle").lines
    assert "needle" in line.text
    assert len(line.text) < 520
    assert line.text.startswith("...")
    assert line.text.endswith("...")
