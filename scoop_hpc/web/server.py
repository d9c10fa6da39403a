"""The shell of the live page: a WSGI server on the loopback interface, and a thread that looks at the run.

The main thread waits for browsers, two threads answer them, and one looks at the run each second, also while no browser
asks, so that the history has no gaps. All of them use one History, under a lock.
"""

from __future__ import annotations

import importlib.resources
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from waitress.server import create_server

from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.jobs.snapshot import Snapshot
from scoop_hpc.web.history import History, Point, Segment
from scoop_hpc.web.search import Output, search
from scoop_hpc.web.site import FILES, HEADERS, Request, Site

INTERVAL = 1.0  # seconds from one look to the next
_ENDED_INTERVAL = 5.0  # the same, of a run that has ended: its job may be run again
_ADDRESS = "127.0.0.1"
_SECRET = 32  # bytes
_THREADS = 2  # a long search of logs keeps nobody else waiting
_START = "index.html"  # the file that is the page itself

Look = Callable[[], "Snapshot | None"]  # the newest look at the run, None if there is none yet; raises ScoopError


class Collector:
    """Looks at a run in a thread of its own, and knows what a browser has not seen of it."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._history = History()
        self._problem = ""
        self._lock = threading.Lock()
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may be in the middle of a look."""
        self._stops.set()
        self._thread.join(INTERVAL)

    def news(self, seen: int) -> dict[str, object]:
        """Return the last look, and what is new in the history since the look numbered *seen*."""
        with self._lock:
            history = self._history
            seen = seen if 0 <= seen <= history.look else 0  # of a server before this one
            return {
                "look": history.look,
                "problem": self._problem,
                "snapshot": history.snapshot,
                "segments": {name: list(map(_row, new)) for name, new in history.segments(seen).items()},
                "points": [_point(point) for point in history.points(seen)],
            }

    def _run(self) -> None:
        while True:
            try:
                snapshot, problem = self._look(), ""
            except ScoopError as error:
                snapshot, problem = None, str(error)
            with self._lock:
                self._problem = problem
                if snapshot is not None:
                    self._history.add(snapshot)
            has_ended = snapshot is not None and snapshot.state == "ended"
            if self._stops.wait(_ENDED_INTERVAL if has_ended else INTERVAL):
                return


class PageServer:
    """Serves the page of one run on the loopback interface; raises InputError if the *port* cannot be had.

    *port* 0 is any free one. *outputs* returns the files that the run prints to, as they are now; it raises ScoopError.
    """

    def __init__(
        self, look: Look, outputs: Callable[[], Sequence[Output]], port: int = 0, hosts: Collection[str] = ()
    ) -> None:
        self._collector = Collector(look)
        self._outputs = outputs
        secret = secrets.token_urlsafe(_SECRET)
        self._site = Site(secret, _page(), self._collector.news, self._search, hosts)
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://{_ADDRESS}:{self.port}/{secret}/"

    def run(self) -> None:
        """Serve until Ctrl-C."""
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that several requests wait is worth no line
        server = create_server(
            self._answer, sockets=[self._socket], threads=_THREADS, ident=None, clear_untrusted_proxy_headers=True
        )
        self._collector.start()
        try:
            server.run()
        finally:
            self._collector.stop()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _search(self, text: str) -> object:
        try:
            return search(self._outputs(), text) if text else {"files": self._outputs(), "lines": (), "is_all": True}
        except ScoopError as error:
            return {"problem": str(error)}

    def _answer(self, environ: Mapping[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer a request of WSGI [PEP 3333]."""
        request = Request(
            path=environ["PATH_INFO"],
            query=environ["QUERY_STRING"],
            host=environ.get("HTTP_HOST", ""),
            method=environ["REQUEST_METHOD"],
        )
        response = self._site.answer(request)
        length = str(len(response.body))
        headers = [("Content-Type", response.content_type), ("Content-Length", length), *HEADERS]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [response.body]


def _row(segment: Segment) -> tuple[float, float, str, str, int]:
    return (round(segment.begin, 3), round(segment.end, 3), segment.state, segment.task, segment.tasks)


def _point(point: Point) -> tuple[float, ...]:
    return (
        round(point.time, 3),
        point.busy,
        point.workers,
        point.queued,
        point.done,
        point.failed,
        point.stolen,
        point.memory,
    )


def _page() -> Mapping[str, bytes]:
    """Return the files of the page; they are read once, so that no request opens one."""
    directory = importlib.resources.files("scoop_hpc.web").joinpath("page")
    return {name: directory.joinpath(name or _START).read_bytes() for name in FILES}


def _listen(port: int) -> socket.socket:
    """Return a socket that listens to this machine alone."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_ADDRESS, port))
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on port {port}: {error.strerror}; --port names another, 0 any free one"
        ) from error
    return listener
