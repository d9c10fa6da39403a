"""What a request is answered: the page, its data, or a refusal. It knows no socket, file or clock.

Every address begins with a secret: whoever cannot read the terminal of `scoop-hpc web` gets nothing, also other users
of the same login node, who can reach its loopback interface. All addresses in the page are relative to it, so that the
page works below any prefix that a proxy puts before. A name in ``Host`` that is not this machine's is refused: a page
of somebody else, whose name was made to point to 127.0.0.1, would be of the same origin [DNS rebinding].
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qs

import msgspec

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
FILES: Mapping[str, str] = MappingProxyType(  # of the page, and their types
    {"": "text/html", "live.css": "text/css", "live.js": "text/javascript"}
)
_MOST_WORDS = 200  # characters of a text that is searched for
_NO_NUMBER = -1

HEADERS = (
    # nothing but what this server sends, no script within the page, and in no frame of another origin
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),  # the address has the secret
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks for."""

    path: str
    query: str = ""
    host: str = "localhost"
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; HEADERS go with each."""

    status: HTTPStatus
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """Answers requests whose path begins with the *secret*.

    *files* are those of FILES by name; *snapshot* is given the number of the last look that the page has seen, *logs*
    the text to look for, and both return what becomes JSON. *hosts* are names of this server beside LOOPBACK.
    """

    secret: str = field(repr=False)
    files: Mapping[str, bytes]
    snapshot: Callable[[int], object]
    logs: Callable[[str], object]
    hosts: Collection[str] = ()

    def answer(self, request: Request) -> Response:
        """Return the answer to *request*."""
        if _name_of(request.host) not in LOOPBACK.union(self.hosts):
            return _refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This server is not {request.host!r}: scoop-hpc web --allow-host NAME lets a proxy of that name pass.",
            )
        if request.method != "GET":
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, "This page can only be read.")
        secret, slash, name = request.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(secret.encode(), self.secret.encode()):
            return _refuse(
                HTTPStatus.FORBIDDEN, "The address of the page is what scoop-hpc web has printed, all of it."
            )
        if name in FILES:
            return Response(HTTPStatus.OK, f"{FILES[name]}; charset=utf-8", self.files[name])
        asked = parse_qs(request.query, keep_blank_values=True)
        if name == "snapshot.json":
            return _data(self.snapshot(_number(asked.get("since", [""])[0])))
        if name == "logs.json":
            return _data(self.logs(asked.get("text", [""])[0][:_MOST_WORDS]))
        return _refuse(HTTPStatus.NOT_FOUND, "There is nothing of that name.")


def _name_of(host: str) -> str:
    """Return the name in a header Host, without the port: a tunnel may begin at another one.

    >>> _name_of("LocalHost:8000"), _name_of("[::1]:8000"), _name_of("[::1]")
    ('localhost', '[::1]', '[::1]')
    """
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else _NO_NUMBER


def _data(value: object) -> Response:
    return Response(HTTPStatus.OK, "application/json", msgspec.json.encode(value))


def _refuse(status: HTTPStatus, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode(errors="backslashreplace"))
